//! Makers of `source-version`: texts that compare byte by byte as the states that they stand for.
//!
//! A later state must compare greater, and two states must never compare equal: prefer the system's own counter or version
//! field over its time of change, and a finer time over a coarser one.

use crate::{Result, time};

/// From a counter or version number: 20 digits, zero-padded, enough for every `u64`.
pub fn counter(value: u64) -> String {
    format!("{value:020}")
}

/// From a time of change in RFC 3339 with any offset and any number of decimals: in UTC with nine.
///
/// # Errors
/// Code `data` if it is not RFC 3339.
pub fn timestamp(rfc3339: &str) -> Result<String> {
    Ok(time::parse_rfc3339(rfc3339)?.to_rfc3339(9))
}

/// From milliseconds since 1970; compares correctly with [`timestamp`].
pub fn millis(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
    time::Moment { seconds, nanos }.to_rfc3339(9)
}

/// From a time of change and a counter that tells states of the same moment apart.
///
/// # Errors
/// Code `data` if the time is not RFC 3339.
pub fn timestamp_and_counter(rfc3339: &str, value: u64) -> Result<String> {
    Ok(format!("{}.{}", timestamp(rfc3339)?, counter(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_order_as_the_states_do() {
        assert!(counter(9) < counter(10) && counter(u64::MAX).len() == counter(0).len());
        let earlier = timestamp("2026-03-01T12:00:00+02:00").unwrap();
        let later = timestamp("2026-03-01T10:00:00.001Z").unwrap();
        assert!(earlier < later);
        assert_eq!(
            earlier,
            millis(time::millis_from_rfc3339("2026-03-01T10:00:00Z").unwrap())
        );
    }
}
