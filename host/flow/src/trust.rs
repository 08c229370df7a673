//! Whether a tenant lets a release be loaded. Without a trust root, whatever the tenant added is loaded; with one, every load asks it anew,
//! so that what is revoked stops with the next binding, on every host.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use jiff::Timestamp;
use stecker_model::{
    Digest, Name,
    api::{ReleaseTrust, RootInfo, SignatureTaken, TrustInfo},
};
use stecker_registry::Inspection;
use stecker_store::{RootRow, SignatureRow, Store, StoreError};
use stecker_trust::{Bundle, ReleaseSubject, SignedBundle, TrustRoot, Verdict};

use crate::{Clock, FlowError};

/// Trust roots that are kept checked; one is a few kilobytes.
const KEPT: usize = 10_000;

/// Judges releases by the tenants' trust roots.
pub(crate) struct Trust {
    store: Store,
    clock: Arc<dyn Clock>,
    /// Checked already, by digest.
    roots: Mutex<HashMap<Digest, Arc<TrustRoot>>>,
}

impl Trust {
    pub(crate) fn new(store: Store, clock: Arc<dyn Clock>) -> Self {
        Self {
            store,
            clock,
            roots: Mutex::default(),
        }
    }

    fn now(&self) -> Timestamp {
        moment(self.clock.now_ms())
    }

    fn restored(&self, row: &RootRow) -> Result<Arc<TrustRoot>, FlowError> {
        let mut roots = self.roots.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(root) = roots.get(&row.digest) {
            return Ok(Arc::clone(root));
        }
        let root = Arc::new(TrustRoot::restore(row.document.as_bytes(), &row.digest)?);
        if roots.len() >= KEPT {
            roots.clear();
        }
        roots.insert(row.digest.clone(), Arc::clone(&root));
        Ok(root)
    }

    async fn root(&self, tenant: &Name) -> Result<Option<Arc<TrustRoot>>, FlowError> {
        let row = self.store.trust_root(tenant).await?;
        row.map(|row| self.restored(&row)).transpose()
    }

    /// Lets a release be loaded, or says why not. `component` are its bytes, where they are at hand.
    ///
    /// # Errors
    /// [`FlowError::Untrusted`]; the store fails.
    pub(crate) async fn require(
        &self,
        tenant: &Name,
        inspection: &Inspection,
        component: Option<&[u8]>,
    ) -> Result<(), FlowError> {
        let Some(root) = self.root(tenant).await? else {
            return Ok(());
        };
        let subject = subject(inspection);
        let signatures = self.store.signatures(tenant, &inspection.digest).await?;
        match judge(&root, &subject, component, &signatures, self.now()) {
            Verdict::Trusted(_) => Ok(()),
            Verdict::Refused(refusal) => Err(FlowError::Untrusted {
                name: subject.name.to_string(),
                version: subject.version.to_string(),
                code: refusal.code(),
                reason: refusal.to_string(),
            }),
        }
    }

    /// The trust root of a tenant, and what it says of each of the tenant's releases.
    pub(crate) async fn info(&self, tenant: &Name) -> Result<TrustInfo, FlowError> {
        let row = self.store.trust_root(tenant).await?;
        let root = row.as_ref().map(|row| self.restored(row)).transpose()?;
        let mut releases = Vec::new();
        for info in self.store.releases(tenant).await? {
            let Some(kept) = self.store.release(tenant, &info.digest).await? else {
                continue;
            };
            let inspection = inspection(&kept.inspection_json)?;
            let signatures = self.store.signatures(tenant, &info.digest).await?;
            let mut entry = ReleaseTrust {
                digest: info.digest.clone(),
                name: info.name,
                version: info.version,
                loads: true,
                signatures: signatures.len(),
                signed_by: Vec::new(),
                code: None,
                reason: None,
            };
            if let Some(root) = &root {
                let component = self.store.release_component(tenant, &info.digest).await?;
                let subject = subject(&inspection);
                match judge(root, &subject, component.as_deref(), &signatures, self.now()) {
                    Verdict::Trusted(trusted) => entry.signed_by = trusted.by.into_iter().collect(),
                    Verdict::Refused(refusal) => {
                        entry.loads = false;
                        entry.code = Some(refusal.code().to_owned());
                        entry.reason = Some(refusal.to_string());
                    }
                }
            }
            releases.push(entry);
        }
        let root = match (row, root) {
            (Some(row), Some(root)) => Some(RootInfo {
                version: root.document().version,
                digest: row.digest,
                taken_at: row.taken_at,
                expires_at: root.document().expires.map(Timestamp::as_millisecond),
                document: serde_json::to_value(root.document()).map_err(|error| {
                    StoreError::internal(format!("a trust root has no JSON form: {error}"))
                })?,
            }),
            _ => None,
        };
        Ok(TrustInfo { root, releases })
    }

