//! Trust roots and signatures.

use stecker_model::api::{AddSignature, Problem, ResolveWish, Resolved, SignatureTaken, TrustInfo};

use super::{Service, reason};
use crate::problem;

/// Bytes of a trust root or a signature, at most.
const MAX_BYTES: usize = 1_024 * 1_024;
/// Uses that are resolved at once, at most.
const MAX_WISHES: usize = 10_000;

pub(super) async fn show(service: &Service) -> Result<TrustInfo, Problem> {
    service.engine.trust(&service.tenant).await.map_err(problem::flow)
}

pub(super) async fn take(service: &Service, document: &str) -> Result<TrustInfo, Problem> {
    bounded("document", document)?;
    service
        .engine
        .take_trust_root(&service.tenant, document, &service.actor)
        .await
        .map_err(problem::flow)
}

pub(super) async fn drop_root(service: &Service, why: &str) -> Result<TrustInfo, Problem> {
    reason(why)?;
    service
        .engine
        .drop_trust_root(&service.tenant, why, &service.actor)
        .await
        .map_err(problem::flow)
}

pub(super) async fn sign(service: &Service, signature: &AddSignature) -> Result<SignatureTaken, Problem> {
    bounded("bundle", &signature.bundle)?;
    service
        .engine
        .add_signature(
            &service.tenant,
            &signature.component,
            &signature.bundle,
            &service.actor,
        )
        .await
        .map_err(problem::flow)
}

pub(super) async fn resolve(service: &Service, wishes: &[ResolveWish]) -> Result<Vec<Resolved>, Problem> {
    if wishes.len() > MAX_WISHES {
        let reason = format!("{} uses at once; at most {MAX_WISHES}", wishes.len());
        return Err(problem::invalid_field("wishes", reason));
    }
    service
        .engine
        .resolve(&service.tenant, wishes)
        .await
        .map_err(problem::flow)
}

fn bounded(field: &str, text: &str) -> Result<(), Problem> {
    if text.len() > MAX_BYTES {
        let reason = format!("has {} bytes; at most {MAX_BYTES} are taken", text.len());
        return Err(problem::invalid_field(field, reason));
    }
    Ok(())
}
