//! One batch of records to the guest and back, in each encoding: from the host's records to the host's records, everything included.

use std::{borrow::Cow, fmt, str::FromStr};

use anyhow::{Result, anyhow};
use serde_json::value::RawValue;
use wasmtime::{
    Engine, Store,
    component::{Component, Linker},
};

pub use self::bindings::{
    exports::stecker::benchmarks::exchange::Work,
    stecker::plugin::types::{Operation, Record},
};
use crate::{
    engine::{self, MemoryMeter},
    lines::{self, Line},
    page::{self, View},
};

#[allow(
    missing_docs,
    unused_qualifications,
    single_use_lifetimes,
    clippy::all,
    reason = "generated; its documentation is that of the WIT"
)]
mod bindings {
    wasmtime::component::bindgen!({
        path: ["../../wit/1.0.0", "guests/record-encoding/wit"],
        world: "stecker:benchmarks/record-encoding",
        exports: { default: async },
        additional_derives: [PartialEq],
    });
}

/// How records cross.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// As `list<record>`: the engine lowers and lifts every field.
    Typed,
    /// As one `list<u8>` of length-prefixed fields ([`page`]).
    Packed,
    /// As one `list<u8>` of JSON Lines ([`lines`]).
    Lines,
}

impl fmt::Display for Encoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Typed => "typed",
            Self::Packed => "packed",
            Self::Lines => "lines",
        })
    }
}

impl FromStr for Encoding {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Typed, Self::Packed, Self::Lines]
            .into_iter()
            .find(|encoding| encoding.to_string() == text)
            .ok_or_else(|| "it has to be typed, packed or lines".to_owned())
    }
}

/// The guest, compiled and ready to be instantiated.
#[expect(missing_debug_implementations, reason = "the engine's types have none")]
pub struct Exchange {
    engine: Engine,
    guest: bindings::RecordEncodingPre<MemoryMeter>,
}

impl Exchange {
    /// Compiles the component of `guests/record-encoding`.
    ///
    /// # Errors
    /// If the engine does not start, or does not take the component.
    pub fn new(component: &[u8]) -> wasmtime::Result<Self> {
        let engine = engine::engine()?;
        let component = Component::new(&engine, component)?;
        let guest = bindings::RecordEncodingPre::new(Linker::new(&engine).instantiate_pre(&component)?)?;
        Ok(Self { engine, guest })
    }

    /// One call in a fresh instance: encodes, calls, decodes. Returns the records, and the guest's memory in bytes.
    ///
    /// # Errors
    /// If the guest traps or refuses, or what it returns cannot be decoded.
    pub async fn call(
        &self,
        encoding: Encoding,
        work: Work,
        batch: &[Record],
    ) -> Result<(Vec<Record>, usize)> {
        let mut store = engine::store(&self.engine);
        let records = self.exchange(&mut store, encoding, work, batch).await?;
        Ok((records, store.data().bytes))
    }

    async fn exchange(
        &self,
        store: &mut Store<MemoryMeter>,
        encoding: Encoding,
        work: Work,
        batch: &[Record],
    ) -> Result<Vec<Record>> {
        let failed = |error: wasmtime::Error| anyhow!("the guest trapped: {error:#}");
        let refused = |message: String| anyhow!("the guest refused: {message}");
        let instance = self.guest.instantiate_async(&mut *store).await.map_err(failed)?;
        let guest = instance.stecker_benchmarks_exchange();
        match encoding {
            Encoding::Typed => guest
                .call_typed(store, work, batch)
                .await
                .map_err(failed)?
                .map_err(refused),
            Encoding::Packed => {
                let sent = to_page(batch);
                let page = guest.call_packed(store, work, &sent).await.map_err(failed)?;
                Ok(from_page(&page.map_err(refused)?)?)
            }
            Encoding::Lines => {
                let sent = to_lines(batch)?;
                let page = guest.call_lines(store, work, &sent).await.map_err(failed)?;
                Ok(from_lines(&page.map_err(refused)?)?)
            }
        }
    }
}

fn to_page(batch: &[Record]) -> Vec<u8> {
    let mut page = Vec::with_capacity(room(batch));
    for record in batch {
        let pairs = record.attributes.iter();
        let view = View {
            stream: &record.stream,
            key: &record.key,
            delete: record.operation == Operation::Delete,
            payload: &record.payload,
            before: record.before.as_deref(),
            event_time: record.event_time,
            source_version: &record.source_version,
            attributes: pairs.map(|(key, value)| (key.as_str(), value.as_str())).collect(),
        };
        page::write(&view, &mut page);
    }
    page
}

fn from_page(page: &[u8]) -> Result<Vec<Record>, page::Fault> {
    let owned = |view: View<'_>| Record {
        stream: view.stream.to_owned(),
        key: view.key.to_owned(),
        operation: operation(view.delete),
        payload: view.payload.to_owned(),
        before: view.before.map(str::to_owned),
        event_time: view.event_time,
        source_version: view.source_version.to_owned(),
        attributes: view
            .attributes
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect(),
    };
    page::read(page).map(|view| view.map(owned)).collect()
}

fn to_lines(batch: &[Record]) -> serde_json::Result<Vec<u8>> {
    let mut page = Vec::with_capacity(room(batch));
    for record in batch {
        let pairs = record.attributes.iter();
        let line: Line<'_, &RawValue> = Line {
            stream: Cow::Borrowed(&record.stream),
            key: Cow::Borrowed(&record.key),
            delete: record.operation == Operation::Delete,
            payload: serde_json::from_str(&record.payload)?,
            before: record.before.as_deref().map(serde_json::from_str).transpose()?,
            event_time: record.event_time,
            source_version: Cow::Borrowed(&record.source_version),
            attributes: pairs
                .map(|(key, value)| (Cow::Borrowed(key.as_str()), Cow::Borrowed(value.as_str())))
                .collect(),
        };
        lines::write(&line, &mut page)?;
    }
    Ok(page)
}

fn from_lines(page: &[u8]) -> serde_json::Result<Vec<Record>> {
    let owned = |line: Line<'_, &RawValue>| Record {
        stream: line.stream.into_owned(),
        key: line.key.into_owned(),
        operation: operation(line.delete),
        payload: line.payload.get().to_owned(),
        before: line.before.map(|before| before.get().to_owned()),
        event_time: line.event_time,
        source_version: line.source_version.into_owned(),
        attributes: line
            .attributes
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect(),
    };
    lines::read(page).map(|line| line.map(owned)).collect()
}

fn operation(delete: bool) -> Operation {
    if delete {
        Operation::Delete
    } else {
        Operation::Upsert
    }
}

/// Enough for a batch in either encoding of pages, so that a page is allocated once.
fn room(batch: &[Record]) -> usize {
    batch.iter().map(|record| record.payload.len() + 512).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample::orders;

    #[test]
    fn pages_give_back_what_was_put_in() {
        let mut records = orders(60, 300);
        records[3].before = Some("{}".to_owned());
        records[4].event_time = None;
        records[5].attributes.clear();
        assert_eq!(from_page(&to_page(&records)).unwrap(), records);
        assert_eq!(from_lines(&to_lines(&records).unwrap()).unwrap(), records);
    }
}
