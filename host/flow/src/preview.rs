//! What a replay would change: its records run through the transforms as they are now, and what would be sent held against what the
//! destination has (`lookup`). Reads, and nothing else.

use stecker_model::{
    ErrorCode, Finding, FlowSpec, LookupItem, Name, Record, RecordId,
    api::{ComparedRecord, DifferingPlace, Reason, ReplayFinding},
    difference,
};
use stecker_store::DueRecord;

use crate::{
    FlowError,
    calls::Bound,
    prepare::{self, Prepared},
    steps::json,
};

/// The flow whose records are compared, bound.
pub(crate) struct Comparison<'c> {
    pub(crate) spec: &'c FlowSpec,
    pub(crate) destination: &'c Bound,
    pub(crate) transforms: &'c [Bound],
}

/// What was found of one output.
struct OfOutput {
    finding: ReplayFinding,
    places: Vec<DifferingPlace>,
    count: usize,
    reason: Option<Reason>,
}

impl Comparison<'_> {
    /// One answer a record, in order. The destination is asked about as many at once as the flow writes at once.
    ///
    /// # Errors
    /// A destination that fails rather than answers. One that has no `lookup` is undecided about everything.
    pub(crate) async fn compare(&self, records: Vec<DueRecord>) -> Result<Vec<ComparedRecord>, FlowError> {
        let mut compared = Vec::with_capacity(records.len());
        let mut records = records.into_iter().peekable();
        while records.peek().is_some() {
            let batch: Vec<DueRecord> = records.by_ref().take(self.spec.delivery.batch as usize).collect();
            let prepared = self.prepare(&batch).await;
            let items: Vec<LookupItem> = batch
                .iter()
                .zip(&prepared)
                .flat_map(|(due, prepared)| outputs(prepared).iter().map(move |output| question(due, output)))
                .collect();
            let mut findings = self.look_up(items).await?.into_iter();
            for (due, prepared) in batch.iter().zip(&prepared) {
                let own = outputs(prepared)
                    .iter()
                    .map(|output| of_output(output, findings.next().unwrap_or(Finding::Undecided)))
                    .collect();
                compared.push(judge(&self.spec.name, due, prepared, own));
            }
        }
        Ok(compared)
    }

    /// A record that brings the batch down is found by going one by one.
    async fn prepare(&self, batch: &[DueRecord]) -> Vec<Prepared> {
        let records = |batch: &[DueRecord]| batch.iter().map(|due| due.record.clone()).collect();
        if let Ok(prepared) = prepare::prepare(self.spec, self.transforms, records(batch)).await {
            return prepared;
        }
        let mut prepared = Vec::with_capacity(batch.len());
        for one in batch {
            let alone = std::slice::from_ref(one);
            match prepare::prepare(self.spec, self.transforms, records(alone)).await {
                Ok(own) => prepared.extend(own),
                Err(failed) => prepared.push(Prepared::Rejected(failed.reason())),
            }
        }
        prepared
    }

    async fn look_up(&self, items: Vec<LookupItem>) -> Result<Vec<Finding>, FlowError> {
        if items.is_empty() {
            return Ok(Vec::new());
        }
        let asked = items.len();
        let stream = &self.spec.destination.stream;
        match self.destination.lookup(stream, items, None).await.result {
            Ok(findings) => Ok(findings),
            Err(error) if error.code() == ErrorCode::Unsupported => Ok(vec![Finding::Undecided; asked]),
            Err(error) => Err(error.into()),
        }
    }
}

fn outputs(prepared: &Prepared) -> &[Record] {
    match prepared {
        Prepared::Write(outputs) => outputs,
        Prepared::Dropped(_) | Prepared::Rejected(_) => &[],
    }
}

fn question(due: &DueRecord, output: &Record) -> LookupItem {
    LookupItem {
        key: output.key.clone(),
        idempotency_key: prepare::idempotency_key(due, output),
        source_version: output.source_version.clone(),
    }
}

fn of_output(output: &Record, finding: Finding) -> OfOutput {
    let plain = |finding, reason: Option<&str>| OfOutput {
        finding,
        places: Vec::new(),
        count: 0,
        reason: reason.map(|message| Reason {
            code: "undecided".to_owned(),
            message: message.to_owned(),
            path: None,
        }),
    };
    match finding {
        Finding::Absent => plain(ReplayFinding::Absent, None),
        Finding::Undecided => plain(ReplayFinding::Undecided, Some("the destination cannot tell")),
        Finding::Present { payload: None, .. } => plain(
            ReplayFinding::Undecided,
            Some("it is at the destination, which does not say what it has"),
        ),
        Finding::Present {
            payload: Some(there), ..
        } => {
            let found = difference(&json(&there), &json(&output.payload));
            if found.count == 0 {
                return plain(ReplayFinding::Equal, None);
            }
            OfOutput {
                finding: ReplayFinding::Different,
                places: found
                    .places
                    .into_iter()
                    .map(|place| DifferingPlace {
                        key: output.key.clone(),
                        path: place.path,
                        there: place.there,
                        sent: place.sent,
                    })
                    .collect(),
                count: found.count,
                reason: None,
            }
        }
    }
}

