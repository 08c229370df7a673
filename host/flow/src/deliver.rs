//! Delivers one flow's records: takes what is due, transforms it, writes it, and settles every record with an outcome of its own.
//!
//! A record is marked as being sent, durably, before anything leaves the host. So after a kill the next holder of the lease
//! knows which records may or may not have arrived, and asks the destination (`lookup`) before it sends any of them again.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use stecker_model::{ErrorCode, LookupItem, Record, RecordState, WriteItem};
use stecker_sandbox::CallError;
use stecker_store::{DueRecord, SettledState, Settlement, StoreError};
use tokio::task::JoinSet;

use crate::{
    FlowError,
    context::FlowContext,
    outcome::{self, Progress, Verdict},
    prepare::{self, BatchFailed, Prepared},
    reader::millis,
    sessions::Bound,
};

/// How long an idle deliverer sleeps before it looks by itself, should a wake-up have been lost (another node's webhook).
const LOOK: Duration = Duration::from_secs(1);

/// Why delivering ended.
pub(crate) enum DeliverEnd {
    /// It was asked to stop, or its one run is done.
    Stopped,
    /// The lease belongs to somebody else now.
    Fenced,
}

/// What the lanes of one flow tell each other.
#[derive(Default)]
struct Shared {
    /// Records that brought a whole batch down, or may have: they go one by one until they are settled, so that a poisonous
    /// one is found and its neighbours are not punished.
    suspects: HashSet<i64>,
    /// Nothing is sent before this moment, because the destination asked for it.
    hold_until: i64,
    /// Failed lookups in a row, per record.
    lookups: HashMap<i64, u32>,
}

/// Delivers until asked to stop.
pub(crate) async fn run(ctx: &Arc<FlowContext>) -> Result<DeliverEnd, StoreError> {
    let shared = Arc::new(Mutex::new(Shared::default()));
    let mut lanes: JoinSet<Result<Vec<i64>, StoreError>> = JoinSet::new();
    let mut in_flight: HashSet<i64> = HashSet::new();
    let width = ctx.spec.delivery.lanes as usize;
    loop {
        let mut began = false;
        while !ctx.stop.is_cancelled() && lanes.len() < width {
            let Some(batch) = next_batch(ctx, &shared, &in_flight).await? else {
                break;
            };
            began = true;
            in_flight.extend(batch.iter().map(|record| record.seq));
            lanes.spawn(deliver_batch(Arc::clone(ctx), Arc::clone(&shared), batch));
        }
        if lanes.is_empty() {
            if ctx.stop.is_cancelled() {
                return Ok(DeliverEnd::Stopped);
            }
            if ctx.once
                && ctx.reading_is_over()
                && !began
                && ctx.store.waiting(&ctx.tenant, ctx.flow()).await? == 0
            {
                return Ok(DeliverEnd::Stopped);
            }
            wait_for_work(ctx, &shared).await?;
            continue;
        }
        tokio::select! {
            Some(ended) = lanes.join_next() => match finish_lane(ctx, &mut in_flight, ended) {
                Ok(()) => {}
                Err(StoreError::Fenced { .. }) => return Ok(DeliverEnd::Fenced),
                Err(error) => return Err(error),
            },
            () = ctx.deliver_now.notified(), if lanes.len() < width && !ctx.stop.is_cancelled() => {}
        }
    }
}

/// Forgets a lane's records. A panic in a lane is a bug of the host: the runner ends, and the records it held are recovered.
fn finish_lane(
    ctx: &FlowContext,
    in_flight: &mut HashSet<i64>,
    ended: Result<Result<Vec<i64>, StoreError>, tokio::task::JoinError>,
) -> Result<(), StoreError> {
    let seqs = match ended {
        Ok(result) => result?,
        Err(panic) => {
            return Err(StoreError::internal(format!(
                "a delivery of flow {} broke off: {panic}",
                ctx.flow()
            )));
        }
    };
    for seq in seqs {
        in_flight.remove(&seq);
    }
    ctx.room.notify_one();
    Ok(())
}

fn locked(shared: &Mutex<Shared>) -> std::sync::MutexGuard<'_, Shared> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next records to work on together: all to be looked up, or all to be written, and suspects alone.
async fn next_batch(
    ctx: &FlowContext,
    shared: &Mutex<Shared>,
    in_flight: &HashSet<i64>,
) -> Result<Option<Vec<DueRecord>>, StoreError> {
    let now = ctx.now();
    if locked(shared).hold_until > now {
        return Ok(None);
    }
    let size = ctx.spec.delivery.batch as usize;
    let limit = u32::try_from(size + in_flight.len()).unwrap_or(u32::MAX);
    let due = ctx
        .store
        .due(
            &ctx.tenant,
            ctx.flow(),
            ctx.spec.delivery.on_quarantine,
            now,
            limit,
        )
        .await?;
    let mut free = due
        .into_iter()
        .filter(|record| !in_flight.contains(&record.seq))
        .peekable();
    let Some(first) = free.peek() else { return Ok(None) };
    let lookup = first.state == RecordState::Unknown;
    let suspects = locked(shared).suspects.clone();
    if suspects.contains(&first.seq) {
        return Ok(free.next().map(|record| vec![record]));
    }
    let batch: Vec<_> = free
        .filter(|record| (record.state == RecordState::Unknown) == lookup && !suspects.contains(&record.seq))
        .take(size)
        .collect();
    Ok(Some(batch))
}

