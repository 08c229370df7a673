//! What came of a step.

use serde_json::{Map, Value, json};

use crate::bindings::stecker::plugin::types;

const MAX_CHARS: usize = 2_000;
/// Enough for as many characters.
pub const MAX_BODY: usize = 4 * MAX_CHARS;

pub struct Told {
    pub ok: bool,
    pub message: String,
    pub details: Value,
    /// The status or the error code, to count by.
    pub outcome: String,
}

impl Told {
    pub fn done(message: impl Into<String>, details: Value) -> Self {
        Self {
            ok: true,
            message: message.into(),
            details,
            outcome: "ok".to_owned(),
        }
    }

    pub fn failed(code: &str, message: &str, details: Value) -> Self {
        Self {
            ok: false,
            message: format!("{code}: {message}"),
            details,
            outcome: code.to_owned(),
        }
    }

    /// Something that the interface cannot express, or refuses by itself.
    pub fn invalid(message: &str) -> Self {
        Self::failed("invalid", message, json!({}))
    }

    /// `body` is what is kept of it, `bytes` how long it is.
    pub fn response(
        status: u16,
        headers: impl IntoIterator<Item = (String, String)>,
        body: &[u8],
        bytes: usize,
    ) -> Self {
        let mut map = Map::new();
        map.insert(":body-bytes".to_owned(), bytes.into());
        for (name, value) in headers {
            let value = match map.get(&name).and_then(Value::as_str) {
                Some(before) => format!("{before}, {value}"),
                None => value,
            };
            map.insert(name, value.into());
        }
        Self {
            ok: true,
            message: format!("{status} {}", String::from_utf8_lossy(body)),
            details: map.into(),
            outcome: status.to_string(),
        }
    }
}

impl From<types::Error> for Told {
    fn from(error: types::Error) -> Self {
        let mut details: Map<String, Value> = error
            .details
            .into_iter()
            .map(|(key, value)| (key, value.into()))
            .collect();
        if let Some(ms) = error.retry_after_ms {
            details.insert("retry-after-ms".to_owned(), ms.into());
        }
        Self::failed(&error.code, &error.message, details.into())
    }
}

pub fn cut(text: String) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
    digits.map(|digits| {
        digits
            .chunks(2)
            .map(|pair| pair.iter().fold(0, |byte, digit| byte << 4 | digit))
            .collect()
    })
}
