//! What a source is asked, and what it answers.

use super::{Page, ReadRequest, Record, set};
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Display;

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
}
