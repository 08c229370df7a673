//! Why a record is where it is.

use axum::Json;
use stecker_model::api::{ExplainRequest, Explanation};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::InQuery,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(explain))
}

/// Explains a business key: its story across systems in order, the probable cause with its evidence, the other records with the same cause,
/// and what to do. 409 `ambiguous-key` if several keys fit; they are in `errors`.
#[utoipa::path(get, path = "/explain", tag = "records", operation_id = "explain", params(ExplainRequest),
    responses((status = 200, description = "What the host knows, and how sure it is.", body = Explanation), ApiProblem))]
async fn explain(Ops(ops): Ops, InQuery(request): InQuery<ExplainRequest>) -> ApiResult<Explanation> {
    Ok(Json(ops.explain(&request).await?))
}
