//! The systems behind a plugin, with the days at which their API versions end.

use std::{borrow::Cow, fmt};

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use url::Url;

/// A system that the plugin speaks to, in one of its API versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upstream {
    /// The system, such as `Shopify`.
    pub system: String,
    /// The version of its API as the vendor writes it, such as `2026-07` or `v3`.
    pub api_version: String,
    /// The day from which on the vendor no longer answers this version, or `none` where the vendor has not announced one. Left out, nobody has
    /// looked; such a release is not published.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "some")]
    pub sunset: Option<Sunset>,
    /// The vendor's page that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<Url>,
    /// The header in which the vendor takes idempotency keys, such as `Idempotency-Key`, if it does: then every request that writes carries one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_header: Option<String>,
}

/// When a vendor ends a version of its API.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Sunset {
    /// The day from which on it is no longer answered.
    On(Date),
    /// Somebody has looked, and the vendor has not announced one.
    NotAnnounced,
}

const NONE: &str = "none";

impl Sunset {
    /// The day, if there is one.
    #[must_use]
    pub const fn date(self) -> Option<Date> {
        match self {
            Self::On(date) => Some(date),
            Self::NotAnnounced => None,
        }
    }
}

impl fmt::Display for Sunset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On(date) => date.fmt(f),
            Self::NotAnnounced => f.write_str(NONE),
        }
    }
}

impl Serialize for Sunset {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sunset {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyDate {
            none: Some(Self::NotAnnounced),
            of: Self::On,
        })
    }
}

impl JsonSchema for Sunset {
    fn schema_name() -> Cow<'static, str> {
        "Sunset".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "anyOf": [{ "format": "date" }, { "const": NONE }],
            "description": "A day such as `2027-01-31`, or `none` where the vendor has not announced one",
        })
    }
}

/// Where the field is there, it says something.
fn some<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Sunset>, D::Error> {
    Sunset::deserialize(deserializer).map(Some)
}

/// A date as TOML's own type or as a text; JSON only has the text.
pub(super) fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Date>, D::Error> {
    deserializer.deserialize_any(AnyDate { none: None, of: Some })
}

struct AnyDate<T> {
    /// What the word `none` says, where it is allowed.
    none: Option<T>,
    of: fn(Date) -> T,
}

impl<'de, T> de::Visitor<'de> for AnyDate<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a date such as 2027-01-31")?;
        if self.none.is_some() {
            write!(f, ", or \"{NONE}\" where the vendor has not announced one")?;
        }
        Ok(())
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        let invalid = |this: &Self| E::invalid_value(de::Unexpected::Str(text), this);
        match text.parse() {
            Ok(date) => Ok((self.of)(date)),
            Err(_) if text != NONE => Err(invalid(&self)),
            Err(_) => match self.none {
                Some(none) => Ok(none),
                None => Err(invalid(&self)),
            },
        }
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        let date = toml::value::Date::deserialize(de::value::MapAccessDeserializer::new(map))?;
        self.visit_str(&date.to_string())
    }
}
