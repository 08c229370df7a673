//! What a release is, as its own bytes say. A digest never means anything else, so what was read once is remembered.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use stecker_distribution::{ApiError, Digest, Reference, Registry, RepositoryName};
use stecker_package::{BUNDLE, ListedRelease, ReleaseDetail, SignatureNote, about_of, layer_of};
use stecker_registry::{Inspection, Manifest, component};
use stecker_trust::Bundle;

use crate::gate::{COMPONENT, COSIGN_SIGNATURE, own};

/// How many releases are remembered.
const REMEMBERED: usize = 4_096;
/// Signatures of a release that are looked at.
const SIGNATURES: usize = 64;
/// Bytes of a signature, at most.
const SIGNATURE: u64 = 1024 * 1024;

/// What a release is.
#[derive(Debug)]
pub(crate) struct Fact {
    pub(crate) component: stecker_model::Digest,
    pub(crate) size: u64,
    pub(crate) roles: Vec<String>,
    pub(crate) manifest: Manifest,
    pub(crate) manifest_digest: stecker_model::Digest,
}

/// What releases are, by the digests of their images.
#[derive(Debug, Default)]
pub(crate) struct Facts(Mutex<HashMap<Digest, Arc<Fact>>>);

impl Fact {
    fn of(inspection: Inspection) -> Self {
        let manifest = inspection.manifest;
        Self {
            component: inspection.digest,
            size: inspection.size,
            roles: inspection.roles.iter().map(ToString::to_string).collect(),
            manifest_digest: component::digest(manifest.to_canonical_json().as_bytes()),
            manifest,
        }
    }

    pub(crate) fn detail(&self, listed: ListedRelease, signatures: Vec<SignatureNote>) -> ReleaseDetail {
        ReleaseDetail {
            listed,
            component: self.component.clone(),
            manifest: self.manifest_digest.clone(),
            size: self.size,
            contract: self.manifest.contract.clone(),
            roles: self.roles.clone(),
            capabilities: self.manifest.capabilities.clone(),
            credentials: self
                .manifest
                .credentials
                .keys()
                .map(ToString::to_string)
                .collect(),
            upstream: self.manifest.upstream.clone(),
            breaking: self.manifest.breaking.clone(),
            signatures,
        }
    }
}

impl Facts {
    /// What an image is; none if it is no release, or not there any more.
    pub(crate) async fn of(
        &self,
        registry: &Registry,
        repository: &RepositoryName,
        image: &Digest,
    ) -> Result<Option<Arc<Fact>>, ApiError> {
        let known = |facts: &Self| {
            let facts = facts.0.lock().unwrap_or_else(PoisonError::into_inner);
            facts.get(image).cloned()
        };
        if let Some(fact) = known(self) {
            return Ok(Some(fact));
        }
        let found = registry
            .manifest(repository, &Reference::Digest(image.clone()))
            .await?;
        let Some((_, _, bytes)) = found else {
            return Ok(None);
        };
        let Some(layer) = layer_of(&bytes).ok().and_then(|layer| own(&layer.digest).ok()) else {
            return Ok(None);
        };
        let Some(component) = registry.content(repository, &layer, COMPONENT).await? else {
            return Ok(None);
        };
        // Reading a component takes milliseconds for each MiB.
        let read = tokio::task::spawn_blocking(move || stecker_registry::inspect(&component).ok());
        let Some(inspection) = read.await.ok().flatten() else {
            return Ok(None);
        };
        let fact = Arc::new(Fact::of(inspection));
        let mut facts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if facts.len() >= REMEMBERED {
            facts.clear();
        }
        facts.insert(image.clone(), Arc::clone(&fact));
        Ok(Some(fact))
    }
}

/// The signatures of an image that were pushed.
pub(crate) async fn signatures(
    registry: &Registry,
    repository: &RepositoryName,
    image: &Digest,
) -> Result<Vec<SignatureNote>, ApiError> {
    let mut notes = Vec::new();
    for kind in [BUNDLE, COSIGN_SIGNATURE] {
        let referrers = registry.referrers(repository, image, kind).await?;
        for referrer in referrers.into_iter().take(SIGNATURES) {
            let (Ok(digest), Ok(named)) = (referrer.digest.parse::<Digest>(), referrer.digest.parse()) else {
                continue;
            };
            let bundle = match kind {
                BUNDLE => bundle(registry, repository, &digest).await?,
                _ => None,
            };
            notes.push(SignatureNote {
                referrer: named,
                kind: kind.to_owned(),
                key: bundle.map(|bundle| bundle.hint).filter(|hint| !hint.is_empty()),
            });
        }
    }
    Ok(notes)
}

/// The bundle that a referrer carries; none if it is not one.
pub(crate) async fn bundle(
    registry: &Registry,
    repository: &RepositoryName,
    referrer: &Digest,
) -> Result<Option<Bundle>, ApiError> {
    let found = registry
        .manifest(repository, &Reference::Digest(referrer.clone()))
        .await?;
    let Some((_, _, bytes)) = found else {
        return Ok(None);
    };
    let Some(content) = about_of(&bytes, BUNDLE)
        .ok()
        .and_then(|content| own(&content.digest).ok())
    else {
        return Ok(None);
    };
    let content = registry.content(repository, &content, SIGNATURE).await?;
    Ok(content.and_then(|content| Bundle::from_json(&content).ok()))
}
