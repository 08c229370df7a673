//! One batch of a flow: bound, marked as being sent, transformed, written or looked up, and settled record by record.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stecker_model::{
    ErrorCode, Finding, LookupItem, Record, RecordState, RepairKind, WriteItem, api::CircuitState,
};
use stecker_sandbox::CallError;
use stecker_store::{DueRecord, SettledState, Settlement, StoreError};

use crate::{
    FlowError,
    calls::Bound,
    context::FlowContext,
    evidence, fail_point,
    outcome::{self, Progress, Verdict},
    prepare::{self, BatchFailed, Prepared},
};

/// The attribute that says so, see `write-item` in the contract.
const REPAIR: &str = "repair";

/// What the lanes of one flow tell each other.
#[derive(Default)]
pub(crate) struct Shared {
    /// Records that brought a whole batch down, or may have: they go one by one until they are settled, so that a poisonous
    /// one is found and its neighbours are not punished.
    pub(crate) suspects: HashSet<i64>,
    /// Nothing is sent before this moment, because the destination asked for it.
    pub(crate) hold_until: i64,
    /// Failed lookups in a row, per record.
    lookups: HashMap<i64, u32>,
}

pub(crate) fn locked(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One lane's work: from due to settled. Returns the records it was about.
pub(crate) async fn deliver_batch(
    ctx: Arc<FlowContext>,
    shared: Arc<Mutex<Shared>>,
    batch: Vec<DueRecord>,
) -> Result<Vec<i64>, StoreError> {
    let seqs: Vec<i64> = batch.iter().map(|record| record.seq).collect();
    let lookup = batch
        .first()
        .is_some_and(|record| record.state == RecordState::Unknown);
    let (destination, transforms) = match bind(&ctx).await {
        Ok(bound) => bound,
        Err(FlowError::Store(error)) => return Err(error),
        // Nothing is begun, so no attempt is spent. Looked at again soon, because a person may close the circuit.
        Err(FlowError::Circuit { circuit, .. }) => {
            let soon = ctx.now().saturating_add(1_000);
            locked(&shared).hold_until = circuit.until.map_or(soon, |until| until.min(soon));
            if ctx.once && circuit.state != CircuitState::BackingOff {
                ctx.stop.cancel();
            }
            return Ok(seqs);
        }
        // The connection cannot be used at all: nothing is begun, no attempt is spent, and it is tried again shortly.
        Err(error) => {
            tracing::error!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, "the destination cannot be used");
            locked(&shared).hold_until = ctx.now() + 5_000;
            return Ok(seqs);
        }
    };
    fail_point::pass("batch-chosen");
    let mut work = Work {
        ctx: &ctx,
        shared: &shared,
        destination,
        transforms,
        lookup,
        settled: Vec::new(),
    };
    if !lookup {
        let release = work.destination.release.clone();
        match ctx
            .store
            .begin(&ctx.lease, ctx.flow(), &seqs, &release, ctx.now())
            .await
        {
            Ok(()) => fail_point::pass("attempt-begun"),
            // Somebody decided on one of them in between; nothing was begun, and the next look sees it as it is now.
            Err(StoreError::Conflict { .. }) => {
                locked(&shared).hold_until = ctx.now() + 100;
                return Ok(seqs);
            }
            Err(error) => return Err(error),
        }
    }
    work.run(batch).await;
    let settled = std::mem::take(&mut work.settled);
    fail_point::pass(if lookup { "looked-up" } else { "written" });
    settle(&ctx, settled).await?;
    fail_point::pass("settled");
    Ok(seqs)
}

/// What is known about records that were sent is not given up for a database that is busy for a moment. The fence protects the
/// repetition.
async fn settle(ctx: &FlowContext, settled: Vec<Settlement>) -> Result<(), StoreError> {
    for pause_ms in [50, 200, 1_000] {
        match ctx
            .store
            .settle(&ctx.lease, ctx.flow(), settled.clone(), ctx.now())
            .await
        {
            Err(error) if error.passes_by_itself() => {
                tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, "outcomes could not be stored; tried again");
                tokio::time::sleep(Duration::from_millis(pause_ms)).await;
            }
            done => return done,
        }
    }
    ctx.store.settle(&ctx.lease, ctx.flow(), settled, ctx.now()).await
}

async fn bind(ctx: &FlowContext) -> Result<(Bound, Vec<Bound>), FlowError> {
    let destination = ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.destination.connection)
        .await?
        .at(ctx.spec.priority);
    let transforms = ctx.sessions.transforms(&ctx.tenant, &ctx.spec).await?;
    Ok((destination, transforms))
}

/// One record with what it became.
struct Item {
    due: DueRecord,
    attempt: u32,
    outputs: Vec<Record>,
    progress: Progress,
    /// What it was asked with, once it was.
    request: Option<String>,
    answer: Option<String>,
}

impl Item {
    /// A person or a replay has it sent again, after attempts that ended.
    const fn was_sent_before(&self) -> bool {
        self.due.attempts > self.due.attempts_since_reset
    }

