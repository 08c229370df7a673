//! The error that a plugin answers with, and the codes that it may use.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::record::Attributes;

/// What kind of failure an error is. The contract carries it as a string; what this host does not know counts as
/// [`ErrorCode::Fatal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema, schemars::JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ErrorCode {
    /// The connection's configuration cannot work.
    Config,
    /// The system refused the credentials.
    Auth,
    /// Passes by itself: a time-out, a 5xx, a lost connection.
    Transient,
    /// The system asked for fewer requests.
    RateLimited,
    /// The system's answer has another shape than expected.
    Schema,
    /// The system refused this very record.
    Data,
    /// Somebody else changed the thing in between.
    Conflict,
    /// What was asked for is not there.
    NotFound,
    /// The plugin or the system cannot do this.
    Unsupported,
    /// The host refused the use of a capability.
    Denied,
    /// Anything else; a bug until proven otherwise.
    Fatal,
}

impl ErrorCode {
    /// The code as the contract spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Auth => "auth",
            Self::Transient => "transient",
            Self::RateLimited => "rate-limited",
            Self::Schema => "schema",
            Self::Data => "data",
            Self::Conflict => "conflict",
            Self::NotFound => "not-found",
            Self::Unsupported => "unsupported",
            Self::Denied => "denied",
            Self::Fatal => "fatal",
        }
    }

    /// Reads the contract's spelling; anything unknown is [`ErrorCode::Fatal`].
    #[must_use]
    pub fn parse(code: &str) -> Self {
        [
            Self::Config,
            Self::Auth,
            Self::Transient,
            Self::RateLimited,
            Self::Schema,
            Self::Data,
            Self::Conflict,
            Self::NotFound,
            Self::Unsupported,
            Self::Denied,
        ]
        .into_iter()
        .find(|known| known.as_str() == code)
        .unwrap_or(Self::Fatal)
    }

    /// Whether the same call may go well later without anybody doing anything.
    #[must_use]
    pub const fn passes_by_itself(self) -> bool {
        matches!(self, Self::Transient | Self::RateLimited | Self::Conflict)
    }
}

/// Why a call to a plugin failed, in the plugin's own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{code}: {message}")]
pub struct PluginError {
    /// One of the codes of [`ErrorCode`], or one that this host does not know.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Not before this many milliseconds from now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub retry_after_ms: Option<u64>,
    /// More about it, by key.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub details: Attributes,
}

impl PluginError {
    /// An error of a known code.
    #[must_use]
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: message.into(),
            retry_after_ms: None,
            details: Vec::new(),
        }
    }

    /// The code as this host understands it.
    #[must_use]
    pub fn kind(&self) -> ErrorCode {
        ErrorCode::parse(&self.code)
    }

    /// The value of one detail.
    #[must_use]
    pub fn detail(&self, key: &str) -> Option<&str> {
        self.details
            .iter()
            .find(|(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// Adds a detail.
    #[must_use]
    pub fn with_detail(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.details.push((key.into(), value.into()));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_codes_are_fatal() {
        assert_eq!(ErrorCode::parse("rate-limited"), ErrorCode::RateLimited);
        assert_eq!(ErrorCode::parse("brand-new"), ErrorCode::Fatal);
        assert_eq!(ErrorCode::parse("fatal"), ErrorCode::Fatal);
    }
}
