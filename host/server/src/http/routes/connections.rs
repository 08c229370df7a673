//! Connections: systems of the tenant.

use axum::Json;
use stecker_model::{
    Name, StreamInfo,
    api::{CheckReport, CircuitRequest, ConnectionInfo},
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
        .routes(routes!(open_circuit))
        .routes(routes!(close_circuit))
        .routes(routes!(check))
        .routes(routes!(streams))
}

/// Lists the connections by name.
#[utoipa::path(get, path = "/connections", tag = "connections", operation_id = "connections",
    responses((status = 200, description = "All of them.", body = Vec<ConnectionInfo>), ApiProblem))]
async fn list(Ops(ops): Ops) -> ApiResult<Vec<ConnectionInfo>> {
    Ok(Json(ops.connections().await?))
}

/// Shows one connection and its circuit.
#[utoipa::path(get, path = "/connections/{name}", tag = "connections", operation_id = "connection",
    params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "As it stands.", body = ConnectionInfo), ApiProblem))]
async fn show(Ops(ops): Ops, InPath(name): InPath<Name>) -> ApiResult<ConnectionInfo> {
    Ok(Json(ops.connection(&name).await?))
}

/// Stops a connection: nothing of it is called until its circuit is closed. Flows wait, records stay, webhooks are stored.
#[utoipa::path(post, path = "/connections/{name}/open-circuit", tag = "connections", operation_id = "open-circuit",
    request_body = CircuitRequest, params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "Stopped.", body = ConnectionInfo), ApiProblem))]
async fn open_circuit(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<CircuitRequest>,
) -> ApiResult<ConnectionInfo> {
    Ok(Json(ops.open_circuit(&name, &request).await?))
}

/// Has a connection called again that crashed too often or was stopped. Nothing happens if it is called already.
#[utoipa::path(post, path = "/connections/{name}/close-circuit", tag = "connections", operation_id = "close-circuit",
    request_body = CircuitRequest, params(("name" = String, Path, description = "The connection.")),
    responses((status = 200, description = "Called again.", body = ConnectionInfo), ApiProblem))]
async fn close_circuit(
    Ops(ops): Ops,
    InPath(name): InPath<Name>,
    Body(request): Body<CircuitRequest>,
) -> ApiResult<ConnectionInfo> {
    Ok(Json(ops.close_circuit(&name, &request).await?))
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
