//! Connections: systems of the tenant.

use axum::Json;
use stecker_model::{
    Name, StreamInfo,
    api::{CheckReport, ConnectionInfo},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::InPath,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(check))
        .routes(routes!(streams))
}

/// Lists the connections by name.
#[utoipa::path(get, path = "/connections", tag = "connections", operation_id = "connections",
    responses((status = 200, description = "All of them.", body = Vec<ConnectionInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<ConnectionInfo>> {
    Ok(Json(ops.connections().await?))
}

/// Tries a connection: every thing that it needs, each with what to do if it does not work.
#[utoipa::path(post, path = "/connections/{name}/check", tag = "connections", operation_id = "check-connection",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "What was tried; see `ok`.", body = CheckReport), ApiProblem))]
async fn check(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<CheckReport> {
    Ok(Json(ops.check(&name).await?))
}

/// Asks the system behind a connection for its streams.
#[utoipa::path(get, path = "/connections/{name}/streams", tag = "connections", operation_id = "discover-streams",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "As the plugin found them.", body = Vec<StreamInfo>), ApiProblem))]
async fn streams(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<Vec<StreamInfo>> {
    Ok(Json(ops.discover(&name).await?))
}
