//! One batch of a flow: bound, marked as being sent, transformed, written or looked up, and settled record by record.

mod concluding;
mod shared;

use std::{
    sync::{Arc, Mutex},
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
    prepare::{self, Prepared},
    sizing::Went,
};

pub(crate) use shared::{Shared, locked};

/// The attribute that says so, see `write-item` in the contract.
const REPAIR: &str = "repair";

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
        let called = self
            .destination
            .lookup(
                &self.ctx.spec.destination.stream,
                questions,
                self.only_one(items).as_deref(),
            )
            .await;
        let went = match &called.result {
            Ok(_) => Went::Answered,
            Err(CallError::Deadline { .. }) => Went::CutOff,
            Err(_) => Went::Refused,
        };
        let took = Duration::from_micros(called.usage.wall_us);
        locked(self.shared)
            .lookup_size
            .after(items.len(), took, self.destination.deadline(), went);
        match called.result {
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
}
