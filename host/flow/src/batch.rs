//! One batch of a flow: bound, marked as being sent, transformed, written or looked up, and settled record by record.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stecker_model::{
    DeliveryPolicy, ErrorCode, Finding, LookupItem, Record, RecordState, RepairKind, RetryClass, WriteItem,
    api::{CircuitState, Reason},
};
use stecker_sandbox::CallError;
use stecker_store::{DueRecord, SettledState, Settlement, StoreError};

use crate::{
    FlowError,
    calls::Bound,
    context::FlowContext,
    evidence, fail_point,
    outcome::{self, Progress, Standing, Verdict},
    prepare::{self, BatchFailed, Prepared},
    reach::{Passage, Reach, passage},
    sizing::{BatchSize, Went},
    tries::Tries,
};

/// The attribute that says so, see `write-item` in the contract.
const REPAIR: &str = "repair";

/// What the lanes of one flow tell each other.
pub(crate) struct Shared {
    /// Records that brought a whole batch down, or may have: they go one by one until they are settled, so that a poisonous
    /// one is found and its neighbours are not punished.
    pub(crate) suspects: HashSet<i64>,
    /// Nothing is sent before this moment, because the destination asked for it.
    pub(crate) hold_until: i64,
    /// Failed lookups in a row, per record.
    lookups: HashMap<i64, u32>,
    /// Whether anything gets through.
    reach: Reach,
    /// How many records a batch takes.
    size: BatchSize,
}

impl Shared {
    pub(crate) fn new(policy: &DeliveryPolicy) -> Self {
        Self {
            suspects: HashSet::new(),
            hold_until: 0,
            lookups: HashMap::new(),
            reach: Reach::default(),
            size: BatchSize::new(policy.batch),
        }
    }

    /// Records that a batch takes now. One, as long as nothing gets through: more could only fail.
    pub(crate) fn batch(&self) -> usize {
        if self.reach.is_blocked() {
            1
        } else {
            self.size.get()
        }
    }

