//! Every operation of Stecker, once. The service implements them on a store and an engine, the client over HTTP; the CLI and
//! whoever embeds the host speak to this trait and cannot tell the difference.

use async_trait::async_trait;
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
    Authorization, Authorize, Authorized, Digest, Name, RecordId, RotateKeys, RotatedKeys, SecretInfo,
    SetSecret, Setup, StreamInfo, TenantLimits,
    api::{
        Affected, BarredRelease, CauseGroup, CheckReport, CircuitRequest, ClearDenials, Cleared,
        ConnectionInfo, DenialFilter, DenialInfo, DenialList, Discard, DoctorReport, EditPayload, Edited,
        FlowStatus, PauseRequest, PayloadText, Plan, PreviewReplay, Problem, QuarantineGroup,
        QuarantineSelection, ReconcileDetail, ReconcileFilter, ReconcileRequest, ReconcileRun, RecordDetail,
        RecordFilter, RecordPage, RecordSteps, ReleaseInfo, ReplayEvent, ReplayInfo, ReplayPreview,
        RolloutAction, RolloutInfo, RolloutPlan, SelectionPreview, StartReplay, StartRollout, StorageReport,
        TenantInfo, Vacuum, Vacuumed,
    },
};

/// What an operator can do within one tenant.
///
/// Every error is a [`Problem`]: what happened, why, and what to do next.
#[async_trait]
pub trait Operations: Send + Sync {
    /// Adds a release: inspects and compiles the component and keeps it. Adding the same bytes again changes nothing.
    async fn add_release(&self, component: Vec<u8>) -> Result<ReleaseInfo, Problem>;
    /// Releases that the host has, by name and version.
    async fn releases(&self) -> Result<Vec<ReleaseInfo>, Problem>;

    /// What the tenant trusts, and which of its releases are loaded by that.
    async fn trust(&self) -> Result<TrustInfo, Problem>;
    /// Takes a signed trust root: the first, or the next one. It counts from the next call of every connection on.
    async fn take_trust_root(&self, root: &TakeRoot) -> Result<TrustInfo, Problem>;
    /// Ends the trust root: every release that the tenant has is loaded. For whoever runs the host.
    async fn drop_trust_root(&self, drop: &DropRoot) -> Result<TrustInfo, Problem>;
    /// Which release each use of a plugin is to run, with the reason for every one that it is not. Changes nothing.
    async fn resolve(&self, wishes: &[ResolveWish]) -> Result<Vec<Resolved>, Problem>;
    /// The uses of plugins that are behind, or whose release should not be used any more.
    async fn outdated(&self) -> Result<Vec<OutdatedUse>, Problem>;
    /// The uses of plugins that stop working on or before a day, the earliest first.
    async fn at_risk(&self, by: &RiskBy) -> Result<Vec<UseAtRisk>, Problem>;
    /// Keeps a signature of a component, which may be added later.
    async fn add_signature(&self, signature: &AddSignature) -> Result<SignatureTaken, Problem>;

    /// What `apply` would change. Validates as `apply` does.
    async fn plan(&self, setup: &Setup) -> Result<Plan, Problem>;
    /// Creates and updates what the setup names, all or nothing. What it does not name stays as it is.
    async fn apply(&self, setup: &Setup) -> Result<Plan, Problem>;

    /// Connections by name.
    async fn connections(&self) -> Result<Vec<ConnectionInfo>, Problem>;
    /// One connection.
    async fn connection(&self, connection: &Name) -> Result<ConnectionInfo, Problem>;
    /// Stops a connection: nothing of it is called until its circuit is closed.
    async fn open_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem>;
    /// Has a connection called again that crashed too often or was stopped.
    async fn close_circuit(
        &self,
        connection: &Name,
        request: &CircuitRequest,
    ) -> Result<ConnectionInfo, Problem>;
    /// Tries a connection.
    async fn check(&self, connection: &Name) -> Result<CheckReport, Problem>;
    /// The streams of a connection.
    async fn discover(&self, connection: &Name) -> Result<Vec<StreamInfo>, Problem>;

    /// Flows by name.
    async fn flows(&self) -> Result<Vec<FlowStatus>, Problem>;
    /// One flow.
    async fn flow(&self, flow: &Name) -> Result<FlowStatus, Problem>;
    /// Reads the flow's source now. Returns at once; the run is over when `reads-completed` went up and nothing is open.
    async fn run_flow(&self, flow: &Name) -> Result<FlowStatus, Problem>;
    /// Pauses a flow: nothing is read or delivered until it is resumed. Records already accepted stay.
    async fn pause_flow(&self, flow: &Name, request: &PauseRequest) -> Result<FlowStatus, Problem>;
    /// Ends a pause.
    async fn resume_flow(&self, flow: &Name) -> Result<FlowStatus, Problem>;

