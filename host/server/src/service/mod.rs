//! Does every operation, on a store and an engine.
//!
//! Bounds of what is asked are checked here and not in the HTTP face, because the command line comes here too, without HTTP.

mod connections;
mod denials;
mod doctor;
mod explain;
mod plan;
mod reconcile;
mod recovery;
mod replays;
mod rollouts;
mod secrets;
mod shadow;
mod storage;
mod tenants;
mod trust;
mod upstreams;
mod webhooks;

use std::path::{Path, PathBuf};

use async_trait::async_trait;
use stecker_flow::{Engine, now_ms};
use stecker_model::api::{
    AddSignature, DropRoot, OutdatedUse, ResolveWish, Resolved, RiskBy, SignatureTaken, TakeRoot, TrustInfo,
    UseAtRisk,
};
use stecker_model::api::{
    AddWebhook, DeliveryFilter, DisableWebhook, RotateWebhookSecret, WebhookDelivery, WebhookInfo,
    WebhookSecret, WebhookTest,
};
use stecker_model::api::{CloseUpstream, UpstreamInfo};
use stecker_model::api::{ExplainRequest, Explanation};
use stecker_model::api::{ShadowReport, ShadowRequest, StartTaping, TapeList, TapesCleared};
use stecker_model::{
    Authorization, Authorize, Authorized, Digest, Name, PluginRef, RecordId, RotateKeys, RotatedKeys,
    SecretInfo, SetSecret, Setup, StreamInfo, TenantLimits,
    api::{
        Affected, BarredRelease, CauseGroup, CheckReport, CircuitRequest, ClearDenials, Cleared,
        ConnectionInfo, DenialFilter, DenialInfo, DenialList, Discard, DoctorReport, EditPayload, Edited,
        Fault, FlowStatus, PauseRequest, PayloadText, Plan, PreviewReplay, Problem, QuarantineGroup,
        QuarantineSelection, ReconcileDetail, ReconcileFilter, ReconcileRequest, ReconcileRun, RecordDetail,
        RecordFilter, RecordPage, RecordSteps, ReleaseInfo, ReplayEvent, ReplayInfo, ReplayPreview,
        RolloutAction, RolloutInfo, RolloutPlan, SelectionPreview, StartReplay, StartRollout, StorageReport,
        TenantInfo, Vacuum, Vacuumed,
    },
};
use stecker_store::{Store, StoreError};
use tokio_util::sync::CancellationToken;

use crate::{Operations, problem};

/// Characters of a reason that a person gives.
const REASON_CHARS: usize = 500;
/// Records of one page of a list.
const PAGE: u32 = 1_000;
/// Record ids of one decision.
const SELECTION: usize = 10_000;

/// The operations within one tenant, in the name of one actor. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    tenant: Name,
    actor: String,
    store: Store,
    engine: Engine,
    data: Option<PathBuf>,
}

impl Service {
    /// For the default tenant, in the name of `host`.
    #[must_use]
    pub fn new(store: Store, engine: Engine) -> Self {
        Self {
            tenant: Name::default_tenant(),
            actor: "host".to_owned(),
            store,
            engine,
            data: None,
        }
    }

    /// For another tenant; `actor` is who the audit trail names.
    #[must_use]
    pub fn of(&self, tenant: Name, actor: impl Into<String>) -> Self {
        Self {
            tenant,
            actor: actor.into(),
            ..self.clone()
        }
    }

    /// Has `doctor` look at this folder too.
    #[must_use]
    pub fn with_data_folder(mut self, path: impl Into<PathBuf>) -> Self {
        self.data = Some(path.into());
        self
    }

    /// The tenant.
    #[must_use]
    pub fn tenant(&self) -> &Name {
        &self.tenant
    }