    /// Batches at the same time, of at most `most`. As long as nothing gets through, one at a time finds out whether it does again.
    pub(crate) fn lanes(&self, most: usize) -> usize {
        if self.reach.is_blocked() { 1 } else { most }
    }
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
        down: false,
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
    /// The upstream is known to be down, or asked to be left alone: what fails on the way says nothing about a record.
    down: bool,
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
        self.down = self.is_down(&verdicts).await;
        self.conclude(items, verdicts);
    }

    async fn is_down(&self, verdicts: &Result<Vec<Verdict>, CallError>) -> bool {
        let failed = match verdicts {
            Ok(verdicts) => verdicts
                .iter()
                .any(|verdict| matches!(verdict, Verdict::Again { .. })),
            Err(_) => true,
        };
        let connection = &self.ctx.spec.destination.connection;
        // Not to be known counts as not to be so: then an attempt counts that might not have to.
        failed
            && matches!(
                self.ctx.upstreams.wait_of(&self.ctx.tenant, connection).await,
                Ok(Some(_))
            )
    }

    /// A verdict per open output, in order, or one error for all.
    async fn write(&self, items: &[Item]) -> Result<Vec<Verdict>, CallError> {
        let batch: Vec<WriteItem> = items
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
        let went = match &called.result {
            Ok(_) => Went::Answered,
            Err(CallError::Deadline { .. }) => Went::CutOff,
            Err(error) if outcome::is_about_a_record(error) => Went::Refused,
            Err(_) => return called.result.map(|_| Vec::new()),
        };
        let took = Duration::from_micros(called.usage.wall_us);
        locked(self.shared)
            .size
            .after(items.len(), took, self.destination.deadline(), went);
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
                // An answer to "is it there?" is an answer, whatever it says.
                let passage = if self.lookup {
                    Passage::Through
                } else {
                    passage(&verdicts)
                };
                self.note(passage, &items, asked_to_wait(&verdicts));
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
                let about_a_record = outcome::is_about_a_record(&error);
                // Those that may be what the batch failed for go one by one.
                if about_a_record || !matches!(error, CallError::Plugin(_) | CallError::Busy { .. }) {
                    let suspects = items.iter().map(|item| item.due.seq);
                    locked(self.shared).suspects.extend(suspects);
                }
                let verdicts = std::slice::from_ref(&verdict);
                self.note(passage(verdicts), &items, asked_to_wait(verdicts));
                if about_a_record && items.len() > 1 {
                    return self.one_by_one(&items, &outcome::call_reason(&error));
                }
                for item in &items {
                    self.settle(item, verdict.clone());
                }
            }
        }
    }

    /// What a batch says about the way, and what follows for the batches after it: a destination that asked for a pause gets it, and so does
    /// one that lets nothing through.
    fn note(&self, passage: Passage, items: &[Item], asked_ms: Option<u64>) {
        let mut shared = locked(self.shared);
        shared.reach.note(passage, items.iter().map(|item| item.due.seq));
        let Passage::Blocked(class) = passage else { return };
        let pause = if class != RetryClass::Unavailable || shared.reach.is_blocked() {
            let budget = self.ctx.spec.retry.budget(class);
            crate::backoff::pause_ms(&budget, shared.reach.batches(), asked_ms, &mut rand::rng())
        } else {
            asked_ms.and_then(|pause| i64::try_from(pause).ok()).unwrap_or(0)
        };
        shared.hold_until = shared.hold_until.max(self.ctx.now().saturating_add(pause));
    }

    /// A batch that was refused for one of its records says nothing about the others.
    fn one_by_one(&mut self, items: &[Item], reason: &Reason) {
        for item in items {
            let again = SettledState::Retry {
                at: self.ctx.now(),
                reason: reason.clone(),
            };
            self.push(&item.due, again, item.progress.to_text(), "retry");
            self.add_evidence(item);
        }
    }

    /// The answer to "is it there?" did not come either: ask again later, however long that takes. Sending it again without
    /// knowing would be the one thing worse than waiting.
    fn lookup_failed(&mut self, items: &[Item], error: &CallError) {
        tracing::warn!(tenant = %self.ctx.tenant, flow = %self.ctx.flow(), records = items.len(), %error, "a lookup failed");
        let reason = outcome::call_reason(error);
        let class = RetryClass::of(error.code().as_str());
        if class.is_on_the_way() {
            self.note(Passage::Blocked(class), items, None);
        }
        for item in items {
            let failures = {
                let mut shared = locked(self.shared);
                let failures = shared.lookups.entry(item.due.seq).or_default();
                *failures = failures.saturating_add(1);
                *failures
            };
            let pause = crate::backoff::pause_ms(
                &self.ctx.spec.retry.budget(class),
                failures,
                None,
                &mut rand::rng(),
            );
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
                let again = Verdict::Again {
                    reason: failed.reason(),
                    retry_after_ms: None,
                };
                let (state, tries) = self.state_for(again, &due, &Progress::default());
                let outputs = due.outputs.clone();
                self.push(&due, state, outputs, "retry");
                if let Some(settled) = self.settled.last_mut() {
                    settled.tries = tries;
                }
                continue;
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
        let (state, tries) = self.state_for(verdict, &item.due, &item.progress);
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
        self.add_evidence(item);
        if let Some(settled) = self.settled.last_mut() {
            settled.tries = tries;
        }
    }

    /// What it was asked and answered, for the attempt's row.
    fn add_evidence(&mut self, item: &Item) {
        if let Some(settled) = self.settled.last_mut() {
            settled.request.clone_from(&item.request);
            settled.answer.clone_from(&item.answer);
        }
    }

    /// A lookup is no attempt, but a record that was tried often enough and is not there is given up like any other.
    fn state_for(
        &self,
        verdict: Verdict,
        due: &DueRecord,
        progress: &Progress,
    ) -> (SettledState, Option<String>) {
        let mut tries = Tries::parse(due.tries.as_deref());
        let standing = Standing {
            tries: &mut tries,
            attempts: due.attempts_since_reset.saturating_add(u32::from(!self.lookup)),
            excused: self.down || locked(self.shared).reach.is_blocked(),
        };
        let policy = &self.ctx.spec.retry;
        let state = outcome::settle(
            verdict,
            progress,
            standing,
            policy,
            self.ctx.now(),
            &mut rand::rng(),
        );
        (state, tries.to_text())
    }

    fn push(&mut self, due: &DueRecord, to: SettledState, outputs: Option<String>, outcome: &str) {
        self.settled.push(Settlement {
            seq: due.seq,
            to,
            outputs,
            outcome: outcome.to_owned(),
            request: None,
            answer: None,
            tries: None,
        });
    }
}

/// The longest pause that any answer of a batch asked for.
fn asked_to_wait(verdicts: &[Verdict]) -> Option<u64> {
    verdicts
        .iter()
        .filter_map(|verdict| match verdict {
            Verdict::Again { retry_after_ms, .. } => *retry_after_ms,
            _ => None,
        })
        .max()
}
