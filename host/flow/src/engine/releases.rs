//! Releases, and which of them a tenant trusts.

use jiff::civil::Date;
use stecker_model::{
    Digest, Name,
    api::{OutdatedUse, ReleaseInfo, ResolveWish, Resolved, SignatureTaken, TrustInfo, UseAtRisk},
};

use super::Engine;
use crate::{FlowError, Marks, resolving};

impl Engine {
    fn marks(&self) -> Option<&dyn Marks> {
        self.inner.options.marks.as_deref()
    }

    /// Adds a release to a tenant, after it was seen to load.
    ///
    /// # Errors
    /// A component that cannot be used or is not trusted, with the reason; a store that fails.
    pub async fn add_release(&self, tenant: &Name, component: &[u8]) -> Result<ReleaseInfo, FlowError> {
        self.inner.store.ensure_tenant(tenant, self.now()).await?;
        self.inner.releases.add(tenant, component, self.now()).await
    }

    /// What a tenant trusts, and which of its releases are loaded by that.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn trust(&self, tenant: &Name) -> Result<TrustInfo, FlowError> {
        self.inner.trust.info(tenant).await
    }

    /// Takes a signed trust root: the tenant's first, or the next one. It counts from the next call of every connection on, on every host.
    ///
    /// # Errors
    /// [`FlowError::Root`] with the reason; a store that fails.
    pub async fn take_trust_root(
        &self,
        tenant: &Name,
        document: &str,
        actor: &str,
    ) -> Result<TrustInfo, FlowError> {
        self.inner.trust.take(tenant, document, actor).await?;
        self.wake_tenant(tenant);
        self.trust(tenant).await
    }

    /// Ends a tenant's trust root: whatever it has is loaded from then on.
    ///
    /// # Errors
    /// The tenant has none; a store that fails.
    pub async fn drop_trust_root(
        &self,
        tenant: &Name,
        reason: &str,
        actor: &str,
    ) -> Result<TrustInfo, FlowError> {
        self.inner
            .store
            .drop_trust_root(tenant, reason, actor, self.now())
            .await?;
        self.wake_tenant(tenant);
        self.trust(tenant).await
    }

    /// Keeps a signature of a component, which may be added later.
    ///
    /// # Errors
    /// [`FlowError::Signature`] for what is none; a store that fails.
    pub async fn add_signature(
        &self,
        tenant: &Name,
        component: &Digest,
        bundle: &str,
        actor: &str,
    ) -> Result<SignatureTaken, FlowError> {
        self.inner.trust.sign(tenant, component, bundle, actor).await
    }

    /// Which release each use is to run, with the reason for every one that it is not. Nothing is changed.
    ///
    /// # Errors
    /// A name or a range that is none; a store that fails.
    pub async fn resolve(&self, tenant: &Name, wishes: &[ResolveWish]) -> Result<Vec<Resolved>, FlowError> {
        resolving::resolve_all(&self.inner.store, &self.inner.trust, self.marks(), tenant, wishes).await
    }

    /// The uses of plugins that are behind, or whose release should not be used any more.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn outdated(&self, tenant: &Name) -> Result<Vec<OutdatedUse>, FlowError> {
        resolving::outdated_uses(&self.inner.store, &self.inner.trust, self.marks(), tenant).await
    }

    /// The uses of plugins that stop working on or before a day, the earliest first.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn at_risk(&self, tenant: &Name, by: Date) -> Result<Vec<UseAtRisk>, FlowError> {
        resolving::uses_at_risk(&self.inner.store, &self.inner.trust, self.marks(), tenant, by).await
    }
}
