//! Entries of the audit trail as events of a story: what was changed, by whom, in words. Pure.

use std::collections::BTreeMap;

use serde_json::Value;
use stecker_model::{
    Name,
    api::{EventKind, QuarantineSelection, StoryEvent},
};
use stecker_store::{AuditEntry, ExplainedRecord};

use super::text::first_line;

/// What an entry tells; none: nothing that matters to a record. `plugins` names releases by their digests.
pub(crate) fn event(
    entry: &AuditEntry,
    flow: Option<&Name>,
    plugins: &BTreeMap<String, String>,
) -> Option<StoryEvent> {
    let reason = |detail: &Value| {
        detail
            .get("reason")
            .and_then(Value::as_str)
            .map_or_else(String::new, |reason| format!(": {}", first_line(reason)))
    };
    let subject = &entry.subject;
    let name = subject.split_once('/').map_or(subject.as_str(), |(_, name)| name);
    let why = reason(&entry.detail);
    let (kind, text) = match entry.action.as_str() {
        "flow.pause" => (EventKind::Flow, format!("the flow was paused{why}")),
        "flow.resume" => (EventKind::Flow, "the flow was resumed".to_owned()),
        "flow.create" | "connection.create" => (EventKind::Deployment, format!("{subject} was made")),
        "flow.update" | "connection.update" => (
            EventKind::Deployment,
            format!("{subject} was changed: {}", changed(&entry.detail, plugins)),
        ),
        "connection.circuit-open" => (
            EventKind::Circuit,
            format!("`{name}` is not called any more{why}"),
        ),
        "connection.circuit-close" => (EventKind::Circuit, format!("`{name}` is called again{why}")),
        "secret.set" => (EventKind::Secret, format!("{subject} was set")),
        "secret.remove" => (EventKind::Secret, format!("{subject} was removed")),
        "secret.authorize" => (
            EventKind::Secret,
            format!("access was allowed anew for {subject}"),
        ),
        "replay.start" => (EventKind::Flow, format!("a replay of the flow began{why}")),
        "reconcile.repair" => (
            EventKind::Flow,
            "a comparison had records of the flow repaired".to_owned(),
        ),
        other if other.starts_with("secret.") => (EventKind::Secret, format!("{subject}: {other}")),
        _ => return None,
    };
    Some(StoryEvent {
        at: entry.at,
        last_at: None,
        times: 1,
        kind,
        system: "stecker".to_owned(),
        flow: flow.cloned(),
        record: None,
        text,
        release: None,
        node: None,
        actor: Some(entry.actor.clone()),
        details: BTreeMap::from([("action".to_owned(), entry.action.clone())]),
    })
}

/// A decision on quarantined records, if it met this one. What a selection met is not kept record by record, so this holds it against the
/// record as it is.
pub(crate) fn decision(entry: &AuditEntry, record: &ExplainedRecord) -> Option<StoryEvent> {
    let text = match entry.action.as_str() {
        "quarantine.retry" => "sent on its way again".to_owned(),
        "quarantine.discard" => {
            let reason = entry.detail.get("reason").and_then(Value::as_str);
            format!("given up: {}", first_line(reason.unwrap_or_default()))
        }
        _ => return None,
    };
    let selection: QuarantineSelection =
        serde_json::from_value(entry.detail.get("selection")?.clone()).ok()?;
    if !may_have_met(&selection, record, entry.at) {
        return None;
    }
    let by_name = !selection.ids.is_empty();
    let count = entry.detail.get("records").and_then(Value::as_u64).unwrap_or(1);
    let others = match count {
        0 | 1 => String::new(),
        n => format!(", with {} others", n - 1),
    };
    Some(StoryEvent {
        at: entry.at,
        last_at: None,
        times: 1,
        kind: EventKind::Decision,
        system: "stecker".to_owned(),
        flow: Some(record.summary.id.flow.clone()),
        record: Some(record.summary.id.clone()),
        text: format!("{text}{others}"),
        release: None,
        node: None,
        actor: Some(entry.actor.clone()),
        details: BTreeMap::from([
            ("action".to_owned(), entry.action.clone()),
            (
                "met".to_owned(),
                if by_name { "by its id" } else { "by a selection" }.to_owned(),
            ),
        ]),
    })
}

