//! Comparisons of a flow's two ends.

use axum::Json;
use stecker_model::{
    Name,
    api::{ReconcileDetail, ReconcileFilter, ReconcileRequest, ReconcileRun},
};
use utoipa_axum::{router::OpenApiRouter, routes};

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
        .routes(routes!(start))
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(abort))
}

/// Has a flow's two ends compared, and what differs repaired if that is asked for. Answers at once; it is over when its `state` says so.
#[utoipa::path(post, path = "/flows/{name}/reconcile", tag = "reconciles", operation_id = "start-reconcile", request_body = ReconcileRequest,
    params(("name" = String, Path, description = "The flow.")),
    responses((status = 200, description = "It is asked for.", body = ReconcileRun), ApiProblem))]
async fn start(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<ReconcileRequest>,
) -> ApiResult<ReconcileRun> {
    Ok(Json(ops.start_reconcile(&name, &request).await?))
}

/// Lists comparisons, the latest first.
#[utoipa::path(get, path = "/reconciles", tag = "reconciles", operation_id = "reconciles", params(ReconcileFilter),
    responses((status = 200, description = "Those kept: the last 100 of each flow.", body = Vec<ReconcileRun>), ApiProblem))]
async fn list(Ops(ops): Ops, InQuery(filter): InQuery<ReconcileFilter>) -> ApiResult<Vec<ReconcileRun>> {
    Ok(Json(ops.reconciles(&filter).await?))
}

/// Shows one comparison and up to 1,000 of its differences.
#[utoipa::path(get, path = "/reconciles/{id}", tag = "reconciles", operation_id = "reconcile",
    params(("id" = String, Path, description = "As in the list.")),
    responses((status = 200, description = "As it stands.", body = ReconcileDetail), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(id): InPath<String>) -> ApiResult<ReconcileDetail> {
    Ok(Json(ops.reconcile(&id).await?))
}

/// Ends a comparison before it is over. Records that it queued stay queued.
#[utoipa::path(post, path = "/reconciles/{id}/abort", tag = "reconciles", operation_id = "abort-reconcile",
    params(("id" = String, Path, description = "As in the list.")),
    responses((status = 200, description = "Ended.", body = ReconcileRun), ApiProblem))]
async fn abort(Ops(ops): Ops, InPath(id): InPath<String>) -> ApiResult<ReconcileRun> {
    Ok(Json(ops.abort_reconcile(&id).await?))
}
