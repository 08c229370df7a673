//! What plugins were refused.

use stecker_flow::now_ms;
use stecker_model::api::{ClearDenials, Cleared, DenialFilter, DenialInfo, DenialList, Problem};

use super::{PAGE, Service, connections, failed};
use crate::problem;

pub(super) async fn denials(service: &Service, filter: &DenialFilter) -> Result<DenialList, Problem> {
    if let Some(limit) = filter.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
        return Err(problem::invalid_field(
            "limit",
            format!("{limit} is out of bounds; use 1 to {PAGE}"),
        ));
    }
    if let Some(connection) = &filter.connection {
        connections::exists(service, connection).await?;
    }
    if let Some(flow) = &filter.flow {
        service.has_flow(flow).await?;
    }
    // Whoever looks wants to see what happened a moment ago too.
    service.engine.write_books().await.map_err(problem::flow)?;
    service
        .store
        .denials(&service.tenant, filter)
        .await
        .map_err(failed)
}

pub(super) async fn denial(service: &Service, id: &str) -> Result<DenialInfo, Problem> {
    let found = service.store.denial(&service.tenant, id).await.map_err(failed)?;
    found.ok_or_else(|| problem::not_found("denial", id))
}

pub(super) async fn clear_denials(service: &Service, clear: &ClearDenials) -> Result<Cleared, Problem> {
    let connection = clear.connection.as_ref();
    if let Some(connection) = connection {
        connections::exists(service, connection).await?;
    }
    // What happened before is forgotten too.
    service.engine.write_books().await.map_err(problem::flow)?;
    let denials = service
        .store
        .clear_denials(&service.tenant, connection, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    Ok(Cleared { denials })
}
