//! Facts about a record, from the ledger and what is kept beside it. Every look has a bound; what was decided out of it is decided elsewhere.

use std::{collections::BTreeMap, time::Duration};

use serde_json::Value;
use stecker_model::{
    Name, RecordId, RecordState,
    api::{AttemptInfo, DenialFilter, DenialInfo, RecordFilter, RecordSteps, RecordSummary},
    message_pattern,
};
use stecker_store::{AuditEntry, ExplainedRecord, Settled, Store, StoreError};

use super::{
    connections::Connections,
    facts::{
        Case, ChangeFact, DeliveredBefore, Elsewhere, Failure, FieldFacts, FlowFacts, KnownThing, Named,
        Others, Stage, UpstreamBreaker, WaitingToo,
    },
    field,
    links::Thread,
    story::{Told, stage_of},
    text::quoted,
};
use crate::FlowError;

/// Records around one that are looked at, on each side.
const AROUND: u32 = 200;
/// Records that went through that a field is compared with.
pub(crate) const PEERS: usize = 3;
/// Keys of records that wait for the same upstream.
const SAMPLES: u32 = 5;
/// Names in one failure that are looked up.
const NAMES: usize = 5;
/// Kinds of refusals that are told.
const DENIALS: u32 = 5;
/// How long transforms may take to be run again.
const STEPS: Duration = Duration::from_secs(10);
/// A refusal this long before a failure may belong to it: the books are written every now and then.
const BEFORE_MS: i64 = 60_000;
/// What was changed this long before the first failure is not worth telling, if nothing is known to have gone through.
const CHANGED_MS: i64 = 24 * 60 * 60 * 1_000;
/// Something may go through for this long after a change: batches that had begun, secrets that are kept for a moment.
const COUNTS_AFTER_MS: i64 = 5_000;

/// What the gathering works with.
pub(crate) struct Gather<'g, 's> {
    pub(crate) store: &'s Store,
    pub(crate) tenant: &'s Name,
    pub(crate) now: i64,
    pub(crate) connections: &'g mut Connections<'s>,
    /// What fails in every flow.
    pub(crate) surroundings: &'g [Elsewhere],
    /// Every thread of the key.
    pub(crate) threads: &'g [Thread],
    /// Audit entries about the flows and connections of the threads.
    pub(crate) trail: &'g [AuditEntry],
    /// Releases that the entries name, by their digests.
    pub(crate) plugins: &'g BTreeMap<String, String>,
}

/// Runs the transforms of a flow again on one of its records.
#[async_trait::async_trait]
pub(crate) trait RunSteps: Sync {
    /// As `Engine::steps`.
    async fn steps(&self, id: &RecordId) -> Result<RecordSteps, FlowError>;

    /// The upstream of a connection, while it is down.
    async fn breaker(&self, connection: &Name) -> Result<Option<UpstreamBreaker>, StoreError>;
}

/// As [`RunSteps`], within a time, and without an error: a transform that does not work is told by the rules, not by this.
pub(crate) async fn steps(runner: &dyn RunSteps, id: &RecordId) -> Option<RecordSteps> {
    match tokio::time::timeout(STEPS, runner.steps(id)).await {
        Ok(Ok(steps)) => Some(steps),
        Ok(Err(error)) => {
            tracing::debug!(record = %id, %error, "the transforms could not be run again");
            None
        }
        Err(_) => None,
    }
}

/// What went wrong with a record last, if anything did and it is not over.
pub(crate) fn failure(
    record: &RecordSummary,
    attempts: &[AttemptInfo],
    transforms: usize,
) -> Option<Failure> {
    if !(record.state.is_open() || record.state == RecordState::Quarantined) {
        return None;
    }
    // An attempt that ended after the record was read belongs to a state of it that is not known here.
    let known = attempts
        .partition_point(|attempt| record.state != RecordState::Sending || attempt.attempt < record.attempts);
    let attempts = attempts.get(..known).unwrap_or_default();
    let ended = attempts.iter().rev().find(|attempt| attempt.outcome.is_some());
    let reason = record
        .reason
        .clone()
        .or_else(|| ended.and_then(|attempt| attempt.reason.clone()))?;
    let pattern = message_pattern(&reason.message);
    let same = |attempt: &&AttemptInfo| {
        attempt
            .reason
            .as_ref()
            .is_some_and(|other| other.code == reason.code && message_pattern(&other.message) == pattern)
    };
    let alike: Vec<&AttemptInfo> = attempts.iter().rev().take_while(same).collect();
    // What lies between the first and the last ones was not read; if all of those are alike, so are these.
    let all_alike = alike.len() == attempts.len();
    let times = if all_alike {
        u64::from(record.attempts)
    } else {
        alike.len() as u64
    };
    let last = alike.first().copied().or(ended);
    Some(Failure {
        stage: last.map_or(Stage::Writing, |attempt| stage_of(attempt, transforms)),
        outcome: last.and_then(|attempt| attempt.outcome.clone()),
        first_at: alike
            .last()
            .map_or(record.updated_at, |attempt| attempt.started_at),
        last_at: last.map_or(record.updated_at, |attempt| {
            attempt.finished_at.unwrap_or(attempt.started_at)
        }),
        times: times.max(1),
        place: last.map_or_else(
            || format!("record/{}", record.id),
            |attempt| format!("record/{}, attempt {}", record.id, attempt.attempt),
        ),
        reason,
    })
}

