//! What the API says and hears. The same types go over HTTP and through the in-process service, so that a command prints
//! the same whichever way it went.
//!
//! Times are milliseconds since 1970 (UTC).

mod circuit;
mod denial;
mod explain;
mod reconcile;
mod recovery;
mod replay;
mod replay_preview;
mod rollout;
mod shadow;
mod storage;
mod tape;
mod tenant;
mod trust;
mod upstream;
mod webhook;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{
    Attributes, CallUsage, ConnectionSpec, Digest, FlowSpec, Name, Operation, Probe, RecordId, RecordState,
    SpecError,
};

pub use circuit::{Circuit, CircuitRequest, CircuitState, Crash, Waiting};
pub use denial::{ClearDenials, Cleared, DenialFilter, DenialInfo, DenialList, DenialTotal, DenialsLeftOut};
pub use explain::{
    Action, Cause, Confidence, EventKind, Evidence, ExplainRequest, Explanation, FoundBy, Hypothesis,
    SameCause, StoryEvent, Whereabouts,
};
pub use reconcile::{
    Difference, DifferenceKind, FieldDifference, ReconcileCalls, ReconcileCounts, ReconcileDetail,
    ReconcileFilter, ReconcileMethod, ReconcileMode, ReconcileReport, ReconcileRequest, ReconcileRun,
    ReconcileState,
};
pub use recovery::{
    CauseGroup, CauseSample, EditInfo, EditPayload, Edited, PayloadText, RecordSteps, RemovedPayload,
    ReplayMark, SelectionPreview, StepRecord, StepResult, WouldSend,
};
pub use replay::{ReplayEvent, ReplayInfo, ReplaySelection, ReplaySkipped, ReplayState, StartReplay};
pub use replay_preview::{
    Compared, ComparedRecord, DifferingPlace, PreviewReplay, ReplayCursor, ReplayFinding, ReplayPreview,
};
pub use rollout::{
    BarRelease, BarredRelease, CallNumbers, MoveState, PlannedMove, RolloutAction, RolloutConnection,
    RolloutEvent, RolloutInfo, RolloutNote, RolloutPlan, RolloutSignal, RolloutState, RolloutWatch,
    StartRollout,
};
pub use shadow::{
    ShadowCost, ShadowDifference, ShadowDifferenceKind, ShadowExample, ShadowLeftOut, ShadowRelease,
    ShadowReport, ShadowRequest, ShadowUsage, ShadowVerdict,
};
pub use storage::{DatabaseSize, FlowStorage, KindStorage, StorageReport, TenantStorage, Vacuum, Vacuumed};
pub use tape::{StartTaping, TapeInfo, TapeList, TapesCleared, Taping};
pub use tenant::{DayUsage, TenantInfo, UsageInfo};
pub use trust::{
    AddSignature, ChosenRelease, DropRoot, OutdatedUse, PassedRelease, ReleaseTrust, ResolveWish, Resolved,
    RiskBy, RootInfo, SignatureTaken, TakeRoot, TrustInfo, UseAtRisk,
};
pub use upstream::{
    Breaker, BreakerState, CloseUpstream, UpstreamHold, UpstreamHost, UpstreamInfo, UpstreamLearned,
    UpstreamWait,
};
pub use webhook::{
    AddWebhook, DeliveryFilter, DeliveryState, DisableWebhook, EventType, RotateWebhookSecret,
    WebhookAttempt, WebhookDelivery, WebhookDisabled, WebhookInfo, WebhookSecret, WebhookTest,
};

/// A refusal or failure as problem+json (RFC 9457), with the next step in `hint`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error("{detail}")]
pub struct Problem {
    /// A stable URI reference that names the kind of problem, such as `/problems/not-found`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind of problem in a few words.
    pub title: String,
    /// HTTP status.
    pub status: u16,
    /// What happened and why.
    pub detail: String,
    /// What to do next.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
    /// Single faults with their places.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub errors: Vec<Fault>,
}

/// One fault of several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Fault {
    /// Where.
    pub path: String,
    /// What.
    pub reason: String,
}

impl From<SpecError> for Fault {
    fn from(error: SpecError) -> Self {
        Self {
            path: error.path,
            reason: error.reason,
        }
    }
}

impl Problem {
    /// A problem of a kind: `kind` is the last part of its URI, `title` its few words.
    #[must_use]
    pub fn new(status: u16, kind: &str, title: &str, detail: impl Into<String>) -> Self {
        Self {
            kind: format!("/problems/{kind}"),
            title: title.to_owned(),
            status,
            detail: detail.into(),
            hint: None,
            errors: Vec::new(),
        }
    }

