//! What a tenant trusts: its trust root, and the signatures of its releases.

use axum::Json;
use stecker_model::api::{
    AddSignature, DropRoot, OutdatedUse, ResolveWish, Resolved, RiskBy, SignatureTaken, TakeRoot, TrustInfo,
    UseAtRisk,
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{
    Operations,
    http::{
        AppState,
        auth::{HostOps, Ops},
        extract::{Body, InQuery},
        problems::{ApiProblem, ApiResult},
    },
};

pub(super) fn routes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(show, take))
        .routes(routes!(drop_root))
        .routes(routes!(sign))
        .routes(routes!(resolve))
        .routes(routes!(outdated))
        .routes(routes!(at_risk))
}

/// Shows the tenant's trust root, and which of its releases are loaded by it.
#[utoipa::path(get, path = "/trust", tag = "trust", operation_id = "trust",
    responses((status = 200, description = "As it stands.", body = TrustInfo), ApiProblem))]
async fn show(Ops(ops): Ops) -> ApiResult<TrustInfo> {
    Ok(Json(ops.trust().await?))
}

/// Takes a signed trust root: the tenant's first, or the next one, which the keys of the one before have signed. It counts from the next
/// call of every connection on.
#[utoipa::path(post, path = "/trust", tag = "trust", operation_id = "take-trust-root", request_body = TakeRoot,
    responses((status = 200, description = "In force.", body = TrustInfo), ApiProblem))]
async fn take(Ops(ops): Ops, Body(root): Body<TakeRoot>) -> ApiResult<TrustInfo> {
    Ok(Json(ops.take_trust_root(&root).await?))
}

/// Ends the tenant's trust root, so that every release that it has is loaded. For whoever runs the host.
#[utoipa::path(post, path = "/trust/drop", tag = "trust", operation_id = "drop-trust-root", request_body = DropRoot,
    responses((status = 200, description = "Ended.", body = TrustInfo), ApiProblem))]
async fn drop_root(HostOps(ops): HostOps, Body(drop): Body<DropRoot>) -> ApiResult<TrustInfo> {
    Ok(Json(ops.drop_trust_root(&drop).await?))
}

/// Keeps a signature of a component. The release may come later; it then is loaded if the trust root asks for signatures.
#[utoipa::path(post, path = "/signatures", tag = "trust", operation_id = "add-signature", request_body = AddSignature,
    responses((status = 200, description = "Kept.", body = SignatureTaken), ApiProblem))]
async fn sign(Ops(ops): Ops, Body(signature): Body<AddSignature>) -> ApiResult<SignatureTaken> {
    Ok(Json(ops.add_signature(&signature).await?))
}

/// Says which release each use of a plugin is to run, with the reason for every one that it is not. Changes nothing.
#[utoipa::path(post, path = "/resolve", tag = "trust", operation_id = "resolve", request_body = Vec<ResolveWish>,
    responses((status = 200, description = "What each comes to, in their order.", body = Vec<Resolved>), ApiProblem))]
async fn resolve(Ops(ops): Ops, Body(wishes): Body<Vec<ResolveWish>>) -> ApiResult<Vec<Resolved>> {
    Ok(Json(ops.resolve(&wishes).await?))
}

/// Lists the uses of plugins that are behind, or whose release should not be used any more.
#[utoipa::path(get, path = "/outdated", tag = "trust", operation_id = "outdated",
    responses((status = 200, description = "All of them.", body = Vec<OutdatedUse>), ApiProblem))]
async fn outdated(Ops(ops): Ops) -> ApiResult<Vec<OutdatedUse>> {
    Ok(Json(ops.outdated().await?))
}

/// Lists the uses of plugins that stop working on or before a day, the earliest first: because a vendor ends the version of its API, or an
/// author the release.
#[utoipa::path(get, path = "/at-risk", tag = "trust", operation_id = "at-risk", params(RiskBy),
    responses((status = 200, description = "All of them.", body = Vec<UseAtRisk>), ApiProblem))]
async fn at_risk(Ops(ops): Ops, InQuery(by): InQuery<RiskBy>) -> ApiResult<Vec<UseAtRisk>> {
    Ok(Json(ops.at_risk(&by).await?))
}
