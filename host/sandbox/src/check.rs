//! What guests return is checked before anybody else sees it, the same for every contract version.

use std::collections::HashSet;

use serde::de::IgnoredAny;
use stecker_model::{Finding, Page, Received, Record, StreamInfo, Transformed};

use crate::error::CallError;

pub(crate) const MAX_KEY: usize = 512;
pub(crate) const MAX_SOURCE_VERSION: usize = 256;
const MAX_STREAM: usize = 256;
pub(crate) const MAX_CURSOR: usize = 1 << 20;
const MAX_DESCRIPTION: usize = 1 << 20;
/// Records that one webhook call, or one record through a transform, may turn into.
const MAX_FAN_OUT: usize = 10_000;

/// A stream as the guest told it, its schema still a text.
pub(crate) struct RawStreamInfo {
    pub(crate) name: String,
    pub(crate) schema: String,
    pub(crate) primary_key: Vec<String>,
    pub(crate) cursor_field: Option<String>,
    pub(crate) modes: Vec<String>,
    pub(crate) deletes: String,
}

/// A bucket as the guest told it.
pub(crate) struct RawBucket {
    pub(crate) count: u64,
    pub(crate) sum: Vec<u8>,
}

/// An entry as the guest told it.
pub(crate) struct RawEntry {
    pub(crate) key: String,
    pub(crate) digest: Vec<u8>,
    pub(crate) copies: u32,
    pub(crate) external_id: Option<String>,
    pub(crate) source_version: Option<String>,
}

/// A page of entries as the guest told it.
pub(crate) struct RawListing {
    pub(crate) entries: Vec<RawEntry>,
    pub(crate) next: Option<String>,
}

pub(crate) fn broken<T>(message: String) -> Result<T, CallError> {
    Err(CallError::Contract { message })
}

/// Walks through the text without keeping anything of it.
fn is_json(text: &str) -> Result<(), serde_json::Error> {
    serde_json::from_str::<IgnoredAny>(text).map(|_| ())
}

pub(crate) fn description(json: &str) -> Result<serde_json::Value, CallError> {
    if json.len() > MAX_DESCRIPTION {
        return broken(format!(
            "`meta.describe` returned {} bytes; at most {MAX_DESCRIPTION} are taken",
            json.len()
        ));
    }
    match serde_json::from_str::<serde_json::Value>(json) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => broken("`meta.describe` returned JSON that is not an object".to_owned()),
        Err(error) => broken(format!("`meta.describe` did not return JSON: {error}")),
    }
}

pub(crate) fn streams(streams: Vec<RawStreamInfo>) -> Result<Vec<StreamInfo>, CallError> {
    let mut seen = HashSet::new();
    streams
        .into_iter()
        .map(|stream| {
            let name = stream.name;
            if name.is_empty() || name.len() > MAX_STREAM {
                return broken(format!(
                    "a stream's name has {} bytes; it has to have 1 to {MAX_STREAM}",
                    name.len()
                ));
            }
            if !seen.insert(name.clone()) {
                return broken(format!(
                    "`connection.discover` returned the stream `{name}` twice"
                ));
            }
            let Ok(schema) = serde_json::from_str(&stream.schema) else {
                return broken(format!("the schema of the stream `{name}` is not JSON"));
            };
            Ok(StreamInfo {
                name,
                schema,
                primary_key: stream.primary_key,
                cursor_field: stream.cursor_field,
                modes: stream.modes,
                deletes: stream.deletes,
            })
        })
        .collect()
}

/// `at` says which record it is, for a person; `given` is the payload that it was made from, if any. What comes back as it was given was not
/// written by the guest.
fn record(record: &Record, given: Option<&str>, at: &dyn Fn() -> String) -> Result<(), CallError> {
    if !(1..=MAX_KEY).contains(&record.key.len()) {
        return broken(format!(
            "{} has a key of {} bytes; it has to have 1 to {MAX_KEY}",
            at(),
            record.key.len()
        ));
    }
    if record.source_version.len() > MAX_SOURCE_VERSION {
        return broken(format!(
            "{} has a source-version of {} bytes; it may have {MAX_SOURCE_VERSION}",
            at(),
            record.source_version.len()
        ));
    }
    if record.stream.len() > MAX_STREAM {
        return broken(format!(
            "{} names a stream with {} bytes; it may have {MAX_STREAM}",
            at(),
            record.stream.len()
        ));
    }
    let before = record.before.as_deref().map(|before| ("before", before));
    let payload = Some(record.payload.as_str()).filter(|payload| Some(*payload) != given);
    let payload = payload.map(|payload| ("payload", payload));
    for (field, text) in payload.into_iter().chain(before) {
        if let Err(error) = is_json(text) {
            return broken(format!("the {field} of {} is not JSON: {error}", at()));
        }
    }
    Ok(())
}

