//! Which plugins a key is for.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use stecker_registry::PluginName;

/// `*`, `acme/*` or `acme/shop`. They are ordered: the more specific one is the greater.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum NamePattern {
    /// Every plugin.
    All,
    /// Every plugin of a namespace.
    Namespace(String),
    /// One plugin.
    Name(PluginName),
}

/// Why a text is not a pattern.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` names no plugins: write `acme/shop` for one, `acme/*` for a namespace or `*` for all")]
pub struct InvalidPattern(String);

impl NamePattern {
    /// Whether the plugin is among them.
    #[must_use]
    pub fn matches(&self, name: &PluginName) -> bool {
        match self {
            Self::All => true,
            Self::Namespace(namespace) => namespace == name.namespace(),
            Self::Name(one) => one == name,
        }
    }
}

impl FromStr for NamePattern {
    type Err = InvalidPattern;
    fn from_str(text: &str) -> Result<Self, InvalidPattern> {
        let invalid = || InvalidPattern(crate::text::short(text));
        if text == "*" {
            return Ok(Self::All);
        }
        if let Some(namespace) = text.strip_suffix("/*") {
            // The rules of a namespace are those of a plugin's name before the slash.
            let as_name: PluginName = format!("{namespace}/any").parse().map_err(|_| invalid())?;
            return Ok(Self::Namespace(as_name.namespace().to_owned()));
        }
        text.parse().map(Self::Name).map_err(|_| invalid())
    }
}

impl TryFrom<String> for NamePattern {
    type Error = InvalidPattern;
    fn try_from(text: String) -> Result<Self, InvalidPattern> {
        text.parse()
    }
}

impl From<NamePattern> for String {
    fn from(pattern: NamePattern) -> Self {
        pattern.to_string()
    }
}

impl fmt::Display for NamePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.pad("*"),
            Self::Namespace(namespace) => f.pad(&format!("{namespace}/*")),
            Self::Name(name) => name.fmt(f),
        }
    }
}
