//! Recorded calls of connections, and other releases tried on them.

use axum::Json;
use stecker_model::{
    Name,
    api::{ShadowReport, ShadowRequest, StartTaping, TapeList, TapesCleared},
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
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(start))
        .routes(routes!(stop))
        .routes(routes!(clear))
        .routes(routes!(shadow))
}

/// Lists the recorded calls of a connection, the newest first, and the recording that is on.
#[utoipa::path(get, path = "/connections/{name}/tapes", tag = "shadow", operation_id = "tapes",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "All that are kept.", body = TapeList), ApiProblem))]
async fn list(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<TapeList> {
    Ok(Json(ops.tapes(&name).await?))
}

/// Shows one recorded call, in the form that docs/shadow.md describes.
#[utoipa::path(get, path = "/connections/{name}/tapes/{id}", tag = "shadow", operation_id = "tape",
    params(("name" = String, Path, description = "The connection."), ("id" = String, Path, description = "As in the list.")),
    responses((status = 200, description = "The call, what was sent, what came back, and what came of it.", body = Object), ApiProblem))]
async fn show(Ops(ops): Ops, InPath((name, id)): InPath<(Name, String)>) -> ApiResult<serde_json::Value> {
    Ok(Json(ops.tape(&name, &id).await?))
}

/// Has the next calls of a connection recorded, for a time and up to a number. What was on before is replaced.
#[utoipa::path(post, path = "/connections/{name}/tapes/start", tag = "shadow", operation_id = "start-taping",
    request_body = StartTaping, params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "It is recorded.", body = TapeList), ApiProblem))]
async fn start(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(wish): Body<StartTaping>,
) -> ApiResult<TapeList> {
    Ok(Json(ops.start_taping(&name, &wish).await?))
}

/// Ends a recording; what was recorded stays.
#[utoipa::path(post, path = "/connections/{name}/tapes/stop", tag = "shadow", operation_id = "stop-taping",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "Nothing more is recorded.", body = TapeList), ApiProblem))]
async fn stop(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<TapeList> {
    Ok(Json(ops.stop_taping(&name).await?))
}

/// Forgets the recorded calls of a connection.
#[utoipa::path(post, path = "/connections/{name}/tapes/clear", tag = "shadow", operation_id = "clear-tapes",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "How many there were.", body = TapesCleared), ApiProblem))]
async fn clear(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<TapesCleared> {
    Ok(Json(ops.clear_tapes(&name).await?))
}

/// Tries another release on the recorded calls of a connection. Nothing of it reaches a system, a record or the connection's storage.
#[utoipa::path(post, path = "/connections/{name}/shadow", tag = "shadow", operation_id = "shadow",
    request_body = ShadowRequest, params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "What it would have done differently; see `verdict`.", body = ShadowReport), ApiProblem))]
async fn shadow(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<ShadowRequest>,
) -> ApiResult<ShadowReport> {
    Ok(Json(ops.shadow(&name, &request).await?))
}
