//! One flow under a lease: its reader, its deliverer, its replays, what it forgets and the renewal of the lease, ended together.

use std::sync::Arc;

use stecker_store::StoreError;
use tokio::time::Instant;

use crate::{
    context::FlowContext,
    deliver::{self, DeliverEnd},
    fail_point, forgetting, outcome,
    reader::{self, ReadEnd},
    reconcile,
    replaying::{self, ReplayEnd},
};

/// How a run of a flow ended.
#[derive(Debug)]
pub(crate) enum Ended {
    /// As asked.
    Stopped,
    /// The lease went to somebody else.
    Fenced,
    /// The store failed; the flow is taken up again when it works.
    Store(StoreError),
}

/// Runs a flow until its context says stop, its lease is lost or the store fails. Gives the lease back unless it is lost.
pub(crate) async fn run(ctx: Arc<FlowContext>) -> Ended {
    let kept = ctx.keeper.keep(&ctx.lease);
    let now = ctx.now();
    let look_at = now.saturating_add(outcome::SETTLING_MS);
    let ended = match ctx.store.recover(&ctx.lease, ctx.flow(), now, look_at).await {
        Ok(unsure) => {
            if unsure > 0 {
                tracing::info!(tenant = %ctx.tenant, flow = %ctx.flow(), unsure, "records were being sent when the holder before ended; they are looked up");
            }
            run_loops(&ctx).await
        }
        Err(StoreError::Fenced { .. }) => Ended::Fenced,
        Err(error) => Ended::Store(error),
    };
    match &ended {
        Ended::Fenced => {
            tracing::warn!(tenant = %ctx.tenant, flow = %ctx.flow(), "the lease went to somebody else");
        }
        Ended::Store(error) => {
            tracing::error!(tenant = %ctx.tenant, flow = %ctx.flow(), %error, "the flow stopped because the store failed; it is taken up again");
        }
        Ended::Stopped => {}
    }
    drop(kept);
    give_back(&ctx, &ended).await;
    ended
}

async fn give_back(ctx: &FlowContext, ended: &Ended) {
    if !matches!(ended, Ended::Fenced) {
        match ctx.store.release_lease(&ctx.lease).await {
            Ok(_) => fail_point::pass("lease-given-back"),
            // It runs out by itself.
            Err(error) => tracing::debug!(%error, "the lease could not be given back"),
        }
    }
}

async fn run_loops(ctx: &Arc<FlowContext>) -> Ended {
    let renewed = renew(ctx);
    let loops = async {
        let reading = async {
            let end = reader::run(ctx).await;
            if !matches!(end, Ok(ReadEnd::Stopped)) {
                ctx.stop.cancel();
            }
            ctx.end_reading();
            end
        };
        let delivering = async {
            let end = deliver::run(ctx).await;
            if !matches!(end, Ok(DeliverEnd::Stopped)) {
                ctx.stop.cancel();
            }
            end
        };
        let comparing = async {
            // A run by hand reads and delivers, and is over then.
            if ctx.once {
                return Ok(());
            }
            // On the heap, as the two below: they are big and sleep most of the time.
            let end = Box::pin(reconcile::run(ctx)).await;
            if end.is_err() {
                ctx.stop.cancel();
            }
            end
        };
        let replaying = async {
            let end = Box::pin(replaying::run(ctx)).await;
            if !matches!(end, Ok(ReplayEnd::Stopped)) {
                ctx.stop.cancel();
            }
            ctx.end_replaying();
            end
        };
        let forgetting = async {
            let end = Box::pin(forgetting::run(ctx)).await;
            if end.is_err() {
                ctx.stop.cancel();
            }
            end
        };
        let (read, delivered, compared, replayed, forgotten) =
            tokio::join!(reading, delivering, comparing, replaying, forgetting);
        // A comparison that cannot go on ends like a read that cannot.
        let read = match compared {
            Ok(()) => read,
            Err(StoreError::Fenced { .. }) => Ok(ReadEnd::Fenced),
            Err(error) => Err(error),
        };
        (read, delivered, replayed, forgotten)
    };
    tokio::select! {
        ended = renewed => ended,
        ends = loops => match ends {
            // A loop that lost the lease says so in its own way; the others may not have noticed.
            (Ok(ReadEnd::Fenced), ..)
            | (_, Ok(DeliverEnd::Fenced), ..)
            | (_, _, Ok(ReplayEnd::Fenced), _)
            | (.., Err(StoreError::Fenced { .. })) => Ended::Fenced,
            (Err(error), ..) | (_, Err(error), ..) | (_, _, Err(error), _) | (.., Err(error)) => Ended::Store(error),
            (Ok(ReadEnd::Stopped), Ok(DeliverEnd::Stopped), Ok(ReplayEnd::Stopped), Ok(())) => Ended::Stopped,
        },
    }
}

/// Does one comparison under a lease and delivers what it repaired, without reading the source for anything else.
pub(crate) async fn compare(ctx: Arc<FlowContext>, id: &str) -> Ended {
    let kept = ctx.keeper.keep(&ctx.lease);
    let look_at = ctx.now().saturating_add(outcome::SETTLING_MS);
    let work = async {
        ctx.store
            .recover(&ctx.lease, ctx.flow(), ctx.now(), look_at)
            .await?;
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            compared = Box::pin(reconcile::execute(&ctx, id)) => compared?,
        }
        ctx.end_reading();
        ctx.end_replaying();
        let repaired = ctx.store.reconcile(&ctx.tenant, id).await?;
        if repaired.is_some_and(|run| run.report.repaired > 0) {
            deliver::run(&ctx).await?;
        }
        Ok(())
    };
    let ended = tokio::select! {
        ended = renew(&ctx) => ended,
        worked = work => match worked {
            Ok(()) => Ended::Stopped,
            Err(StoreError::Fenced { .. }) => Ended::Fenced,
            Err(error) => Ended::Store(error),
        },
    };
    drop(kept);
    give_back(&ctx, &ended).await;
    ended
}

/// Keeps the lease. Ends when it is lost, which drops whatever runs: its results could not be committed anyway.
async fn renew(ctx: &FlowContext) -> Ended {
    let ttl = ctx.keeper.ttl();
    let mut good_until = Instant::now() + ttl;
    loop {
        tokio::time::sleep(ttl / 3).await;
        // A database that hangs must not make this node write on when another one may have taken over.
        match tokio::time::timeout_at(good_until, ctx.keeper.renew(&ctx.store, &ctx.lease)).await {
            Ok(Ok(Some(asked))) => {
                good_until = asked + ttl;
                fail_point::pass("lease-renewed");
            }
            Ok(Ok(None)) | Err(_) => return Ended::Fenced,
            // One missed renewal is no reason to drop work; the commits are fenced by the epoch in any case.
            Ok(Err(error)) if Instant::now() < good_until => {
                tracing::warn!(%error, "the lease could not be renewed");
            }
            Ok(Err(error)) => return Ended::Store(error),
        }
    }
}