impl Gather<'_, '_> {
    /// Everything about one record. `waiting` is the newest record of the key, if that waits for this one.
    pub(crate) async fn case(
        &mut self,
        thread: &Thread,
        told: &Told,
        waiting: Option<&ExplainedRecord>,
        runner: &dyn RunSteps,
    ) -> Result<(Case, Option<RecordSteps>), StoreError> {
        let summary = &told.record.summary;
        let spec = &thread.flow.spec;
        let failure = failure(summary, &told.attempts, spec.transforms.len());
        let around = match &failure {
            Some(_) => {
                self.store
                    .settled_around(self.tenant, &spec.name, summary.id.seq, AROUND)
                    .await?
            }
            None => Vec::new(),
        };
        let others = failure
            .as_ref()
            .map_or_else(Others::default, |failure| others(summary, failure, &around));
        let same_cause = match &told.record.cause {
            Some(cause) => self.store.stuck_cause(self.tenant, &spec.name, cause).await?,
            None => None,
        };
        // A transform that crashes is not run again for the sake of telling so.
        let again = failure.as_ref().is_some_and(|failure| {
            !spec.transforms.is_empty() && !super::causes::bug::is_crash(&failure.reason)
        });
        let steps = if again && told.removed.is_none() {
            steps(runner, &summary.id).await
        } else {
            None
        };
        let payload = match &failure {
            Some(_) => self.sent(&summary.id, steps.as_ref()).await?,
            None => None,
        };
        let field = match (&failure, &payload) {
            (Some(failure), Some(payload)) => {
                self.field(failure, payload, &around, steps.is_some(), runner)
                    .await?
            }
            _ => None,
        };
        let breaker = runner.breaker(&spec.destination.connection).await?;
        let waiting_too = match &breaker {
            Some(breaker) if failure.is_none() => Some(self.waiting_too(summary, breaker).await?),
            _ => None,
        };
        let case = Case {
            now: self.now,
            record: summary.clone(),
            waiting: waiting.map(|record| record.summary.clone()),
            flow: self.flow(thread).await?,
            connection: self.connections.facts(&spec.destination.connection).await?,
            others,
            same_cause,
            elsewhere: self.elsewhere(&spec.name),
            denials: match &failure {
                Some(failure) => self.denials(thread, failure).await?,
                None => Vec::new(),
            },
            field,
            named: match &failure {
                Some(failure) => self.named(thread, failure, payload.as_ref()).await?,
                None => Vec::new(),
            },
            delivered_before: self.delivered_before(thread, told),
            changes: Vec::new(),
            given_up_by: self.given_up_by(&told.record),
            breaker,
            waiting_too,
            failure,
        };
        let changes = self.changes(&case, thread);
        Ok((Case { changes, ..case }, steps))
    }

    async fn waiting_too(
        &self,
        summary: &RecordSummary,
        breaker: &UpstreamBreaker,
    ) -> Result<WaitingToo, StoreError> {
        let flow = &summary.id.flow;
        let filter = RecordFilter {
            flow: Some(flow.clone()),
            state: Some(RecordState::Queued),
            limit: Some(SAMPLES),
            ..RecordFilter::default()
        };
        let mut keys = vec![summary.key.clone()];
        for record in self.store.list_records(self.tenant, &filter).await?.records {
            if !keys.contains(&record.key) {
                keys.push(record.key);
            }
        }
        Ok(WaitingToo {
            count: self.store.waiting(self.tenant, flow).await?,
            keys,
            since: breaker.since,
        })
    }

