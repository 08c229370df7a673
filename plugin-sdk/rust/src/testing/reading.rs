//! Reading a stream as the host does.

use super::Harness;
use super::harness::{check_record, schemas_of};
use crate::bindings::source::exports::stecker::plugin::source::Guest;
use crate::export::Adapter;
use crate::{Page, ReadRequest, Record, Result, Source, StreamInfo};
use serde::Serialize;

/// A stream that has not ended after so many pages does not end.
const MOST_PAGES: usize = 10_000;

/// A stream being read, page by page. Made by [`Harness::read`].
#[derive(Debug)]
pub struct Reading<'h, P> {
    harness: &'h Harness<P>,
    request: ReadRequest,
    schemas: Vec<(String, jsonschema::Validator)>,
}

impl<'h, P: Source> Reading<'h, P> {
    pub(super) fn new(harness: &'h Harness<P>, stream: &str) -> Self {
        let request = ReadRequest {
            stream: stream.to_owned(),
            cursor: None,
            max_records: 1_000,
            max_bytes: 8 * 1024 * 1024,
            deadline_ms: 30_000,
            options: Vec::new(),
        };
        Self {
            harness,
            request,
            schemas: Vec::new(),
        }
    }

    /// At most this many records a page (1,000 unless told).
    #[must_use]
    pub fn max_records(mut self, records: u32) -> Self {
        self.request.max_records = records;
        self
    }

    /// About this many bytes a page (8 MiB unless told).
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.request.max_bytes = bytes;
        self
    }

    /// Begins at this cursor.
    ///
    /// # Panics
    /// If it cannot be written as JSON.
    #[must_use]
    pub fn from_cursor(mut self, cursor: &impl Serialize) -> Self {
        match serde_json::to_string(cursor) {
            Ok(text) => self.request.cursor = Some(text),
            Err(error) => panic!("the test's cursor cannot be written as JSON: {error}"),
        }
        self
    }

    /// Begins where this page ended.
    #[must_use]
    pub fn after(mut self, page: &Page) -> Self {
        self.request.cursor.clone_from(&page.cursor);
        self
    }

    /// Passes an option.
    #[must_use]
    pub fn option(mut self, key: &str, value: &str) -> Self {
        self.request.options.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Checks every payload against the stream's schema.
    ///
    /// # Panics
    /// If a schema is not one.
    #[must_use]
    pub fn conforming_to(mut self, streams: &[StreamInfo]) -> Self {
        self.schemas = schemas_of(streams);
        self
    }

    /// One page.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If the page breaks the contract.
    pub fn page(&self) -> Result<Page> {
        let page = <Adapter<P> as Guest>::read(self.harness.config().to_owned(), self.request.clone())?;
        self.check(&page);
        Ok(page)
    }

    /// All pages, until there is no more to be had at once; each is acknowledged.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If a page breaks the contract or the stream does not end.
    pub fn all_pages(mut self) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for _ in 0..MOST_PAGES {
            let page = self.page()?;
            records.extend(page.records);
            if let Some(cursor) = &page.cursor {
                let (config, stream) = (self.harness.config().to_owned(), self.request.stream.clone());
                <Adapter<P> as Guest>::acknowledge(config, stream, cursor.clone())?;
            }
            self.request.cursor = page.cursor;
            if !page.more {
                return Ok(records);
            }
        }
        panic!(
            "the stream `{}` did not end after {MOST_PAGES} pages",
            self.request.stream
        );
    }

    fn check(&self, page: &Page) {
        let stream = &self.request.stream;
        assert!(
            page.records.len() <= self.request.max_records as usize,
            "a page of `{stream}` has {} records, {} were asked for",
            page.records.len(),
            self.request.max_records
        );
        if let Some(cursor) = &page.cursor {
            assert!(
                serde_json::from_str::<serde_json::Value>(cursor).is_ok(),
                "the cursor of `{stream}` is not JSON: {cursor}"
            );
        }
        assert!(
            page.cursor != self.request.cursor || (page.records.is_empty() && !page.more),
            "the cursor of `{stream}` does not move on, but there are {} records and more = {}: the host would read the \
             same page for ever (cursor {:?})",
            page.records.len(),
            page.more,
            page.cursor
        );
        for record in &page.records {
            assert_eq!(
                &record.stream, stream,
                "a page of `{stream}` has a record of another stream"
            );
            check_record(record, &self.schemas);
        }
    }
}
