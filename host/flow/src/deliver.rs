//! Delivers one flow's records: takes what is due, transforms it, writes it, and settles every record with an outcome of its own.
//!
//! A record is marked as being sent, durably, before anything leaves the host. So after a kill the next holder of the lease
//! knows which records may or may not have arrived, and asks the destination (`lookup`) before it sends any of them again.

use std::{
    collections::HashSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use stecker_model::RecordState;
use stecker_store::{DueRecord, StoreError};
use tokio::task::JoinSet;

use crate::{
    batch::{Shared, deliver_batch, locked},
    context::FlowContext,
    reader::until,
    upstream,
};

/// How long a deliverer that is busy waits at most before it looks whether more is due.
const LOOK: Duration = Duration::from_secs(1);

/// Why delivering ended.
pub(crate) enum DeliverEnd {
    /// It was asked to stop, or its one run is done.
    Stopped,
    /// The lease belongs to somebody else now.
    Fenced,
}

type Lanes = JoinSet<Result<Vec<i64>, StoreError>>;

/// Delivers until asked to stop.
pub(crate) async fn run(ctx: &Arc<FlowContext>) -> Result<DeliverEnd, StoreError> {
    let mut lanes = Lanes::new();
    let end = run_lanes(ctx, &mut lanes).await;
    if !matches!(end, Ok(DeliverEnd::Fenced)) {
        // What other lanes have sent is settled before this ends; cut off, it would have to be looked up while it is still
        // on its way.
        ctx.stop.cancel();
        while let Some(ended) = lanes.join_next().await {
            if !matches!(ended, Ok(Ok(_))) {
                tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), "a batch could not be settled; its records are looked up");
            }
        }
    }
    end
}

async fn run_lanes(ctx: &Arc<FlowContext>, lanes: &mut Lanes) -> Result<DeliverEnd, StoreError> {
    let shared = Arc::new(Mutex::new(Shared::new(&ctx.spec.delivery)));
    let mut in_flight: HashSet<i64> = HashSet::new();
    let most = ctx.spec.delivery.lanes as usize;
    loop {
        let width = locked(&shared).lanes(most);
        // Asked before looking: what came in until then is seen by the look.
        let over = ctx.intake_is_over();
        let mut began = false;
        while !ctx.stop.is_cancelled() && lanes.len() < locked(&shared).lanes(most) {
            let Some(batch) = next_batch(ctx, &shared, &in_flight).await? else {
                break;
            };
            let Some(batch) = upstream::admit_batch(ctx, &shared, batch, lanes.is_empty()).await? else {
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
            if ctx.once && over && !began && nothing_will_come(ctx, &shared).await? {
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
            // A lane that waits for a slow answer must not keep retries that fall due meanwhile.
            () = tokio::time::sleep(LOOK), if lanes.len() < width && !ctx.stop.is_cancelled() => {}
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

/// The next records to work on together: all to be looked up, or all to be written, and suspects alone.
async fn next_batch(
    ctx: &FlowContext,
    shared: &Mutex<Shared>,
    in_flight: &HashSet<i64>,
) -> Result<Option<Vec<DueRecord>>, StoreError> {
    let now = ctx.now();
    let (size, lookup_size) = {
        let shared = locked(shared);
        if shared.hold_until > now {
            return Ok(None);
        }
        (shared.batch(), shared.lookup())
    };
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
        .take(if lookup { lookup_size } else { size })
        .collect();
    Ok(Some(batch))
}

/// Nothing is due, and nothing will be by itself: what is still open waits behind a record in quarantine, for a person.
async fn nothing_will_come(ctx: &FlowContext, shared: &Mutex<Shared>) -> Result<bool, StoreError> {
    let held = locked(shared).hold_until > ctx.now();
    Ok(!held && ctx.store.next_due_at(&ctx.tenant, ctx.flow()).await?.is_none())
}

/// Sleeps until something may be due. Without anything that waits for its time, that is when somebody says so.
async fn wait_for_work(ctx: &FlowContext, shared: &Mutex<Shared>) -> Result<(), StoreError> {
    let now = ctx.now();
    let hold = locked(shared).hold_until;
    let next = ctx.store.next_due_at(&ctx.tenant, ctx.flow()).await?;
    let next = next.map(|at| at.max(hold));
    // What was never tried is due at any time, and waits for this alone.
    let held = (hold > now).then_some(hold);
    let due = next.into_iter().chain(held).min();
    // What could be done already and was not will not be done by looking again at once.
    let due = due.map(|due| due.max(now.saturating_add(1)));
    tokio::select! {
        () = ctx.stop.cancelled() => {}
        () = ctx.deliver_now.notified() => {}
        () = until(ctx, || due) => {}
    }
    Ok(())
}
