//! What a release made of a recorded call, held against what is recorded. Pure.
//!
//! Results are compared by what they mean: records by stream and key, in whatever order keys come; a key's own records in their order, because that
//! order is what deliveries keep; payloads as JSON. Cursors are the plugin's own business and only have to stay of the kind that they were.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use stecker_model::{
    CallUsage, Finding, Outcome, Page, Received, Record, Tape, TapedCall, TapedResult,
    api::ShadowDifferenceKind as Kind,
};

use super::{
    fields::{FieldChange, Ignore, changes, cut},
    matching::OffTape,
};

/// What a release did when it was given a recorded call.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) result: TapedResult,
    pub(super) off_tape: Vec<OffTape>,
    /// Place and request.
    pub(super) unsent: Vec<(String, String)>,
    /// Rule, and what was asked.
    pub(super) denied: Vec<(String, String)>,
    /// Keys that were written; none: removed.
    pub(super) storage: BTreeMap<String, Option<Vec<u8>>>,
    pub(super) usage: CallUsage,
}

/// One thing that is different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) kind: Kind,
    pub(super) stream: Option<String>,
    pub(super) place: String,
    pub(super) key: Option<String>,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

impl Found {
    fn at(kind: Kind, stream: Option<&str>, place: impl Into<String>) -> Self {
        Self {
            kind,
            stream: stream.map(str::to_owned),
            place: place.into(),
            key: None,
            old: None,
            new: None,
        }
    }

    fn of(mut self, key: &str) -> Self {
        self.key = Some(key.to_owned());
        self
    }

    fn from(mut self, old: Option<String>, new: Option<String>) -> Self {
        (self.old, self.new) = (old.map(|text| cut(&text)), new.map(|text| cut(&text)));
        self
    }

    fn field(stream: Option<&str>, key: &str, change: FieldChange) -> Self {
        Self::at(Kind::ChangedField, stream, change.place)
            .of(key)
            .from(change.old, change.new)
    }
}

/// Everything that is different from what is recorded.
pub(super) fn compare(tape: &Tape, seen: &Seen, ignore: &Ignore) -> Vec<Found> {
    let mut found = Vec::new();
    let stream = tape.call.stream();
    for (rule, asked) in &seen.denied {
        found.push(Found::at(Kind::Denied, stream, rule).from(None, Some(asked.clone())));
    }
    for off in &seen.off_tape {
        request(stream, off, ignore, &mut found);
    }
    for (place, old) in &seen.unsent {
        found.push(Found::at(Kind::UnsentRequest, stream, place).from(Some(old.clone()), None));
    }
    result(&tape.call, (&tape.result, &seen.result), ignore, &mut found);
    found
}

/// What is kept in the storage. A tape does not hold it, so the running release, played again, says what it is held against.
pub(super) fn compare_storage(stream: Option<&str>, running: &Seen, seen: &Seen) -> Vec<Found> {
    let keys: BTreeSet<_> = running.storage.keys().chain(seen.storage.keys()).collect();
    let text = |written: Option<&Option<Vec<u8>>>| match written {
        None => "not written".to_owned(),
        Some(None) => "removed".to_owned(),
        Some(Some(value)) => String::from_utf8_lossy(value).into_owned(),
    };
    keys.into_iter()
        .map(|key| (key, running.storage.get(key), seen.storage.get(key)))
        .filter(|(_, old, new)| old != new)
        .map(|(key, old, new)| {
            Found::at(Kind::Storage, stream, "storage")
                .of(key)
                .from(Some(text(old)), Some(text(new)))
        })
        .collect()
}

fn request(stream: Option<&str>, off: &OffTape, ignore: &Ignore, found: &mut Vec<Found>) {
    let Some((old, new)) = &off.bodies else {
        let off = Found::at(Kind::Request, stream, &off.place).from(off.old.clone(), Some(off.new.clone()));
        return found.push(off);
    };
    // What differs only in places that do not count is still off the tape: nobody knows what the system would have answered.
    let fields = changes(old, new, ignore);
    if fields.is_empty() {
        found.push(Found::at(Kind::Request, stream, &off.place).from(off.old.clone(), Some(off.new.clone())));
    }
    for change in fields {
        let place = format!("{} body {}", off.place, change.place);
        found.push(Found::at(Kind::Request, stream, place).from(change.old, change.new));
    }
}

