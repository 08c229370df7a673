//! Upstream accounts: budgets, holds and breakers.

use axum::Json;
use stecker_model::{
    Name,
    api::{CloseUpstream, UpstreamInfo},
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
        .routes(routes!(close))
}

/// Lists the upstream accounts by name, each with what its system still takes and which of its hosts are down.
#[utoipa::path(get, path = "/upstreams", tag = "upstreams", operation_id = "upstreams",
    responses((status = 200, description = "All of them.", body = Vec<UpstreamInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<UpstreamInfo>> {
    Ok(Json(ops.upstreams().await?))
}

/// Shows one upstream account.
#[utoipa::path(get, path = "/upstreams/{name}", tag = "upstreams", operation_id = "upstream",
    params(("name" = String, Path, description = "The account: the one that connections name, or the connection's own name.")),
    responses((status = 200, description = "Everything known of it.", body = UpstreamInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(account): InPath<Name>) -> ApiResult<UpstreamInfo> {
    Ok(Json(ops.upstream(&account).await?))
}

/// Forgets the hold and the open breakers of an account, so that its flows go on at once.
#[utoipa::path(post, path = "/upstreams/{name}/close", tag = "upstreams", operation_id = "close-upstream",
    params(("name" = String, Path, description = "The account.")), request_body = CloseUpstream,
    responses((status = 200, description = "The account as it is now.", body = UpstreamInfo), ApiProblem))]
async fn close(
    Ops(ops): Ops,
    InPath(account): InPath<Name>,
    Body(request): Body<CloseUpstream>,
) -> ApiResult<UpstreamInfo> {
    Ok(Json(ops.close_upstream(&account, &request).await?))
}