fn may_have_met(selection: &QuarantineSelection, record: &ExplainedRecord, at: i64) -> bool {
    let summary = &record.summary;
    if !selection.ids.is_empty() {
        return selection.ids.contains(&summary.id);
    }
    let differs = |wanted: &Option<String>, is: Option<&str>| {
        wanted
            .as_deref()
            .is_some_and(|wanted| is.is_some_and(|is| is != wanted))
    };
    // A decision made before it was there, or while nothing had been tried, was not about it.
    let was_there = summary.accepted_at <= at && summary.attempts > 0;
    was_there
        && !differs(&selection.key, Some(&summary.key))
        && !differs(&selection.group, record.cause.as_deref())
        && !differs(
            &selection.code,
            summary.reason.as_ref().map(|reason| reason.code.as_str()),
        )
}

/// Which parts of a specification were changed; a release by its name.
fn changed(detail: &Value, plugins: &BTreeMap<String, String>) -> String {
    let (before, after) = (&detail["before"], &detail["after"]);
    let Some(fields) = after.as_object() else {
        return "something".to_owned();
    };
    let called = |value: &Value| {
        let digest = value["digest"].as_str().unwrap_or_default();
        plugins.get(digest).map_or(digest, String::as_str).to_owned()
    };
    let mut words = Vec::new();
    let removed = before.as_object().into_iter().flat_map(|fields| fields.keys());
    let mut names: Vec<&String> = fields.keys().chain(removed).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (was, is) = (&before[name], &after[name]);
        if was == is {
            continue;
        }
        match name.as_str() {
            "plugin" => words.push(format!("release {} → {}", called(was), called(is))),
            "transform" => words.push("its transforms".to_owned()),
            other => words.push(other.to_owned()),
        }
    }
    if words.is_empty() {
        "nothing that shows".to_owned()
    } else {
        words.join(", ")
    }
}

/// The digests that entries name.
pub(crate) fn digests(entries: &[AuditEntry]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in entries {
        for side in ["before", "after"] {
            if let Some(digest) = entry.detail[side]["plugin"]["digest"].as_str()
                && !found.iter().any(|known| known == digest)
            {
                found.push(digest.to_owned());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn entry(action: &str, subject: &str, detail: Value) -> AuditEntry {
        AuditEntry {
            at: 1,
            actor: "ada".to_owned(),
            action: action.to_owned(),
            subject: subject.to_owned(),
            detail,
        }
    }

    #[test]
    fn a_change_names_the_release_and_the_parts() {
        let plugins = BTreeMap::from([
            ("sha256:a".to_owned(), "acme/erp@1.2.0".to_owned()),
            ("sha256:b".to_owned(), "acme/erp@1.3.0".to_owned()),
        ]);
        let update = entry(
            "connection.update",
            "connection/erp",
            json!({
                "before": { "name": "erp", "plugin": { "digest": "sha256:a" }, "config": {}, "limits": 1 },
                "after": { "name": "erp", "plugin": { "digest": "sha256:b" }, "config": { "x": 1 } },
            }),
        );
        assert_eq!(digests(std::slice::from_ref(&update)), ["sha256:a", "sha256:b"]);
        let told = event(&update, None, &plugins).unwrap();
        assert_eq!(told.kind, EventKind::Deployment);
        assert_eq!(
            told.text,
            "connection/erp was changed: config, limits, release acme/erp@1.2.0 → acme/erp@1.3.0"
        );
        assert_eq!(told.actor.as_deref(), Some("ada"));
        assert_eq!(
            event(&entry("flow.run", "flow/a", json!({})), None, &plugins),
            None
        );
    }
}
