//! The contract's types, with constructors that make the right thing short.
//!
//! Most are the very types generated from the WIT, so nothing is copied on the way to the host; [`Outcome`] is our own only
//! because its errors are.

use crate::bindings::host::stecker::plugin::types;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

pub use crate::bindings::connection::exports::stecker::plugin::connection::{Probe, StreamInfo};
pub use crate::bindings::destination::exports::stecker::plugin::destination::{
    Finding, Found, LookupItem, Receipt, WriteItem,
};
pub use crate::bindings::source::exports::stecker::plugin::source::{Page, ReadRequest};
pub use crate::bindings::transform::exports::stecker::plugin::transform::Transformed;
pub use crate::bindings::webhook::exports::stecker::plugin::webhook::{
    RawRequest, Received, Reply, Subscription, Verdict,
};
pub use types::{Operation, Record, Rejection};

/// Key/value pairs: unique kebab-case keys, in no meaningful order.
pub type Attributes = Vec<(String, String)>;

fn set(attributes: &mut Attributes, key: impl Into<String>, value: impl Display) {
    let key = key.into();
    attributes.retain(|(existing, _)| *existing != key);
    attributes.push((key, value.to_string()));
}

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

impl ReadRequest {
    /// The cursor as the plugin's own type; none at the very beginning.
    ///
    /// # Errors
    /// Code `schema` if the stored cursor does not fit the type, which happens when a release changed its cursor.
    pub fn cursor_as<T: DeserializeOwned>(&self) -> Result<Option<T>> {
        let Some(text) = &self.cursor else { return Ok(None) };
        crate::json::parse(text).map(Some).map_err(|misfit| {
            Error::schema(format!(
                "the stored cursor of stream `{}` does not fit this release of the plugin ({}); reset the cursor to read \
                 the stream anew, or roll back the release",
                self.stream, misfit.message
            ))
            .detail("cursor", text)
        })
    }

    /// How many records to ask the system for: what the host wants, within what the system allows, at least 1.
    pub fn limit(&self, most_the_system_allows: u32) -> u32 {
        self.max_records.min(most_the_system_allows).max(1)
    }

    /// An option that the host passed.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options
            .iter()
            .find(|(existing, _)| existing == key)
            .map(|(_, value)| value.as_str())
    }

    /// Keeps account of the page's bounds while records are collected.
    pub fn budget(&self) -> Budget {
        Budget {
            records: self.max_records,
            bytes: self.max_bytes,
            any: false,
        }
    }
}

/// What still fits in a page, in records and bytes of payload. Made by [`ReadRequest::budget`].
#[derive(Clone, Debug)]
pub struct Budget {
    records: u32,
    bytes: u64,
    any: bool,
}

impl Budget {
    /// Whether `record` still fits; if so it is counted. The first record always fits, however large: a page that stayed
    /// empty would never move on.
    pub fn take(&mut self, record: &Record) -> bool {
        let bytes =
            record.payload.len() as u64 + record.before.as_ref().map_or(0, |before| before.len() as u64);
        if self.any && (self.records == 0 || bytes > self.bytes) {
            return false;
        }
        self.any = true;
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(bytes);
        true
    }
}

impl Page {
    /// A page of these records, without a cursor and with nothing more to come.
    pub fn new(records: Vec<Record>) -> Self {
        Self {
            records,
            cursor: None,
            more: false,
            hints: Vec::new(),
        }
    }

    /// Where the next page begins.
    ///
    /// # Errors
    /// Code `data` if the cursor cannot be written as JSON.
    pub fn resume_at(mut self, cursor: &impl Serialize) -> Result<Self> {
        self.cursor = Some(serde_json::to_string(cursor)?);
        Ok(self)
    }

    /// The next page begins where this one did: nothing new was there. For an empty page at the end of a stream.
    #[must_use]
    pub fn resume_where(mut self, request: &ReadRequest) -> Self {
        self.cursor.clone_from(&request.cursor);
        self
    }

    /// Whether there is more to be had at once.
    #[must_use]
    pub fn more(mut self, more: bool) -> Self {
        self.more = more;
        self
    }

    /// Sets a hint, for example `retry-after-ms`, `watermark` or `api-version`.
    #[must_use]
    pub fn hint(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.hints, key, value);
        self
    }
}