    /// The store below.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The engine below.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    fn data(&self) -> Option<&Path> {
        self.data.as_deref()
    }

    /// Reads a flow's source to its end and delivers what is due, in this process. Only for a host whose engine was not started;
    /// ends early, with everything kept, when `stop` is cancelled.
    ///
    /// # Errors
    /// As [`Operations::run_flow`].
    pub async fn run_to_the_end(
        &self,
        flow: &Name,
        stop: CancellationToken,
        progress: &mut (dyn FnMut(&FlowStatus) + Send),
    ) -> Result<FlowStatus, Problem> {
        self.engine
            .run_until_idle(&self.tenant, flow, stop, progress)
            .await
            .map_err(problem::flow)
    }

    /// Does a comparison that was asked for, in this process. Only for a host whose engine was not started; ends early, to be begun anew,
    /// when `stop` is cancelled.
    ///
    /// # Errors
    /// As [`Operations::reconcile`]; a flow that is busy elsewhere.
    pub async fn reconcile_to_the_end(
        &self,
        id: &str,
        stop: CancellationToken,
        progress: &mut (dyn FnMut(&ReconcileRun) + Send),
    ) -> Result<ReconcileRun, Problem> {
        self.engine
            .reconcile_until_done(&self.tenant, id, stop, progress)
            .await
            .map_err(problem::flow)
    }

    async fn status(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.engine
            .status(&self.tenant, flow)
            .await
            .map_err(problem::flow)
    }

    async fn has_flow(&self, flow: &Name) -> Result<(), Problem> {
        match self.store.flow(&self.tenant, flow).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err(problem::not_found("flow", flow)),
            Err(error) => Err(problem::store(&error)),
        }
    }

    async fn validate(&self, setup: &Setup) -> Result<(), Problem> {
        let faults = unresolved(setup);
        if faults.is_empty() {
            self.engine
                .validate(&self.tenant, setup)
                .await
                .map_err(problem::flow)
        } else {
            Err(problem::faulty_setup(faults))
        }
    }

    async fn difference(&self, setup: &Setup) -> Result<Plan, Problem> {
        let unreadable = |error: serde_json::Error| {
            problem::internal(format!("a specification has no JSON form: {error}"))
        };
        let mut changes = Vec::with_capacity(setup.connections.len() + setup.flows.len());
        for spec in &setup.connections {
            let stored = self
                .store
                .connection(&self.tenant, &spec.name)
                .await
                .map_err(failed)?;
            let stored = stored.as_ref().map(|stored| &stored.spec);
            changes.push(plan::change("connection", &spec.name, stored, spec).map_err(unreadable)?);
        }
        for spec in &setup.flows {
            let stored = self.store.flow(&self.tenant, &spec.name).await.map_err(failed)?;
            let stored = stored.as_ref().map(|stored| &stored.spec);
            changes.push(plan::change("flow", &spec.name, stored, spec).map_err(unreadable)?);
        }
        Ok(Plan {
            applied: false,
            changes,
        })
    }
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn failed(error: StoreError) -> Problem {
    problem::store(&error)
}

/// References by path, which only whoever has the file can resolve.
fn unresolved(setup: &Setup) -> Vec<Fault> {
    let steps = setup.flows.iter().flat_map(|flow| {
        let steps = flow.transforms.iter().enumerate();
        steps.map(|(index, step)| {
            (
                format!("flow {}, transform[{index}].plugin", flow.name),
                &step.plugin,
            )
        })
    });
    let connections = setup.connections.iter();
    let all = connections
        .map(|spec| (format!("connection {}, plugin", spec.name), &spec.plugin))
        .chain(steps);
    let only_path = |plugin: &PluginRef| plugin.path.is_some() && plugin.digest.is_none();
    all.filter(|(_, plugin)| only_path(plugin))
        .map(|(path, _)| Fault {
            path,
            reason: "the host does not read files of whoever asks: add the component as a release and give its `digest` (`stecker apply` \
                     does both)"
                .to_owned(),
        })
        .collect()
}

fn reason(text: &str) -> Result<(), Problem> {
    if text.trim().is_empty() {
        return Err(problem::invalid_field(
            "reason",
            "is empty; say why in a few words, it is kept and shown",
        ));
    }
    if text.chars().count() > REASON_CHARS {
        return Err(problem::invalid_field(
            "reason",
            format!("is longer than {REASON_CHARS} characters"),
        ));
    }
    Ok(())
}

#[async_trait]
impl Operations for Service {
    async fn add_release(&self, component: Vec<u8>) -> Result<ReleaseInfo, Problem> {
        self.engine
            .add_release(&self.tenant, &component)
            .await
            .map_err(problem::flow)
    }

    async fn releases(&self) -> Result<Vec<ReleaseInfo>, Problem> {
        let mut releases = self.store.releases(&self.tenant).await.map_err(failed)?;
        releases.sort_by(|a, b| (&a.name, &a.version, &a.digest).cmp(&(&b.name, &b.version, &b.digest)));
        Ok(releases)
    }

    async fn plan(&self, setup: &Setup) -> Result<Plan, Problem> {
        self.validate(setup).await?;
        self.difference(setup).await
    }