    /// Takes a signed trust root: the tenant's first, or the next one.
    ///
    /// # Errors
    /// [`FlowError::Root`]; the store fails.
    pub(crate) async fn take(&self, tenant: &Name, document: &str, actor: &str) -> Result<(), FlowError> {
        let now = self.clock.now_ms();
        let before = self.store.trust_root(tenant).await?;
        let next = match &before {
            None => TrustRoot::establish(document.as_bytes(), tenant, moment(now))?,
            Some(row) => self.restored(row)?.rotate(document.as_bytes(), moment(now))?,
        };
        let row = RootRow {
            version: i64::try_from(next.document().version).unwrap_or(i64::MAX),
            digest: next.digest().clone(),
            document: document.to_owned(),
            taken_at: now,
        };
        let before = before.map(|row| row.digest);
        if before.as_ref() == Some(&row.digest) {
            return Ok(());
        }
        Ok(self
            .store
            .put_trust_root(tenant, before.as_ref(), &row, actor)
            .await?)
    }

    /// Keeps a signature, and says whether it makes the release load.
    ///
    /// # Errors
    /// [`FlowError::Signature`] for what is no bundle; the store fails.
    pub(crate) async fn sign(
        &self,
        tenant: &Name,
        component: &Digest,
        bundle: &str,
        actor: &str,
    ) -> Result<SignatureTaken, FlowError> {
        Bundle::from_json(bundle.as_bytes()).map_err(|error| FlowError::Signature(error.to_string()))?;
        let now = self.clock.now_ms();
        let is_new = self
            .store
            .put_signature(tenant, component, bundle, actor, now)
            .await?;
        let release = self.store.release(tenant, component).await?;
        let mut taken = SignatureTaken {
            component: component.clone(),
            is_new,
            has_release: release.is_some(),
            refused: None,
        };
        if let Some(release) = release {
            let bytes = self.store.release_component(tenant, component).await?;
            match self
                .require(tenant, &inspection(&release.inspection_json)?, bytes.as_deref())
                .await
            {
                Ok(()) => {}
                Err(FlowError::Untrusted { reason, .. }) => taken.refused = Some(reason),
                Err(error) => return Err(error),
            }
        }
        Ok(taken)
    }
}

fn judge(
    root: &TrustRoot,
    subject: &ReleaseSubject,
    component: Option<&[u8]>,
    signatures: &[SignatureRow],
    now: Timestamp,
) -> Verdict {
    let bundles: Vec<SignedBundle<'_>> = signatures
        .iter()
        .map(|row| SignedBundle {
            json: row.bundle.as_bytes(),
            seen: Some(moment(row.seen_at)),
        })
        .collect();
    root.judge(subject, component, &bundles, now)
}

/// Name and version are those of the manifest inside of the component, never those that somebody else gives it.
fn subject(inspection: &Inspection) -> ReleaseSubject {
    let manifest = inspection.manifest.to_canonical_json();
    ReleaseSubject {
        name: inspection.manifest.name.clone(),
        version: inspection.manifest.version.clone(),
        component: inspection.digest.clone(),
        manifest: stecker_registry::component::digest(manifest.as_bytes()),
        image: None,
    }
}

pub(crate) fn inspection(json: &str) -> Result<Inspection, FlowError> {
    serde_json::from_str(json).map_err(|error| {
        StoreError::internal(format!("the inspection of a release cannot be read: {error}")).into()
    })
}

fn moment(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).unwrap_or(if ms < 0 { Timestamp::MIN } else { Timestamp::MAX })
}
