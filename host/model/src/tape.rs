//! What a call of a connector was given, what it asked its system, what came back, and what it made of it: enough to have another release
//! do the same work without any system.
//!
//! The form is stable and has a number, because tapes are exported as fixtures for the tests of connectors (`docs/shadow.md`). Bodies are text
//! where they are UTF-8, and base64 (RFC 4648) elsewhere, so that a person can read and correct an exported one.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    CallUsage, Digest, Finding, LookupItem, Outcome, Page, RawRequest, ReadRequest, Received, WriteItem,
};

/// The form of tapes that this host writes.
pub const TAPE_FORM: u32 = 1;

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Tape {
    /// [`TAPE_FORM`].
    pub form: u32,
    /// Which release was called.
    pub release: Digest,
    /// What it was called with.
    pub call: TapedCall,
    /// The time of day when the call began, in milliseconds since 1970.
    pub clock: u64,
    /// What the plugin was told whenever it asked for the time of day: milliseconds after `clock`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub clock_readings: Vec<u32>,
    /// What its random bytes came from, 32 bytes in hexadecimal digits.
    pub seed: String,
    /// What it sent and what came back, in the order in which it asked.
    pub exchanges: Vec<TapedExchange>,
    /// Whether something of the call is not on the tape, so that nothing can be compared with it.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub truncated: bool,
    /// What it returned.
    pub result: TapedResult,
    /// What it used.
    pub usage: CallUsage,
}

/// A function, and what it was called with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "function")]
pub enum TapedCall {
    /// `source.read`.
    Read(ReadRequest),
    /// `destination.write`.
    Write {
        /// To this stream.
        stream: String,
        /// The batch.
        items: Vec<WriteItem>,
    },
    /// `destination.lookup`.
    Lookup {
        /// On this stream.
        stream: String,
        /// What was asked about.
        items: Vec<LookupItem>,
    },
    /// `webhook.receive`.
    Receive(TapedRequest),
}

impl TapedCall {
    /// The function's name without its role.
    #[must_use]
    pub const fn function(&self) -> &'static str {
        match self {
            Self::Read(_) => "read",
            Self::Write { .. } => "write",
            Self::Lookup { .. } => "lookup",
            Self::Receive(_) => "receive",
        }
    }

    /// The stream that it is about, if it is about one.
    #[must_use]
    pub fn stream(&self) -> Option<&str> {
        match self {
            Self::Read(request) => Some(&request.stream),
            Self::Write { stream, .. } | Self::Lookup { stream, .. } => Some(stream),
            Self::Receive(_) => None,
        }
    }
}

/// A call that came in from a system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct TapedRequest {
    /// Upper case.
    pub method: String,
    /// Below the connection's own path.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: TapedBody,
}

impl From<&RawRequest> for TapedRequest {
    fn from(request: &RawRequest) -> Self {
        Self {
            method: request.method.clone(),
            path: request.path.clone(),
            query: request.query.clone(),
            headers: request.headers.clone(),
            body: TapedBody::of(&request.body),
        }
    }
}

impl TapedRequest {
    /// As the plugin gets it. None if its body is no base64.
    #[must_use]
    pub fn raw(&self) -> Option<RawRequest> {
        Some(RawRequest {
            method: self.method.clone(),
            path: self.path.clone(),
            query: self.query.clone(),
            headers: self.headers.clone(),
            body: self.body.bytes()?,
        })
    }
}

/// What a call ended with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "ended", content = "with")]
pub enum TapedResult {
    /// `read`.
    Page(Page),
    /// `write`: one for each item.
    Outcomes(Vec<Outcome>),
    /// `lookup`: one for each item.
    Findings(Vec<Finding>),
    /// `receive`.
    Received(Received),
    /// Any function: there is no result.
    Failed {
        /// The plugin's code, or `crashed`, `deadline`, `contract` or `host`.
        code: String,
        /// For a person.
        message: String,
    },
}

/// A request and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TapedExchange {
    /// In capitals.
    pub method: String,
    /// Absolute. As the plugin made it, so without any credential that is put into an address.
    pub url: String,
    /// The plugin's own headers, names in lower case; values of those that are made to hold a secret or a signature are `[redacted]`.
    #[schema(value_type = Vec<Vec<String>>)]
    pub headers: Vec<(String, String)>,
    /// Its body.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub body: Option<TapedBody>,
    /// The credential that the host put in, by name.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub credential: Option<String>,
    /// What came back.
    pub answer: TapedAnswer,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TapedAnswer {
    /// An answer, as the plugin saw it: decoded, and without secrets.
    Answered {
        /// Its status.
        status: u16,
        /// Its headers.
        #[schema(value_type = Vec<Vec<String>>)]
        headers: Vec<(String, String)>,
        /// Its body.
        body: TapedBody,
    },
    /// None.
    Failed {
        /// The code that the plugin got.
        code: String,
        /// Why.
        message: String,
        /// Whether the request may have been acted on.
        maybe_sent: bool,
    },
}

/// Bytes, readable where they can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum TapedBody {
    /// UTF-8.
    Text(String),
    /// Anything else (RFC 4648, section 4).
    Base64(String),
}

impl TapedBody {
    /// Of bytes.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok(text) => Self::Text(text.to_owned()),
            Err(_) => Self::Base64(BASE64_STANDARD.encode(bytes)),
        }
    }

    /// The bytes; none if it is no base64.
    #[must_use]
    pub fn bytes(&self) -> Option<Vec<u8>> {
        match self {
            Self::Text(text) => Some(text.clone().into_bytes()),
            Self::Base64(text) => BASE64_STANDARD.decode(text).ok(),
        }
    }

    /// Bytes that it takes, roughly.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Text(text) | Self::Base64(text) => text.len(),
        }
    }

    /// Whether it is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_come_back_as_they_were() {
        for bytes in [&b"plain"[..], b"", b"\xff\x00\xfe", "ä€".as_bytes()] {
            let body = TapedBody::of(bytes);
            let text = serde_json::to_string(&body).unwrap();
            let again: TapedBody = serde_json::from_str(&text).unwrap();
            assert_eq!(again.bytes().as_deref(), Some(bytes));
        }
        assert_eq!(TapedBody::Base64("no base64!".to_owned()).bytes(), None);
    }
}