    async fn apply(&self, setup: &Setup) -> Result<Plan, Problem> {
        self.validate(setup).await?;
        let plan = self.difference(setup).await?;
        let now = now_ms();
        self.store
            .ensure_tenant(&self.tenant, now)
            .await
            .map_err(failed)?;
        self.store
            .apply(&self.tenant, &setup.connections, &setup.flows, &self.actor, now)
            .await
            .map_err(failed)?;
        self.engine.wake_tenant(&self.tenant);
        Ok(Plan {
            applied: true,
            ..plan
        })
    }

    async fn connections(&self) -> Result<Vec<ConnectionInfo>, Problem> {
        connections::list(self).await
    }

    async fn connection(&self, connection: &Name) -> Result<ConnectionInfo, Problem> {
        connections::show(self, connection).await
    }

    async fn open_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem> {
        connections::switch(self, connection, true, &request.reason).await
    }

    async fn close_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem> {
        connections::switch(self, connection, false, &request.reason).await
    }

    async fn check(&self, connection: &Name) -> Result<CheckReport, Problem> {
        self.engine
            .check(&self.tenant, connection)
            .await
            .map_err(problem::flow)
    }

    async fn discover(&self, connection: &Name) -> Result<Vec<StreamInfo>, Problem> {
        self.engine
            .discover(&self.tenant, connection)
            .await
            .map_err(problem::flow)
    }

    async fn flows(&self) -> Result<Vec<FlowStatus>, Problem> {
        self.engine.statuses(&self.tenant).await.map_err(problem::flow)
    }

