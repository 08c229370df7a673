//! The story of a key: what is known of it as events, in the order of time, with what repeats folded into one. Pure.

use std::collections::BTreeMap;

use stecker_model::{
    Operation, RecordState,
    api::{
        AttemptInfo, DenialInfo, EditInfo, EventKind, Reason, RecordSteps, RemovedPayload, ReplayMark,
        StoryEvent,
    },
    message_pattern,
};
use stecker_store::ExplainedRecord;

use super::{
    facts::Stage,
    links::Thread,
    text::{first_line, last_message},
};

/// A record with everything that happened to it.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) record: ExplainedRecord,
    pub(crate) attempts: Vec<AttemptInfo>,
    pub(crate) edits: Vec<EditInfo>,
    pub(crate) replays: Vec<ReplayMark>,
    pub(crate) removed: Option<RemovedPayload>,
}

/// Where an attempt ended. What was never handed to the destination has no digest of a request.
pub(crate) fn stage_of(attempt: &AttemptInfo, transforms: usize) -> Stage {
    let refused = matches!(attempt.outcome.as_deref(), Some("rejected" | "retry" | "dropped"));
    if transforms > 0 && refused && attempt.request.is_none() && attempt.answer.is_none() {
        Stage::Transform
    } else {
        Stage::Writing
    }
}

/// An event of a record; the rest is for the caller to fill in.
pub(crate) fn blank(thread: &Thread, record: &ExplainedRecord, at: i64, kind: EventKind) -> StoryEvent {
    StoryEvent {
        at,
        last_at: None,
        times: 1,
        kind,
        system: "stecker".to_owned(),
        flow: Some(thread.flow.spec.name.clone()),
        record: Some(record.summary.id.clone()),
        text: String::new(),
        release: None,
        node: None,
        actor: None,
        details: BTreeMap::new(),
    }
}

fn why(reason: Option<&Reason>) -> String {
    let Some(reason) = reason else {
        return String::new();
    };
    let place = reason
        .path
        .as_deref()
        .filter(|path| !path.is_empty())
        .map_or_else(String::new, |path| format!(" at {path}"));
    format!(
        ": {}{place}: {}",
        reason.code,
        first_line(last_message(&reason.message))
    )
}

/// The events of one record. `plugins` names releases by their digests.
pub(crate) fn of_record(thread: &Thread, told: &Told, plugins: &BTreeMap<String, String>) -> Vec<StoryEvent> {
    let record = &told.record;
    let summary = &record.summary;
    let spec = &thread.flow.spec;
    let called = |digest: &str| plugins.get(digest).cloned().unwrap_or_else(|| digest.to_owned());
    let mut events = Vec::new();
    let what = match summary.operation {
        Operation::Upsert => "read",
        Operation::Delete => "read that it is gone,",
    };
    events.push(StoryEvent {
        system: spec.source.connection.to_string(),
        text: format!("{what} version {}", summary.source_version),
        release: Some(called(record.release.as_str())),
        ..blank(thread, record, summary.accepted_at, EventKind::Accepted)
    });
    let last = told.attempts.last().map(|attempt| attempt.attempt);
    for attempt in &told.attempts {
        let is_last = Some(attempt.attempt) == last;
        let mut event = of_attempt(thread, record, attempt, is_last);
        event.release = Some(called(attempt.release.as_str()));
        events.push(event);
    }
    for edit in &told.edits {
        events.push(StoryEvent {
            text: format!("payload corrected: {}", first_line(&edit.reason)),
            actor: Some(edit.actor.clone()),
            ..blank(thread, record, edit.at, EventKind::Decision)
        });
    }
    for mark in &told.replays {
        events.push(StoryEvent {
            text: format!(
                "queued again by the replay {}: {}",
                mark.replay,
                first_line(&mark.reason)
            ),
            actor: Some(mark.actor.clone()),
            ..blank(thread, record, mark.at, EventKind::Replay)
        });
    }
    if let Some(repair) = &record.repair {
        events.push(StoryEvent {
            text: format!(
                "a comparison found it {repair} at the destination; it was delivered again or will be"
            ),
            ..blank(thread, record, summary.updated_at, EventKind::Repair)
        });
    }
    if let Some(removed) = &told.removed {
        events.push(StoryEvent {
            text: format!("its payload ({} bytes) is not kept any more", removed.size),
            ..blank(thread, record, removed.removed_at, EventKind::Retention)
        });
    }
    events
}

