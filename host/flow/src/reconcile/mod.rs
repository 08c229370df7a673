//! Compares what a flow should have brought about with what its destination holds, and repairs what differs by the path that every record
//! takes.
//!
//! Webhooks get lost and cursors skip; people change things where nobody is told. A comparison finds out, and answers one of two questions:
//!
//! - **by the ledger**: was anything lost or changed at the destination after it was delivered? Costs nothing at the source.
//! - **in full**: did everything that the source has now arrive, whatever the ledger knows of it? Reads the source again from its beginning.
//!
//! | file | what |
//! |---|---|
//! | `expected` | what should be there; pure |
//! | `drill` | from sums to keys; pure |
//! | `fields` | where two payloads differ; pure |
//! | `collect` | what should be there, out of the ledger or the source |
//! | `destination` | the calls of the destination's plugin |
//! | `compare` | one comparison |
//! | `repair` | what is done about it |
//! | `work` | one comparison as work that can be ended and begun anew |

mod collect;
mod compare;
mod destination;
mod drill;
mod expected;
mod fields;
mod repair;
mod stop;
mod work;

use std::time::Duration;

use stecker_model::{
    ReconcilePolicy, Trigger,
    api::{ReconcileMode, ReconcileRequest},
};
use stecker_store::StoreError;

use crate::{context::FlowContext, schedule::Schedule};

pub(crate) use work::execute;

/// Who the audit trail names for comparisons that begin by themselves.
const SCHEDULE: &str = "schedule";
/// How often a flow looks whether a comparison was asked for on another node.
const LOOK: Duration = Duration::from_secs(1);

/// The schedule of a policy.
pub(crate) fn schedule(policy: &ReconcilePolicy) -> Result<Schedule, String> {
    Schedule::of(&Trigger {
        every: policy.every,
        cron: policy.cron.clone(),
        webhook: false,
    })
}

/// Compares whenever it is asked for or due, until asked to stop. What is cut off by that is begun anew by the next holder of the lease.
pub(crate) async fn run(ctx: &FlowContext) -> Result<(), StoreError> {
    tokio::select! {
        () = ctx.stop.cancelled() => Ok(()),
        ended = watch(ctx) => ended,
    }
}

async fn watch(ctx: &FlowContext) -> Result<(), StoreError> {
    let policy = ctx.spec.reconcile.clone().unwrap_or_default();
    let schedule = schedule(&policy).unwrap_or(Schedule::Never);
    let started = ctx.now();
    loop {
        if let Some(run) = ctx.store.open_reconcile(&ctx.tenant, ctx.flow()).await? {
            execute(ctx, &run.id).await?;
            continue;
        }
        if is_due(ctx, &schedule, started).await? {
            let request = ReconcileRequest {
                mode: if policy.full {
                    ReconcileMode::Full
                } else {
                    ReconcileMode::Ledger
                },
                repair: policy.repair.clone(),
                ..ReconcileRequest::default()
            };
            match ctx
                .store
                .request_reconcile(&ctx.tenant, ctx.flow(), &request, SCHEDULE, ctx.now())
                .await
            {
                // A person was a moment earlier.
                Ok(_) | Err(StoreError::Conflict { .. }) => continue,
                Err(error) => return Err(error),
            }
        }
        tokio::select! {
            () = ctx.compare_now.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// A flow that has not read its source to the end for the first time has nothing to compare yet.
async fn is_due(ctx: &FlowContext, schedule: &Schedule, started: i64) -> Result<bool, StoreError> {
    if matches!(schedule, Schedule::Never) {
        return Ok(false);
    }
    let last = ctx.store.last_reconcile_at(&ctx.tenant, ctx.flow()).await?;
    let now = ctx.now();
    if schedule.next(last, started, now).is_none_or(|due| due > now) {
        return Ok(false);
    }
    Ok(ctx
        .store
        .reader_state(&ctx.tenant, ctx.flow())
        .await?
        .reads_completed
        > 0)
}
