//! Rollouts: planned, started, watched, switched.

use stecker_model::{
    Digest, Name,
    api::{BarredRelease, Problem, RolloutAction, RolloutInfo, RolloutPlan, StartRollout},
};

use super::{Service, reason};
use crate::problem;

pub(super) async fn list(service: &Service) -> Result<Vec<RolloutInfo>, Problem> {
    let listed = service.engine.rollouts(&service.tenant).await;
    listed.map_err(problem::flow)
}

pub(super) async fn show(service: &Service, name: &Name) -> Result<RolloutInfo, Problem> {
    let shown = service.engine.rollout(&service.tenant, name).await;
    shown.map_err(problem::flow)
}

pub(super) async fn plan(service: &Service, start: &StartRollout) -> Result<RolloutPlan, Problem> {
    let planned = service.engine.plan_rollout(&service.tenant, start).await;
    planned.map_err(problem::flow)
}

pub(super) async fn start(service: &Service, start: &StartRollout) -> Result<RolloutInfo, Problem> {
    let name = match &start.name {
        Some(name) => name.clone(),
        None => format!("rollout-{}", hex::encode(rand::random::<[u8; 4]>()))
            .parse()
            .map_err(|error| problem::internal(format!("no name could be made for the rollout: {error}")))?,
    };
    service
        .engine
        .start_rollout(&service.tenant, &name, start, &service.actor)
        .await
        .map_err(problem::flow)
}

pub(super) async fn switch(
    service: &Service,
    name: &Name,
    action: RolloutAction,
) -> Result<RolloutInfo, Problem> {
    let (engine, tenant, actor) = (&service.engine, &service.tenant, &service.actor);
    match action {
        RolloutAction::Pause => engine.pause_rollout(tenant, name, true, actor).await,
        RolloutAction::Resume => engine.pause_rollout(tenant, name, false, actor).await,
        RolloutAction::Promote => engine.promote_rollout(tenant, name, actor).await,
        RolloutAction::Abort => engine.abort_rollout(tenant, name, actor).await,
    }
    .map_err(problem::flow)
}

pub(super) async fn barred(service: &Service) -> Result<Vec<BarredRelease>, Problem> {
    let barred = service.engine.barred_releases(&service.tenant).await;
    barred.map_err(problem::flow)
}

pub(super) async fn bar(
    service: &Service,
    digest: &Digest,
    why: Option<&str>,
) -> Result<Vec<BarredRelease>, Problem> {
    if let Some(why) = why {
        reason(why)?;
    }
    service
        .engine
        .bar_release(&service.tenant, digest, why, &service.actor)
        .await
        .map_err(problem::flow)?;
    barred(service).await
}