fn result(call: &TapedCall, results: (&TapedResult, &TapedResult), ignore: &Ignore, found: &mut Vec<Found>) {
    let stream = call.stream();
    match results {
        (TapedResult::Page(old), TapedResult::Page(new)) => page(stream, old, new, ignore, found),
        (TapedResult::Outcomes(old), TapedResult::Outcomes(new)) => {
            each(call, Kind::Outcome, (old, new), of_outcome, found);
        }
        (TapedResult::Findings(old), TapedResult::Findings(new)) => {
            each(call, Kind::Finding, (old, new), of_finding, found);
        }
        (TapedResult::Received(old), TapedResult::Received(new)) => received(old, new, ignore, found),
        (old, new) => {
            let (was, is) = (ended(old), ended(new));
            if was != is {
                let place = format!("{} → {}", was.0, is.0);
                found.push(Found::at(Kind::Error, stream, place).from(was.1, is.1));
            }
        }
    }
}

/// The code, and the message of a failure, which is not compared.
fn ended(result: &TapedResult) -> Ended {
    match result {
        TapedResult::Failed { code, message } => Ended(code.clone(), Some(message.clone())),
        _ => Ended("ok".to_owned(), None),
    }
}

struct Ended(String, Option<String>);

impl PartialEq for Ended {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

fn page(stream: Option<&str>, old: &Page, new: &Page, ignore: &Ignore, found: &mut Vec<Found>) {
    records(&old.records, &new.records, ignore, found);
    let (was, is) = (kind_of(old.cursor.as_deref()), kind_of(new.cursor.as_deref()));
    if was != is {
        let cursor = Found::at(Kind::Cursor, stream, format!("{was} → {is}"));
        found.push(cursor.from(old.cursor.clone(), new.cursor.clone()));
    }
    if old.more != new.more {
        let more = Found::at(Kind::Cursor, stream, "more");
        found.push(more.from(Some(old.more.to_string()), Some(new.more.to_string())));
    }
}

/// What a cursor is made of, as far as anybody but the plugin can tell.
fn kind_of(cursor: Option<&str>) -> String {
    let Some(cursor) = cursor else {
        return "none".to_owned();
    };
    match serde_json::from_str::<Value>(cursor) {
        Ok(Value::Object(members)) => {
            let mut names: Vec<_> = members.keys().map(String::as_str).collect();
            names.sort_unstable();
            format!("{{{}}}", names.join(", "))
        }
        Ok(Value::Array(_)) => "list".to_owned(),
        Ok(Value::Number(_)) => "number".to_owned(),
        _ => "text".to_owned(),
    }
}

type Keyed<'a> = BTreeMap<(&'a str, &'a str), Vec<&'a Record>>;

fn by_key(records: &[Record]) -> Keyed<'_> {
    let mut keyed = Keyed::new();
    for record in records {
        keyed
            .entry((&record.stream, &record.key))
            .or_default()
            .push(record);
    }
    keyed
}

fn records(old: &[Record], new: &[Record], ignore: &Ignore, found: &mut Vec<Found>) {
    let (mut was, mut is) = (by_key(old), by_key(new));
    let keys: BTreeSet<_> = was.keys().chain(is.keys()).copied().collect();
    for at in keys {
        let (old, new) = (
            was.remove(&at).unwrap_or_default(),
            is.remove(&at).unwrap_or_default(),
        );
        of_one_key(at, &old, new, ignore, found);
    }
}

/// The records of one key: those of the same version belong together, and then those that are left, in their order.
fn of_one_key(
    (stream, key): (&str, &str),
    old: &[&Record],
    new: Vec<&Record>,
    ignore: &Ignore,
    found: &mut Vec<Found>,
) {
    let mut free: Vec<Option<&Record>> = new.into_iter().map(Some).collect();
    let (mut left, mut places) = (Vec::new(), Vec::new());
    for record in old {
        let same = |one: &Option<&Record>| one.is_some_and(|one| one.source_version == record.source_version);
        let place = free.iter().position(same);
        match place.and_then(|at| free.get_mut(at)?.take()) {
            Some(there) => {
                places.extend(place);
                fields(record, there, ignore, found);
            }
            None => left.push(*record),
        }
    }
    if !places.is_sorted() {
        found.push(Found::at(Kind::Order, Some(stream), "order").of(key));
    }
    let mut rest = free.into_iter().flatten();
    for record in left {
        match rest.next() {
            Some(there) => fields(record, there, ignore, found),
            None => {
                let missing = Found::at(Kind::MissingRecord, Some(stream), "record").of(key);
                found.push(missing.from(Some(record.payload.clone()), None));
            }
        }
    }
    for record in rest {
        let extra = Found::at(Kind::ExtraRecord, Some(stream), "record").of(key);
        found.push(extra.from(None, Some(record.payload.clone())));
    }
}

