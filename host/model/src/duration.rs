//! Periods as people write them in a file: `500ms`, `5s`, `2m`, `1h`, `7d`.

use std::{borrow::Cow, fmt, str::FromStr, time::Duration};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A span of time with millisecond precision, written as a whole number and a unit (`ms`, `s`, `m`, `h`, `d`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "5s")]
pub struct Period(Duration);

impl Period {
    /// From a number of milliseconds.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }

    /// From a number of seconds.
    #[must_use]
    pub const fn from_secs(secs: u64) -> Self {
        Self(Duration::from_secs(secs))
    }

    /// As the standard library has it.
    #[must_use]
    pub const fn duration(self) -> Duration {
        self.0
    }
}

const UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

impl FromStr for Period {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let millis = number
            .parse::<u64>()
            .ok()
            .zip(UNITS.iter().find(|(name, _)| *name == unit))
            .and_then(|(number, (_, factor))| number.checked_mul(*factor));
        millis.map(Self::from_millis).ok_or_else(|| {
            format!("`{text}` is not a period; write a number and a unit, such as 500ms, 5s, 2m, 1h or 7d")
        })
    }
}

impl TryFrom<String> for Period {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        let (unit, factor) = UNITS
            .iter()
            .rev()
            .map(|(unit, factor)| (unit, u128::from(*factor)))
            .find(|(_, factor)| millis >= *factor && millis.is_multiple_of(*factor))
            .unwrap_or((&"ms", 1));
        write!(f, "{}{unit}", millis / factor)
    }
}

impl From<Period> for String {
    fn from(period: Period) -> Self {
        period.to_string()
    }
}

impl JsonSchema for Period {
    fn schema_name() -> Cow<'static, str> {
        "Period".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string", "pattern": "^[0-9]+(ms|s|m|h|d)$", "description": "A number and a unit: 500ms, 5s, 2m, 1h, 7d"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_read_and_write_the_way_people_do() {
        for (text, millis) in [
            ("500ms", 500),
            ("5s", 5_000),
            ("90s", 90_000),
            ("2m", 120_000),
            ("1h", 3_600_000),
            ("0ms", 0),
        ] {
            let period: Period = text.parse().unwrap();
            assert_eq!(period.duration().as_millis(), millis, "{text}");
            assert_eq!(period.to_string(), text);
        }
        for bad in ["", "5", "s", "5 s", "-5s", "5w", "99999999999999999999d"] {
            assert!(bad.parse::<Period>().is_err(), "{bad}");
        }
    }
}
