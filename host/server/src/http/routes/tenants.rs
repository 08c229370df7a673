//! Tenants: what they may have and what they used. Limits, and the list of all tenants, are for whoever runs the host.

use axum::Json;
use stecker_model::{TenantLimits, api::TenantInfo};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::{HostOps, Ops},
        extract::Body,
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(list))
        .routes(routes!(show))
        .routes(routes!(limit))
}

/// Lists every tenant of the host by name. For whoever runs the host.
#[utoipa::path(get, path = "/tenants", tag = "tenants", operation_id = "tenants",
    responses((status = 200, description = "All of them.", body = Vec<TenantInfo>), ApiProblem))]
async fn list(HostOps(ops): HostOps) -> ApiResult<Vec<TenantInfo>> {
    Ok(Json(ops.tenants().await?))
}

/// Shows the tenant: what it may have in all, and what its connections and flows used since midnight UTC.
#[utoipa::path(get, path = "/tenant", tag = "tenants", operation_id = "tenant",
    responses((status = 200, description = "As it stands.", body = TenantInfo), ApiProblem))]
async fn show(Ops(ops): Ops) -> ApiResult<TenantInfo> {
    Ok(Json(ops.tenant_info().await?))
}

/// Sets what the tenant may have in all, from the next call on; what is not given is as usual. Makes the tenant if it is not there. For
/// whoever runs the host.
#[utoipa::path(post, path = "/tenant/limits", tag = "tenants", operation_id = "limit-tenant", request_body = TenantLimits,
    responses((status = 200, description = "Set.", body = TenantInfo), ApiProblem))]
async fn limit(HostOps(ops): HostOps, Body(limits): Body<TenantLimits>) -> ApiResult<TenantInfo> {
    Ok(Json(ops.limit_tenant(&limits).await?))
}
