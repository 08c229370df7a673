//! Upstream accounts: what people and other parts ask of them, and what other hosts tell of them.

use std::sync::Arc;

use stecker_model::{
    Name,
    api::{UpstreamInfo, UpstreamWait},
};
use stecker_store::{StoreError, Told};

use super::{Engine, Inner};
use crate::FlowError;

impl Engine {
    /// The upstream accounts of a tenant, by name.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn upstreams(&self, tenant: &Name) -> Result<Vec<UpstreamInfo>, FlowError> {
        Ok(self.inner.supplies.upstreams.infos(tenant).await?)
    }

    /// One upstream account.
    ///
    /// # Errors
    /// No such account; a store that fails.
    pub async fn upstream(&self, tenant: &Name, account: &Name) -> Result<UpstreamInfo, FlowError> {
        self.inner.supplies.upstreams.info(tenant, account).await
    }

    /// Why a connection's upstream is left alone now: its account is held, or a host that it uses is down. None if neither is so.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn upstream_wait(
        &self,
        tenant: &Name,
        connection: &Name,
    ) -> Result<Option<UpstreamWait>, FlowError> {
        Ok(self.inner.supplies.upstreams.wait_of(tenant, connection).await?)
    }

    /// Forgets the hold and the open breakers of an account by hand; `actor` and `reason` go into the audit trail.
    ///
    /// # Errors
    /// No such account; a store that fails.
    pub async fn close_upstream(
        &self,
        tenant: &Name,
        account: &Name,
        actor: &str,
        reason: &str,
    ) -> Result<UpstreamInfo, FlowError> {
        let upstreams = &self.inner.supplies.upstreams;
        upstreams.close(tenant, account, actor, reason).await?;
        self.wake_tenant(tenant);
        upstreams.info(tenant, account).await
    }
}

impl Inner {
    /// Beside everything else that is heard: it takes a look at the store.
    pub(crate) fn hear_of_upstreams(&self, told: &Told) {
        let told = match told {
            Told::Upstream(tenant, account) => Some((tenant.clone(), account.clone())),
            Told::Anything => None,
            _ => return,
        };
        let upstreams = Arc::clone(&self.supplies.upstreams);
        tokio::spawn(async move {
            let read: Result<(), StoreError> = match told {
                Some((tenant, account)) => upstreams.reload(&tenant, &account).await,
                None => upstreams.load().await,
            };
            if let Err(error) = read {
                tracing::warn!(%error, "what other hosts know of upstreams could not be read; this one finds out by itself");
            }
        });
    }
}
