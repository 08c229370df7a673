//! The database's size, and giving space back. For whoever runs the host.

use axum::Json;
use stecker_model::api::{StorageReport, Vacuum, Vacuumed};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::HostOps,
        extract::Body,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(report))
        .routes(routes!(vacuum))
}

/// Shows how much room the database takes, by tenant, flow and kind.
#[utoipa::path(get, path = "/storage", tag = "host", operation_id = "storage",
    responses((status = 200, description = "As it stands.", body = StorageReport), ApiProblem))]
async fn report(HostOps(ops): HostOps) -> ApiResult<StorageReport> {
    Ok(Json(ops.storage().await?))
}

/// Gives space that holds nothing back to the file system, or says what that would come to.
#[utoipa::path(post, path = "/storage/vacuum", tag = "host", operation_id = "vacuum", request_body = Vacuum,
    responses((status = 200, description = "Done, or what it would come to.", body = Vacuumed), ApiProblem))]
async fn vacuum(HostOps(ops): HostOps, Body(request): Body<Vacuum>) -> ApiResult<Vacuumed> {
    Ok(Json(ops.vacuum(&request).await?))
}
