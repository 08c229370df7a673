//! How much room everything takes, and giving it back.

use stecker_model::api::{Problem, StorageReport, Vacuum, Vacuumed};

use super::{Service, failed};

pub(super) async fn report(service: &Service) -> Result<StorageReport, Problem> {
    let store = &service.store;
    let database = store.database_size().await.map_err(failed)?;
    let mut tenants = Vec::new();
    for tenant in store.tenants().await.map_err(failed)? {
        tenants.push(store.tenant_storage(&tenant).await.map_err(failed)?);
    }
    Ok(StorageReport { database, tenants })
}

pub(super) async fn vacuum(service: &Service, request: Vacuum) -> Result<Vacuumed, Problem> {
    service
        .store
        .vacuum(request.full, request.dry_run)
        .await
        .map_err(failed)
}
