//! Flows: paths of records, their accounts and their states.

use axum::Json;
use stecker_model::{
    Name,
    api::{FlowStatus, PauseRequest},
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
        .routes(routes!(run))
        .routes(routes!(pause))
        .routes(routes!(resume))
}

/// Lists the flows by name, each with its account.
#[utoipa::path(get, path = "/flows", tag = "flows", operation_id = "flows",
    responses((status = 200, description = "All of them.", body = Vec<FlowStatus>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<FlowStatus>> {
    Ok(Json(ops.flows().await?))
}

/// Shows one flow and its account.
#[utoipa::path(get, path = "/flows/{name}", tag = "flows", operation_id = "flow",
    params(("name" = String, Path, description = "The flow.")),
    responses((status = 200, description = "As it stands.", body = FlowStatus), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<FlowStatus> {
    Ok(Json(ops.flow(&name).await?))
}

/// Has the source read now. Answers at once; the run is over when `reads-completed` went up and no record is open.
#[utoipa::path(post, path = "/flows/{name}/run", tag = "flows", operation_id = "run-flow",
    params(("name" = String, Path, description = "The flow.")),
    responses((status = 200, description = "As it stands before the run.", body = FlowStatus), ApiProblem))]
async fn run(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<FlowStatus> {
    Ok(Json(ops.run_flow(&name).await?))
}

/// Pauses a flow: nothing is read or delivered until it is resumed. Records already accepted stay.
#[utoipa::path(post, path = "/flows/{name}/pause", tag = "flows", operation_id = "pause-flow", request_body = PauseRequest,
    params(("name" = String, Path, description = "The flow.")),
    responses((status = 200, description = "Paused.", body = FlowStatus), ApiProblem))]
async fn pause(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<PauseRequest>,
) -> ApiResult<FlowStatus> {
    Ok(Json(ops.pause_flow(&name, &request).await?))
}

/// Ends a pause.
#[utoipa::path(post, path = "/flows/{name}/resume", tag = "flows", operation_id = "resume-flow",
    params(("name" = String, Path, description = "The flow.")),
    responses((status = 200, description = "Not paused any more.", body = FlowStatus), ApiProblem))]
async fn resume(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<FlowStatus> {
    Ok(Json(ops.resume_flow(&name).await?))
}