    /// Records of the ledger.
    async fn records(&self, filter: &RecordFilter) -> Result<RecordPage, Problem>;
    /// One record and its story.
    async fn record(&self, id: &RecordId) -> Result<RecordDetail, Problem>;

    /// Quarantined records by cause.
    async fn quarantine(&self, flow: Option<&Name>) -> Result<Vec<QuarantineGroup>, Problem>;
    /// Tries quarantined records again.
    async fn quarantine_retry(&self, selection: &QuarantineSelection) -> Result<Affected, Problem>;
    /// Gives quarantined records up.
    async fn quarantine_discard(&self, discard: &Discard) -> Result<Affected, Problem>;
    /// What a decision on quarantined records would meet, frozen at this moment.
    async fn quarantine_preview(&self, selection: &QuarantineSelection) -> Result<SelectionPreview, Problem>;
    /// Stuck records by cause.
    async fn cause_groups(&self, flow: Option<&Name>) -> Result<Vec<CauseGroup>, Problem>;
    /// What the transforms make of a record now, and what would be sent.
    async fn steps(&self, id: &RecordId) -> Result<RecordSteps, Problem>;
    /// A record's payload as a text.
    async fn payload(&self, id: &RecordId) -> Result<PayloadText, Problem>;
    /// Replaces the payload of a record in quarantine; the one before is kept.
    async fn edit_payload(&self, id: &RecordId, edit: &EditPayload) -> Result<Edited, Problem>;

    /// Explains a business key: its story across systems, the probable cause, whom else it hits, and what to do.
    async fn explain(&self, request: &ExplainRequest) -> Result<Explanation, Problem>;

    /// Replays, the newest first.
    async fn replays(&self, flow: Option<&Name>) -> Result<Vec<ReplayInfo>, Problem>;
    /// One replay and how far it is.
    async fn replay(&self, name: &Name) -> Result<ReplayInfo, Problem>;
    /// What a replay would do. Writes nothing, here or at the destination.
    async fn preview_replay(&self, request: &PreviewReplay) -> Result<ReplayPreview, Problem>;
    /// Starts a replay; whoever holds the flow works on it from then on.
    async fn start_replay(&self, start: &StartReplay) -> Result<ReplayInfo, Problem>;
    /// Pauses, resumes or aborts a replay.
    async fn switch_replay(&self, name: &Name, event: ReplayEvent) -> Result<ReplayInfo, Problem>;

    /// Rollouts, the newest first.
    async fn rollouts(&self) -> Result<Vec<RolloutInfo>, Problem>;
    /// One rollout and how far it is.
    async fn rollout(&self, name: &Name) -> Result<RolloutInfo, Problem>;
    /// What a rollout would do. Nothing is changed.
    async fn plan_rollout(&self, start: &StartRollout) -> Result<RolloutPlan, Problem>;
    /// Starts a rollout; the host works on it from then on.
    async fn start_rollout(&self, start: &StartRollout) -> Result<RolloutInfo, Problem>;
    /// Pauses, resumes, promotes or aborts a rollout.
    async fn switch_rollout(&self, name: &Name, action: RolloutAction) -> Result<RolloutInfo, Problem>;
    /// Releases that no rollout moves to.
    async fn barred_releases(&self) -> Result<Vec<BarredRelease>, Problem>;
    /// Bars a release, or lifts that (without a reason).
    async fn bar_release(&self, digest: &Digest, reason: Option<&str>)
    -> Result<Vec<BarredRelease>, Problem>;

    /// Has a flow's two ends compared, and what differs repaired if that is asked for. Returns at once; the comparison is over when its
    /// state says so.
    async fn start_reconcile(&self, flow: &Name, request: &ReconcileRequest)
    -> Result<ReconcileRun, Problem>;
    /// Comparisons, the latest first.
    async fn reconciles(&self, filter: &ReconcileFilter) -> Result<Vec<ReconcileRun>, Problem>;
    /// One comparison and its differences.
    async fn reconcile(&self, id: &str) -> Result<ReconcileDetail, Problem>;
    /// Ends a comparison before it is over. Records that it queued stay queued.
    async fn abort_reconcile(&self, id: &str) -> Result<ReconcileRun, Problem>;

