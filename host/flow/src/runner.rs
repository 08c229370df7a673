//! One flow under a lease: its reader, its deliverer, its replays, what it forgets and the renewal of the lease, ended together.

use std::{sync::Arc, time::Duration};

use stecker_store::StoreError;
use tokio::time::Instant;

use crate::{
    context::FlowContext,
    deliver::{self, DeliverEnd},
    forgetting, outcome,
    reader::{self, ReadEnd},
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
pub(crate) async fn run(ctx: Arc<FlowContext>, ttl: Duration) -> Ended {
    let now = ctx.now();
    let look_at = now.saturating_add(outcome::SETTLING_MS);
    let ended = match ctx.store.recover(&ctx.lease, ctx.flow(), now, look_at).await {
        Ok(unsure) => {
            if unsure > 0 {
                tracing::info!(tenant = %ctx.tenant, flow = %ctx.flow(), unsure, "records were being sent when the holder before ended; they are looked up");
            }
            run_loops(&ctx, ttl).await
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
    if !matches!(ended, Ended::Fenced)
        && let Err(error) = ctx.store.release_lease(&ctx.lease).await
    {
        // It runs out by itself.
        tracing::debug!(%error, "the lease could not be given back");
    }
    ended
}

async fn run_loops(ctx: &Arc<FlowContext>, ttl: Duration) -> Ended {
    let renewed = renew(ctx, ttl);
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
        let replaying = async {
            let end = replaying::run(ctx).await;
            if !matches!(end, Ok(ReplayEnd::Stopped)) {
                ctx.stop.cancel();
            }
            ctx.end_replaying();
            end
        };
        let forgetting = async {
            let end = forgetting::run(ctx).await;
            if end.is_err() {
                ctx.stop.cancel();
            }
            end
        };
        tokio::join!(reading, delivering, replaying, forgetting)
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

/// Keeps the lease. Ends when it is lost, which drops whatever runs: its results could not be committed anyway.
async fn renew(ctx: &FlowContext, ttl: Duration) -> Ended {
    let ttl_ms = i64::try_from(ttl.as_millis()).unwrap_or(i64::MAX);
    let mut good_until = Instant::now() + ttl;
    loop {
        tokio::time::sleep(ttl / 3).await;
        let asked = Instant::now();
        // A database that hangs must not make this node write on when another one may have taken over.
        match tokio::time::timeout_at(good_until, ctx.store.renew(&ctx.lease, ctx.now(), ttl_ms)).await {
            Ok(Ok(true)) => good_until = asked + ttl,
            Ok(Ok(false)) | Err(_) => return Ended::Fenced,
            // One missed renewal is no reason to drop work; the commits are fenced by the epoch in any case.
            Ok(Err(error)) if Instant::now() < good_until => {
                tracing::warn!(%error, "the lease could not be renewed");
            }
            Ok(Err(error)) => return Ended::Store(error),
        }
    }
}
