//! Parsing that says where something does not fit.

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;

/// What did not fit, and where.
#[derive(Debug)]
pub(crate) struct Misfit {
    /// JSON Pointer (RFC 6901); empty for the whole document.
    pub(crate) pointer: String,
    /// Begins with a verb, so that callers put the subject in front: `does not fit at …`.
    pub(crate) message: String,
}

pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, Misfit> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let mut pointer = String::new();
        for segment in error.path() {
            match segment {
                Segment::Seq { index } => pointer.push_str(&format!("/{index}")),
                Segment::Map { key } => {
                    pointer.push_str(&format!("/{}", key.replace('~', "~0").replace('/', "~1")));
                }
                // Not a place in the text.
                Segment::Enum { .. } | Segment::Unknown => {}
            }
        }
        let place = if pointer.is_empty() {
            "at the top".to_owned()
        } else {
            format!("at `{pointer}`")
        };
        Misfit {
            message: format!("does not fit {place}: {}", error.inner()),
            pointer,
        }
    })?;
    deserializer.end().map_err(|error| Misfit {
        pointer: String::new(),
        message: format!("goes on after the JSON value: {error}"),
    })?;
    Ok(value)
}
