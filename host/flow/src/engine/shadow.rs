//! Recordings of connections, and other releases tried on them.

use serde_json::Value;
use stecker_model::{
    Digest, Name, Tape,
    api::{ShadowReport, ShadowRequest, StartTaping, TapeList},
};

use super::Engine;
use crate::{
    FlowError,
    shadow::{self, Trial},
    taping,
};

impl Engine {
    /// Has the next calls of a connection recorded, on every node. Needs a vault: tapes are sealed.
    ///
    /// # Errors
    /// Out of bounds; no such connection; no vault, or a master key that is missing or wrong; a store that fails.
    pub async fn start_taping(
        &self,
        tenant: &Name,
        connection: &Name,
        wish: &StartTaping,
        actor: &str,
    ) -> Result<TapeList, FlowError> {
        let now = self.now();
        let until = taping::until(wish, now)?;
        // Said now, and not in the log of every call.
        let vault = self.store().vault().map_err(taping::unopened)?;
        vault.try_key(tenant).await.map_err(taping::unopened)?;
        self.store()
            .start_taping(tenant, connection, (until, wish.calls), actor, now)
            .await?;
        self.tapes(tenant, connection).await
    }

    /// Ends a recording. What was recorded stays.
    ///
    /// # Errors
    /// No such connection; a store that fails.
    pub async fn stop_taping(
        &self,
        tenant: &Name,
        connection: &Name,
        actor: &str,
    ) -> Result<TapeList, FlowError> {
        self.store()
            .stop_taping(tenant, connection, actor, self.now())
            .await?;
        self.tapes(tenant, connection).await
    }

    /// What is recorded of a connection, the newest first.
    ///
    /// # Errors
    /// No such connection; a store that fails.
    pub async fn tapes(&self, tenant: &Name, connection: &Name) -> Result<TapeList, FlowError> {
        let store = self.store();
        if store.connection(tenant, connection).await?.is_none() {
            return Err(FlowError::not_found("connection", connection));
        }
        Ok(TapeList {
            taping: store.taping(tenant, connection, self.now()).await?,
            tapes: store.tapes(tenant, connection).await?,
        })
    }

    /// One recorded call, opened.
    ///
    /// # Errors
    /// No such tape; a master key that is missing or wrong; a store that fails.
    pub async fn tape(&self, tenant: &Name, connection: &Name, id: &str) -> Result<Tape, FlowError> {
        let tape = shadow::open(self.store(), tenant, connection, id).await?;
        tape.ok_or_else(|| FlowError::not_found("tape", &id))
    }

    /// Forgets what is recorded of a connection; how many calls.
    ///
    /// # Errors
    /// No such connection; a store that fails.
    pub async fn clear_tapes(&self, tenant: &Name, connection: &Name, actor: &str) -> Result<u64, FlowError> {
        self.tapes(tenant, connection).await?;
        let cleared = self.store().clear_tapes(tenant, connection, actor, self.now());
        Ok(cleared.await?)
    }

    /// Tries another release on the recorded calls of a connection, and says what it would have done differently. Nothing of it reaches a system, a
    /// record or the connection's storage. One trial at a time in this process; others wait for their turn.
    ///
    /// # Errors
    /// No such connection or release; a release that is not trusted or does not load; a configuration or grants that do not fit it; a store or
    /// a vault that fails.
    pub async fn shadow(
        &self,
        tenant: &Name,
        connection: &Name,
        candidate: &Digest,
        config: Option<Value>,
        options: &ShadowRequest,
    ) -> Result<ShadowReport, FlowError> {
        let request = ShadowRequest {
            config: config.or_else(|| options.config.clone()),
            ..options.clone()
        };
        let binder = self.store().binder(tenant, connection).await?;
        let binder = binder.ok_or_else(|| FlowError::not_found("connection", connection))?;
        let spec = &binder.connection.spec;
        let running = spec
            .plugin
            .digest
            .as_ref()
            .ok_or_else(|| FlowError::not_found("release digest in the specification of", connection))?;
        let releases = &self.inner.releases;
        let (running, candidate) = (
            releases.get(tenant, running).await?,
            releases.get(tenant, candidate).await?,
        );
        // The semaphore is never closed.
        let _turn = self.inner.trying.acquire().await;
        shadow::run(Trial {
            store: self.store(),
            tenant,
            spec,
            tenant_limits: &binder.limits,
            running: &running,
            candidate: &candidate,
            request: &request,
        })
        .await
    }

    /// As [`Engine::shadow`], with the candidate as the request names it: by its digest, or by name and range.
    ///
    /// # Errors
    /// As [`Engine::shadow`].
    pub async fn shadow_named(
        &self,
        tenant: &Name,
        connection: &Name,
        request: &ShadowRequest,
    ) -> Result<ShadowReport, FlowError> {
        let candidate = shadow::candidate(self.store(), tenant, &request.release).await?;
        self.shadow(tenant, connection, &candidate, None, request).await
    }
}