    fn elsewhere(&self, flow: &Name) -> Vec<Elsewhere> {
        let others = self
            .surroundings
            .iter()
            .filter(|other| other.flow != *flow || other.reading);
        others.cloned().collect()
    }

    pub(crate) async fn flow(&self, thread: &Thread) -> Result<FlowFacts, StoreError> {
        let spec = &thread.flow.spec;
        Ok(FlowFacts {
            name: spec.name.clone(),
            paused: thread.flow.paused.clone(),
            open: self.store.waiting(self.tenant, &spec.name).await?,
        })
    }

    /// The payload as the destination would get it: through the transforms, if there are any and they work; else as it was read.
    async fn sent(&self, id: &RecordId, steps: Option<&RecordSteps>) -> Result<Option<Value>, StoreError> {
        if let Some(steps) = steps {
            let first = steps.would_send.first();
            return Ok(Some(
                first.map_or_else(|| steps.payload.clone(), |sent| sent.payload.clone()),
            ));
        }
        let found = self.store.whole_records(self.tenant, &id.flow, &[id.seq]).await?;
        Ok(found
            .first()
            .map(|record| crate::steps::json(&record.record.payload)))
    }

    async fn field(
        &self,
        failure: &Failure,
        payload: &Value,
        around: &[Settled],
        by_steps: bool,
        runner: &dyn RunSteps,
    ) -> Result<Option<FieldFacts>, StoreError> {
        let Some(path) = failure.reason.path.as_deref().filter(|path| !path.is_empty()) else {
            return Ok(None);
        };
        let good = around
            .iter()
            .rev()
            .filter(|settled| settled.state == RecordState::Delivered)
            .take(PEERS);
        let mut peers = Vec::with_capacity(PEERS);
        for settled in good {
            let steps = if by_steps {
                steps(runner, &settled.id).await
            } else {
                None
            };
            if by_steps && steps.is_none() {
                continue;
            }
            peers.extend(self.sent(&settled.id, steps.as_ref()).await?);
        }
        Ok(field::compare(path, payload, &peers))
    }

    /// What the failure names, and what the ledger knows of it in flows to the same system.
    async fn named(
        &self,
        thread: &Thread,
        failure: &Failure,
        payload: Option<&Value>,
    ) -> Result<Vec<Named>, StoreError> {
        if failure.stage != Stage::Writing {
            return Ok(Vec::new());
        }
        let mut texts = quoted(&failure.reason.message);
        let at_path = failure.reason.path.as_deref().zip(payload);
        if let Some(value) = at_path.and_then(|(path, payload)| field::name_at(path, payload))
            && !texts.contains(&value)
        {
            texts.insert(0, value);
        }
        // The record itself is not what it depends on.
        texts.retain(|text| *text != thread.key);
        texts.truncate(NAMES);
        let known = self.store.known_keys(self.tenant, &texts).await?;
        let destination = &thread.flow.spec.destination.connection;
        let flows = if known.is_empty() {
            Vec::new()
        } else {
            self.store.flows(self.tenant).await?
        };
        let mut named = Vec::with_capacity(texts.len());
        for text in texts {
            let mut things = Vec::new();
            if known.contains(&text) {
                let to_it = flows
                    .iter()
                    .filter(|row| row.spec.destination.connection == *destination);
                for row in to_it.take(20) {
                    let newest = self
                        .store
                        .records_of_key(self.tenant, &row.spec.name, &text, 1)
                        .await?;
                    things.extend(newest.into_iter().map(|record| KnownThing {
                        id: record.summary.id,
                        state: record.summary.state,
                        since: record.summary.updated_at,
                    }));
                }
            }
            named.push(Named { text, known: things });
        }
        Ok(named)
    }

    async fn denials(&self, thread: &Thread, failure: &Failure) -> Result<Vec<DenialInfo>, StoreError> {
        let spec = &thread.flow.spec;
        let mut filter = DenialFilter {
            since: Some(failure.first_at - BEFORE_MS),
            limit: Some(DENIALS),
            ..DenialFilter::default()
        };
        match failure.stage {
            Stage::Transform => filter.flow = Some(spec.name.clone()),
            Stage::Writing => filter.connection = Some(spec.destination.connection.clone()),
            Stage::Reading => filter.connection = Some(spec.source.connection.clone()),
        }
        let mut denials = self.store.denials(self.tenant, &filter).await?.denials;
        // The one that the message tells of first.
        denials.sort_by_key(|denial| !failure.reason.message.contains(denial.asked.as_str()));
        Ok(denials)
    }

