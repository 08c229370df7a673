//! The host itself.

use axum::Json;
use stecker_model::api::DoctorReport;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(doctor))
}

/// Has the host look at itself: database, disk, plugins, flows.
#[utoipa::path(get, path = "/doctor", tag = "host", operation_id = "doctor",
    responses((status = 200, description = "What was looked at; see `ok`.", body = DoctorReport), ApiProblem))]
async fn doctor(Ops(ops): Ops) -> ApiResult<DoctorReport> {
    Ok(Json(ops.doctor().await?))
}