    /// Says what to do next.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Names single faults.
    #[must_use]
    pub fn with_faults(mut self, faults: impl IntoIterator<Item = impl Into<Fault>>) -> Self {
        self.errors = faults.into_iter().map(Into::into).collect();
        self
    }
}

/// A release that the host has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseInfo {
    /// Of the component's bytes.
    pub digest: Digest,
    /// `namespace/name`.
    pub name: String,
    /// semver.
    pub version: String,
    /// Roles that it exports.
    pub roles: Vec<String>,
    /// Bytes.
    pub size: u64,
    /// When the host got it.
    pub added_at: i64,
}

/// What `apply` does with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// It was not there.
    Create,
    /// It was there and differs.
    Update,
    /// It is there just so.
    Unchanged,
}

/// One thing of a plan.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// `connection` or `flow`.
    pub what: String,
    /// Its name.
    pub name: Name,
    /// What is done.
    pub kind: ChangeKind,
    /// The differing places.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fields: Vec<FieldChange>,
}

/// One differing place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FieldChange {
    /// JSON Pointer into the specification.
    pub path: String,
    /// Before; null if it was not there.
    #[schema(value_type = Object)]
    pub before: serde_json::Value,
    /// After; null if it goes.
    #[schema(value_type = Object)]
    pub after: serde_json::Value,
}

/// What `apply` would do, or did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// Whether it was done.
    pub applied: bool,
    /// In the order of the file.
    pub changes: Vec<Change>,
}

/// A connection and its release.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ConnectionInfo {
    /// As applied.
    pub spec: ConnectionSpec,
    /// The release behind its digest.
    pub release: ReleaseInfo,
    /// When it was applied last.
    pub updated_at: i64,
    /// Whether its plugin is called, if it crashed lately or was stopped.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub circuit: Option<Circuit>,
}

/// What `connection.check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CheckReport {
    /// Whether every probe went well.
    pub ok: bool,
    /// Each thing tried.
    pub probes: Vec<Probe>,
    /// What it cost.
    pub usage: CallUsage,
}

/// Whether a flow works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FlowHealth {
    /// Nothing to do at the moment.
    Idle,
    /// Reading or delivering.
    Running,
    /// Paused by a person.
    Paused,
    /// Reading fails; see `last-error`.
    Failing,
    /// One of its connections is not called at the moment; see `waiting` and `upstream`.
    Waiting,
}

/// A flow, its account and its state.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FlowStatus {
    /// As applied.
    pub spec: FlowSpec,
    /// Whether it works.
    pub health: FlowHealth,
    /// Records by state; every state is there.
    #[schema(value_type = BTreeMap<String, u64>)]
    pub counts: BTreeMap<RecordState, u64>,
    /// Records that needed more than one attempt.
    pub retried: u64,
    /// Repeated reads that were recognised and left out.
    pub duplicates: u64,
    /// Times that a record was delivered: a replay delivers it once more.
    #[serde(default)]
    pub deliveries: u64,
    /// Records that are not in the ledger any more, because they were older than the flow keeps them.
    #[serde(default)]
    pub removed: u64,
    /// Where the source was read up to.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor: Option<String>,
    /// When the source was read last, whether or not there was anything.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_read_at: Option<i64>,
    /// Whether the last read got to the end of what the source had.
    pub caught_up: bool,
    /// How many times the source was read to its end since the flow exists: a run asked for by hand is over when this went up.
    pub reads_completed: u64,
    /// What went wrong at the last read, if it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_error: Option<FlowError>,
    /// Why and since when it is paused.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub paused: Option<Pause>,
    /// Which connection is not called, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub waiting: Option<Waiting>,
    /// Which upstream it waits for, and why.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub upstream: Option<UpstreamWait>,
    /// Its source is not read, because too much of the tenant waits already.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_back: Option<HeldBack>,
}

/// Nothing more is taken for a tenant until some of what waits is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct HeldBack {
    /// Records of the tenant that wait, over all of its flows.
    pub waiting: u64,
    /// How many may (`max-waiting` of its limits).
    pub max_waiting: u32,
}

/// What went wrong at reading.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FlowError {
    /// When.
    pub at: i64,
    /// The code of the error.
    pub code: String,
    /// For a person.
    pub message: String,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_try_at: Option<i64>,
}

/// A pause by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Pause {
    /// Since when.
    pub since: i64,
    /// Why.
    pub reason: String,
}

