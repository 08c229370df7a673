//! Comparing a flow's two ends.

use stecker_flow::now_ms;
use stecker_model::{
    Name,
    api::{Problem, ReconcileDetail, ReconcileFilter, ReconcileRequest, ReconcileRun},
};

use super::{PAGE, Service, failed};
use crate::problem;

/// Records a second.
const RATE: u32 = 10_000;

pub(super) async fn start(
    service: &Service,
    flow: &Name,
    request: &ReconcileRequest,
) -> Result<ReconcileRun, Problem> {
    if !(1..=RATE).contains(&request.rate) {
        return Err(problem::invalid_field(
            "rate",
            format!("{} is out of bounds; use 1 to {RATE}", request.rate),
        ));
    }
    let status = service.status(flow).await?;
    if let Some(pause) = &status.paused {
        return Err(problem::conflict(
            format!("the flow `{flow}` is paused: {}", pause.reason),
            format!("`stecker flow resume {flow}` ends the pause"),
        ));
    }
    let run = service
        .store
        .request_reconcile(&service.tenant, flow, request, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    service.engine.wake_flow(&service.tenant, flow);
    Ok(run)
}

pub(super) async fn list(service: &Service, filter: &ReconcileFilter) -> Result<Vec<ReconcileRun>, Problem> {
    if let Some(limit) = filter.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
        return Err(problem::invalid_field(
            "limit",
            format!("{limit} is out of bounds; use 1 to {PAGE}"),
        ));
    }
    if let Some(flow) = &filter.flow {
        service.has_flow(flow).await?;
    }
    service
        .store
        .reconciles(&service.tenant, filter)
        .await
        .map_err(failed)
}

pub(super) async fn show(service: &Service, id: &str) -> Result<ReconcileDetail, Problem> {
    let found = service
        .store
        .reconcile_detail(&service.tenant, id)
        .await
        .map_err(failed)?;
    found.ok_or_else(|| problem::not_found("comparison", id))
}

pub(super) async fn abort(service: &Service, id: &str) -> Result<ReconcileRun, Problem> {
    service
        .store
        .abort_reconcile(&service.tenant, id, &service.actor, now_ms())
        .await
        .map_err(failed)
}