fn records(all: &[Record], given: Option<&str>, of: &dyn Fn() -> String) -> Result<(), CallError> {
    all.iter().enumerate().try_for_each(|(i, one)| {
        record(one, given, &|| {
            format!("record {i} of {} (key `{}`)", of(), shown(&one.key))
        })
    })
}

/// A key for a message: what a stranger chose, cut to what fits into a line.
pub(crate) fn shown(text: &str) -> String {
    let end = (0..=text.len().min(64))
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0);
    text.split_at(end).0.escape_debug().to_string()
}

pub(crate) fn page(page: Page, max_records: u32, asked: Option<&str>) -> Result<Page, CallError> {
    let max = usize::try_from(max_records).unwrap_or(usize::MAX);
    if page.records.len() > max {
        return broken(format!(
            "`source.read` returned {} records; at most {max} were asked for",
            page.records.len()
        ));
    }
    if page
        .cursor
        .as_ref()
        .is_some_and(|cursor| cursor.len() > MAX_CURSOR)
    {
        return broken(format!(
            "`source.read` returned a cursor of more than {MAX_CURSOR} bytes"
        ));
    }
    // Asked again with the same cursor, it would give the same page for ever.
    if page.more && page.cursor.as_deref() == asked {
        return broken("`source.read` says that there is more, but its cursor has not moved on".to_owned());
    }
    records(&page.records, None, &|| "the page".to_owned())?;
    Ok(page)
}

pub(crate) fn one_each<T>(what: &str, answers: Vec<T>, expected: usize) -> Result<Vec<T>, CallError> {
    if answers.len() == expected {
        Ok(answers)
    } else {
        broken(format!(
            "{} {what} came back for {expected} records; there has to be one each, in the order of the batch",
            answers.len()
        ))
    }
}

pub(crate) fn findings(findings: Vec<Finding>, expected: usize) -> Result<Vec<Finding>, CallError> {
    let findings = one_each("findings", findings, expected)?;
    for (i, finding) in findings.iter().enumerate() {
        if let Finding::Present {
            payload: Some(payload),
            ..
        } = finding
            && let Err(error) = is_json(payload)
        {
            return broken(format!("the payload of finding {i} is not JSON: {error}"));
        }
    }
    Ok(findings)
}

pub(crate) fn received(received: Received) -> Result<Received, CallError> {
    if received.records.len() > MAX_FAN_OUT {
        return broken(format!(
            "`webhook.receive` returned {} records; at most {MAX_FAN_OUT} are taken from one call",
            received.records.len()
        ));
    }
    if let Some(reply) = &received.reply
        && !(200..=599).contains(&reply.status)
    {
        return broken(format!(
            "the reply to the webhook has status {}; it has to be 200 to 599",
            reply.status
        ));
    }
    records(&received.records, None, &|| "the webhook".to_owned())?;
    Ok(received)
}

pub(crate) fn transformed(
    answers: Vec<Transformed>,
    batch: &[Record],
) -> Result<Vec<Transformed>, CallError> {
    let answers = one_each("answers", answers, batch.len())?;
    for (i, (answer, given)) in answers.iter().zip(batch).enumerate() {
        if let Transformed::Emit(emitted) = answer {
            if emitted.len() > MAX_FAN_OUT {
                return broken(format!(
                    "record {i} of the batch became {} records; at most {MAX_FAN_OUT} are taken",
                    emitted.len()
                ));
            }
            records(emitted, Some(&given.payload), &|| {
                format!("what record {i} of the batch became")
            })?;
        }
    }
    Ok(answers)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