fn of_attempt(thread: &Thread, record: &ExplainedRecord, attempt: &AttemptInfo, is_last: bool) -> StoryEvent {
    let spec = &thread.flow.spec;
    let state = record.summary.state;
    let id = record
        .summary
        .external_id
        .as_ref()
        .filter(|_| is_last)
        .map_or_else(String::new, |id| format!(" as {id}"));
    let stage = stage_of(attempt, spec.transforms.len());
    let why = why(attempt.reason.as_ref());
    // What is refused goes into quarantine at once, whatever became of it later; that tries were given up shows only as long as it is so.
    let quarantined =
        attempt.outcome.as_deref() == Some("rejected") || (is_last && state == RecordState::Quarantined);
    let then = if quarantined { " → quarantine" } else { "" };
    let (kind, text) = match attempt.outcome.as_deref() {
        Some("delivered") => (EventKind::Delivered, format!("delivered{id}")),
        Some("duplicate") => (EventKind::Delivered, format!("was there already{id}")),
        Some("dropped") => (EventKind::Dropped, format!("left out by a transform{why}")),
        Some("rejected") if stage == Stage::Transform => {
            (EventKind::Attempt, format!("refused by a transform{why}"))
        }
        Some("rejected") => (EventKind::Attempt, format!("refused{why}")),
        Some("retry") if stage == Stage::Transform => {
            (EventKind::Attempt, format!("a transform could not take it{why}"))
        }
        Some("retry") => (EventKind::Attempt, format!("not taken{why}")),
        Some("unknown") => (EventKind::Attempt, format!("sent, and no answer came{why}")),
        Some(other) => (EventKind::Attempt, format!("{other}{why}")),
        None if is_last && state == RecordState::Sending => (EventKind::Attempt, "is being sent".to_owned()),
        None => (
            EventKind::Attempt,
            format!("cut off; whether it arrived is asked for before it is sent again{why}"),
        ),
    };
    let kind = if quarantined { EventKind::Quarantined } else { kind };
    let mut details = BTreeMap::from([("attempt".to_owned(), attempt.attempt.to_string())]);
    let more = [
        ("outcome", attempt.outcome.clone()),
        ("request", attempt.request.clone()),
        ("answer", attempt.answer.clone()),
        (
            "field",
            attempt.reason.as_ref().and_then(|reason| reason.path.clone()),
        ),
    ];
    for (name, value) in more {
        if let Some(value) = value {
            details.insert(name.to_owned(), value);
        }
    }
    StoryEvent {
        system: match stage {
            Stage::Transform => "stecker".to_owned(),
            Stage::Reading | Stage::Writing => spec.destination.connection.to_string(),
        },
        text: format!("{text}{then}"),
        node: attempt.node.clone(),
        details,
        ..blank(
            thread,
            record,
            attempt.finished_at.unwrap_or(attempt.started_at),
            kind,
        )
    }
}

/// What the transforms make of a record now.
pub(crate) fn of_steps(thread: &Thread, record: &ExplainedRecord, steps: &RecordSteps) -> Vec<StoryEvent> {
    steps
        .steps
        .iter()
        .map(|step| {
            let keys: Vec<&str> = step
                .records
                .iter()
                .take(5)
                .map(|record| record.key.as_str())
                .collect();
            let made = if keys.is_empty() {
                String::new()
            } else {
                format!(" {}", keys.join(", "))
            };
            StoryEvent {
                text: format!(
                    "run again now, transform {} {}{made}{}",
                    step.step,
                    step.outcome,
                    why(step.reason.as_ref())
                ),
                release: Some(step.plugin.clone()),
                ..blank(thread, record, steps.run_at, EventKind::Transform)
            }
        })
        .collect()
}

