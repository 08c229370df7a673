//! Upstream accounts: what their systems still take, and which of their hosts are down.

use stecker_model::{
    Name,
    api::{Problem, UpstreamInfo},
};

use super::{Service, reason};
use crate::problem;

pub(super) async fn list(service: &Service) -> Result<Vec<UpstreamInfo>, Problem> {
    let infos = service.engine.upstreams(&service.tenant).await;
    infos.map_err(problem::flow)
}

pub(super) async fn show(service: &Service, account: &Name) -> Result<UpstreamInfo, Problem> {
    let info = service.engine.upstream(&service.tenant, account).await;
    info.map_err(problem::flow)
}

pub(super) async fn close(service: &Service, account: &Name, why: &str) -> Result<UpstreamInfo, Problem> {
    reason(why)?;
    service
        .engine
        .close_upstream(&service.tenant, account, &service.actor, why)
        .await
        .map_err(problem::flow)
}
