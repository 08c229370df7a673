//! One page of records as JSON, one object after the other (JSON Lines). The payload is a value within the object, not a text in it.
//! Field names are those of the contract.
//!
//! Compiled into the guest as well.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// A record; `P` is what its payload is read as.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Line<'a, P> {
    /// As in the contract.
    #[serde(borrow)]
    pub stream: Cow<'a, str>,
    /// As in the contract.
    #[serde(borrow)]
    pub key: Cow<'a, str>,
    /// Whether the operation is a delete; otherwise an upsert.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delete: bool,
    /// As in the contract.
    pub payload: P,
    /// As in the contract.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub before: Option<P>,
    /// As in the contract.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event_time: Option<u64>,
    /// As in the contract.
    #[serde(borrow)]
    pub source_version: Cow<'a, str>,
    /// As in the contract.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

fn none<P>() -> Option<P> {
    None
}

/// Appends a record.
///
/// # Errors
/// None for payloads that are JSON already.
pub fn write<P: Serialize>(line: &Line<'_, P>, page: &mut Vec<u8>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *page, line)?;
    page.push(b'\n');
    Ok(())
}

/// The records of a page, in order.
pub fn read<'a, P: Deserialize<'a> + 'a>(
    page: &'a [u8],
) -> impl Iterator<Item = serde_json::Result<Line<'a, P>>> {
    // A stream of values instead of lines: a payload may hold line breaks between its tokens.
    serde_json::Deserializer::from_slice(page).into_iter()
}

/// Reads a page and writes it anew.
///
/// # Errors
/// If it is not such a page.
pub fn copy<'a, P: Serialize + Deserialize<'a> + 'a>(page: &'a [u8]) -> serde_json::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(page.len());
    for line in read::<P>(page) {
        write(&line?, &mut out)?;
    }
    Ok(out)
}
