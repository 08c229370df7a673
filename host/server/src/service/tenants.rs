//! Tenants: what each may have in all, and what it used today.

use stecker_flow::now_ms;
use stecker_model::{
    Name, TenantLimits,
    api::{DayUsage, Fault, Problem, TenantInfo, UsageInfo},
};
use stecker_store::{TenantRow, day_of};

use super::{Service, failed};
use crate::problem;

pub(super) async fn list(service: &Service) -> Result<Vec<TenantInfo>, Problem> {
    service.engine.write_books().await.map_err(problem::flow)?;
    let mut infos = Vec::new();
    for row in service.store.tenant_rows().await.map_err(failed)? {
        let mut info = info(service, row).await?;
        info.by_use.clear();
        infos.push(info);
    }
    Ok(infos)
}

pub(super) async fn show(service: &Service) -> Result<TenantInfo, Problem> {
    // Whoever looks wants to see what happened a moment ago too.
    service.engine.write_books().await.map_err(problem::flow)?;
    let row = service.store.tenant_row(&service.tenant).await.map_err(failed)?;
    info(
        service,
        row.ok_or_else(|| problem::not_found("tenant", &service.tenant))?,
    )
    .await
}

pub(super) async fn limit(service: &Service, limits: &TenantLimits) -> Result<TenantInfo, Problem> {
    if let Err(errors) = limits.validate() {
        let faults: Vec<Fault> = errors.into_iter().map(Fault::from).collect();
        let detail = match faults.as_slice() {
            [only] => format!("{}: {}", only.path, only.reason),
            several => format!("the limits have {} faults", several.len()),
        };
        return Err(problem::invalid(detail, faults));
    }
    service
        .store
        .limit_tenant(&service.tenant, limits, &service.actor, now_ms())
        .await
        .map_err(failed)?;
    service.engine.wake_tenant(&service.tenant);
    show(service).await
}

async fn info(service: &Service, row: TenantRow) -> Result<TenantInfo, Problem> {
    let usage = today(service, &row.name).await?;
    let mut sum = DayUsage::default();
    for one in &usage {
        sum.add(&one.usage);
    }
    Ok(TenantInfo {
        name: row.name,
        created_at: row.created_at,
        limits_set: row.limits.is_some(),
        limits: row.limits.unwrap_or_default(),
        today: sum,
        by_use: usage,
    })
}

async fn today(service: &Service, tenant: &Name) -> Result<Vec<UsageInfo>, Problem> {
    let usage = service
        .store
        .usage(tenant, day_of(now_ms()))
        .await
        .map_err(failed)?;
    let infos = usage.into_iter().map(|(used_by, usage)| {
        let (connection, flow) = used_by.split();
        UsageInfo {
            connection,
            flow,
            usage,
        }
    });
    Ok(infos.collect())
}