impl Probe {
    /// Something that worked.
    pub fn passed(name: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: true,
            message: message.into(),
            hint: None,
        }
    }

    /// Something that did not, and what the operator can do about it.
    pub fn failed(name: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ok: false,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }

    /// The probe that a call's result amounts to, with a hint that follows from the error's code.
    pub fn from_result<T>(name: impl Into<String>, success: impl Into<String>, result: &Result<T>) -> Self {
        let hint = |error: &Error| match error.code() {
            "auth" => "check the credential: it may be wrong, expired, or lack a permission".to_owned(),
            "denied" => {
                "grant the connection this host, or correct the address in its configuration".to_owned()
            }
            "config" => "correct the connection's configuration".to_owned(),
            "not-found" => "check the base URL and the version of the API".to_owned(),
            "rate-limited" | "transient" => {
                "try again in a while; if it stays, check that the system is up".to_owned()
            }
            code => format!("the code is `{code}`; see the message"),
        };
        match result {
            Ok(_) => Self::passed(name, success),
            Err(error) => Self::failed(name, error.message(), hint(error)),
        }
    }
}

/// How a stream shows that things were deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deletes {
    /// It does not.
    Never,
    /// A delete record comes.
    Tombstone,
    /// A key that is missing in a full read is gone.
    FullScan,
    /// A field of the payload says so.
    Soft,
}

impl Deletes {
    fn as_str(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::Tombstone => "tombstone",
            Self::FullScan => "full-scan",
            Self::Soft => "soft",
        }
    }
}

impl StreamInfo {
    /// A stream whose payload is a `T`; its JSON Schema comes from the type. No key, no modes, never deletes.
    pub fn of<T: schemars::JsonSchema>(name: impl Into<String>) -> Self {
        Self::with_schema(name, &crate::description::schema_of::<T>())
    }

    /// A stream whose schema is only known at run time (custom fields and the like).
    pub fn with_schema(name: impl Into<String>, schema: &serde_json::Value) -> Self {
        Self {
            name: name.into(),
            schema: schema.to_string(),
            primary_key: Vec::new(),
            cursor_field: None,
            modes: Vec::new(),
            deletes: Deletes::Never.as_str().to_owned(),
            attributes: Vec::new(),
        }
    }

    /// JSON Pointers into the payload that together are the key.
    #[must_use]
    pub fn key(mut self, pointers: &[&str]) -> Self {
        self.primary_key = pointers.iter().map(|&pointer| pointer.to_owned()).collect();
        self
    }

    /// The JSON Pointer to what incremental reading goes by.
    #[must_use]
    pub fn incremental_by(mut self, pointer: impl Into<String>) -> Self {
        self.cursor_field = Some(pointer.into());
        self
    }

    /// What can be done with it; any of `read`, `write`, `lookup`, `webhook`.
    #[must_use]
    pub fn modes(mut self, modes: &[&str]) -> Self {
        self.modes = modes.iter().map(|&mode| mode.to_owned()).collect();
        self
    }

    /// How deletes show.
    #[must_use]
    pub fn deletes(mut self, deletes: Deletes) -> Self {
        deletes.as_str().clone_into(&mut self.deletes);
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }
}

/// What became of one record at the destination.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// Written, known for sure.
    Delivered(Receipt),
    /// It was there already, in this very state.
    Duplicate(Receipt),
    /// Not written, known for sure; worth another try.
    Retry(Error),
    /// Not written, and never will be like this.
    Rejected(Rejection),
    /// Asked, but the answer never came: it may be written or not. The host asks `lookup` before any repetition.
    Unknown(Error),
}

impl Outcome {
    /// Written under this id of the destination's.
    pub fn delivered(external_id: impl Into<String>) -> Self {
        Self::Delivered(Receipt::with_id(external_id))
    }

    /// There already, under this id of the destination's.
    pub fn duplicate(external_id: impl Into<String>) -> Self {
        Self::Duplicate(Receipt::with_id(external_id))
    }

    /// What a failed write of one record amounts to: `Unknown` if it may have been acted on, `Rejected` if the record is at
    /// fault (codes `data`, `not-found`, `conflict`), `Retry` if it may work later, and otherwise (`config`, `auth`,
    /// `denied`, …) the error itself, because it concerns the whole batch.
    ///
    /// # Errors
    /// The error, where it is not about this record.
    pub fn from_error(error: Error) -> Result<Self> {
        if error.maybe_sent() {
            return Ok(Self::Unknown(error));
        }
        match error.code() {
            "transient" | "rate-limited" => Ok(Self::Retry(error)),
            "data" | "not-found" | "conflict" => Ok(Self::Rejected(Rejection {
                code: error.code().to_owned(),
                reason: error.message().to_owned(),
                path: error.detail_of("path").map(ToOwned::to_owned),
                details: error.details().to_vec(),
            })),
            _ => Err(error),
        }
    }
}