/// The finding on a record of several outputs: what a person has to look at first. Different if one is, else absent if one is, else
/// undecided if one is, else equal.
fn judge(flow: &Name, due: &DueRecord, prepared: &Prepared, own: Vec<OfOutput>) -> ComparedRecord {
    let mut compared = ComparedRecord {
        id: RecordId {
            flow: flow.clone(),
            seq: due.seq,
        },
        key: due.record.key.clone(),
        finding: ReplayFinding::Equal,
        differences: Vec::new(),
        places: 0,
        reason: None,
    };
    if let Prepared::Dropped(reason) | Prepared::Rejected(reason) = prepared {
        compared.finding = ReplayFinding::Unsendable;
        compared.reason = Some(reason.clone());
        return compared;
    }
    let rank = |finding: ReplayFinding| match finding {
        ReplayFinding::Equal => 0,
        ReplayFinding::Undecided => 1,
        ReplayFinding::Absent => 2,
        ReplayFinding::Different | ReplayFinding::Unsendable => 3,
    };
    for output in own {
        if rank(output.finding) > rank(compared.finding) {
            compared.finding = output.finding;
            compared.reason = output.reason;
        }
        compared.places = compared.places.saturating_add(output.count as u64);
        compared.differences.extend(output.places);
    }
    compared
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;
    use stecker_model::{Operation, RecordState};

    use super::*;

    fn record(key: &str, payload: &str) -> Record {
        Record {
            stream: "orders".to_owned(),
            key: key.to_owned(),
            operation: Operation::Upsert,
            payload: payload.to_owned(),
            before: None,
            event_time: None,
            source_version: "1".to_owned(),
            attributes: Vec::new(),
        }
    }

    fn present(payload: Option<&str>) -> Finding {
        Finding::Present {
            external_id: None,
            payload: payload.map(str::to_owned),
        }
    }

    fn judged(findings: Vec<Finding>) -> ComparedRecord {
        let due = DueRecord {
            seq: 7,
            record: record("a", "{}"),
            idempotency_key: "k".to_owned(),
            state: RecordState::Delivered,
            attempts: 1,
            attempts_since_reset: 1,
            release: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            outputs: None,
            tries: None,
            repair: None,
        };
        let outputs: Vec<Record> = (0..findings.len())
            .map(|n| record(&format!("a{n}"), r#"{"total": 5}"#))
            .collect();
        let own = outputs
            .iter()
            .zip(findings)
            .map(|(output, finding)| of_output(output, finding))
            .collect();
        judge(&"f".parse().unwrap(), &due, &Prepared::Write(outputs), own)
    }

    #[test]
    fn one_output_that_differs_makes_the_record_different() {
        let equal = || present(Some(r#"{"total": 5, "id": 1}"#));
        let other = || present(Some(r#"{"total": 6}"#));
        for (findings, expected) in [
            (vec![equal()], ReplayFinding::Equal),
            (vec![equal(), equal()], ReplayFinding::Equal),
            (vec![other()], ReplayFinding::Different),
            (vec![Finding::Absent, other(), equal()], ReplayFinding::Different),
            (vec![equal(), Finding::Absent], ReplayFinding::Absent),
            (vec![Finding::Undecided, Finding::Absent], ReplayFinding::Absent),
            (vec![equal(), Finding::Undecided], ReplayFinding::Undecided),
            (vec![present(None)], ReplayFinding::Undecided),
        ] {
            assert_eq!(judged(findings.clone()).finding, expected, "{findings:?}");
        }
        let different = judged(vec![equal(), other()]);
        assert_eq!(different.places, 1);
        let place = &different.differences[0];
        assert_eq!((place.key.as_str(), place.path.as_str()), ("a1", "/total"));
        assert_eq!(
            (place.there.as_deref(), place.sent.as_deref()),
            (Some("6"), Some("5"))
        );
    }

    fn any_json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[a-z~/ä]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 64, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map("[a-z~/]{0,4}", inner, 0..6)
                    .prop_map(|map| Value::from(map.into_iter().collect::<serde_json::Map<_, _>>())),
            ]
        })
    }

    proptest! {
        /// Nothing differs from itself, and every place that is told leads to what is there and what would be sent.
        #[test]
        fn differences_lead_somewhere(there in any_json(), sent in any_json()) {
            prop_assert_eq!(difference(&sent, &sent).count, 0);
            let found = difference(&there, &sent);
            prop_assert!(found.places.len() <= found.count && found.places.len() <= 20);
            for place in found.places {
                let cut = |text: &str| text.chars().count() <= 121;
                prop_assert_eq!(place.there.is_some(), there.pointer(&place.path).is_some());
                prop_assert_eq!(place.sent.is_some(), sent.pointer(&place.path).is_some());
                prop_assert!(place.there.as_deref().is_none_or(cut) && place.sent.as_deref().is_none_or(cut));
            }
        }
    }
}
