//! Amounts in whole cents, written as decimal strings. A float would lose the very cent that the account looks for.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An amount in hundredths of its currency. On the wire it is a decimal string with exactly two digits after the point.
///
/// ```
/// use stecker_simulators::Cents;
/// let amount: Cents = "1234.50".parse()?;
/// assert_eq!(amount, Cents(123_450));
/// assert_eq!(amount.to_string(), "1234.50");
/// assert!("12.5".parse::<Cents>().is_err());
/// # Ok::<(), stecker_simulators::NotAnAmount>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cents(pub i64);

/// A text that is not a decimal number with exactly two digits after the point, or is out of range.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not an amount: write digits, a point and exactly two digits, such as \"19.90\"")]
pub struct NotAnAmount(String);

impl fmt::Display for Cents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let magnitude = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:02}", magnitude / 100, magnitude % 100)
    }
}

impl FromStr for Cents {
    type Err = NotAnAmount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || NotAnAmount(text.to_owned());
        let (negative, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (whole, cents) = digits.split_once('.').ok_or_else(wrong)?;
        let only_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !only_digits(whole) || !only_digits(cents) || cents.len() != 2 {
            return Err(wrong());
        }
        let magnitude = format!("{whole}{cents}").parse::<i64>().map_err(|_| wrong())?;
        Ok(Self(if negative { -magnitude } else { magnitude }))
    }
}

impl Serialize for Cents {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cents {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::Cents;

    #[test]
    fn amounts_survive_the_wire_and_sloppy_ones_are_refused() {
        for (text, cents) in [
            ("0.00", 0),
            ("0.05", 5),
            ("-3.10", -310),
            ("92233720368547758.07", i64::MAX),
        ] {
            assert_eq!(text.parse::<Cents>().unwrap(), Cents(cents));
            assert_eq!(Cents(cents).to_string(), text);
        }
        for text in [
            "",
            ".",
            "1",
            "1.",
            "1.2",
            "1.234",
            "1,20",
            "+1.20",
            "--1.20",
            "1e2.00",
            "92233720368547758.08",
        ] {
            assert!(text.parse::<Cents>().is_err(), "{text}");
        }
    }
}
