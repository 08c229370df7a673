//! Rollouts, as people start and switch them.

use stecker_model::{
    Digest, Name,
    api::{BarredRelease, RolloutEvent, RolloutInfo, RolloutPlan, RolloutState, StartRollout},
};
use stecker_store::NewRollout;

use super::Engine;
use crate::{FlowError, rollout};

impl Engine {
    /// What a rollout would do. Nothing is changed, and no system is asked.
    ///
    /// # Errors
    /// The connection, the plugin or the release is not there; a store that fails.
    pub async fn plan_rollout(
        &self,
        tenant: &Name,
        request: &StartRollout,
    ) -> Result<RolloutPlan, FlowError> {
        rollout::plan(&self.inner, tenant, request).await
    }

    /// Starts a rollout; whichever host takes it up works on it from then on.
    ///
    /// # Errors
    /// As [`Engine::plan_rollout`]; the name is taken, a connection is in another rollout, the release is barred.
    pub async fn start_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        request: &StartRollout,
        actor: &str,
    ) -> Result<RolloutInfo, FlowError> {
        let planned = rollout::plan(&self.inner, tenant, request).await?;
        let connections: Vec<_> = planned
            .connections
            .iter()
            .map(|one| (one.connection.clone(), one.wave, one.from.clone()))
            .collect();
        let new = NewRollout {
            name,
            request,
            to: &planned.to,
            connections: &connections,
            actor,
        };
        let info = self.inner.store.create_rollout(tenant, new, self.now()).await?;
        self.inner.changed.notify_one();
        Ok(info)
    }

    /// A tenant's rollouts, the newest first.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn rollouts(&self, tenant: &Name) -> Result<Vec<RolloutInfo>, FlowError> {
        Ok(self.inner.store.rollouts(tenant).await?)
    }

    /// A rollout and how far it is.
    ///
    /// # Errors
    /// There is none of this name; a store that fails.
    pub async fn rollout(&self, tenant: &Name, name: &Name) -> Result<RolloutInfo, FlowError> {
        Ok(self.inner.store.rollout(tenant, name).await?)
    }

    /// A person has a rollout wait, or go on.
    ///
    /// # Errors
    /// There is none of this name, or it is over; a store that fails.
    pub async fn pause_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        paused: bool,
        actor: &str,
    ) -> Result<RolloutInfo, FlowError> {
        self.inner
            .store
            .pause_rollout(tenant, name, paused, actor, self.now())
            .await?;
        self.rollout(tenant, name).await
    }

    /// A person approves of a rollout that waits for that, or has what is watched count as done well.
    ///
    /// # Errors
    /// There is none of this name, or it waits for nothing of the kind; a store that fails.
    pub async fn promote_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        actor: &str,
    ) -> Result<RolloutInfo, FlowError> {
        let info = self.rollout(tenant, name).await?;
        let event = match info.state {
            RolloutState::NeedsApproval => RolloutEvent::Approve,
            _ if rollout::is_waiting(&info) => RolloutEvent::DidWell,
            _ => RolloutEvent::AllDidWell,
        };
        self.inner
            .store
            .switch_rollout(tenant, name, event, actor, self.now())
            .await?;
        self.rollout(tenant, name).await
    }

    /// A person ends a rollout: what was moved goes back.
    ///
    /// # Errors
    /// There is none of this name, or it is over; a store that fails.
    pub async fn abort_rollout(
        &self,
        tenant: &Name,
        name: &Name,
        actor: &str,
    ) -> Result<RolloutInfo, FlowError> {
        let info = self.rollout(tenant, name).await?;
        let event = if rollout::has_moved(&info) {
            RolloutEvent::AbortMoved
        } else {
            RolloutEvent::AbortUnmoved
        };
        self.inner
            .store
            .switch_rollout(tenant, name, event, actor, self.now())
            .await?;
        self.rollout(tenant, name).await
    }

    /// Releases that no rollout moves to.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn barred_releases(&self, tenant: &Name) -> Result<Vec<BarredRelease>, FlowError> {
        Ok(self.inner.store.barred_releases(tenant).await?)
    }

    /// A person bars a release (with a reason), or lifts that (without).
    ///
    /// # Errors
    /// It is not barred (to be lifted); a store that fails.
    pub async fn bar_release(
        &self,
        tenant: &Name,
        digest: &Digest,
        reason: Option<&str>,
        actor: &str,
    ) -> Result<(), FlowError> {
        let now = self.now();
        Ok(self
            .inner
            .store
            .bar_release(tenant, digest, reason, actor, now)
            .await?)
    }
}