    /// The plugin hears that it is a repair, where it is one: a system that knows the idempotency key would leave the thing as it is.
    fn marked(&self, output: &Record) -> Record {
        let mut output = output.clone();
        output.attributes.retain(|(name, _)| name != REPAIR);
        if let Some(repair) = &self.due.repair {
            output.attributes.push((REPAIR.to_owned(), repair.clone()));
        }
        output
    }

    fn is_correction(&self) -> bool {
        self.due.repair.as_deref() == Some(RepairKind::Different.as_str())
    }

    fn open_outputs(&self) -> impl Iterator<Item = &Record> {
        self.outputs
            .iter()
            .filter(|output| !self.progress.has(&output.key))
    }
}

struct Work<'a> {
    ctx: &'a FlowContext,
    shared: &'a Mutex<Shared>,
    destination: Bound,
    transforms: Vec<Bound>,
    lookup: bool,
    settled: Vec<Settlement>,
}

impl Work<'_> {
    async fn run(&mut self, batch: Vec<DueRecord>) {
        let records = batch.iter().map(|due| due.record.clone()).collect();
        let prepared = match prepare::prepare(&self.ctx.spec, &self.transforms, records).await {
            Ok(prepared) => prepared,
            Err(failed) => return self.transform_failed(batch, &failed),
        };
        fail_point::pass("transformed");
        let mut items = Vec::with_capacity(batch.len());
        for (due, prepared) in batch.into_iter().zip(prepared) {
            let attempt = if self.lookup {
                due.attempts
            } else {
                due.attempts + 1
            };
            match prepared {
                Prepared::Write(outputs) => {
                    let progress = Progress::parse(due.outputs.as_deref());
                    items.push(Item {
                        due,
                        attempt,
                        outputs,
                        progress,
                        request: None,
                        answer: None,
                    });
                }
                Prepared::Dropped(reason) => {
                    self.push(&due, SettledState::Dropped { reason }, None, "dropped");
                }
                Prepared::Rejected(reason) => {
                    self.push(&due, SettledState::Quarantined { reason }, None, "rejected");
                }
            }
        }
        if items.is_empty() {
            return;
        }
        let verdicts = if self.lookup {
            self.look_up(&items).await
        } else {
            for item in &mut items {
                let asked: Vec<_> = item
                    .open_outputs()
                    .map(|output| (output, prepare::idempotency_key(&item.due, output)))
                    .collect();
                item.request = Some(evidence::of_request(&self.ctx.spec.destination.stream, &asked));
            }
            self.write(&items).await
        };
        self.conclude(items, verdicts);
    }

    /// A verdict per open output, in order, or one error for all.
    async fn write(&self, items: &[Item]) -> Result<Vec<Verdict>, CallError> {
        let batch = items
            .iter()
            .flat_map(|item| {
                item.open_outputs().map(|record| WriteItem {
                    record: item.marked(record),
                    idempotency_key: prepare::idempotency_key(&item.due, record),
                    attempt: item.attempt,
                })
            })
            .collect();
        let called = self
            .destination
            .write(
                &self.ctx.spec.destination.stream,
                batch,
                self.only_one(items).as_deref(),
            )
            .await;
        called
            .result
            .map(|outcomes| outcomes.into_iter().map(Verdict::from).collect())
    }

    async fn look_up(&self, items: &[Item]) -> Result<Vec<Verdict>, CallError> {
        let questions: Vec<LookupItem> = items
            .iter()
            .flat_map(|item| {
                item.open_outputs().map(|record| LookupItem {
                    key: record.key.clone(),
                    idempotency_key: prepare::idempotency_key(&item.due, record),
                    source_version: record.source_version.clone(),
                })
            })
            .collect();
        let asked = questions.len();
        match self
            .destination
            .lookup(
                &self.ctx.spec.destination.stream,
                questions,
                self.only_one(items).as_deref(),
            )
            .await
            .result
        {
            Ok(findings) => {
                let asked = items
                    .iter()
                    .flat_map(|item| item.open_outputs().map(move |record| (item, record)));
                let verdict = |(finding, (item, record)): (Finding, (&Item, &Record))| {
                    if item.is_correction() {
                        Verdict::of_correction(finding)
                    } else if item.was_sent_before() {
                        Verdict::of_finding_again(finding, &record.payload)
                    } else {
                        finding.into()
                    }
                };
                Ok(findings.into_iter().zip(asked).map(verdict).collect())
            }
            // A destination that has no lookup has idempotency keys or nothing.
            Err(error) if error.code() == ErrorCode::Unsupported => {
                Ok(vec![Verdict::from(Finding::Undecided); asked])
            }
            Err(error) => Err(error),
        }
    }

    /// The record that a call is about, if it is about one: a crash may be its fault.
    fn only_one(&self, items: &[Item]) -> Option<String> {
        match items {
            [item] => Some(format!("{}/{}", self.ctx.flow(), item.due.seq)),
            _ => None,
        }
    }

    fn conclude(&mut self, items: Vec<Item>, verdicts: Result<Vec<Verdict>, CallError>) {
        match verdicts {
            Ok(verdicts) => {
                let mut verdicts = verdicts.into_iter();
                for mut item in items {
                    let open: Vec<String> = item.open_outputs().map(|output| output.key.clone()).collect();
                    let own: Vec<Verdict> = verdicts.by_ref().take(open.len()).collect();
                    for (output, verdict) in open.into_iter().zip(&own) {
                        if let Verdict::Done { external_id, .. } = verdict {
                            item.progress.done(&output, external_id.clone());
                        }
                    }
                    item.answer = Some(evidence::of_answer(&own));
                    self.settle(&item, outcome::combine(own));
                }
            }
            Err(error) if self.lookup => self.lookup_failed(&items, &error),
            Err(error) => {
                tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = items.len(), %error, "writing a batch failed");
                let verdict = Verdict::of_failed_write(&error);
                self.hold_back(&error, &items);
                for item in &items {
                    self.settle(item, verdict.clone());
                }
            }
        }
    }

    /// What a failed batch means for the batches after it: a destination that asked for a pause gets it, and records that may
    /// have broken the plugin go one by one.
    fn hold_back(&self, error: &CallError, items: &[Item]) {
        let mut shared = locked(self.shared);
        match error {
            CallError::Plugin(error) => {
                if let Some(pause) = error.retry_after_ms.and_then(|pause| i64::try_from(pause).ok()) {
                    shared.hold_until = shared.hold_until.max(self.ctx.now().saturating_add(pause));
                }
            }
            CallError::Busy { .. } => {}
            _ => shared.suspects.extend(items.iter().map(|item| item.due.seq)),
        }
    }

    /// The answer to "is it there?" did not come either: ask again later, however long that takes. Sending it again without
    /// knowing would be the one thing worse than waiting.
    fn lookup_failed(&mut self, items: &[Item], error: &CallError) {
        tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = items.len(), %error, "a lookup failed");
        let reason = outcome::call_reason(error);
        for item in items {
            let failures = {
                let mut shared = locked(self.shared);
                let failures = shared.lookups.entry(item.due.seq).or_default();
                *failures = failures.saturating_add(1);
                *failures
            };
            let pause = crate::backoff::pause_ms(&self.ctx.spec.retry, failures, None, &mut rand::rng());
            let at = self.ctx.now().saturating_add(pause);
            self.push(
                &item.due,
                SettledState::Unknown {
                    at,
                    reason: reason.clone(),
                },
                item.due.outputs.clone(),
                "unknown",
            );
        }
    }

    /// The transforms could not take the batch. Passing errors are retried; anything else is looked at record by record, and
    /// the record that fails alone is quarantined.
    fn transform_failed(&mut self, batch: Vec<DueRecord>, failed: &BatchFailed) {
        tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = batch.len(), error = %failed.error, "transforming a batch failed");
        let alone = batch.len() == 1;
        let passes = failed.code().passes_by_itself();
        for due in batch {
            let state = if self.lookup && (passes || !alone) {
                if !passes {
                    locked(self.shared).suspects.insert(due.seq);
                }
                SettledState::Unknown {
                    at: self.ctx.now().saturating_add(1_000),
                    reason: failed.reason(),
                }
            } else if passes {
                self.state_for(
                    Verdict::Again {
                        reason: failed.reason(),
                        retry_after_ms: None,
                    },
                    &due,
                    &Progress::default(),
                )
            } else if alone {
                SettledState::Quarantined {
                    reason: failed.reason(),
                }
            } else {
                locked(self.shared).suspects.insert(due.seq);
                SettledState::Retry {
                    at: self.ctx.now(),
                    reason: failed.reason(),
                }
            };
            let word = if matches!(state, SettledState::Quarantined { .. }) {
                "rejected"
            } else {
                "retry"
            };
            let outputs = due.outputs.clone();
            self.push(&due, state, outputs, word);
        }
    }

    fn settle(&mut self, item: &Item, verdict: Verdict) {
        let word = verdict.word();
        let state = self.state_for(verdict, &item.due, &item.progress);
        if !matches!(state, SettledState::Unknown { .. }) {
            let mut shared = locked(self.shared);
            shared.lookups.remove(&item.due.seq);
            if matches!(
                state,
                SettledState::Delivered { .. } | SettledState::Quarantined { .. }
            ) {
                shared.suspects.remove(&item.due.seq);
            }
        }
        self.push(&item.due, state, item.progress.to_text(), word);
        if let Some(settled) = self.settled.last_mut() {
            settled.request.clone_from(&item.request);
            settled.answer.clone_from(&item.answer);
        }
    }

    /// A lookup is no attempt, but a record that was tried often enough and is not there is given up like any other.
    fn state_for(&self, verdict: Verdict, due: &DueRecord, progress: &Progress) -> SettledState {
        let attempts = due.attempts_since_reset.saturating_add(u32::from(!self.lookup));
        outcome::settle(
            verdict,
            progress,
            attempts,
            &self.ctx.spec.retry,
            self.ctx.now(),
            &mut rand::rng(),
        )
    }

    fn push(&mut self, due: &DueRecord, to: SettledState, outputs: Option<String>, outcome: &str) {
        self.settled.push(Settlement {
            seq: due.seq,
            to,
            outputs,
            outcome: outcome.to_owned(),
            request: None,
            answer: None,
        });
    }
}