impl Outcome {
    /// The batch's answer from each record's own. Where every record failed with an error, nothing was written, and the
    /// first error stands for the batch. Where some records have an outcome, an error of another must not hide it: it
    /// becomes `Retry`.
    ///
    /// # Errors
    /// The first error, if there is no outcome at all.
    pub fn settle(results: Vec<Result<Self>>) -> Result<Vec<Self>> {
        if results.iter().any(Result::is_ok) {
            return Ok(results
                .into_iter()
                .map(|result| result.unwrap_or_else(Self::Retry))
                .collect());
        }
        results.into_iter().collect()
    }
}

impl From<Rejection> for Outcome {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Receipt {
    /// A receipt with the thing's id at the destination.
    pub fn with_id(external_id: impl Into<String>) -> Self {
        Self {
            external_id: Some(external_id.into()),
            attributes: Vec::new(),
        }
    }

    /// A receipt of a system that gives no ids.
    pub fn without_id() -> Self {
        Self {
            external_id: None,
            attributes: Vec::new(),
        }
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }
}

impl Finding {
    /// There, under this id, in the asked state or a later one.
    pub fn present(external_id: impl Into<String>) -> Self {
        Self::Present(Found {
            external_id: Some(external_id.into()),
            payload: None,
            attributes: Vec::new(),
        })
    }

    /// There, under this id, and looking like this.
    ///
    /// # Errors
    /// Code `data` if the payload cannot be written as JSON.
    pub fn present_as(external_id: impl Into<String>, payload: &impl Serialize) -> Result<Self> {
        let payload = Some(serde_json::to_string(payload)?);
        Ok(Self::Present(Found {
            external_id: Some(external_id.into()),
            payload,
            attributes: Vec::new(),
        }))
    }
}

impl From<Rejection> for Transformed {
    fn from(rejection: Rejection) -> Self {
        Self::Reject(rejection)
    }
}

impl RawRequest {
    /// The first header of that name (any case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }

    /// A parameter of the query, decoded.
    pub fn query_value(&self, name: &str) -> Option<String> {
        form_urlencoded::parse(self.query.as_bytes())
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
    }

    /// The body as a type.
    ///
    /// # Errors
    /// Code `data`, naming the place that does not fit.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T> {
        let text = std::str::from_utf8(&self.body)?;
        crate::json::parse(text).map_err(|misfit| {
            Error::data(format!("the body {}", misfit.message)).detail("path", misfit.pointer)
        })
    }
}

impl Received {
    /// Genuine: take these records, once per `event_id`.
    pub fn accept(event_id: impl Into<String>, records: Vec<Record>) -> Self {
        Self {
            event_id: Some(event_id.into()),
            records,
            ..Self::empty(Verdict::Accept)
        }
    }

    /// Genuine, and of no interest.
    pub fn ignore(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::empty(Verdict::Ignore)
        }
    }

    /// Not genuine or not understood. The sender gets a bare 401 and never the reason, which is for the operator.
    pub fn refuse(reason: impl Into<String>) -> Self {
        Self {
            reason: Some(reason.into()),
            ..Self::empty(Verdict::Refuse)
        }
    }

    /// What the vendor gets as an answer instead of the host's.
    #[must_use]
    pub fn reply(mut self, status: u16, body: impl Into<Vec<u8>>) -> Self {
        self.reply = Some(Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
        });
        self
    }

    /// Sets an attribute.
    #[must_use]
    pub fn attribute(mut self, key: impl Into<String>, value: impl Display) -> Self {
        set(&mut self.attributes, key, value);
        self
    }

    fn empty(verdict: Verdict) -> Self {
        Self {
            verdict,
            event_id: None,
            records: Vec::new(),
            reply: None,
            reason: None,
            attributes: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_record_fits_however_large_and_the_next_not_beyond_the_bytes() {
        let record = Record::upsert("orders", "1", "1", &json!("x".repeat(100))).unwrap();
        let mut budget = Budget {
            records: 10,
            bytes: 150,
            any: false,
        };
        assert!(budget.take(&record));
        assert!(!budget.take(&record), "102 of 150 bytes are taken");
        let mut tiny = Budget {
            records: 10,
            bytes: 1,
            any: false,
        };
        assert!(tiny.take(&record));
        assert!(!tiny.take(&record));
    }

    #[test]
    fn an_error_becomes_the_outcome_that_loses_and_doubles_nothing() {
        let lost = Error::transient("connection reset").detail("sent", "maybe");
        assert!(matches!(Outcome::from_error(lost), Ok(Outcome::Unknown(_))));
        let never_left = Error::transient("refused").detail("sent", "no");
        assert!(matches!(Outcome::from_error(never_left), Ok(Outcome::Retry(_))));
        assert!(matches!(
            Outcome::from_error(Error::data("bad")),
            Ok(Outcome::Rejected(_))
        ));
        assert!(
            Outcome::from_error(Error::auth("no")).is_err(),
            "concerns every record of the batch"
        );
    }

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
