//! From what a person types to the key that is meant. Operators read an order's number off a screen: the shop says 1042, the key is
//! `SO-001042`, the ERP says `SALE-000042`.

use std::collections::BTreeSet;

use serde_json::Value;
use stecker_model::{Name, api::FoundBy};
use stecker_store::{FlowRow, Store, StoreError};

/// Candidates that are told when several keys fit.
const CANDIDATES: u32 = 20;
/// Newest records of a flow that are looked through for the ends of keys.
const NEWEST: u32 = 5_000;
/// Flows that are looked through so.
const FLOWS: usize = 20;
/// Newest records of a flow whose keys say what its keys look like.
const SHAPES: usize = 50;
/// Newest records of a flow whose payloads are looked through.
const PAYLOADS: u32 = 2_000;
/// A shorter text stands in too many payloads.
const SHORTEST: usize = 3;
/// How deep in a payload a thing's own number stands at most.
const DEPTH: usize = 2;
/// Keys that are told when none fits.
const NEAR: usize = 5;

/// What is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Resolved {
    /// This key.
    Key(String, FoundBy),
    /// One of these, in their order; whether there are more.
    Several(Vec<String>, bool),
    /// Nothing that is in the ledger; keys that look like it.
    Nothing(Vec<String>),
}

pub(crate) async fn resolve(
    store: &Store,
    tenant: &Name,
    flows: &[FlowRow],
    text: &str,
) -> Result<Resolved, StoreError> {
    if !store.known_keys(tenant, &[text.to_owned()]).await?.is_empty() {
        return Ok(Resolved::Key(text.to_owned(), FoundBy::Key));
    }
    let by_id = store.keys_of_external_id(tenant, text, CANDIDATES + 1).await?;
    let by_id: BTreeSet<String> = by_id.into_iter().map(|(_, key)| key).collect();
    if let Some(found) = decided(by_id, FoundBy::ExternalId) {
        return Ok(found);
    }
    let mut newest = Vec::new();
    for flow in flows.iter().take(FLOWS) {
        newest.push(store.newest_keys(tenant, &flow.spec.name, NEWEST).await?);
    }
    let shaped: Vec<String> = newest
        .iter()
        .flat_map(|keys| shaped(text, keys.iter().take(SHAPES)))
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect();
    // The same number is nearer than the same end: 1042 is SO-001042 and not SO-011042.
    let known = store.known_keys(tenant, &shaped).await?.into_iter().collect();
    if let Some(found) = decided(known, FoundBy::PartOfKey) {
        return Ok(found);
    }
    let begins = store.keys_that_begin(tenant, text, CANDIDATES + 1).await?;
    let ends = newest.iter().flatten().filter(|key| key.ends_with(text)).cloned();
    let parts: BTreeSet<String> = begins.into_iter().chain(ends).collect();
    if let Some(found) = decided(parts, FoundBy::PartOfKey) {
        return Ok(found);
    }
    let mut named = BTreeSet::new();
    if text.len() >= SHORTEST {
        for flow in flows.iter().take(FLOWS) {
            let found = store
                .payloads_with(tenant, &flow.spec.name, text, PAYLOADS)
                .await?;
            let names_it = found.into_iter().filter(|(_, payload)| names(payload, text));
            named.extend(names_it.map(|(key, _)| key));
        }
    }
    if let Some(found) = decided(named, FoundBy::Payload) {
        return Ok(found);
    }
    let mut near: Vec<(usize, String)> = newest
        .into_iter()
        .flatten()
        .filter_map(|key| Some((distance(text, &key, 2)?, key)))
        .collect();
    near.sort();
    near.dedup();
    Ok(Resolved::Nothing(
        near.into_iter().take(NEAR).map(|(_, key)| key).collect(),
    ))
}

fn decided(found: BTreeSet<String>, by: FoundBy) -> Option<Resolved> {
    let most = CANDIDATES as usize;
    match found.len() {
        0 => None,
        1 => found.into_iter().next().map(|key| Resolved::Key(key, by)),
        n => Some(Resolved::Several(
            found.into_iter().take(most).collect(),
            n > most,
        )),
    }
}