/// What a plugin of the thread was refused.
pub(crate) fn of_denial(denial: &DenialInfo) -> StoryEvent {
    let system = denial
        .connection
        .as_ref()
        .map_or_else(|| "stecker".to_owned(), ToString::to_string);
    StoryEvent {
        at: denial.first_seen_at,
        last_at: (denial.count > 1).then_some(denial.last_seen_at),
        times: denial.count.max(1),
        kind: EventKind::Denial,
        system,
        flow: denial.flow.clone(),
        record: None,
        text: format!(
            "refused {} by the rule {}",
            first_line(&denial.asked),
            denial.rule
        ),
        release: Some(denial.plugin.clone()),
        node: None,
        actor: None,
        details: BTreeMap::from([
            ("denial".to_owned(), denial.id.clone()),
            ("layer".to_owned(), denial.layer.clone()),
        ]),
    }
}

/// In the order of time. Of one moment, what was read comes before what became of it.
pub(crate) fn in_order(events: &mut [StoryEvent]) {
    events.sort_by(|a, b| (a.at, &a.record, a.kind, attempt(a)).cmp(&(b.at, &b.record, b.kind, attempt(b))));
}

fn attempt(event: &StoryEvent) -> u64 {
    event
        .details
        .get("attempt")
        .and_then(|attempt| attempt.parse().ok())
        .unwrap_or(0)
}

/// Whether two events are the same thing again, but for values in it.
fn is_again(a: &StoryEvent, b: &StoryEvent) -> bool {
    let foldable = |event: &StoryEvent| {
        matches!(
            event.kind,
            EventKind::Attempt | EventKind::Quarantined | EventKind::Reading | EventKind::Webhook
        )
    };
    let text = |event: &StoryEvent| message_pattern(event.text.trim_end_matches(" → quarantine"));
    foldable(a)
        && foldable(b)
        && (&a.record, &a.flow, &a.system, &a.release) == (&b.record, &b.flow, &b.system, &b.release)
        && a.details.get("outcome") == b.details.get("outcome")
        && text(a) == text(b)
}

/// Folds what comes several times in a row into one event. The text is that of the last one, because it is as things are now.
pub(crate) fn folded(events: Vec<StoryEvent>) -> Vec<StoryEvent> {
    let mut folded: Vec<StoryEvent> = Vec::with_capacity(events.len());
    for event in events {
        if let Some(last) = folded.last_mut().filter(|last| is_again(last, &event)) {
            last.last_at = Some(event.last_at.unwrap_or(event.at));
            last.times += event.times;
            last.kind = event.kind;
            last.text = event.text;
            last.node = event.node;
            last.details = event.details;
            continue;
        }
        folded.push(event);
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(at: i64, kind: EventKind, text: &str) -> StoryEvent {
        StoryEvent {
            at,
            last_at: None,
            times: 1,
            kind,
            system: "erp".to_owned(),
            flow: None,
            record: None,
            text: text.to_owned(),
            release: None,
            node: None,
            actor: None,
            details: BTreeMap::new(),
        }
    }

    #[test]
    fn what_repeats_is_one_event_until_something_else_happens() {
        let events = vec![
            event(1, EventKind::Accepted, "read"),
            event(2, EventKind::Attempt, "not taken: 503, wait 10 s"),
            event(3, EventKind::Attempt, "not taken: 503, wait 20 s"),
            event(
                4,
                EventKind::Quarantined,
                "not taken: 503, wait 40 s → quarantine",
            ),
            event(5, EventKind::Decision, "sent on its way again"),
            event(6, EventKind::Attempt, "not taken: 503, wait 10 s"),
        ];
        let folded = folded(events);
        let seen: Vec<_> = folded
            .iter()
            .map(|event| (event.at, event.last_at, event.times, event.kind))
            .collect();
        assert_eq!(
            seen,
            [
                (1, None, 1, EventKind::Accepted),
                (2, Some(4), 3, EventKind::Quarantined),
                (5, None, 1, EventKind::Decision),
                (6, None, 1, EventKind::Attempt),
            ]
        );
    }

    #[test]
    fn of_one_moment_what_was_read_comes_first() {
        let mut events = vec![
            event(2, EventKind::Attempt, "not taken"),
            event(2, EventKind::Accepted, "read"),
            event(1, EventKind::Attempt, "earlier"),
        ];
        in_order(&mut events);
        let texts: Vec<_> = events.iter().map(|event| event.text.as_str()).collect();
        assert_eq!(texts, ["earlier", "read", "not taken"]);
    }
}