    fn delivered_before(&self, thread: &Thread, told: &Told) -> Vec<DeliveredBefore> {
        let destination = &thread.flow.spec.destination.connection;
        let to_it = self
            .threads
            .iter()
            .filter(|other| other.flow.spec.destination.connection == *destination);
        let mut before: Vec<DeliveredBefore> = to_it
            .flat_map(|other| &other.records)
            .filter(|record| {
                record.summary.state == RecordState::Delivered && record.summary.id != told.record.summary.id
            })
            .map(|record| DeliveredBefore {
                id: record.summary.id.clone(),
                external_id: record.summary.external_id.clone(),
                at: record.summary.updated_at,
            })
            .collect();
        let earlier = told
            .attempts
            .iter()
            .rev()
            .find(|attempt| matches!(attempt.outcome.as_deref(), Some("delivered" | "duplicate")));
        before.extend(earlier.map(|attempt| DeliveredBefore {
            id: told.record.summary.id.clone(),
            external_id: told.record.summary.external_id.clone(),
            at: attempt.finished_at.unwrap_or(attempt.started_at),
        }));
        before.sort_by_key(|delivered| std::cmp::Reverse(delivered.at));
        before
    }

    fn given_up_by(&self, record: &ExplainedRecord) -> Option<String> {
        let discards = self
            .trail
            .iter()
            .rev()
            .filter(|entry| entry.action == "quarantine.discard");
        let mut met = discards.filter_map(|entry| super::trail::decision(entry, record));
        met.next().and_then(|event| event.actor)
    }

    /// What was changed between the last that went through and the first that did not.
    fn changes(&self, case: &Case, thread: &Thread) -> Vec<ChangeFact> {
        let Some(failure) = &case.failure else {
            return Vec::new();
        };
        let from = case
            .others
            .last_good
            .map_or(failure.first_at - CHANGED_MS, |good| good - COUNTS_AFTER_MS);
        let (flow, connection) = (
            format!("flow/{}", thread.flow.spec.name),
            format!("connection/{}", case.connection.name),
        );
        let secrets = format!("secret/{}/", case.connection.name);
        self.trail
            .iter()
            .filter(|entry| (from..=failure.first_at).contains(&entry.at))
            .filter(|entry| {
                let is_change = matches!(entry.action.as_str(), "flow.update" | "connection.update")
                    || entry.action.starts_with("secret.");
                is_change
                    && (entry.subject == flow
                        || entry.subject == connection
                        || entry.subject.starts_with(&secrets))
            })
            .filter_map(|entry| {
                let told = super::trail::event(entry, None, self.plugins)?;
                Some(ChangeFact {
                    at: entry.at,
                    what: format!("{}, by {}", told.text, entry.actor),
                    place: format!("audit, {}", entry.subject),
                })
            })
            .collect()
    }
}

/// What became of the records around one.
fn others(record: &RecordSummary, failure: &Failure, around: &[Settled]) -> Others {
    let good = around
        .iter()
        .filter(|settled| settled.state == RecordState::Delivered && settled.key != record.key);
    let mut found = Others::default();
    for settled in good {
        if settled.at < failure.first_at {
            found.last_good = found.last_good.max(Some(settled.at));
        } else {
            found.good_since += 1;
            let is_later = found.latest_good.as_ref().is_none_or(|(_, at)| *at <= settled.at);
            if is_later {
                found.latest_good = Some((settled.key.clone(), settled.at));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use stecker_model::api::Reason;

    use super::*;
    use crate::explain::causes::tests::cases::{attempt, summary};

    #[test]
    fn a_failure_is_as_long_as_its_attempts_are_alike() {
        let mut record = summary(RecordState::Retrying);
        record.attempts = 4;
        record.reason = Some(Reason {
            code: "transient".to_owned(),
            message: "503 after 4 s".to_owned(),
            path: None,
        });
        let attempts = [
            attempt(1, "retry", "auth", "401"),
            attempt(2, "retry", "transient", "503 after 1 s"),
            attempt(3, "retry", "transient", "503 after 2 s"),
        ];
        let found = failure(&record, &attempts, 0).unwrap();
        assert_eq!(
            (found.times, found.first_at, found.stage),
            (2, attempts[1].started_at, Stage::Writing)
        );
        // Of ten thousand the first and the last were read, and all are alike.
        let all = failure(&record, &attempts[1..], 0).unwrap();
        assert_eq!(all.times, 4);
        record.state = RecordState::Delivered;
        assert!(failure(&record, &attempts, 0).is_none());
    }
}