/// Whether a payload has a text as a value of its own, near its top and in no list: what stands in lists are other things.
fn names(payload: &str, text: &str) -> bool {
    fn within(value: &Value, text: &str, depth: usize) -> bool {
        match value {
            Value::String(value) => value == text,
            Value::Number(value) => value.to_string() == text,
            Value::Object(fields) if depth > 0 => fields.values().any(|value| within(value, text, depth - 1)),
            _ => false,
        }
    }
    serde_json::from_str::<Value>(payload).is_ok_and(|payload| within(&payload, text, DEPTH))
}

/// Keys that would have the number of a text, made like others are: `1042` and keys such as `SO-000007` make `SO-001042`.
fn shaped(text: &str, like: impl Iterator<Item = impl AsRef<str>>) -> BTreeSet<String> {
    let digits = text.trim_start_matches('#');
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return BTreeSet::new();
    }
    let number = digits.trim_start_matches('0');
    let number = if number.is_empty() { "0" } else { number };
    like.filter_map(|key| {
        let key = key.as_ref();
        let prefix = key.trim_end_matches(|c: char| c.is_ascii_digit());
        let width = key.len() - prefix.len();
        (width > 0).then(|| format!("{prefix}{number:0>width$}"))
    })
    .collect()
}

/// How many characters have to be changed, added or left out to make one text of another (Levenshtein), if it is at most `most`.
fn distance(a: &str, b: &str, most: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    // A short text is near to everything.
    if a.len().abs_diff(b.len()) > most || a.len() <= 2 * most || a.len() > 64 {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut next = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let change = row.get(j).copied().unwrap_or_default() + usize::from(x != y);
            let leave = row.get(j + 1).copied().unwrap_or_default() + 1;
            let add = next.last().copied().unwrap_or_default() + 1;
            next.push(change.min(leave).min(add));
        }
        row = next;
    }
    row.last().copied().filter(|distance| *distance <= most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_finds_the_key_that_has_it() {
        let keys = ["SO-000007", "SO-000008", "mug", "R7"].map(str::to_owned);
        let found = |text: &str| shaped(text, keys.iter()).into_iter().collect::<Vec<_>>();
        assert_eq!(found("1042"), ["R1042", "SO-001042"]);
        assert_eq!(found("#0042"), ["R42", "SO-000042"]);
        assert_eq!(found("0"), ["R0", "SO-000000"]);
        for none in ["", "#", "SO-1", "10a"] {
            assert_eq!(found(none), Vec::<String>::new(), "{none}");
        }
    }

    #[test]
    fn a_payload_names_a_thing_by_a_value_of_its_own() {
        for (payload, is_named) in [
            (r#"{"number":"SO-1"}"#, true),
            (r#"{"order":{"number":"SO-1"}}"#, true),
            (r#"{"note":"see SO-1"}"#, false),
            (r#"{"lines":[{"order":"SO-1"}]}"#, false),
            (r#"{"a":{"b":{"c":"SO-1"}}}"#, false),
            ("no json", false),
        ] {
            assert_eq!(names(payload, "SO-1"), is_named, "{payload}");
        }
        assert!(names(r#"{"id":1042}"#, "1042"));
    }

    #[test]
    fn near_is_what_a_slip_makes() {
        for (a, b, near) in [
            ("SO-001042", "SO-001043", Some(1)),
            ("SO-001042", "SO001042", Some(1)),
            ("SO-001042", "OS-001042", Some(2)),
            ("SO-001042", "SO-001042", Some(0)),
            ("SO-001042", "SO-999999", None),
            ("1042", "1043", None),
        ] {
            assert_eq!(distance(a, b, 2), near, "{a} {b}");
        }
    }

    #[test]
    fn one_is_taken_and_several_are_told() {
        let set = |keys: &[&str]| keys.iter().map(|key| (*key).to_owned()).collect::<BTreeSet<_>>();
        assert_eq!(decided(set(&[]), FoundBy::Key), None);
        assert_eq!(
            decided(set(&["a"]), FoundBy::ExternalId),
            Some(Resolved::Key("a".to_owned(), FoundBy::ExternalId))
        );
        let many: BTreeSet<String> = (0..30).map(|n| n.to_string()).collect();
        assert!(matches!(
            decided(many, FoundBy::PartOfKey),
            Some(Resolved::Several(keys, true)) if keys.len() == 20
        ));
    }
}
