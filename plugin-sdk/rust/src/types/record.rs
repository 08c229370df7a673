//! Records, and why one is refused.

use super::{Operation, Record, Rejection, Transformed, set};
use crate::Result;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

impl Record {
    /// The thing `key` on `stream` is now as `payload` says.
    ///
    /// # Errors
    /// Code `data` if the payload cannot be written as JSON.
    pub fn upsert(
        stream: impl Into<String>,
        key: impl Into<String>,
        source_version: impl Into<String>,
        payload: &impl Serialize,
    ) -> Result<Self> {
        Ok(Self {
            stream: stream.into(),
            key: key.into(),
            operation: Operation::Upsert,
            payload: serde_json::to_string(payload)?,
            before: None,
            event_time: None,
            source_version: source_version.into(),
            attributes: Vec::new(),
        })
    }

    /// The thing `key` on `stream` is gone; the payload is `{}` until [`Record::with_payload`] says more.
    pub fn delete(
        stream: impl Into<String>,
        key: impl Into<String>,
        source_version: impl Into<String>,
    ) -> Self {
        Self {
            stream: stream.into(),
            key: key.into(),
            operation: Operation::Delete,
            payload: "{}".to_owned(),
            before: None,
            event_time: None,
            source_version: source_version.into(),
            attributes: Vec::new(),
        }
    }

    /// Replaces the payload.
    ///
    /// # Errors
    /// Code `data` if it cannot be written as JSON.
    pub fn with_payload(mut self, payload: &impl Serialize) -> Result<Self> {
        self.payload = serde_json::to_string(payload)?;
        Ok(self)
    }

    /// Says what the thing was before the change.
    ///
    /// # Errors
    /// Code `data` if it cannot be written as JSON.
    pub fn with_before(mut self, before: &impl Serialize) -> Result<Self> {
        self.before = Some(serde_json::to_string(before)?);
        Ok(self)
    }

    /// When the change happened at the source, in milliseconds since 1970.
    #[must_use]
    pub fn at(mut self, event_time: u64) -> Self {
        self.event_time = Some(event_time);
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }

    /// The payload as a type. A payload that does not fit is one bad record, so the error is a [`Rejection`] that names the
    /// place; `?` turns it into an outcome's or an answer's refusal.
    ///
    /// # Errors
    /// A rejection with code `payload` and the JSON Pointer of what does not fit.
    pub fn payload_as<T: DeserializeOwned>(&self) -> Result<T, Rejection> {
        crate::json::parse(&self.payload).map_err(|misfit| Rejection {
            code: "payload".to_owned(),
            reason: misfit.message,
            path: Some(misfit.pointer),
            details: Vec::new(),
        })
    }
}

impl Rejection {
    /// A refusal: `code` is short, stable and kebab-case (things are grouped by it), `reason` is for a person.
    pub fn new(code: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            code: code.into(),
            reason: reason.into(),
            path: None,
            details: Vec::new(),
        }
    }

    /// Where in the payload, as a JSON Pointer (RFC 6901).
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.path = Some(pointer.into());
        self
    }

    /// Adds a detail.
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.details, key, value);
        self
    }
}

impl From<Rejection> for Transformed {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_payload_that_does_not_fit_names_the_place() {
        #[derive(serde::Deserialize, Debug)]
        struct Order {
            #[expect(dead_code, reason = "read by the parser")]
            lines: Vec<u32>,
        }
        let record = Record::upsert("orders", "1", "1", &json!({"lines": [1, "two"]})).unwrap();
        let rejection = record.payload_as::<Order>().unwrap_err();
        assert_eq!(rejection.path.as_deref(), Some("/lines/1"));
        assert!(rejection.reason.contains("expected u32"), "{}", rejection.reason);
    }
}
