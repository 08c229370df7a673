//! Replays: asked about, started, watched, switched.

use stecker_flow::now_ms;
use stecker_model::{
    Name,
    api::{PreviewReplay, Problem, ReplayEvent, ReplayInfo, ReplayPreview, StartReplay},
};

use super::{PAGE, Service, failed, reason};
use crate::problem;

pub(super) async fn list(service: &Service, flow: Option<&Name>) -> Result<Vec<ReplayInfo>, Problem> {
    if let Some(flow) = flow {
        service.has_flow(flow).await?;
    }
    service.store.replays(&service.tenant, flow).await.map_err(failed)
}

pub(super) async fn show(service: &Service, name: &Name) -> Result<ReplayInfo, Problem> {
    service
        .engine
        .replay(&service.tenant, name)
        .await
        .map_err(problem::flow)
}

pub(super) async fn preview(service: &Service, request: &PreviewReplay) -> Result<ReplayPreview, Problem> {
    let faults = request.selection.faults();
    if !faults.is_empty() {
        return Err(problem::faulty("the selection", faults));
    }
    if let Some(limit) = request.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
        return Err(problem::invalid_field(
            "limit",
            format!("{limit} is out of bounds; use 1 to {PAGE}"),
        ));
    }
    service.has_flow(&request.selection.flow).await?;
    service
        .engine
        .preview_replay(&service.tenant, request)
        .await
        .map_err(problem::flow)
}

pub(super) async fn start(service: &Service, start: &StartReplay) -> Result<ReplayInfo, Problem> {
    reason(&start.reason)?;
    let faults = start.faults();
    if !faults.is_empty() {
        return Err(problem::faulty("the replay", faults));
    }
    service.has_flow(&start.selection.flow).await?;
    let name = match &start.name {
        Some(name) => name.clone(),
        None => format!("replay-{}", hex::encode(rand::random::<[u8; 4]>()))
            .parse()
            .map_err(|error| problem::internal(format!("no name could be made for the replay: {error}")))?,
    };
    service
        .engine
        .start_replay(&service.tenant, &name, start, &service.actor)
        .await
        .map_err(problem::flow)
}

pub(super) async fn switch(
    service: &Service,
    name: &Name,
    event: ReplayEvent,
) -> Result<ReplayInfo, Problem> {
    service
        .store
        .switch_replay(&service.tenant, name, event, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    let replay = show(service, name).await?;
    service.engine.wake_flow(&service.tenant, &replay.selection.flow);
    Ok(replay)
}