    async fn flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.status(flow).await
    }

    async fn run_flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        let status = self.status(flow).await?;
        if let Some(pause) = &status.paused {
            return Err(problem::conflict(
                format!("the flow `{flow}` is paused: {}", pause.reason),
                format!("`stecker flow resume {flow}` ends the pause"),
            ));
        }
        self.store
            .request_run(&self.tenant, flow, now_ms())
            .await
            .map_err(failed)?;
        self.engine.wake_flow(&self.tenant, flow);
        Ok(status)
    }

    async fn pause_flow(&self, flow: &Name, request: &PauseRequest) -> Result<FlowStatus, Problem> {
        reason(&request.reason)?;
        self.has_flow(flow).await?;
        self.store
            .pause_flow(&self.tenant, flow, &request.reason, &self.actor, now_ms())
            .await
            .map_err(failed)?;
        self.engine.wake_flow(&self.tenant, flow);
        self.status(flow).await
    }

    async fn resume_flow(&self, flow: &Name) -> Result<FlowStatus, Problem> {
        self.has_flow(flow).await?;
        self.store
            .resume_flow(&self.tenant, flow, &self.actor, now_ms())
            .await
            .map_err(failed)?;
        self.engine.wake_flow(&self.tenant, flow);
        self.status(flow).await
    }

    async fn records(&self, filter: &RecordFilter) -> Result<RecordPage, Problem> {
        if let Some(limit) = filter.limit.filter(|limit| !(1..=PAGE).contains(limit)) {
            return Err(problem::invalid_field(
                "limit",
                format!("{limit} is out of bounds; use 1 to {PAGE}"),
            ));
        }
        if let Some(flow) = &filter.flow {
            self.has_flow(flow).await?;
        }
        self.store
            .list_records(&self.tenant, filter)
            .await
            .map_err(failed)
    }

    async fn record(&self, id: &RecordId) -> Result<RecordDetail, Problem> {
        let found = self.store.record(&self.tenant, id).await.map_err(failed)?;
        found.ok_or_else(|| problem::not_found("record", id))
    }

    async fn quarantine(&self, flow: Option<&Name>) -> Result<Vec<QuarantineGroup>, Problem> {
        if let Some(flow) = flow {
            self.has_flow(flow).await?;
        }
        self.store
            .quarantine_groups(&self.tenant, flow)
            .await
            .map_err(failed)
    }

    async fn quarantine_retry(&self, selection: &QuarantineSelection) -> Result<Affected, Problem> {
        recovery::retry(self, selection).await
    }

    async fn quarantine_discard(&self, discard: &Discard) -> Result<Affected, Problem> {
        recovery::discard(self, discard).await
    }

    async fn quarantine_preview(&self, selection: &QuarantineSelection) -> Result<SelectionPreview, Problem> {
        recovery::preview(self, selection).await
    }

    async fn cause_groups(&self, flow: Option<&Name>) -> Result<Vec<CauseGroup>, Problem> {
        recovery::groups(self, flow).await
    }

    async fn steps(&self, id: &RecordId) -> Result<RecordSteps, Problem> {
        recovery::steps(self, id).await
    }

    async fn payload(&self, id: &RecordId) -> Result<PayloadText, Problem> {
        recovery::payload(self, id).await
    }

    async fn edit_payload(&self, id: &RecordId, edit: &EditPayload) -> Result<Edited, Problem> {
        recovery::edit(self, id, edit).await
    }

    async fn replays(&self, flow: Option<&Name>) -> Result<Vec<ReplayInfo>, Problem> {
        replays::list(self, flow).await
    }

    async fn replay(&self, name: &Name) -> Result<ReplayInfo, Problem> {
        replays::show(self, name).await
    }

    async fn preview_replay(&self, request: &PreviewReplay) -> Result<ReplayPreview, Problem> {
        replays::preview(self, request).await
    }

    async fn start_replay(&self, start: &StartReplay) -> Result<ReplayInfo, Problem> {
        replays::start(self, start).await
    }

    async fn switch_replay(&self, name: &Name, event: ReplayEvent) -> Result<ReplayInfo, Problem> {
        replays::switch(self, name, event).await
    }

    async fn rollouts(&self) -> Result<Vec<RolloutInfo>, Problem> {
        rollouts::list(self).await
    }

    async fn rollout(&self, name: &Name) -> Result<RolloutInfo, Problem> {
        rollouts::show(self, name).await
    }

    async fn plan_rollout(&self, start: &StartRollout) -> Result<RolloutPlan, Problem> {
        rollouts::plan(self, start).await
    }

    async fn start_rollout(&self, start: &StartRollout) -> Result<RolloutInfo, Problem> {
        rollouts::start(self, start).await
    }

    async fn switch_rollout(&self, name: &Name, action: RolloutAction) -> Result<RolloutInfo, Problem> {
        rollouts::switch(self, name, action).await
    }

    async fn barred_releases(&self) -> Result<Vec<BarredRelease>, Problem> {
        rollouts::barred(self).await
    }

    async fn bar_release(
        &self,
        digest: &Digest,
        reason: Option<&str>,
    ) -> Result<Vec<BarredRelease>, Problem> {
        rollouts::bar(self, digest, reason).await
    }

    async fn storage(&self) -> Result<StorageReport, Problem> {
        storage::report(self).await
    }

    async fn vacuum(&self, request: &Vacuum) -> Result<Vacuumed, Problem> {
        storage::vacuum(self, *request).await
    }

    async fn start_reconcile(
        &self,
        flow: &Name,
        request: &ReconcileRequest,
    ) -> Result<ReconcileRun, Problem> {
        reconcile::start(self, flow, request).await
    }

    async fn reconciles(&self, filter: &ReconcileFilter) -> Result<Vec<ReconcileRun>, Problem> {
        reconcile::list(self, filter).await
    }

    async fn reconcile(&self, id: &str) -> Result<ReconcileDetail, Problem> {
        reconcile::show(self, id).await
    }

    async fn abort_reconcile(&self, id: &str) -> Result<ReconcileRun, Problem> {
        reconcile::abort(self, id).await
    }

    async fn secrets(&self) -> Result<Vec<SecretInfo>, Problem> {
        secrets::list(self).await
    }

    async fn set_secret(
        &self,
        connection: &Name,
        credential: &Name,
        secret: &SetSecret,
    ) -> Result<SecretInfo, Problem> {
        secrets::set(self, connection, credential, secret).await
    }

    async fn remove_secret(&self, connection: &Name, credential: &Name) -> Result<SecretInfo, Problem> {
        secrets::remove(self, connection, credential).await
    }

    async fn authorize(
        &self,
        connection: &Name,
        credential: &Name,
        request: &Authorize,
    ) -> Result<Authorization, Problem> {
        secrets::authorize(self, connection, credential, request).await
    }

    async fn authorized(
        &self,
        connection: &Name,
        credential: &Name,
        answer: &Authorized,
    ) -> Result<SecretInfo, Problem> {
        secrets::authorized(self, connection, credential, answer).await
    }

    async fn rotate_keys(&self, request: &RotateKeys) -> Result<RotatedKeys, Problem> {
        secrets::rotate(self, *request).await
    }

    async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Problem> {
        explain::explain(self, request).await
    }

    async fn tapes(&self, connection: &Name) -> Result<TapeList, Problem> {
        shadow::tapes(self, connection).await
    }

    async fn tape(&self, connection: &Name, id: &str) -> Result<serde_json::Value, Problem> {
        shadow::tape(self, connection, id).await
    }

    async fn start_taping(&self, connection: &Name, wish: &StartTaping) -> Result<TapeList, Problem> {
        shadow::start(self, connection, wish).await
    }

    async fn stop_taping(&self, connection: &Name) -> Result<TapeList, Problem> {
        shadow::stop(self, connection).await
    }

    async fn clear_tapes(&self, connection: &Name) -> Result<TapesCleared, Problem> {
        shadow::clear(self, connection).await
    }

    async fn shadow(&self, connection: &Name, request: &ShadowRequest) -> Result<ShadowReport, Problem> {
        shadow::shadow(self, connection, request).await
    }

    async fn denials(&self, filter: &DenialFilter) -> Result<DenialList, Problem> {
        denials::denials(self, filter).await
    }

    async fn denial(&self, id: &str) -> Result<DenialInfo, Problem> {
        denials::denial(self, id).await
    }

    async fn clear_denials(&self, clear: &ClearDenials) -> Result<Cleared, Problem> {
        denials::clear_denials(self, clear).await
    }

    async fn trust(&self) -> Result<TrustInfo, Problem> {
        trust::show(self).await
    }

    async fn take_trust_root(&self, root: &TakeRoot) -> Result<TrustInfo, Problem> {
        trust::take(self, &root.document).await
    }

    async fn drop_trust_root(&self, drop: &DropRoot) -> Result<TrustInfo, Problem> {
        trust::drop_root(self, &drop.reason).await
    }

    async fn resolve(&self, wishes: &[ResolveWish]) -> Result<Vec<Resolved>, Problem> {
        trust::resolve(self, wishes).await
    }

    async fn outdated(&self) -> Result<Vec<OutdatedUse>, Problem> {
        let found = self.engine.outdated(&self.tenant).await;
        found.map_err(problem::flow)
    }

    async fn at_risk(&self, by: &RiskBy) -> Result<Vec<UseAtRisk>, Problem> {
        let found = self.engine.at_risk(&self.tenant, by.by).await;
        found.map_err(problem::flow)
    }

    async fn add_signature(&self, signature: &AddSignature) -> Result<SignatureTaken, Problem> {
        trust::sign(self, signature).await
    }

    async fn upstreams(&self) -> Result<Vec<UpstreamInfo>, Problem> {
        upstreams::list(self).await
    }

    async fn upstream(&self, account: &Name) -> Result<UpstreamInfo, Problem> {
        upstreams::show(self, account).await
    }

    async fn close_upstream(&self, account: &Name, request: &CloseUpstream) -> Result<UpstreamInfo, Problem> {
        upstreams::close(self, account, &request.reason).await
    }

    async fn tenants(&self) -> Result<Vec<TenantInfo>, Problem> {
        tenants::list(self).await
    }

    async fn tenant_info(&self) -> Result<TenantInfo, Problem> {
        tenants::show(self).await
    }

    async fn limit_tenant(&self, limits: &TenantLimits) -> Result<TenantInfo, Problem> {
        tenants::limit(self, limits).await
    }

    async fn webhooks(&self) -> Result<Vec<WebhookInfo>, Problem> {
        webhooks::list(self).await
    }

    async fn webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        webhooks::show(self, webhook).await
    }

    async fn add_webhook(&self, wish: &AddWebhook) -> Result<WebhookSecret, Problem> {
        webhooks::add(self, wish).await
    }

    async fn enable_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        webhooks::enable(self, webhook).await
    }

    async fn disable_webhook(
        &self,
        webhook: &Name,
        request: &DisableWebhook,
    ) -> Result<WebhookInfo, Problem> {
        webhooks::disable(self, webhook, request).await
    }

    async fn remove_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem> {
        webhooks::remove(self, webhook).await
    }

    async fn rotate_webhook_secret(
        &self,
        webhook: &Name,
        request: &RotateWebhookSecret,
    ) -> Result<WebhookSecret, Problem> {
        webhooks::rotate(self, webhook, *request).await
    }

    async fn test_webhook(&self, webhook: &Name) -> Result<WebhookTest, Problem> {
        webhooks::test(self, webhook).await
    }

    async fn webhook_deliveries(
        &self,
        webhook: &Name,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WebhookDelivery>, Problem> {
        webhooks::deliveries(self, webhook, filter).await
    }

    async fn doctor(&self) -> Result<DoctorReport, Problem> {
        Ok(doctor::look(self).await)
    }
}
