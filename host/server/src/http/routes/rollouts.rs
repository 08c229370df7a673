//! Rollouts: connections moved to another release while they work.

use axum::{Json, http::StatusCode};
use stecker_model::{
    Digest, Name,
    api::{BarRelease, BarredRelease, RolloutAction, RolloutInfo, RolloutPlan, StartRollout},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::{Body, InPath},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list, start))
        .routes(routes!(plan))
        .routes(routes!(show))
        .routes(routes!(pause))
        .routes(routes!(resume))
        .routes(routes!(promote))
        .routes(routes!(abort))
        .routes(routes!(barred))
        .routes(routes!(bar, unbar))
}

/// Lists rollouts, the newest first.
#[utoipa::path(get, path = "/rollouts", tag = "rollouts", operation_id = "rollouts",
    responses((status = 200, description = "All of them.", body = Vec<RolloutInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<RolloutInfo>> {
    Ok(Json(ops.rollouts().await?))
}

/// Starts a rollout: the release is tried, then connections are moved to it, watched, and moved back by the host if it does worse than the one
/// before.
#[utoipa::path(post, path = "/rollouts", tag = "rollouts", operation_id = "start-rollout", request_body = StartRollout,
    responses((status = 201, description = "Started.", body = RolloutInfo), ApiProblem))]
async fn start(
    Ops(ops): Ops,
    Body(start): Body<StartRollout>,
) -> Result<(StatusCode, Json<RolloutInfo>), ApiProblem> {
    Ok((StatusCode::CREATED, Json(ops.start_rollout(&start).await?)))
}

/// Says what a rollout would do. Nothing is changed.
#[utoipa::path(post, path = "/rollout-plan", tag = "rollouts", operation_id = "plan-rollout", request_body = StartRollout,
    responses((status = 200, description = "What would happen, what is in the way, and how it goes back.", body = RolloutPlan), ApiProblem))]
async fn plan(Ops(ops): Ops, Body(start): Body<StartRollout>) -> ApiResult<RolloutPlan> {
    Ok(Json(ops.plan_rollout(&start).await?))
}

/// Shows a rollout and how far it is.
#[utoipa::path(get, path = "/rollouts/{name}", tag = "rollouts", operation_id = "rollout",
    params(("name" = String, Path, description = "The rollout.")),
    responses((status = 200, description = "Everything known of it.", body = RolloutInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<RolloutInfo> {
    Ok(Json(ops.rollout(&name).await?))
}

/// Has a rollout wait where it is. What goes back goes back all the same.
#[utoipa::path(post, path = "/rollouts/{name}/pause", tag = "rollouts", operation_id = "pause-rollout",
    params(("name" = String, Path, description = "The rollout.")),
    responses((status = 200, description = "Waiting.", body = RolloutInfo), ApiProblem))]
async fn pause(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<RolloutInfo> {
    Ok(Json(ops.switch_rollout(&name, RolloutAction::Pause).await?))
}

/// Has a paused rollout go on.
#[utoipa::path(post, path = "/rollouts/{name}/resume", tag = "rollouts", operation_id = "resume-rollout",
    params(("name" = String, Path, description = "The rollout.")),
    responses((status = 200, description = "Going on.", body = RolloutInfo), ApiProblem))]
async fn resume(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<RolloutInfo> {
    Ok(Json(ops.switch_rollout(&name, RolloutAction::Resume).await?))
}

/// Approves of a rollout that waits for that; or has what is watched count as done well, without waiting for the rest of the time.
#[utoipa::path(post, path = "/rollouts/{name}/promote", tag = "rollouts", operation_id = "promote-rollout",
    params(("name" = String, Path, description = "The rollout.")),
    responses((status = 200, description = "Going on.", body = RolloutInfo), ApiProblem))]
async fn promote(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<RolloutInfo> {
    Ok(Json(ops.switch_rollout(&name, RolloutAction::Promote).await?))
}

/// Ends a rollout: what was moved goes back.
#[utoipa::path(post, path = "/rollouts/{name}/abort", tag = "rollouts", operation_id = "abort-rollout",
    params(("name" = String, Path, description = "The rollout.")),
    responses((status = 200, description = "Ending.", body = RolloutInfo), ApiProblem))]
async fn abort(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<RolloutInfo> {
    Ok(Json(ops.switch_rollout(&name, RolloutAction::Abort).await?))
}

/// Lists releases that no rollout moves to, because one went wrong or a person said so.
#[utoipa::path(get, path = "/barred-releases", tag = "rollouts", operation_id = "barred-releases",
    responses((status = 200, description = "All of them, the newest first.", body = Vec<BarredRelease>), ApiProblem))]
async fn barred(Ops(ops): Ops) -> ApiResult<Vec<BarredRelease>> {
    Ok(Json(ops.barred_releases().await?))
}

/// Bars a release.
#[utoipa::path(post, path = "/barred-releases/{digest}", tag = "rollouts", operation_id = "bar-release", request_body = BarRelease,
    params(("digest" = String, Path, description = "The release.")),
    responses((status = 200, description = "All that are barred.", body = Vec<BarredRelease>), ApiProblem))]
async fn bar(
    Ops(ops): Ops,
    InPath(digest): InPath<Digest>,
    Body(bar): Body<BarRelease>,
) -> ApiResult<Vec<BarredRelease>> {
    Ok(Json(ops.bar_release(&digest, Some(&bar.reason)).await?))
}

/// Lifts that a release is barred.
#[utoipa::path(delete, path = "/barred-releases/{digest}", tag = "rollouts", operation_id = "unbar-release",
    params(("digest" = String, Path, description = "The release.")),
    responses((status = 200, description = "All that are still barred.", body = Vec<BarredRelease>), ApiProblem))]
async fn unbar(Ops(ops): Ops, InPath(digest): InPath<Digest>) -> ApiResult<Vec<BarredRelease>> {
    Ok(Json(ops.bar_release(&digest, None).await?))
}