fn fields(old: &Record, new: &Record, ignore: &Ignore, found: &mut Vec<Found>) {
    let (stream, key) = (Some(old.stream.as_str()), old.key.as_str());
    let time = |time: Option<u64>| time.map_or_else(|| "none".to_owned(), |time| time.to_string());
    let attributes =
        |record: &Record| format!("{:?}", BTreeMap::from_iter(record.attributes.iter().cloned()));
    for (place, was, is) in [
        (
            "operation",
            old.operation.as_str().to_owned(),
            new.operation.as_str().to_owned(),
        ),
        (
            "source-version",
            old.source_version.clone(),
            new.source_version.clone(),
        ),
        ("event-time", time(old.event_time), time(new.event_time)),
        ("attributes", attributes(old), attributes(new)),
    ] {
        if was != is {
            found.push(
                Found::at(Kind::ChangedField, stream, place)
                    .of(key)
                    .from(Some(was), Some(is)),
            );
        }
    }
    json(stream, key, &old.payload, &new.payload, ignore, found);
    let before = |record: &Record| record.before.clone().unwrap_or_else(|| "null".to_owned());
    let mut in_before = Vec::new();
    json(stream, key, &before(old), &before(new), ignore, &mut in_before);
    found.extend(in_before.into_iter().map(|mut one| {
        one.place.insert_str(0, "before ");
        one
    }));
}

fn json(stream: Option<&str>, key: &str, old: &str, new: &str, ignore: &Ignore, found: &mut Vec<Found>) {
    if old == new {
        return;
    }
    match (serde_json::from_str(old), serde_json::from_str(new)) {
        (Ok(old), Ok(new)) => {
            let all = changes(&old, &new, ignore).into_iter();
            found.extend(all.map(|change| Found::field(stream, key, change)));
        }
        _ => {
            let whole = Found::at(Kind::ChangedField, stream, "/").of(key);
            found.push(whole.from(Some(old.to_owned()), Some(new.to_owned())));
        }
    }
}

/// One answer for each item.
fn each<T>(
    call: &TapedCall,
    kind: Kind,
    (old, new): (&[T], &[T]),
    of: fn(&T) -> (String, Option<String>),
    found: &mut Vec<Found>,
) {
    let key = |index: usize| match call {
        TapedCall::Write { items, .. } => items.get(index).map(|item| item.record.key.clone()),
        TapedCall::Lookup { items, .. } => items.get(index).map(|item| item.key.clone()),
        TapedCall::Read(_) | TapedCall::Receive(_) => None,
    };
    for (index, (old, new)) in old.iter().zip(new).enumerate() {
        let ((was, old), (is, new)) = (of(old), of(new));
        // Why a write is tried again is for people, and says itself by another code.
        if was == is && (kind == Kind::Outcome && !was.starts_with("delivered") || old == new) {
            continue;
        }
        let place = if was == is { was } else { format!("{was} → {is}") };
        let one = Found::at(kind, call.stream(), place).from(old, new);
        found.push(Found {
            key: key(index),
            ..one
        });
    }
}

fn of_outcome(outcome: &Outcome) -> (String, Option<String>) {
    match outcome {
        Outcome::Delivered(id) => ("delivered".to_owned(), id.clone()),
        Outcome::Duplicate(id) => ("duplicate".to_owned(), id.clone()),
        Outcome::Retry(error) => (format!("retry ({})", error.code), Some(error.message.clone())),
        Outcome::Rejected(why) => (format!("rejected ({})", why.code), Some(why.reason.clone())),
        Outcome::Unknown(error) => (format!("unknown ({})", error.code), Some(error.message.clone())),
    }
}

fn of_finding(finding: &Finding) -> (String, Option<String>) {
    match finding {
        Finding::Present { external_id, .. } => ("present".to_owned(), external_id.clone()),
        Finding::Absent => ("absent".to_owned(), None),
        Finding::Undecided => ("undecided".to_owned(), None),
    }
}

fn received(old: &Received, new: &Received, ignore: &Ignore, found: &mut Vec<Found>) {
    let status = |received: &Received| received.reply.as_ref().map(|reply| reply.status.to_string());
    for (place, was, is) in [
        (
            "verdict",
            Some(format!("{:?}", old.verdict).to_lowercase()),
            Some(format!("{:?}", new.verdict).to_lowercase()),
        ),
        ("event-id", old.event_id.clone(), new.event_id.clone()),
        ("status of the reply", status(old), status(new)),
    ] {
        if was != is {
            found.push(Found::at(Kind::Webhook, None, place).from(was, is));
        }
    }
    records(&old.records, &new.records, ignore, found);
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
