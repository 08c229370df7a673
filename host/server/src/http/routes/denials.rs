//! Refusals: what plugins asked for and did not get.

use axum::Json;
use stecker_model::api::{ClearDenials, Cleared, DenialFilter, DenialInfo, DenialList};
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
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(clear))
}

/// Lists what plugins were refused, folded by kind, the latest first.
#[utoipa::path(get, path = "/denials", tag = "denials", operation_id = "denials", params(DenialFilter),
    responses((status = 200, description = "The kinds, each with how often it happened.", body = DenialList), ApiProblem))]
async fn list(Ops(ops): Ops, InQuery(filter): InQuery<DenialFilter>) -> ApiResult<DenialList> {
    Ok(Json(ops.denials(&filter).await?))
}

/// Shows one kind of refusals, with the smallest grant that would allow it and where that goes.
#[utoipa::path(get, path = "/denials/{id}", tag = "denials", operation_id = "denial",
    params(("id" = String, Path, description = "As in the list.")),
    responses((status = 200, description = "Everything known of it.", body = DenialInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(id): InPath<String>) -> ApiResult<DenialInfo> {
    Ok(Json(ops.denial(&id).await?))
}

/// Forgets refusals, of one connection or all. Their totals in the metrics stay.
#[utoipa::path(post, path = "/denials/clear", tag = "denials", operation_id = "clear-denials", request_body = ClearDenials,
    responses((status = 200, description = "How many kinds were forgotten.", body = Cleared), ApiProblem))]
async fn clear(Ops(ops): Ops, Body(clear): Body<ClearDenials>) -> ApiResult<Cleared> {
    Ok(Json(ops.clear_denials(&clear).await?))
}
