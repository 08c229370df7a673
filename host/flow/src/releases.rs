//! Releases: from bytes to something callable, each loaded once as long as a session uses it. What no session uses any more gives its memory
//! back.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use stecker_gate::{GatePolicy, Severity};
use stecker_model::{Digest, Name, api::ReleaseInfo};
use stecker_sandbox::{Release, Sandbox, WeakRelease};
use stecker_store::{NewRelease, Store};
use tokio::sync::Mutex;

use crate::{FlowError, trust::Trust};

/// Loads releases out of the store into the sandbox.
pub(crate) struct Releases {
    store: Store,
    sandbox: Sandbox,
    trust: Arc<Trust>,
    loaded: Mutex<HashMap<Digest, WeakRelease>>,
}

impl Releases {
    pub(crate) fn new(store: Store, sandbox: Sandbox, trust: Arc<Trust>) -> Self {
        Self {
            store,
            sandbox,
            trust,
            loaded: Mutex::default(),
        }
    }

    /// Takes a component in: inspected, compiled, link-checked, asked for its description and examined by the gate before it is kept, so that what
    /// the store holds has been seen to load. What the gate only warns of is for the log; `stecker plugin check` shows all of it.
    pub(crate) async fn add(
        &self,
        tenant: &Name,
        component: &[u8],
        now: i64,
    ) -> Result<ReleaseInfo, FlowError> {
        let release = self
            .sandbox
            .load(Arc::from(component))
            .await
            .map_err(|error| FlowError::Load(error.to_string()))?;
        let inspection = release.inspection();
        self.trust.require(tenant, inspection, Some(component)).await?;
        release.describe().await?;
        let at = Timestamp::from_millisecond(now).unwrap_or(Timestamp::UNIX_EPOCH);
        // The release is in use, so nothing of this is done twice.
        let report = stecker_gate::examine(&self.sandbox, component, None, &GatePolicy::install(), at)
            .await
            .map_err(|refused| FlowError::Load(refused.to_string()))?;
        for finding in report.of(Severity::Warning) {
            tracing::warn!(%tenant, release = %release.digest(), code = finding.code.as_str(), "{}", finding.seen);
        }
        let info = ReleaseInfo {
            digest: release.digest().clone(),
            name: inspection.manifest.name.to_string(),
            version: inspection.manifest.version.to_string(),
            roles: inspection.roles.iter().map(ToString::to_string).collect(),
            size: component.len() as u64,
            added_at: now,
        };
        let inspection_json =
            serde_json::to_string(inspection).map_err(|error| FlowError::Load(error.to_string()))?;
        let row = NewRelease {
            info: info.clone(),
            inspection_json,
            component: component.to_vec(),
        };
        self.store.put_release(tenant, row, now).await?;
        self.remember(&release).await;
        Ok(info)
    }

    /// A release that the tenant has and trusts.
    pub(crate) async fn get(&self, tenant: &Name, digest: &Digest) -> Result<Release, FlowError> {
        let loaded = self
            .loaded
            .lock()
            .await
            .get(digest)
            .and_then(WeakRelease::upgrade);
        // That somebody else uses it does not mean that this tenant has it.
        if let Some(release) = loaded
            && self.store.release(tenant, digest).await?.is_some()
            // Some signatures can only be checked against the bytes, which are read below.
            && self.trust.require(tenant, release.inspection(), None).await.is_ok()
        {
            return Ok(release);
        }
        let component = self
            .store
            .release_component(tenant, digest)
            .await?
            .ok_or_else(|| FlowError::not_found("release", digest))?;
        // Before anything of it is compiled.
        let inspection =
            stecker_registry::inspect(&component).map_err(|error| FlowError::Load(error.to_string()))?;
        self.trust.require(tenant, &inspection, Some(&component)).await?;
        let release = self
            .sandbox
            .load(Arc::from(component))
            .await
            .map_err(|error| FlowError::Load(error.to_string()))?;
        self.remember(&release).await;
        Ok(release)
    }

    async fn remember(&self, release: &Release) {
        let mut loaded = self.loaded.lock().await;
        loaded.retain(|_, release| release.upgrade().is_some());
        loaded.insert(release.digest().clone(), release.downgrade());
    }
}
