//! Dates as systems write them, in and out of the contract's milliseconds.
//!
//! Written here rather than taken from a date library: a plugin needs two formats and no calendars, and the libraries are a
//! large part of a small component. The test compares against one.

use crate::{Error, Result};

/// A moment, exact to the nanosecond.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment {
    /// Whole seconds since 1970-01-01T00:00:00Z; negative before.
    pub seconds: i64,
    /// The rest, 0 to 999,999,999.
    pub nanos: u32,
}

/// Reads RFC 3339 (`2026-03-01T12:30:00.25+01:00`), as ISO 8601 is mostly meant: `T` or a blank between the parts, any number
/// of decimals (what is finer than nanoseconds is cut off), an offset or `Z`.
///
/// # Errors
/// Code `data` if it is anything else, also for a day that does not exist.
pub fn parse_rfc3339(text: &str) -> Result<Moment> {
    parse(text).ok_or_else(|| {
        Error::data(format!(
            "`{text}` is not a date and time of RFC 3339, for example 2026-03-01T12:30:00Z"
        ))
    })
}

/// Milliseconds since 1970 from RFC 3339, for [`Record::at`](crate::Record::at).
///
/// # Errors
/// Code `data` if it is not RFC 3339 or before 1970.
pub fn millis_from_rfc3339(text: &str) -> Result<u64> {
    parse_rfc3339(text)?
        .millis()
        .ok_or_else(|| Error::data(format!("`{text}` is before 1970, which a record cannot express")))
}

/// RFC 3339 in UTC with exactly three decimals: `2026-03-01T11:30:00.250Z`. Any `millis` up to the year 9999.
pub fn rfc3339_from_millis(millis: u64) -> String {
    let seconds = i64::try_from(millis / 1_000).unwrap_or(i64::MAX);
    let nanos = u32::try_from(millis % 1_000).unwrap_or(0) * 1_000_000;
    Moment { seconds, nanos }.to_rfc3339(3)
}

impl Moment {
    /// Milliseconds since 1970, if it is not before.
    pub fn millis(self) -> Option<u64> {
        let seconds = u64::try_from(self.seconds).ok()?;
        seconds
            .checked_mul(1_000)?
            .checked_add(u64::from(self.nanos / 1_000_000))
    }

    /// RFC 3339 in UTC with that many decimals, 0 to 9; what is finer is cut off, so order is kept.
    pub fn to_rfc3339(self, decimals: usize) -> String {
        // The last second of 9999: a fifth digit of the year would break the order of the texts.
        let seconds = self.seconds.clamp(-62_167_219_200, 253_402_300_799);
        let (days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let (year, month, day) = civil_from_days(days);
        let (hour, minute, second) = (second / 3_600, second / 60 % 60, second % 60);
        let fraction = format!("{:09}", self.nanos);
        let fraction = &fraction[..decimals.min(9)];
        let dot = if fraction.is_empty() { "" } else { "." };
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{dot}{fraction}Z")
    }
}

fn parse(text: &str) -> Option<Moment> {
    let bytes = text.trim().as_bytes();
    let number = |from: usize, to: usize| -> Option<i64> {
        let digits = bytes.get(from..to)?;
        digits.iter().all(u8::is_ascii_digit).then_some(())?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let separators = (
        *bytes.get(4)?,
        *bytes.get(7)?,
        *bytes.get(10)?,
        *bytes.get(13)?,
        *bytes.get(16)?,
    );
    let (b'-', b'-', b'T' | b't' | b' ', b':', b':') = separators else {
        return None;
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // RFC 3339 allows second 60 for leap seconds; time since 1970 has none, so it is the next minute's first.
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    if hour > 23 || minute > 59 || second > 60 || !(1..=12).contains(&month) || day < 1 {
        return None;
    }
    let days = days_from_civil(year, month, day);
    if civil_from_days(days) != (year, month, day) {
        return None;
    }
    let mut at = 19;
    let mut nanos = 0_u32;
    if bytes.get(at) == Some(&b'.') {
        let digits = bytes[at + 1..]
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if digits == 0 {
            return None;
        }
        for place in 0..9 {
            let digit = if place < digits {
                bytes[at + 1 + place] - b'0'
            } else {
                0
            };
            nanos = nanos * 10 + u32::from(digit);
        }
        at += 1 + digits;
    }
    let offset = match *bytes.get(at)? {
        b'Z' | b'z' if bytes.len() == at + 1 => 0,
        sign @ (b'+' | b'-') => {
            let (hours, minutes) = match bytes.len() - at {
                6 if bytes[at + 3] == b':' => (number(at + 1, at + 3)?, number(at + 4, at + 6)?),
                5 => (number(at + 1, at + 3)?, number(at + 3, at + 5)?),
                _ => return None,
            };
            if hours > 23 || minutes > 59 {
                return None;
            }
            let seconds = hours * 3_600 + minutes * 60;
            if sign == b'-' { -seconds } else { seconds }
        }
        _ => return None,
    };
    let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second - offset;
    Some(Moment { seconds, nanos })
}

/// The HTTP date that RFC 9110 has senders use (`Sun, 06 Nov 1994 08:49:37 GMT`).
pub(crate) fn parse_http_date(text: &str) -> Option<Moment> {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let mut parts = text.split_once(", ")?.1.split(' ');
    let (day, month, year, clock, zone) = (
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
        parts.next()?,
    );
    let month = MONTHS.iter().position(|&name| name == month)? + 1;
    if zone != "GMT" {
        return None;
    }
    parse(&format!("{year}-{month:02}-{day}T{clock}Z"))
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, by Howard Hinnant's `days_from_civil`
/// (<https://howardhinnant.github.io/date_algorithms.html>): years begin in March, so that the leap day comes last.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// The inverse, `civil_from_days` of the same page.
fn civil_from_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 {
        shifted_month + 3
    } else {
        shifted_month - 9
    };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn agrees_with_a_date_library(seconds in -62_135_596_800_i64..253_402_300_799, nanos in 0_u32..1_000_000_000) {
            let theirs = jiff::Timestamp::new(seconds, 0).unwrap() + jiff::SignedDuration::from_nanos(nanos.into());
            let text = format!("{theirs:.9}");
            prop_assert_eq!(parse_rfc3339(&text).unwrap(), Moment { seconds, nanos });
            prop_assert_eq!(Moment { seconds, nanos }.to_rfc3339(9), text);
        }
    }

    #[test]
    fn offsets_and_odd_spellings_mean_the_same_moment() {
        let expected = parse_rfc3339("2026-03-01T11:30:00.250Z").unwrap();
        for text in [
            "2026-03-01T12:30:00.25+01:00",
            "2026-03-01 06:30:00.250000-0500",
            "2026-03-01t11:30:00.2500000009z",
        ] {
            assert_eq!(parse_rfc3339(text).unwrap(), expected, "{text}");
        }
        assert_eq!(
            parse_http_date("Sun, 06 Nov 1994 08:49:37 GMT"),
            parse("1994-11-06T08:49:37Z")
        );
    }

    #[test]
    fn what_is_no_date_is_refused() {
        for text in [
            "",
            "2026-02-29T00:00:00Z",
            "2026-03-01",
            "2026-03-01T11:30:00",
            "2026-03-01T25:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-03-01T11:30:00.Z",
            "2026-03-01T11:30:00Zjunk",
            "2026-03-01T11:30:00+1:00",
            "тест",
        ] {
            assert!(parse_rfc3339(text).is_err(), "{text}");
        }
    }
}
