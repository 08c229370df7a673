//! Names, digests and record ids: small validated strings, so that a path, a log line or a query never meets a wild one.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a text is not a name, digest or record id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} `{text}` is not valid: {rule}")]
pub struct InvalidName {
    what: &'static str,
    text: String,
    rule: &'static str,
}

macro_rules! text_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $pattern:literal, $rule:literal, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
        #[serde(try_from = "String", into = "String")]
        #[schema(value_type = String, pattern = $pattern)]
        pub struct $name(String);

        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidName;
            fn from_str(text: &str) -> Result<Self, InvalidName> {
                Self::try_from(text.to_owned())
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidName;
            fn try_from(text: String) -> Result<Self, InvalidName> {
                let check: fn(&str) -> bool = $check;
                if check(&text) { Ok(Self(text)) } else { Err(InvalidName { what: $what, text, rule: $rule }) }
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> Self {
                name.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": $pattern, "description": $rule })
            }
        }
    };
}

text_type!(
    /// The name of a tenant, connection, flow or credential: 1 to 63 lower-case letters, digits and hyphens, beginning
    /// with a letter or digit (as a DNS label, RFC 1123), so that it can stand in a path, a host name or a metric.
    Name,
    "the name",
    "^[a-z0-9][a-z0-9-]{0,62}$",
    "1 to 63 lower-case letters, digits and hyphens, beginning with a letter or digit",
    |text| {
        (1..=63).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
    }
);

impl Name {
    /// The tenant that a single-tenant installation lives in.
    #[must_use]
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }
}

text_type!(
    /// The digest of a release's bytes: `sha256:` and 64 lower-case hex digits.
    Digest,
    "the digest",
    "^sha256:[0-9a-f]{64}$",
    "`sha256:` followed by 64 lower-case hex digits",
    |text| {
        text.strip_prefix("sha256:").is_some_and(|hex| {
            hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        })
    }
);

impl Digest {
    /// The 64 hex digits without the algorithm.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.0.split_at("sha256:".len()).1
    }

    /// The first twelve hex digits, for people.
    #[must_use]
    pub fn short(&self) -> &str {
        self.hex().split_at(12).0
    }
}

/// Names one record of the ledger: `<flow>/<number>`, the number counting up from 1 within its flow.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RecordId {
    /// The flow.
    pub flow: Name,
    /// The number within the flow, at least 1.
    pub seq: i64,
}

impl utoipa::PartialSchema for RecordId {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        utoipa::openapi::ObjectBuilder::new()
            .schema_type(utoipa::openapi::Type::String)
            .description(Some("<flow>/<number>, such as orders-to-erp/1042"))
            .into()
    }
}

impl ToSchema for RecordId {}

impl fmt::Display for RecordId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.flow, self.seq)
    }
}

impl From<RecordId> for String {
    fn from(id: RecordId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for RecordId {
    type Error = InvalidName;
    fn try_from(text: String) -> Result<Self, InvalidName> {
        text.parse()
    }
}

impl FromStr for RecordId {
    type Err = InvalidName;
    fn from_str(text: &str) -> Result<Self, InvalidName> {
        let parts = text
            .rsplit_once('/')
            .and_then(|(flow, seq)| Some((flow.parse().ok()?, seq.parse().ok()?)));
        match parts {
            Some((flow, seq)) if seq >= 1 => Ok(Self { flow, seq }),
            _ => Err(InvalidName {
                what: "the record id",
                text: text.to_owned(),
                rule: "the flow's name, a slash, and the record's number, such as `orders-to-erp/1042`",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_dns_labels() {
        for good in ["a", "orders-to-erp", "0x", &"a".repeat(63)] {
            assert!(good.parse::<Name>().is_ok(), "{good}");
        }
        for bad in ["", "-a", "A", "a b", "a/b", "ä", "a_b", &"a".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn record_ids_round_trip() {
        let id: RecordId = "orders-to-erp/1042".parse().unwrap();
        assert_eq!((id.flow.as_str(), id.seq), ("orders-to-erp", 1042));
        assert_eq!(id.to_string(), "orders-to-erp/1042");
        for bad in ["orders", "orders/0", "orders/-1", "orders/x", "/1", "Orders/1"] {
            assert!(bad.parse::<RecordId>().is_err(), "{bad}");
        }
    }

    #[test]
    fn digests_are_sha256_only() {
        let hex = "0123456789abcdef".repeat(4);
        assert_eq!(
            format!("sha256:{hex}").parse::<Digest>().unwrap().short(),
            "0123456789ab"
        );
        assert!(format!("sha512:{hex}").parse::<Digest>().is_err());
        assert!(
            format!("sha256:{}", hex.to_uppercase())
                .parse::<Digest>()
                .is_err()
        );
    }
}
