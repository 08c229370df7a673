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

use stecker_model::{
    ReconcilePolicy, Trigger,
    api::{ReconcileMode, ReconcileRequest},
};
use stecker_store::StoreError;

use crate::{context::FlowContext, reader::until, schedule::Schedule};

pub(crate) use work::execute;

/// Who the audit trail names for comparisons that begin by themselves.
const SCHEDULE: &str = "schedule";

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
        let last = match schedule {
            Schedule::Never => None,
            _ => ctx.store.last_reconcile_at(&ctx.tenant, ctx.flow()).await?,
        };
        let next = || schedule.next(last, started, ctx.now());
        let is_due = next().is_some_and(|due| due <= ctx.now());
        let may_begin = is_due && was_read(ctx).await?;
        if may_begin {
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
            // What is due and cannot begin waits for the word of the reader.
            () = until(ctx, next), if !is_due => {}
        }
    }
}

/// A flow that has not read its source to the end for the first time has nothing to compare yet; its reader says when it has.
async fn was_read(ctx: &FlowContext) -> Result<bool, StoreError> {
    Ok(ctx
        .store
        .reader_state(&ctx.tenant, ctx.flow())
        .await?
        .reads_completed
        > 0)
}
