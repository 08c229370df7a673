//! Runs a batch through a flow's transforms and says, for each record, what is to be written.

use std::collections::BTreeSet;

use sha2::{Digest as _, Sha256};
use stecker_model::{ErrorCode, FlowSpec, Record, Rejection, Transformed, api::Reason};
use stecker_sandbox::CallError;
use stecker_store::DueRecord;

use crate::calls::Bound;

/// What one accepted record became.
pub(crate) enum Prepared {
    /// These are to be written, one or more.
    Write(Vec<Record>),
    /// Left out by a transform.
    Dropped(Reason),
    /// Cannot be transformed.
    Rejected(Reason),
}

/// The batch as a whole could not be transformed.
pub(crate) struct BatchFailed {
    pub(crate) step: usize,
    pub(crate) error: CallError,
}

impl BatchFailed {
    pub(crate) fn code(&self) -> ErrorCode {
        self.error.code()
    }

    pub(crate) fn reason(&self) -> Reason {
        Reason {
            code: self.code().as_str().to_owned(),
            message: format!("transform {} of the flow: {}", self.step + 1, self.error),
            path: None,
        }
    }
}

/// One answer per record, in order.
pub(crate) async fn prepare(
    spec: &FlowSpec,
    transforms: &[Bound],
    records: Vec<Record>,
) -> Result<Vec<Prepared>, BatchFailed> {
    let mut prepared: Vec<Prepared> = records
        .into_iter()
        .map(|record| Prepared::Write(vec![record]))
        .collect();
    for (step, transform) in transforms.iter().enumerate() {
        prepared = apply(step, transform, prepared).await?;
    }
    for one in &mut prepared {
        conclude(spec, one);
    }
    Ok(prepared)
}

/// What holds for whatever comes out of the last transform: it goes where the flow says, each output has a key of its own, and nothing is
/// nothing.
pub(crate) fn conclude(spec: &FlowSpec, one: &mut Prepared) {
    let Prepared::Write(records) = one else { return };
    retarget(spec, records);
    if let Some(key) = doubled_key(records) {
        *one = Prepared::Rejected(Reason {
            code: "ambiguous-key".to_owned(),
            message: format!(
                "the transforms made several records with the key `{key}` of one; their order could not be kept, so each needs a key of its own"
            ),
            path: None,
        });
    } else if records.is_empty() {
        *one = Prepared::Dropped(Reason {
            code: "dropped".to_owned(),
            message: "the transforms made nothing of it".to_owned(),
            path: None,
        });
    }
}

/// The same for every attempt, and whatever else a transform makes of the record: the record's own key, with a digest of the
/// output's key where that is another.
pub(crate) fn idempotency_key(due: &DueRecord, output: &Record) -> String {
    if output.key == due.record.key {
        return due.idempotency_key.clone();
    }
    let digest = hex::encode(Sha256::digest(output.key.as_bytes()));
    format!("{}-{}", due.idempotency_key, digest.get(..16).unwrap_or(&digest))
}

/// One call for all records that are still in, whatever record of the batch they came from.
pub(crate) async fn apply(
    step: usize,
    transform: &Bound,
    prepared: Vec<Prepared>,
) -> Result<Vec<Prepared>, BatchFailed> {
    let batch: Vec<Record> = prepared
        .iter()
        .filter_map(|one| match one {
            Prepared::Write(records) => Some(records.iter().cloned()),
            Prepared::Dropped(_) | Prepared::Rejected(_) => None,
        })
        .flatten()
        .collect();
    if batch.is_empty() {
        return Ok(prepared);
    }
    let answers = transform
        .apply(batch)
        .await
        .result
        .map_err(|error| BatchFailed { step, error })?;
    let mut answers = answers.into_iter();
    Ok(prepared
        .into_iter()
        .map(|one| match one {
            Prepared::Write(records) => merge(answers.by_ref().take(records.len())),
            done => done,
        })
        .collect())
}

/// What one record's parts became, taken together: a rejected part rejects the record, because half of it would be a lie.
fn merge(answers: impl Iterator<Item = Transformed>) -> Prepared {
    let mut records = Vec::new();
    let mut dropped = None;
    let mut rejected = None;
    for answer in answers {
        match answer {
            Transformed::Emit(emitted) => records.extend(emitted),
            Transformed::Drop(reason) => dropped = dropped.or(Some(reason)),
            Transformed::Reject(rejection) => rejected = rejected.or(Some(rejection)),
        }
    }
    match (rejected, dropped) {
        (Some(rejection), _) => Prepared::Rejected(reason_of(rejection)),
        (None, Some(message)) if records.is_empty() => Prepared::Dropped(Reason {
            code: "dropped".to_owned(),
            message,
            path: None,
        }),
        _ => Prepared::Write(records),
    }
}

/// A key that more than one output has.
fn doubled_key(records: &[Record]) -> Option<String> {
    let mut seen = BTreeSet::new();
    records
        .iter()
        .find(|record| !seen.insert(record.key.as_str()))
        .map(|record| record.key.clone())
}

/// Where records go is the flow's to say.
fn retarget(spec: &FlowSpec, records: &mut [Record]) {
    for record in records {
        record.stream.clone_from(&spec.destination.stream);
    }
}

pub(crate) fn reason_of(rejection: Rejection) -> Reason {
    Reason {
        code: rejection.code,
        message: rejection.reason,
        path: rejection.path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stecker_model::Operation;

    fn record(key: &str) -> Record {
        Record {
            stream: "orders".to_owned(),
            key: key.to_owned(),
            operation: Operation::Upsert,
            payload: "{}".to_owned(),
            before: None,
            event_time: None,
            source_version: "1".to_owned(),
            attributes: Vec::new(),
        }
    }

    #[test]
    fn a_rejected_part_rejects_the_record() {
        let rejection = Rejection {
            code: "bad".to_owned(),
            reason: "no".to_owned(),
            path: None,
            details: Vec::new(),
        };
        let merged = merge(
            [
                Transformed::Emit(vec![record("a")]),
                Transformed::Reject(rejection),
            ]
            .into_iter(),
        );
        assert!(matches!(merged, Prepared::Rejected(reason) if reason.code == "bad"));
    }

    #[test]
    fn a_dropped_part_leaves_the_others() {
        let merged = merge(
            [
                Transformed::Drop("test order".to_owned()),
                Transformed::Emit(vec![record("a")]),
            ]
            .into_iter(),
        );
        assert!(matches!(merged, Prepared::Write(records) if records.len() == 1));
        let merged = merge([Transformed::Drop("test order".to_owned())].into_iter());
        assert!(matches!(merged, Prepared::Dropped(reason) if reason.message == "test order"));
    }
}