/// Sleeps until something may be due.
async fn wait_for_work(ctx: &FlowContext, shared: &Mutex<Shared>) -> Result<(), StoreError> {
    let now = ctx.now();
    let hold = locked(shared).hold_until;
    let next = ctx.store.next_due_at(&ctx.tenant, ctx.flow()).await?;
    let wait = next
        .map_or(LOOK, |at| millis(at.max(hold) - now))
        .clamp(Duration::from_millis(1), LOOK);
    tokio::select! {
        () = ctx.stop.cancelled() => {}
        () = ctx.deliver_now.notified() => {}
        () = tokio::time::sleep(wait) => {}
    }
    Ok(())
}

/// One lane's work: from due to settled. Returns the records it was about.
async fn deliver_batch(
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
        // The connection cannot be used at all: nothing is begun, no attempt is spent, and it is tried again shortly.
        Err(error) => {
            tracing::error!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, "the destination cannot be used");
            locked(&shared).hold_until = ctx.now() + 5_000;
            return Ok(seqs);
        }
    };
    let mut work = Work {
        ctx: &ctx,
        shared: &shared,
        destination,
        transforms,
        lookup,
        settled: Vec::new(),
    };
    if !lookup {
        ctx.store
            .begin(
                &ctx.lease,
                ctx.flow(),
                &seqs,
                &work.destination.release,
                ctx.now(),
            )
            .await?;
    }
    work.run(batch).await;
    let settled = std::mem::take(&mut work.settled);
    ctx.store
        .settle(&ctx.lease, ctx.flow(), settled, ctx.now())
        .await?;
    Ok(seqs)
}

async fn bind(ctx: &FlowContext) -> Result<(Bound, Vec<Bound>), FlowError> {
    let destination = ctx
        .sessions
        .connection(&ctx.tenant, &ctx.spec.destination.connection)
        .await?;
    let transforms = ctx.sessions.transforms(&ctx.tenant, &ctx.spec).await?;
    Ok((destination, transforms))
}

/// One record with what it became.
struct Item {
    due: DueRecord,
    attempt: u32,
    outputs: Vec<Record>,
    progress: Progress,
}

impl Item {
    /// The same for every attempt: the record's own key, with the number of the output where there are several.
    fn idempotency_key(&self, output: usize) -> String {
        if self.outputs.len() == 1 {
            self.due.idempotency_key.clone()
        } else {
            format!("{}-{output}", self.due.idempotency_key)
        }
    }

    fn open_outputs(&self) -> impl Iterator<Item = (usize, &Record)> {
        self.outputs
            .iter()
            .enumerate()
            .filter(|(output, _)| !self.progress.has(*output))
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
        let prepared = match prepare::prepare(self.ctx, &self.transforms, records).await {
            Ok(prepared) => prepared,
            Err(failed) => return self.transform_failed(batch, &failed),
        };
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
            self.write(&items).await
        };
        self.conclude(items, verdicts);
    }

    /// A verdict per open output, in order, or one error for all.
    async fn write(&self, items: &[Item]) -> Result<Vec<Verdict>, CallError> {
        let batch = items
            .iter()
            .flat_map(|item| {
                item.open_outputs().map(|(output, record)| WriteItem {
                    record: record.clone(),
                    idempotency_key: item.idempotency_key(output),
                    attempt: item.attempt,
                })
            })
            .collect();
        let called = self
            .destination
            .session
            .write(&self.ctx.spec.destination.stream, batch)
            .await;
        called
            .result
            .map(|outcomes| outcomes.into_iter().map(Verdict::from).collect())
    }

    async fn look_up(&self, items: &[Item]) -> Result<Vec<Verdict>, CallError> {
        let questions: Vec<LookupItem> = items
            .iter()
            .flat_map(|item| {
                item.open_outputs().map(|(output, record)| LookupItem {
                    key: record.key.clone(),
                    idempotency_key: item.idempotency_key(output),
                    source_version: record.source_version.clone(),
                })
            })
            .collect();
        let asked = questions.len();
        match self
            .destination
            .session
            .lookup(&self.ctx.spec.destination.stream, questions)
            .await
            .result
        {
            Ok(findings) => Ok(findings.into_iter().map(Verdict::from).collect()),
            // A destination that has no lookup has idempotency keys or nothing.
            Err(error) if error.code() == ErrorCode::Unsupported => {
                Ok(vec![Verdict::from(stecker_model::Finding::Undecided); asked])
            }
            Err(error) => Err(error),
        }
    }

    fn conclude(&mut self, items: Vec<Item>, verdicts: Result<Vec<Verdict>, CallError>) {
        match verdicts {
            Ok(verdicts) => {
                let mut verdicts = verdicts.into_iter();
                for mut item in items {
                    let open: Vec<usize> = item.open_outputs().map(|(output, _)| output).collect();
                    let own: Vec<Verdict> = verdicts.by_ref().take(open.len()).collect();
                    for (output, verdict) in open.into_iter().zip(&own) {
                        if let Verdict::Done { external_id, .. } = verdict {
                            item.progress.done(output, external_id.clone());
                        }
                    }
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
        for due in batch {
            let state = if self.lookup {
                SettledState::Unknown {
                    at: self.ctx.now().saturating_add(1_000),
                    reason: failed.reason(),
                }
            } else if failed.code().passes_by_itself() {
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
        });
    }
}
