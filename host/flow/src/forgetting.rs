//! Forgets what a flow keeps no longer, by the retention of its specification: in small transactions with pauses in between, because
//! deliveries come first.

use std::time::Duration;

use stecker_store::{Forgotten, StoreError};

use crate::context::FlowContext;

/// How often the flow is looked through.
const INTERVAL: Duration = Duration::from_secs(600);
/// The first time, some time after the start: what a restart is for comes first.
const FIRST: Duration = Duration::from_secs(30);
/// Between two transactions of one pass.
const PAUSE: Duration = Duration::from_millis(100);
/// Records that one transaction looks at.
const PIECE: u32 = 200;
/// Transactions that a run by hand makes for this at most: somebody waits for its end.
const BY_HAND: u32 = 20;

/// What is forgotten.
#[derive(Clone, Copy)]
enum What {
    Payloads,
    Records,
}

/// Forgets until asked to stop; in a run by hand, one short pass. Losing the lease is an error here ([`StoreError::Fenced`]).
pub(crate) async fn run(ctx: &FlowContext) -> Result<(), StoreError> {
    if ctx.once {
        let mut left = BY_HAND;
        return pass(ctx, &mut left).await;
    }
    let mut pause = FIRST;
    loop {
        tokio::select! {
            () = ctx.stop.cancelled() => return Ok(()),
            () = tokio::time::sleep(pause) => {}
        }
        pause = INTERVAL;
        let mut left = u32::MAX;
        pass(ctx, &mut left).await?;
    }
}

async fn pass(ctx: &FlowContext, left: &mut u32) -> Result<(), StoreError> {
    let policy = ctx.spec.retention;
    let now = ctx.now();
    // Whole records first: their payloads need no digests then.
    for (what, cut_off) in [
        (What::Records, policy.records.cut_off(now)),
        (What::Payloads, policy.delivered_payloads.cut_off(now)),
    ] {
        let Some(cut_off) = cut_off else { continue };
        let mut sum = Forgotten::default();
        let mut after = 0;
        while !ctx.stop.is_cancelled() && *left > 0 {
            *left -= 1;
            let (lease, flow) = (&ctx.lease, ctx.flow());
            let forgotten = match what {
                What::Payloads => {
                    ctx.store
                        .forget_payloads(lease, flow, cut_off, after, PIECE, now)
                        .await?
                }
                What::Records => {
                    ctx.store
                        .forget_records(lease, flow, cut_off, after, PIECE)
                        .await?
                }
            };
            sum.count += forgotten.count;
            sum.bytes += forgotten.bytes;
            let Some(next) = forgotten.next else { break };
            after = next;
            if !ctx.once {
                tokio::select! {
                    () = ctx.stop.cancelled() => {}
                    () = tokio::time::sleep(PAUSE) => {}
                }
            }
        }
        if sum.count > 0 {
            let what = match what {
                What::Payloads => "payloads",
                What::Records => "records",
            };
            tracing::info!(
                tenant = %ctx.tenant, flow = %ctx.flow(), what, count = sum.count, bytes = sum.bytes,
                "forgotten, as the flow's retention says"
            );
        }
    }
    Ok(())
}
