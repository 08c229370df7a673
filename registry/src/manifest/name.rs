//! What a plugin is called.

use std::{borrow::Cow, fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const PATTERN: &str = "^[a-z][a-z0-9]*(-[a-z0-9]+)*/[a-z][a-z0-9]*(-[a-z0-9]+)*$";
const MAX_PART: usize = 63;

/// `namespace/name`, each part in lower-case kebab-case and at most 63 characters long, so that it can stand in a path, a file name
/// and the repository name of an OCI registry alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName {
    text: String,
    slash: usize,
}

/// Why a text is not the name of a plugin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a plugin's name: write `namespace/name`, both of lower-case letters and digits with single hyphens between, beginning \
     with a letter, at most 63 characters each, such as `acme/shop`"
)]
pub struct InvalidPluginName(String);

impl PluginName {
    /// Who it is by.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.text.split_at(self.slash).0
    }

    /// What it is called there.
    #[must_use]
    pub fn name(&self) -> &str {
        self.text.split_at(self.slash + 1).1
    }

    /// The whole.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_kebab(part: &str) -> bool {
    part.len() <= MAX_PART
        && part.starts_with(|c: char| c.is_ascii_lowercase())
        && part.split('-').all(|word| {
            !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
        })
}

impl TryFrom<String> for PluginName {
    type Error = InvalidPluginName;
    fn try_from(text: String) -> Result<Self, InvalidPluginName> {
        match text.split_once('/') {
            Some((namespace, name)) if is_kebab(namespace) && is_kebab(name) => Ok(Self {
                slash: namespace.len(),
                text,
            }),
            _ => Err(InvalidPluginName(text)),
        }
    }
}

impl FromStr for PluginName {
    type Err = InvalidPluginName;
    fn from_str(text: &str) -> Result<Self, InvalidPluginName> {
        Self::try_from(text.to_owned())
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.text
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl JsonSchema for PluginName {
    fn schema_name() -> Cow<'static, str> {
        "PluginName".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": PATTERN, "description": "`namespace/name`, such as `acme/shop`" })
    }
}
