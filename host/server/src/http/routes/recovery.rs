//! Stuck records: their causes, their steps, their payloads.

use axum::{Json, extract::DefaultBodyLimit};
use stecker_model::{
    Name, RecordId,
    api::{CauseGroup, EditPayload, Edited, PayloadText, QuarantineSelection, RecordSteps, SelectionPreview},
};
use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouterExt},
    routes,
};

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

/// Bytes of a body that holds a payload: a JSON text within a JSON text may double.
const EDIT_BYTES: usize = 10 << 20;

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(groups))
        .routes(routes!(preview))
        .routes(routes!(steps))
        .routes(routes!(payload, edit).layer(DefaultBodyLimit::max(EDIT_BYTES)))
}

fn record(flow: Name, seq: i64) -> Result<RecordId, ApiProblem> {
    if seq < 1 {
        return Err(problem::not_found("record", format!("{flow}/{seq}")).into());
    }
    Ok(RecordId { flow, seq })
}

/// Lists stuck records by cause, the largest group first: those in quarantine, and those that are tried again or looked up.
#[utoipa::path(get, path = "/quarantine/groups", tag = "records", operation_id = "cause-groups", params(OfFlow),
    responses((status = 200, description = "The groups, at most 200.", body = Vec<CauseGroup>), ApiProblem))]
async fn groups(Ops(ops): Ops, InQuery(filter): InQuery<OfFlow>) -> ApiResult<Vec<CauseGroup>> {
    Ok(Json(ops.cause_groups(filter.flow.as_ref()).await?))
}

/// Says which quarantined records a decision would meet, and freezes the selection: see `as-of`.
#[utoipa::path(post, path = "/quarantine/preview", tag = "records", operation_id = "preview-quarantined", request_body = QuarantineSelection,
    responses((status = 200, description = "How many, and some of them.", body = SelectionPreview), ApiProblem))]
async fn preview(Ops(ops): Ops, Body(selection): Body<QuarantineSelection>) -> ApiResult<SelectionPreview> {
    Ok(Json(ops.quarantine_preview(&selection).await?))
}

/// Shows what each transform makes of a record's payload now, on the current releases, and what would be sent. Nothing is.
#[utoipa::path(get, path = "/records/{flow}/{seq}/steps", tag = "records", operation_id = "record-steps",
    params(("flow" = String, Path, description = "The flow."), ("seq" = i64, Path, description = "The number within the flow.")),
    responses((status = 200, description = "Each step.", body = RecordSteps), ApiProblem))]
async fn steps(Ops(ops): Ops, InPath((flow, seq)): InPath<(Name, i64)>) -> ApiResult<RecordSteps> {
    Ok(Json(ops.steps(&record(flow, seq)?).await?))
}

/// Shows a record's payload as a text, to be edited.
#[utoipa::path(get, path = "/records/{flow}/{seq}/payload", tag = "records", operation_id = "record-payload",
    params(("flow" = String, Path, description = "The flow."), ("seq" = i64, Path, description = "The number within the flow.")),
    responses((status = 200, description = "The payload, byte for byte.", body = PayloadText), ApiProblem))]
async fn payload(Ops(ops): Ops, InPath((flow, seq)): InPath<(Name, i64)>) -> ApiResult<PayloadText> {
    Ok(Json(ops.payload(&record(flow, seq)?).await?))
}

/// Replaces the payload of a record in quarantine; what was there before is kept. The idempotency key stays. At most 10 MiB.
#[utoipa::path(put, path = "/records/{flow}/{seq}/payload", tag = "records", operation_id = "edit-payload",
    params(("flow" = String, Path, description = "The flow."), ("seq" = i64, Path, description = "The number within the flow.")),
    request_body = EditPayload,
    responses((status = 200, description = "Done; `warnings` tells what looks wrong.", body = Edited), ApiProblem))]
async fn edit(
    Ops(ops): Ops,
    InPath((flow, seq)): InPath<(Name, i64)>,
    Body(edit): Body<EditPayload>,
) -> ApiResult<Edited> {
    Ok(Json(ops.edit_payload(&record(flow, seq)?, &edit).await?))
}
