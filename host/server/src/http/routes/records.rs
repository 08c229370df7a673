//! Records of the ledger, and what is decided on those in quarantine.

use axum::Json;
use stecker_model::{
    Name, RecordId,
    api::{Affected, Discard, QuarantineGroup, QuarantineSelection, RecordDetail, RecordFilter, RecordPage},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use super::OfFlow;
use crate::{
    Operations,
    http::{
        AppState,
        auth::Ops,
        extract::{Body, InPath, InQuery},
        problems::{ApiProblem, ApiResult},
    },
    problem,
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(quarantine))
        .routes(routes!(retry))
        .routes(routes!(discard))
}

/// Lists records of the ledger, by flow and number.
#[utoipa::path(get, path = "/records", tag = "records", operation_id = "records", params(RecordFilter),
    responses((status = 200, description = "A page; `next` leads on.", body = RecordPage), ApiProblem))]
async fn list(Ops(ops): Ops, InQuery(filter): InQuery<RecordFilter>) -> ApiResult<RecordPage> {
    Ok(Json(ops.records(&filter).await?))
}

/// Shows one record: what was read, and every attempt to deliver it.
#[utoipa::path(get, path = "/records/{flow}/{seq}", tag = "records", operation_id = "record",
    params(("flow" = String, Path, description = "The flow."), ("seq" = i64, Path, description = "The number within the flow.")),
    responses((status = 200, description = "Everything known of it.", body = RecordDetail), ApiProblem))]
async fn show(Ops(ops): Ops, InPath((flow, seq)): InPath<(Name, i64)>) -> ApiResult<RecordDetail> {
    if seq < 1 {
        return Err(problem::not_found("record", format!("{flow}/{seq}")).into());
    }
    Ok(Json(ops.record(&RecordId { flow, seq }).await?))
}

/// Lists quarantined records by flow and code.
#[utoipa::path(get, path = "/quarantine", tag = "records", operation_id = "quarantine", params(OfFlow),
    responses((status = 200, description = "The causes, each with an example.", body = Vec<QuarantineGroup>), ApiProblem))]
async fn quarantine(Ops(ops): Ops, InQuery(filter): InQuery<OfFlow>) -> ApiResult<Vec<QuarantineGroup>> {
    Ok(Json(ops.quarantine(filter.flow.as_ref()).await?))
}

/// Tries quarantined records again.
#[utoipa::path(post, path = "/quarantine/retry", tag = "records", operation_id = "retry-quarantined", request_body = QuarantineSelection,
    responses((status = 200, description = "How many were met.", body = Affected), ApiProblem))]
async fn retry(Ops(ops): Ops, Body(selection): Body<QuarantineSelection>) -> ApiResult<Affected> {
    Ok(Json(ops.quarantine_retry(&selection).await?))
}

/// Gives quarantined records up, with a reason that is kept.
#[utoipa::path(post, path = "/quarantine/discard", tag = "records", operation_id = "discard-quarantined", request_body = Discard,
    responses((status = 200, description = "How many were met.", body = Affected), ApiProblem))]
async fn discard(Ops(ops): Ops, Body(discard): Body<Discard>) -> ApiResult<Affected> {
    Ok(Json(ops.quarantine_discard(&discard).await?))
}