/// Which records to list. Everything given has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default)]
#[into_params(parameter_in = Query)]
pub struct RecordFilter {
    /// Of this flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub flow: Option<Name>,
    /// In this state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<RecordState>,
    /// Of exactly this key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// With this reason (the code of the last error).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// At most this many, 1 to 1,000; 100 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Those after this one, as `next` of the page before says.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub after: Option<RecordId>,
}

/// A record in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RecordSummary {
    /// Its id.
    pub id: RecordId,
    /// The source's stream.
    pub stream: String,
    /// Names the thing.
    pub key: String,
    /// Which state of the thing.
    pub source_version: String,
    /// Upsert or delete.
    pub operation: Operation,
    /// Where it stands.
    pub state: RecordState,
    /// Attempts so far.
    pub attempts: u32,
    /// When the host accepted it.
    pub accepted_at: i64,
    /// When its state changed last.
    pub updated_at: i64,
    /// When it is tried again.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_attempt_at: Option<i64>,
    /// Its id at the destination.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_id: Option<String>,
    /// The last error, or why it was dropped or discarded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}

/// Why a record is where it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Reason {
    /// Short and stable, to group by.
    pub code: String,
    /// For a person.
    pub message: String,
    /// Where in the payload.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
}

/// Some records and where the list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RecordPage {
    /// By flow and number.
    pub records: Vec<RecordSummary>,
    /// For `after`; none at the end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<RecordId>,
}

/// A record with everything known of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RecordDetail {
    /// As in a list.
    pub summary: RecordSummary,
    /// As it was read, or last edited; null if it is not kept any more.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// What is left of a payload that is not kept any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub payload_removed: Option<RemovedPayload>,
    /// Edits of the payload, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub edits: Vec<EditInfo>,
    /// Replays that sent it again, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub replays: Vec<ReplayMark>,
    /// The same for every attempt.
    pub idempotency_key: String,
    /// The release that read it.
    pub release: Digest,
    /// The source's key/value tail.
    #[schema(value_type = Vec<Vec<String>>)]
    pub attributes: Attributes,
    /// Oldest first.
    pub attempts: Vec<AttemptInfo>,
}

/// One attempt to deliver a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct AttemptInfo {
    /// Counts from 1.
    pub attempt: u32,
    /// When it began.
    pub started_at: i64,
    /// When its outcome was known; none: it was cut off.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<i64>,
    /// The destination's release.
    pub release: Digest,
    /// The replay that had it made, if one did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replay: Option<Name>,
    /// delivered, duplicate, retry, rejected, unknown, dropped, or the finding of a lookup.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub outcome: Option<String>,
    /// The error, if there was one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// The host that made it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
    /// SHA-256, in hex, over what the destination was given for the record: the same for attempts that sent the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub request: Option<String>,
    /// SHA-256, in hex, over what it answered.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub answer: Option<String>,
}

/// Records in quarantine that have the same cause.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct QuarantineGroup {
    /// The flow.
    pub flow: Name,
    /// The cause; `path` is of the example.
    pub reason: Reason,
    /// How many.
    pub count: u64,
    /// One of them.
    pub example: RecordId,
}

/// Which quarantined records a person decides on: named ones, or all that the other fields match. Everything given has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default, deny_unknown_fields)]
pub struct QuarantineSelection {
    /// These; empty: all that the other fields match.
    pub ids: Vec<RecordId>,
    /// Of this flow.
    pub flow: Option<Name>,
    /// With this code.
    pub code: Option<String>,
    /// With this cause, as [`CauseGroup::id`] names it.
    pub group: Option<String>,
    /// Of exactly this key.
    pub key: Option<String>,
    /// In quarantine since this moment or later.
    pub since: Option<i64>,
    /// In quarantine since this moment or earlier. Given the moment of asking, the selection is frozen: what comes later is not met.
    pub until: Option<i64>,
    /// At most this many at once, 1 to 1,000; not given: all of them, in several transactions.
    pub limit: Option<u32>,
}

/// Giving quarantined records up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Discard {
    /// Which.
    pub selection: QuarantineSelection,
    /// Why; kept with the records.
    pub reason: String,
}

/// Pausing a flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PauseRequest {
    /// Why; shown with the flow.
    pub reason: String,
}

/// How many records an operation met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Affected {
    /// Records.
    pub records: u64,
    /// Whether there may be more that `limit` kept out.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub more: bool,
}

/// What the host finds when it looks at itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DoctorReport {
    /// Whether everything is as it should be.
    pub ok: bool,
    /// The host's version.
    pub version: String,
    /// Each thing looked at.
    pub probes: Vec<Probe>,
}
