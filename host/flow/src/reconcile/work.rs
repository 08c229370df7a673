//! A comparison as work under a lease: begun, noted down as it goes, ended by a person or by its result. Begun anew from the start if the
//! process was killed, because half a comparison says nothing; what it queued for delivery until then stays queued.

use stecker_model::{
    RepairKind,
    api::{ReconcileReport, ReconcileRun, ReconcileState},
};
use stecker_store::StoreError;

use super::{
    compare::{self, Compared},
    destination::Destination,
    repair,
    stop::Stop,
};
use crate::context::FlowContext;

/// How often a comparison is begun before it is given up.
const STARTS: u32 = 3;
/// Milliseconds between two notes of how far it is.
const NOTE_MS: i64 = 500;

/// A comparison that is at work.
pub(crate) struct Work<'c> {
    pub(crate) ctx: &'c FlowContext,
    pub(crate) run: ReconcileRun,
    pub(crate) report: ReconcileReport,
    noted_at: i64,
}

/// Does what was asked for, to its end. An error is one of the store: the comparison is begun anew later.
pub(crate) async fn execute(ctx: &FlowContext, id: &str) -> Result<(), StoreError> {
    // All keys of a flow are in memory meanwhile.
    let Ok(_turn) = ctx.comparing.acquire().await else {
        return Ok(());
    };
    let Some(run) = ctx.store.begin_reconcile(&ctx.lease, id, ctx.now()).await? else {
        return Ok(());
    };
    tracing::info!(tenant = %ctx.tenant, flow = %ctx.flow(), id, mode = run.request.mode.as_str(), "comparing");
    let mut work = Work {
        ctx,
        report: run.report.clone(),
        run,
        noted_at: 0,
    };
    let ended = if work.run.starts > STARTS {
        Err(Stop::failed(
            "interrupted",
            format!(
                "it was cut off {STARTS} times, by the end of the process or by a change of the flow; `stecker reconcile {}` tries again",
                ctx.flow()
            ),
        ))
    } else {
        work.compare_and_repair().await
    };
    let state = match ended {
        Ok(()) => ReconcileState::Done,
        Err(Stop::Ended) => return Ok(()),
        Err(Stop::Store(error)) => return Err(error),
        Err(Stop::Failed(reason)) => {
            tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), id, code = reason.code, reason = reason.message, "a comparison broke off");
            work.report.error = Some(reason);
            ReconcileState::Failed
        }
    };
    work.report.step = None;
    ctx.store
        .end_reconcile(&ctx.lease, &work.run, state, &work.report, ctx.now())
        .await?;
    Ok(())
}

impl Work<'_> {
    /// Says what is being done, now and then, and hears whether it is still wanted.
    pub(crate) async fn step(&mut self, step: &str) -> Result<(), Stop> {
        let now = self.ctx.now();
        self.report.step = Some(step.to_owned());
        if now < self.noted_at.saturating_add(NOTE_MS) {
            return Ok(());
        }
        self.noted_at = now;
        let (store, lease) = (&self.ctx.store, &self.ctx.lease);
        if store.note_reconcile(lease, &self.run.id, &self.report).await? {
            Ok(())
        } else {
            Err(Stop::Ended)
        }
    }

    async fn compare_and_repair(&mut self) -> Result<(), Stop> {
        let ctx = self.ctx;
        let mut destination = Destination::open(ctx).await?;
        let transforms = ctx.sessions.transforms(&ctx.tenant, &ctx.spec).await?;
        let Compared {
            expected,
            mut differences,
        } = compare::compare(self, &mut destination, &transforms).await?;
        self.keep(&differences).await?;
        let wanted: Vec<RepairKind> = self.run.request.repair.clone();
        if !wanted.is_empty() {
            repair::repair(self, &expected, &mut differences, &wanted).await?;
            self.keep(&differences).await?;
        }
        Ok(())
    }

    async fn keep(&mut self, differences: &[stecker_model::api::Difference]) -> Result<(), Stop> {
        let (store, lease) = (&self.ctx.store, &self.ctx.lease);
        self.report.left_out = store.put_differences(lease, &self.run.id, differences).await?;
        Ok(())
    }
}
