//! Replays: records sent again on purpose.

use axum::{Json, http::StatusCode};
use stecker_model::{
    Name,
    api::{PreviewReplay, ReplayEvent, ReplayInfo, ReplayPreview, StartReplay},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::OfFlow;
use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::{Body, InPath, InQuery},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(preview))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(abort))
}

/// Lists replays, the newest first.
#[utoipa::path(get, path = "/replays", tag = "replays", operation_id = "replays", params(OfFlow),
    responses((status = 200, description = "All of them.", body = Vec<ReplayInfo>), ApiProblem))]
async fn list(Ops(ops): Ops, InQuery(filter): InQuery<OfFlow>) -> ApiResult<Vec<ReplayInfo>> {
    Ok(Json(ops.replays(filter.flow.as_ref()).await?))
}

/// Starts a replay of what the ledger holds at this moment. Whoever holds the flow queues it, at the rate that is asked for, in the order
/// of the records, with the idempotency keys that they always had.
#[utoipa::path(post, path = "/replays", tag = "replays", operation_id = "start-replay", request_body = StartReplay,
    responses((status = 201, description = "Started, with its set complete.", body = ReplayInfo), ApiProblem))]
async fn start(
    Ops(ops): Ops,
    Body(start): Body<StartReplay>,
) -> Result<(StatusCode, Json<ReplayInfo>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops.start_replay(&start).await?)))
}

/// Says what a replay would do with the next records of a selection; compared with what the destination has, if asked for. Writes nothing.
#[utoipa::path(post, path = "/replay-preview", tag = "replays", operation_id = "preview-replay", request_body = PreviewReplay,
    responses((status = 200, description = "What would be done; `next` leads on.", body = ReplayPreview), ApiProblem))]
async fn preview(Ops(ops): Ops, Body(request): Body<PreviewReplay>) -> ApiResult<ReplayPreview> {
    Ok(Json(ops.preview_replay(&request).await?))
}

/// Shows a replay and how far it is.
#[utoipa::path(get, path = "/replays/{name}", tag = "replays", operation_id = "replay",
    params(("name" = String, Path, description = "The replay.")),
    responses((status = 200, description = "Everything known of it.", body = ReplayInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<ReplayInfo> {
    Ok(Json(ops.replay(&name).await?))
}

/// Pauses a replay: nothing more is queued until it is resumed.
#[utoipa::path(post, path = "/replays/{name}/pause", tag = "replays", operation_id = "pause-replay",
    params(("name" = String, Path, description = "The replay.")),
    responses((status = 200, description = "Paused.", body = ReplayInfo), ApiProblem))]
async fn pause(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<ReplayInfo> {
    Ok(Json(ops.switch_replay(&name, ReplayEvent::Pause).await?))
}

/// Has a paused replay go on where it was.
#[utoipa::path(post, path = "/replays/{name}/resume", tag = "replays", operation_id = "resume-replay",
    params(("name" = String, Path, description = "The replay.")),
    responses((status = 200, description = "Going on.", body = ReplayInfo), ApiProblem))]
async fn resume(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<ReplayInfo> {
    Ok(Json(ops.switch_replay(&name, ReplayEvent::Resume).await?))
}

/// Ends a replay for good: nothing more is queued. What was queued before goes its way.
#[utoipa::path(post, path = "/replays/{name}/abort", tag = "replays", operation_id = "abort-replay",
    params(("name" = String, Path, description = "The replay.")),
    responses((status = 200, description = "Ended.", body = ReplayInfo), ApiProblem))]
async fn abort(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<ReplayInfo> {
    Ok(Json(ops.switch_replay(&name, ReplayEvent::Abort).await?))
}
