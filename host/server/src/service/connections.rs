//! Connections, their releases and their circuits.

use stecker_model::{
    ConnectionSpec, Name,
    api::{Circuit, ConnectionInfo, Problem},
};
use stecker_store::Stored;

use super::{Service, failed, reason};
use crate::problem;

pub(super) async fn list(service: &Service) -> Result<Vec<ConnectionInfo>, Problem> {
    let mut circuits = service
        .engine
        .circuits(&service.tenant)
        .await
        .map_err(problem::flow)?;
    let mut infos = Vec::new();
    for stored in service.store.connections(&service.tenant).await.map_err(failed)? {
        let circuit = circuits.remove(&stored.spec.name);
        infos.push(info(service, stored, circuit).await?);
    }
    Ok(infos)
}

pub(super) async fn show(service: &Service, connection: &Name) -> Result<ConnectionInfo, Problem> {
    let stored = service
        .store
        .connection(&service.tenant, connection)
        .await
        .map_err(failed)?
        .ok_or_else(|| problem::not_found("connection", connection))?;
    let mut circuits = service
        .engine
        .circuits(&service.tenant)
        .await
        .map_err(problem::flow)?;
    info(service, stored, circuits.remove(connection)).await
}

pub(super) async fn switch(
    service: &Service,
    connection: &Name,
    open: bool,
    why: &str,
) -> Result<ConnectionInfo, Problem> {
    reason(why)?;
    service
        .engine
        .switch_circuit(&service.tenant, connection, open, &service.actor, why)
        .await
        .map_err(problem::flow)?;
    show(service, connection).await
}

/// Refuses a connection that is not there.
pub(super) async fn exists(service: &Service, connection: &Name) -> Result<(), Problem> {
    match service
        .store
        .connection(&service.tenant, connection)
        .await
        .map_err(failed)?
    {
        Some(_) => Ok(()),
        None => Err(problem::not_found("connection", connection)),
    }
}

async fn info(
    service: &Service,
    stored: Stored<ConnectionSpec>,
    circuit: Option<Circuit>,
) -> Result<ConnectionInfo, Problem> {
    let lost = |what: String| problem::internal(format!("the connection `{}` has {what}", stored.spec.name));
    let digest = stored
        .spec
        .plugin
        .digest
        .clone()
        .ok_or_else(|| lost("no release".to_owned()))?;
    let release = service
        .store
        .release(&service.tenant, &digest)
        .await
        .map_err(failed)?
        .ok_or_else(|| lost(format!("the release {digest}, which is gone")))?
        .info;
    Ok(ConnectionInfo {
        spec: stored.spec,
        release,
        updated_at: stored.updated_at,
        circuit,
    })
}
