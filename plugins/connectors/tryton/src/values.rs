//! Decimals, dates and times as Tryton's JSON wraps them.
//!
//! `{"__class__": "Decimal", "decimal": "12.9833"}`, and dates and times with their parts as numbers (`trytond/protocols/jsonrpc.py`).
//! Plain numbers would be taken too, but are not exact.

use serde::Deserialize;
use serde_json::{Value, json};
use stecker_sdk::time::{Moment, parse_rfc3339};
use stecker_sdk::{Error, Result};

/// A decimal as it comes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Decimal {
    pub(crate) decimal: String,
}

/// A decimal as it goes.
pub(crate) fn decimal(text: &str) -> Value {
    json!({ "__class__": "Decimal", "decimal": text })
}

/// A day from `2026-11-21`, or from a time that begins with one.
pub(crate) fn date(text: &str) -> Option<Value> {
    let day = text.get(..10)?;
    // The time of day makes it something that the parser of the SDK checks, months and leap years included.
    let moment = parse_rfc3339(&format!("{day}T00:00:00Z")).ok()?;
    (moment.to_rfc3339(0).get(..10)? == day).then_some(())?;
    let part = |from: usize, to: usize| day.get(from..to).and_then(|text| text.parse::<u32>().ok());
    Some(json!({ "__class__": "date", "year": part(0, 4)?, "month": part(5, 7)?, "day": part(8, 10)? }))
}

/// A day as it comes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Day {
    year: i32,
    month: u32,
    day: u32,
}

impl Day {
    /// `2026-11-21`.
    pub(crate) fn text(&self) -> String {
        format!("{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

/// A time, in UTC and with microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "Parts")]
pub(crate) struct Stamp(Moment);

#[derive(Deserialize)]
struct Parts {
    year: i32,
    month: u32,
    day: u32,
    hour: u32,
    minute: u32,
    second: u32,
    microsecond: u32,
}

impl TryFrom<Parts> for Stamp {
    type Error = Error;

    fn try_from(parts: Parts) -> Result<Self> {
        Self::parse(&format!(
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:06}Z",
            parts.year, parts.month, parts.day, parts.hour, parts.minute, parts.second, parts.microsecond
        ))
    }
}

impl Stamp {
    /// From RFC 3339, as [`Stamp::text`] writes it.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        parse_rfc3339(text).map(Self)
    }

    /// RFC 3339 with six decimals.
    pub(crate) fn text(self) -> String {
        self.0.to_rfc3339(6)
    }

    pub(crate) fn before(self, seconds: u32) -> Self {
        Self(Moment {
            seconds: self.0.seconds - i64::from(seconds),
            nanos: self.0.nanos,
        })
    }

    pub(crate) fn millis(self) -> u64 {
        self.0.millis().unwrap_or(0)
    }

    /// As it goes into a domain.
    pub(crate) fn wire(self) -> Value {
        let text = self.text();
        let part = |from: usize, to: usize| -> u32 {
            let digits = text.get(from..to).unwrap_or_default();
            digits.parse().unwrap_or(0)
        };
        json!({
            "__class__": "datetime",
            "year": part(0, 4), "month": part(5, 7), "day": part(8, 10),
            "hour": part(11, 13), "minute": part(14, 16), "second": part(17, 19), "microsecond": part(20, 26),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_comes_and_goes_unchanged() {
        let wire = json!({ "__class__": "datetime", "year": 2026, "month": 11, "day": 21, "hour": 0, "minute": 0,
            "second": 29, "microsecond": 7 });
        let stamp: Stamp = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(stamp.text(), "2026-11-21T00:00:29.000007Z");
        assert_eq!(stamp.wire(), wire);
        assert_eq!(stamp.before(30).text(), "2026-11-20T23:59:59.000007Z");
        assert!(stamp.before(1) < stamp);
    }

    #[test]
    fn a_day_has_to_exist() {
        let day = json!({ "__class__": "date", "year": 2028, "month": 2, "day": 29 });
        assert_eq!(date("2028-02-29T12:00:00Z"), Some(day));
        assert_eq!(date("2026-02-29"), None);
        assert_eq!(date("soon"), None);
    }
}