    /// The secrets in the vault: what is known of them, never their values.
    async fn secrets(&self) -> Result<Vec<SecretInfo>, Problem>;
    /// Puts a secret into the vault, or replaces it.
    async fn set_secret(
        &self,
        connection: &Name,
        credential: &Name,
        secret: &SetSecret,
    ) -> Result<SecretInfo, Problem>;
    /// Removes a secret, and the tokens that came from it; what it was.
    async fn remove_secret(&self, connection: &Name, credential: &Name) -> Result<SecretInfo, Problem>;
    /// Begins an authorization by a person (OAuth).
    async fn authorize(
        &self,
        connection: &Name,
        credential: &Name,
        request: &Authorize,
    ) -> Result<Authorization, Problem>;
    /// Ends it with the address that the browser was sent to.
    async fn authorized(
        &self,
        connection: &Name,
        credential: &Name,
        answer: &Authorized,
    ) -> Result<SecretInfo, Problem>;
    /// Gives the tenant a new data key, and encrypts everything again under the current keys.
    async fn rotate_keys(&self, request: &RotateKeys) -> Result<RotatedKeys, Problem>;

    /// Recorded calls of a connection, the newest first, and the recording that is on.
    async fn tapes(&self, connection: &Name) -> Result<TapeList, Problem>;
    /// One recorded call, in the form of `stecker_model::Tape`.
    async fn tape(&self, connection: &Name, id: &str) -> Result<serde_json::Value, Problem>;
    /// Has the next calls of a connection recorded.
    async fn start_taping(&self, connection: &Name, wish: &StartTaping) -> Result<TapeList, Problem>;
    /// Ends a recording; what was recorded stays.
    async fn stop_taping(&self, connection: &Name) -> Result<TapeList, Problem>;
    /// Forgets the recorded calls of a connection.
    async fn clear_tapes(&self, connection: &Name) -> Result<TapesCleared, Problem>;
    /// Tries another release on the recorded calls of a connection.
    async fn shadow(&self, connection: &Name, request: &ShadowRequest) -> Result<ShadowReport, Problem>;

    /// What plugins were refused, folded by kind, the latest first.
    async fn denials(&self, filter: &DenialFilter) -> Result<DenialList, Problem>;
    /// One kind of refusals, by its id.
    async fn denial(&self, id: &str) -> Result<DenialInfo, Problem>;
    /// Forgets refusals.
    async fn clear_denials(&self, clear: &ClearDenials) -> Result<Cleared, Problem>;

    /// Upstream accounts by name, with budgets, holds and breakers.
    async fn upstreams(&self) -> Result<Vec<UpstreamInfo>, Problem>;
    /// One upstream account.
    async fn upstream(&self, account: &Name) -> Result<UpstreamInfo, Problem>;
    /// Forgets the hold and the open breakers of an account.
    async fn close_upstream(&self, account: &Name, request: &CloseUpstream) -> Result<UpstreamInfo, Problem>;

    /// Every tenant of the host, with what it may have and what it used today. For whoever runs the host.
    async fn tenants(&self) -> Result<Vec<TenantInfo>, Problem>;
    /// The tenant itself, with what each of its connections and flows used today.
    async fn tenant_info(&self) -> Result<TenantInfo, Problem>;
    /// Sets what the tenant may have in all; makes the tenant if it is not there. For whoever runs the host.
    async fn limit_tenant(&self, limits: &TenantLimits) -> Result<TenantInfo, Problem>;

    /// Webhooks that go out, by name.
    async fn webhooks(&self) -> Result<Vec<WebhookInfo>, Problem>;
    /// One webhook.
    async fn webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem>;
    /// Makes a webhook; its secret is told this one time.
    async fn add_webhook(&self, wish: &AddWebhook) -> Result<WebhookSecret, Problem>;
    /// Has events sent to a webhook again.
    async fn enable_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem>;
    /// Has nothing more sent to a webhook.
    async fn disable_webhook(&self, webhook: &Name, request: &DisableWebhook)
    -> Result<WebhookInfo, Problem>;
    /// Removes a webhook with everything that was to be sent to it; what it was.
    async fn remove_webhook(&self, webhook: &Name) -> Result<WebhookInfo, Problem>;
    /// Gives a webhook a new secret, which is told this one time.
    async fn rotate_webhook_secret(
        &self,
        webhook: &Name,
        request: &RotateWebhookSecret,
    ) -> Result<WebhookSecret, Problem>;
    /// Sends an event by way of trial.
    async fn test_webhook(&self, webhook: &Name) -> Result<WebhookTest, Problem>;
    /// The events of a webhook with what came of them, the newest first.
    async fn webhook_deliveries(
        &self,
        webhook: &Name,
        filter: &DeliveryFilter,
    ) -> Result<Vec<WebhookDelivery>, Problem>;
    /// How much room the database takes, by tenant, flow and kind. For whoever runs the host.
    async fn storage(&self) -> Result<StorageReport, Problem>;
    /// Gives space that holds nothing back to the file system. For whoever runs the host.
    async fn vacuum(&self, request: &Vacuum) -> Result<Vacuumed, Problem>;

    /// Looks at the host itself: database, disk, sandbox, plugins, flows.
    async fn doctor(&self) -> Result<DoctorReport, Problem>;
}
