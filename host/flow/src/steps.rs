//! A record on its way, step by step: each transform run again on it alone, now, on the releases that the flow has now. Pure plugins make
//! that harmless: nothing is sent, and nothing is written down.

use serde_json::Value;
use stecker_model::{
    FlowSpec, Record,
    api::{PayloadText, RecordSteps, StepRecord, StepResult, WouldSend},
};
use stecker_store::DueRecord;

use crate::{
    calls::Bound,
    outcome::Progress,
    prepare::{self, Prepared},
};

/// Runs the steps of one record.
pub(crate) async fn of(
    spec: &FlowSpec,
    transforms: &[Bound],
    due: DueRecord,
    text: PayloadText,
    now: i64,
) -> RecordSteps {
    let mut steps = Vec::with_capacity(transforms.len());
    let mut prepared = Prepared::Write(vec![due.record.clone()]);
    let mut failed = None;
    for (index, transform) in transforms.iter().enumerate() {
        if !matches!(prepared, Prepared::Write(_)) {
            break;
        }
        match prepare::apply(index, transform, vec![prepared]).await {
            Ok(mut after) => {
                prepared = after.pop().unwrap_or(Prepared::Write(Vec::new()));
                steps.push(result(index, transform, &prepared));
            }
            Err(error) => {
                let reason = error.reason();
                steps.push(StepResult {
                    outcome: "failed".to_owned(),
                    reason: Some(reason.clone()),
                    ..blank(index, transform)
                });
                failed = Some(reason);
                prepared = Prepared::Write(Vec::new());
                break;
            }
        }
    }
    if failed.is_none() {
        prepare::conclude(spec, &mut prepared);
    }
    let (would_send, nothing) = match (prepared, failed) {
        (_, Some(reason)) => (Vec::new(), Some(reason)),
        (Prepared::Dropped(reason) | Prepared::Rejected(reason), None) => (Vec::new(), Some(reason)),
        (Prepared::Write(outputs), None) => (would_send(spec, &due, &outputs), None),
    };
    RecordSteps {
        id: text.id,
        state: text.state,
        payload: json(&due.record.payload),
        edits: text.edits,
        run_at: now,
        steps,
        would_send,
        nothing,
    }
}

fn would_send(spec: &FlowSpec, due: &DueRecord, outputs: &[Record]) -> Vec<WouldSend> {
    let progress = Progress::parse(due.outputs.as_deref());
    let open = due.state.is_open() || due.state == stecker_model::RecordState::Quarantined;
    outputs
        .iter()
        .map(|output| WouldSend {
            connection: spec.destination.connection.clone(),
            stream: output.stream.clone(),
            key: output.key.clone(),
            operation: output.operation,
            idempotency_key: prepare::idempotency_key(due, output),
            payload: json(&output.payload),
            written: !open || progress.has(&output.key),
        })
        .collect()
}

fn blank(index: usize, transform: &Bound) -> StepResult {
    let manifest = &transform.session.release().inspection().manifest;
    StepResult {
        step: u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1),
        release: transform.release.clone(),
        plugin: format!("{}@{}", manifest.name, manifest.version),
        outcome: String::new(),
        reason: None,
        records: Vec::new(),
    }
}

fn result(index: usize, transform: &Bound, prepared: &Prepared) -> StepResult {
    let (outcome, reason, records) = match prepared {
        Prepared::Write(records) => ("emitted", None, records.iter().map(step_record).collect()),
        Prepared::Dropped(reason) => ("dropped", Some(reason.clone()), Vec::new()),
        Prepared::Rejected(reason) => ("rejected", Some(reason.clone()), Vec::new()),
    };
    StepResult {
        outcome: outcome.to_owned(),
        reason,
        records,
        ..blank(index, transform)
    }
}

fn step_record(record: &Record) -> StepRecord {
    StepRecord {
        key: record.key.clone(),
        operation: record.operation,
        payload: json(&record.payload),
    }
}

/// What a guest gave is shown even if it is not the JSON that it should be.
pub(crate) fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// Where a payload does not fit the schema that the source gives for its stream; a few places are enough to find the fault.
pub(crate) fn misfits(schema: &Value, payload: &Value) -> Vec<String> {
    const MOST: usize = 10;
    if schema.is_null() {
        return Vec::new();
    }
    match jsonschema::draft202012::new(schema) {
        Ok(validator) => validator
            .iter_errors(payload)
            .take(MOST)
            .map(|error| {
                let place = error.instance_path().to_string();
                let place = if place.is_empty() {
                    "the payload".to_owned()
                } else {
                    place
                };
                format!("{place}: {error}")
            })
            .collect(),
        Err(error) => vec![format!(
            "the schema that the source gives for the stream is itself not valid: {error}"
        )],
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn misfits_name_their_places() {
        let schema = json!({
            "type": "object",
            "properties": { "lines": { "type": "array", "items": { "properties": { "sku": { "type": "string" } } } } },
            "required": ["number"],
        });
        assert_eq!(
            misfits(&schema, &json!({ "number": 1, "lines": [{ "sku": "A" }] })),
            Vec::<String>::new()
        );
        let found = misfits(&schema, &json!({ "lines": [{ "sku": 1 }] }));
        assert_eq!(found.len(), 2);
        assert!(
            found.iter().any(|text| text.starts_with("/lines/0/sku: ")),
            "{found:?}"
        );
        assert!(
            found.iter().any(|text| text.starts_with("the payload: ")),
            "{found:?}"
        );
        assert!(misfits(&json!({ "type": 5 }), &json!({}))[0].contains("not valid"));
        assert_eq!(misfits(&Value::Null, &json!({})), Vec::<String>::new());
    }
}
