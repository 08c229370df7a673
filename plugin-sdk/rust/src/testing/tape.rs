//! Conversations recorded as JSON.
//!
//! ```json
//! {
//!   "comment": "vendor 3.2, two pages of orders",
//!   "exchanges": [
//!     {
//!       "request": { "method": "GET", "url": "https://shop.example/orders?limit=2", "credential": "api" },
//!       "response": { "status": 200, "headers": { "x-total": "3" }, "json": [] }
//!     },
//!     {
//!       "request": { "method": "PUT", "url": "https://shop.example/stock/A", "json": { "quantity": 1 } },
//!       "lost": true
//!     }
//!   ]
//! }
//! ```
//!
//! Matching is strict: method, URL, query (in any order), credential, idempotency key and body have to be exactly as
//! recorded, absent if they are absent; headers as far as they are recorded. A body is `json`, `text` or `base64`. An
//! exchange has a `response`, or is `lost` (never answered, may have been acted on) or `refused` (never left).

use super::conversation::{Answer, Conversation, Expected, ExpectedBody};
use crate::bindings::host::stecker::plugin::http;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

/// A recorded conversation.
#[derive(Debug)]
pub struct Tape {
    steps: Vec<(Expected, Answer)>,
}

/// Why a tape cannot be played.
#[derive(Debug)]
pub struct TapeError(String);

impl fmt::Display for TapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TapeError {}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    exchanges: Vec<Exchange>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Exchange {
    #[serde(default, rename = "comment")]
    _comment: Option<String>,
    request: RequestOnTape,
    response: Option<ResponseOnTape>,
    #[serde(default)]
    lost: bool,
    #[serde(default)]
    refused: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RequestOnTape {
    method: String,
    url: String,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    credential: Option<String>,
    #[serde(rename = "idempotency-key")]
    idempotency_key: Option<String>,
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ResponseOnTape {
    status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
}

impl Tape {
    /// Reads a tape from a file, for example `concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tapes/orders.json")`.
    ///
    /// # Errors
    /// If the file cannot be read or is not a tape, with its path.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, TapeError> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path)
            .map_err(|error| TapeError(format!("the tape {} cannot be read: {error}", path.display())))?;
        Self::parse(&text).map_err(|error| TapeError(format!("the tape {}: {error}", path.display())))
    }

    /// Reads a tape from its text.
    ///
    /// # Errors
    /// If it is not a tape, with the place.
    pub fn parse(text: &str) -> Result<Self, TapeError> {
        let file: File = crate::json::parse(text).map_err(|misfit| TapeError(misfit.message))?;
        let steps = file.exchanges.into_iter().enumerate().map(|(index, exchange)| {
            exchange
                .into_step()
                .map_err(|error| TapeError(format!("at `/exchanges/{index}`: {error}")))
        });
        Ok(Self {
            steps: steps.collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn into_conversation(self) -> Conversation {
        Conversation::new(self.steps)
    }
}

impl Exchange {
    fn into_step(self) -> Result<(Expected, Answer), String> {
        let answer = match (self.response, self.lost, self.refused) {
            (Some(response), false, false) => Answer::Response(http::Response {
                status: response.status,
                headers: response
                    .headers
                    .into_iter()
                    .map(|(name, value)| (name.to_ascii_lowercase(), value))
                    .collect(),
                body: body(response.json, response.text, response.base64)?
                    .map_or_else(Vec::new, ExpectedBody::into_bytes),
            }),
            (None, true, false) => Answer::failure("the connection was closed before the answer", "maybe"),
            (None, false, true) => Answer::failure("could not connect", "no"),
            _ => return Err("an exchange has one of `response`, `lost` and `refused`".to_owned()),
        };
        let request = self.request;
        let (place, query) = request.url.split_once('?').unwrap_or((&request.url, ""));
        let expected = Expected {
            query: form_urlencoded::parse(query.as_bytes()).into_owned().collect(),
            whole_query: true,
            headers: request
                .headers
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
            credential: Some(request.credential),
            idempotency_key: Some(request.idempotency_key),
            body: Some(body(request.json, request.text, request.base64)?.unwrap_or(ExpectedBody::Nothing)),
            ..Expected::new(&request.method, place)
        };
        Ok((expected, answer))
    }
}

impl ExpectedBody {
    fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::Json(value) | Self::JsonIncluding(value) => value.to_string().into_bytes(),
            Self::Text(text) => text.into_bytes(),
            Self::Bytes(bytes) => bytes,
            Self::Nothing => Vec::new(),
        }
    }
}

fn body(
    json: Option<Value>,
    text: Option<String>,
    base64: Option<String>,
) -> Result<Option<ExpectedBody>, String> {
    match (json, text, base64) {
        (None, None, None) => Ok(None),
        (Some(value), None, None) => Ok(Some(ExpectedBody::Json(value))),
        (None, Some(text), None) => Ok(Some(ExpectedBody::Text(text))),
        (None, None, Some(base64)) => match STANDARD.decode(&base64) {
            Ok(bytes) => Ok(Some(ExpectedBody::Bytes(bytes))),
            Err(error) => Err(format!("`base64` is not base64: {error}")),
        },
        _ => Err("a body is one of `json`, `text` and `base64`".to_owned()),
    }
}
