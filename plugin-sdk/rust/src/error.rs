//! Why a call failed, as a value that `?` can carry.
//!
//! The contract's error is an open record, not a closed enum: codes are strings, because a closed set could never grow. The
//! codes that exist today have a constructor each, so that a typo is a compile error and not an unknown code (which a host
//! treats like `fatal`).

use crate::bindings::host::stecker::plugin::types;
use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

/// What SDK functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure of a whole call. For one bad record among others there is [`Rejection`](crate::Rejection).
#[derive(Clone, Debug, PartialEq)]
pub struct Error {
    code: Cow<'static, str>,
    message: String,
    retry_after: Option<Duration>,
    details: Vec<(String, String)>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident = $code:literal;)*) => {
        $($(#[$doc])*
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new($code, message)
        })*
    };
}

impl Error {
    /// An error with any code; for the known ones the constructors below are the better way.
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            message: message.into(),
            retry_after: None,
            details: Vec::new(),
        }
    }

    constructors! {
        /// Code `config`: the configuration is wrong; nothing helps but changing it.
        config = "config";
        /// Code `auth`: the system refuses the credential.
        auth = "auth";
        /// Code `transient`: may work by itself later.
        transient = "transient";
        /// Code `rate-limited`: too many requests; see [`Error::retry_after`].
        rate_limited = "rate-limited";
        /// Code `schema`: the system's answers do not look as this release of the plugin expects.
        schema = "schema";
        /// Code `data`: what was sent is not acceptable.
        data = "data";
        /// Code `conflict`: the state changed meanwhile, or a condition does not hold.
        conflict = "conflict";
        /// Code `not-found`: the thing or the endpoint is not there.
        not_found = "not-found";
        /// Code `unsupported`: the plugin or the system cannot do this.
        unsupported = "unsupported";
        /// Code `denied`: the host's policy refuses it; the message names the rule.
        denied = "denied";
        /// Code `fatal`: a defect; trying again is of no use.
        fatal = "fatal";
    }

    /// Sets the earliest moment, from now, at which a repetition makes sense. Kept in whole milliseconds.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Adds a detail under a kebab-case key; a second one under the same key replaces the first.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl fmt::Display) -> Self {
        let key = key.into();
        self.details.retain(|(existing, _)| *existing != key);
        self.details.push((key, value.to_string()));
        self
    }

    /// Puts what was being attempted in front of the message: `reading orders: …`.
    #[must_use]
    pub fn context(mut self, doing: impl fmt::Display) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }

    /// The code, in kebab-case.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The message for a person.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The wait that [`Error::retry_after`] set.
    pub fn retry_in(&self) -> Option<Duration> {
        self.retry_after
    }

    /// All details.
    pub fn details(&self) -> &[(String, String)] {
        &self.details
    }

    /// One detail.
    pub fn detail_of(&self, key: &str) -> Option<&str> {
        self.details
            .iter()
            .find(|(existing, _)| existing == key)
            .map(|(_, value)| value.as_str())
    }

    /// Whether a request may have been acted on although no answer came (detail `sent` = `maybe`). A destination answers
    /// [`Outcome::Unknown`](crate::Outcome::Unknown) then, never `Retry`: that would risk doing it twice.
    pub fn maybe_sent(&self) -> bool {
        self.detail_of("sent") == Some("maybe")
    }

    /// Whether the same call may work later: codes `transient` and `rate-limited`.
    pub fn is_retryable(&self) -> bool {
        matches!(self.code(), "transient" | "rate-limited")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}

impl From<types::Error> for Error {
    fn from(error: types::Error) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            retry_after: error.retry_after_ms.map(Duration::from_millis),
            details: error.details,
        }
    }
}

impl From<Error> for types::Error {
    fn from(error: Error) -> Self {
        Self {
            code: error.code.into_owned(),
            message: error.message,
            retry_after_ms: error
                .retry_after
                .map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
            details: error.details,
        }
    }
}

/// JSON that does not fit its type is bad data. Answers of a system go through
/// [`Response::json`](crate::http::Response::json), which says `schema` and names the request.
impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::data(format!("the JSON does not fit: {error}"))
    }
}

impl From<std::str::Utf8Error> for Error {
    fn from(error: std::str::Utf8Error) -> Self {
        Self::data(format!("the text is not UTF-8: {error}"))
    }
}

impl From<std::string::FromUtf8Error> for Error {
    fn from(error: std::string::FromUtf8Error) -> Self {
        error.utf8_error().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_survives_the_way_to_the_host_and_back() {
        let error = Error::rate_limited("too fast")
            .retry_after(Duration::from_millis(1_500))
            .detail("sent", "no");
        let back: Error = types::Error::from(error.clone()).into();
        assert_eq!(back, error);
        assert!(!back.maybe_sent());
        assert!(back.detail("sent", "maybe").maybe_sent());
    }
}
