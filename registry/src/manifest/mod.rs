//! The manifest: what an author writes into `plugin.toml`, and what travels inside of the component as JSON.
//!
//! It declares and asks, it never grants: a connection's grants are the operator's, and the manifest only bounds them. What depends on
//! the plugin's code (config schema, streams) is not in here but in the answer of `meta.describe`, so that it cannot disagree with the code.
//!
//! ```
//! let manifest = stecker_registry::Manifest::from_toml(r#"
//!     name = "acme/shop"
//!     version = "1.4.0"
//!     title = "Acme Shop"
//!     contract = "1.0.0"
//!
//!     [[capabilities.http]]
//!     hosts = ["api.acme.example", "{config:/base_url}"]
//!     methods = ["GET", "POST"]
//!     purpose = "reads orders, writes stock levels"
//!
//!     [credentials.api]
//!     kind = "api-key-header"
//!     header = "x-api-key"
//!     description = "An API key with the scope orders:read"
//! "#)?;
//! assert_eq!(manifest.name.namespace(), "acme");
//! # Ok::<(), stecker_registry::ManifestError>(())
//! ```

mod capability;
mod check;
mod check_credential;
mod credential;
mod endpoint;
mod error;
mod host;
mod name;
mod template;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Deserializer, Serialize, de};
use stecker_model::Name;
use url::Url;

pub use capability::{BlobCapability, Capabilities, HttpCapability, Method, Scheme, StorageCapability};
pub use credential::{
    ClientAuth, Credential, CredentialKind, KeyEncoding, OAuth, SignatureEncoding, Signing, SigningAlgorithm,
};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use error::ManifestError;
pub use host::{HostPattern, InvalidHost};
pub use name::{InvalidPluginName, PluginName};
pub use template::{InvalidTemplate, Part, Template, Word};

/// Everything that a release declares.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Manifest {
    /// `namespace/name`, such as `acme/shop`.
    pub name: PluginName,
    /// The release (semver 2.0). A version is published once and never again.
    #[schemars(with = "String")]
    pub version: Version,
    /// What people call it, 1 to 80 characters.
    pub title: String,
    /// What it does and for whom, at most 2,000 characters.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// An SPDX licence expression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Who wrote it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub authors: Vec<String>,
    /// Where to read on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub homepage: Option<Url>,
    /// The version of the contract that the plugin is built against. It has to be the one that the component names.
    #[schemars(with = "String")]
    pub contract: Version,
    /// What the plugin asks to be allowed.
    #[serde(default, skip_serializing_if = "Capabilities::is_empty")]
    pub capabilities: Capabilities,
    /// The credentials that it uses, by the name that its code knows them under.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub credentials: BTreeMap<Name, Credential>,
    /// The systems behind it, with the dates at which their API versions end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Upstream>,
    /// What it needs to run well. The operator's limits count where they are lower.
    #[serde(default, skip_serializing_if = "LimitWishes::is_empty")]
    pub limits: LimitWishes,
}

/// A system that the plugin speaks to, in one of its API versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Upstream {
    /// The system, such as `Shopify`.
    pub system: String,
    /// The version of its API as the vendor writes it, such as `2026-07` or `v3`.
    pub api_version: String,
    /// The day from which on the vendor no longer answers this version, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "date")]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub sunset: Option<jiff::civil::Date>,
    /// The vendor's page that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub url: Option<Url>,
}

/// Limits that the plugin wishes for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct LimitWishes {
    /// Mebibytes over all memories and tables of an instance, 1 to 1,024.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Milliseconds that a single call may take, 1 to 3,600,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline_ms: Option<u64>,
}

impl LimitWishes {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Manifest {
    /// Reads a `plugin.toml`.
    ///
    /// # Errors
    /// [`ManifestError`], with the line and column at which something is wrong.
    pub fn from_toml(text: &str) -> Result<Self, ManifestError> {
        let manifest: Self = toml::from_str(text).map_err(|error| ManifestError::from_toml(&error, text))?;
        match check::check(&manifest) {
            Ok(()) => Ok(manifest),
            Err(fault) => Err(fault.located_in_toml(text)),
        }
    }

    /// Reads the JSON out of a component.
    ///
    /// # Errors
    /// [`ManifestError`], with the line and column at which something is wrong.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self =
            serde_json::from_slice(json).map_err(|error| ManifestError::from_json(&error))?;
        check::check(&manifest)
            .map(|()| manifest)
            .map_err(check::Fault::without_place)
    }

    /// As JSON that is the same, byte for byte, for the same manifest: no white space, keys ascending (as RFC 8785 orders them).
    #[must_use]
    pub fn to_canonical_json(&self) -> String {
        let value = serde_json::to_value(self).unwrap_or_else(|error| {
            unreachable!("strings, integers, lists and string keys have a JSON form: {error}")
        });
        let mut out = String::new();
        write_canonical(&value, &mut out);
        out
    }

    /// The JSON Schema (draft 2020-12) of `plugin.toml`, for editors and for publishing.
    #[must_use]
    pub fn json_schema() -> schemars::Schema {
        schemars::schema_for!(Self)
    }
}

/// `serde_json` keeps or sorts keys depending on features that any crate of a build may switch on; so sort here.
fn write_canonical(value: &serde_json::Value, out: &mut String) {
    use serde_json::Value;
    let list = |out: &mut String,
                open: char,
                close: char,
                items: &mut dyn Iterator<Item = (Option<&String>, &Value)>| {
        out.push(open);
        for (i, (key, item)) in items.enumerate() {
            if i > 0 {
                out.push(',');
            }
            if let Some(key) = key {
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
            }
            write_canonical(item, out);
        }
        out.push(close);
    };
    match value {
        Value::Array(items) => list(out, '[', ']', &mut items.iter().map(|item| (None, item))),
        Value::Object(map) => {
            let sorted: BTreeMap<_, _> = map.iter().collect();
            list(
                out,
                '{',
                '}',
                &mut sorted.into_iter().map(|(key, item)| (Some(key), item)),
            );
        }
        scalar => out.push_str(&scalar.to_string()),
    }
}

/// A date as TOML's own type or as a text; JSON only has the text.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<jiff::civil::Date>, D::Error> {
    struct AnyDate;
    impl<'de> de::Visitor<'de> for AnyDate {
        type Value = Option<jiff::civil::Date>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a date such as 2027-01-31")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
            text.parse()
                .map(Some)
                .map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
        }

        fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            let date = toml::value::Date::deserialize(de::value::MapAccessDeserializer::new(map))?;
            self.visit_str(&date.to_string())
        }
    }
    deserializer.deserialize_any(AnyDate)
}

#[cfg(test)]
mod tests;
