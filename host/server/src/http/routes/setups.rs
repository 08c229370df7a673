//! Setups: what is to be there, and what that would change.

use axum::Json;
use stecker_model::{Setup, api::Plan};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::Body,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(plan)).routes(routes!(apply))
}

/// Says what `apply` would change. Validates as `apply` does.
#[utoipa::path(post, path = "/plan", tag = "setup", operation_id = "plan", request_body = Setup,
    responses((status = 200, description = "The changes, in the order of the setup.", body = Plan), ApiProblem))]
async fn plan(Ops(ops): Ops, Body(setup): Body<Setup>) -> ApiResult<Plan> {
    Ok(Json(ops.plan(&setup).await?))
}

/// Creates and updates what the setup names, all or nothing. What it does not name stays as it is. At most 1 MiB.
#[utoipa::path(post, path = "/apply", tag = "setup", operation_id = "apply", request_body = Setup,
    responses((status = 200, description = "The changes, done.", body = Plan), ApiProblem))]
async fn apply(Ops(ops): Ops, Body(setup): Body<Setup>) -> ApiResult<Plan> {
    Ok(Json(ops.apply(&setup).await?))
}
