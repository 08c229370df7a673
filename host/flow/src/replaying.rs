//! Works on the replays of one flow: queues their records again, at the rate that was asked for and never more than the flow can deliver
//! at once, so that what is new does not wait behind what is old.
//!
//! Nothing is remembered here but the pace. How far a replay is stands in the store, written together with what was queued.

use std::time::Duration;

use stecker_model::api::ReplayInfo;
use stecker_store::StoreError;

use crate::{context::FlowContext, pace::Pace, reader};

/// How long a replay that has to wait for deliveries waits before it looks again.
const ROOM: Duration = Duration::from_millis(50);
/// Records of one transaction at most.
const PIECE: u32 = 250;

/// Why replaying ended.
pub(crate) enum ReplayEnd {
    /// It was asked to stop, or no replay is left in a run by hand.
    Stopped,
    /// The lease belongs to somebody else now.
    Fenced,
}

/// Works on replays until asked to stop.
pub(crate) async fn run(ctx: &FlowContext) -> Result<ReplayEnd, StoreError> {
    let mut pace: Option<(ReplayInfo, Pace)> = None;
    while !ctx.stop.is_cancelled() {
        let Some(replay) = ctx.store.running_replay(&ctx.tenant, ctx.flow()).await? else {
            pace = None;
            // One that is started while the source is still being read belongs to the run.
            if ctx.once && ctx.reading_is_over() {
                return Ok(ReplayEnd::Stopped);
            }
            // Whoever starts one says so.
            tokio::select! {
                () = ctx.stop.cancelled() => {}
                () = ctx.replay_now.notified() => {}
            }
            continue;
        };
        if replay.collecting {
            ctx.store
                .collect_replay(&ctx.tenant, &replay.name, ctx.now())
                .await?;
            continue;
        }
        if pace.as_ref().is_none_or(|(known, _)| known.name != replay.name) {
            let fresh = Pace::new(replay.rate, ctx.now());
            pace = Some((replay.clone(), fresh));
        }
        let Some((_, pace)) = &mut pace else { continue };
        let waited = match feed(ctx, &replay, pace).await {
            Ok(waited) => waited,
            Err(StoreError::Fenced { .. }) => return Ok(ReplayEnd::Fenced),
            // A hand was at it in between; the next look sees it as it is now.
            Err(StoreError::NotFound { .. }) => ROOM,
            Err(error) => return Err(error),
        };
        if !waited.is_zero() {
            wait(ctx, waited).await;
        }
    }
    Ok(ReplayEnd::Stopped)
}

/// Queues what may be queued now; how long to wait before the next piece.
async fn feed(ctx: &FlowContext, replay: &ReplayInfo, pace: &mut Pace) -> Result<Duration, StoreError> {
    let policy = &ctx.spec.delivery;
    // Twice what is being written at the same time: enough that no lane runs dry, and no more.
    let window = u64::from(policy.batch) * u64::from(policy.lanes) * 2;
    let ready = pace.ready(ctx.now());
    let worth = pace.piece().min(PIECE);
    if ready < worth {
        return Ok(reader::millis(pace.wait_ms(worth)));
    }
    if !reader::has_room_for(ctx, window).await? {
        return Ok(ROOM);
    }
    let piece = ready
        .min(PIECE)
        .min(u32::try_from(window).unwrap_or(PIECE))
        .max(1);
    let fed = ctx
        .store
        .feed_replay(&ctx.lease, ctx.flow(), &replay.name, piece, ctx.now())
        .await?;
    pace.spend(fed.queued);
    if fed.queued > 0 {
        ctx.deliver_now.notify_one();
    }
    tracing::debug!(
        tenant = %ctx.tenant, flow = %ctx.flow(), replay = %replay.name, queued = fed.queued, skipped = fed.skipped,
        held = fed.held, "replay fed"
    );
    if fed.done {
        tracing::info!(tenant = %ctx.tenant, flow = %ctx.flow(), replay = %replay.name, "a replay is done");
    }
    Ok(if fed.held { ROOM } else { Duration::ZERO })
}

async fn wait(ctx: &FlowContext, time: Duration) {
    tokio::select! {
        () = ctx.stop.cancelled() => {}
        () = ctx.replay_now.notified() => {}
        () = tokio::time::sleep(time) => {}
    }
}
