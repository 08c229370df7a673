//! Why a record is where it is: the story of a business key across systems, what is probably the cause, and what to do about it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reason;
use crate::{Name, Operation, RecordId, RecordState};

/// What to explain.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default)]
#[into_params(parameter_in = Query)]
pub struct ExplainRequest {
    /// A record's key, its id at a destination, or the beginning or end of either; 1 to 512 bytes.
    pub key: String,
    /// Only what this flow did with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub flow: Option<Name>,
    /// Every event by itself: repeats are not folded, and up to 1,000 attempts of a record are told.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub full: bool,
}

/// Everything that the host knows of a business key, and what it makes of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Explanation {
    /// The key that was found; what was asked for, if nothing was.
    pub key: String,
    /// How what was asked for led to the key.
    pub found_by: FoundBy,
    /// The moment that everything here is about.
    pub as_of: i64,
    /// In one sentence: where it is, why, and what happens next.
    pub summary: String,
    /// Where it is now, in each flow, in the order in which it passes through them.
    pub places: Vec<Whereabouts>,
    /// What is probably the cause, the best explanation first. Never empty.
    pub hypotheses: Vec<Hypothesis>,
    /// What happened, in the order of time.
    pub story: Vec<StoryEvent>,
    /// What is not told here although it is there, or could not be looked at, and why.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<String>,
}

/// How what was asked for led to a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum FoundBy {
    /// It is the key.
    Key,
    /// It is the id that a destination gave.
    ExternalId,
    /// Only one key begins or ends so.
    PartOfKey,
    /// It stands in the payload of only one key, as a value of its own: a number that a system shows, where the key is another one.
    Payload,
    /// It did not: nothing like it is in the ledger.
    Nothing,
}

/// Where a key is now, in one flow: its newest record there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Whereabouts {
    /// The flow.
    pub flow: Name,
    /// Where it comes from, `connection/stream`.
    pub from: String,
    /// Where it goes, `connection/stream`.
    pub to: String,
    /// What the flow calls it.
    pub key: String,
    /// The newest record of the key.
    pub record: RecordId,
    /// Which state of the thing that is.
    pub source_version: String,
    /// Upsert or delete.
    pub operation: Operation,
    /// Where it stands.
    pub state: RecordState,
    /// Since when.
    pub since: i64,
    /// Attempts so far.
    pub attempts: u32,
    /// When it is tried again, if nothing comes in between.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next_attempt_at: Option<i64>,
    /// The earlier record of the same key that it waits for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub held_behind: Option<RecordId>,
    /// Its id at the destination.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_id: Option<String>,
    /// The last error, or why it was dropped or discarded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// A record was read, or came by a webhook, and is in the ledger since.
    Accepted,
    /// What a transform makes of it: run again now, on the releases that the flow has now.
    Transform,
    /// It was sent, or was about to be.
    Attempt,
    /// It is known since that it arrived.
    Delivered,
    /// It waits behind an earlier record of its key.
    Held,
    /// It is in quarantine since.
    Quarantined,
    /// A transform left it out.
    Dropped,
    /// A person decided: sent back, given up, edited.
    Decision,
    /// It was sent again on purpose.
    Replay,
    /// A comparison found it missing or different at the destination.
    Repair,
    /// A flow was paused or resumed, or a comparison or replay of it begun.
    Flow,
    /// A connection is not called, or called again.
    Circuit,
    /// A plugin was refused something.
    Denial,
    /// A connection or a flow was changed, or a release of a plugin.
    Deployment,
    /// A secret was set or removed.
    Secret,
    /// What is not kept any more.
    Retention,
    /// A source could not be read.
    Reading,
    /// A call that came in and led to no record.
    Webhook,
}

impl EventKind {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Transform => "transform",
            Self::Attempt => "attempt",
            Self::Delivered => "delivered",
            Self::Held => "held",
            Self::Quarantined => "quarantined",
            Self::Dropped => "dropped",
            Self::Decision => "decision",
            Self::Replay => "replay",
            Self::Repair => "repair",
            Self::Flow => "flow",
            Self::Circuit => "circuit",
            Self::Denial => "denial",
            Self::Deployment => "deployment",
            Self::Secret => "secret",
            Self::Retention => "retention",
            Self::Reading => "reading",
            Self::Webhook => "webhook",
        }
    }
}

/// One thing that happened, or the same thing several times in a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StoryEvent {
    /// When; the first time, if it is several.
    pub at: i64,
    /// When it happened last, if it is several.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_at: Option<i64>,
    /// How often in a row.
    pub times: u64,
    /// What kind of thing.
    pub kind: EventKind,
    /// The connection that it happened at, or `stecker`.
    pub system: String,
    /// The flow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Name>,
    /// The record.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<RecordId>,
    /// What happened, for a person, on one line.
    pub text: String,
    /// The plugin that did it, `namespace/name@version`, or the digest of a release that is not there any more.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub release: Option<String>,
    /// The host that did it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub node: Option<String>,
    /// Who did it, if a person did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub actor: Option<String>,
    /// More about it.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub details: BTreeMap<String, String>,
}

/// Why a key is where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// A system does not accept the credentials (any more).
    AuthExpired,
    /// A system asked for fewer requests.
    RateLimit,
    /// A system does not answer, or answers that it cannot.
    UpstreamDown,
    /// A payload has another shape than whoever reads it expects.
    SchemaMismatch,
    /// The system understood the record, and its rules do not allow it.
    BusinessRule,
    /// The record names something that the system does not have (yet): a customer, a product.
    MissingDependency,
    /// The system has it already.
    Duplicate,
    /// A transform refused the record.
    TransformError,
    /// The sandbox refused the plugin something.
    Denial,
    /// The plugin is broken: it crashed, ran out of time while it computed, or broke the contract.
    PluginBug,
    /// The host is broken, or has too little room for its work.
    HostBug,
    /// The connection or the flow is set up in a way that cannot work.
    Configuration,
    /// A person paused the flow.
    FlowPaused,
    /// Nothing of a connection is called: it crashed too often, or a person stopped it.
    ConnectionStopped,
    /// Nothing is wrong: it is on its way.
    InProgress,
    /// It is where it should be.
    Delivered,
    /// A transform left it out on purpose.
    Dropped,
    /// A person gave it up.
    Discarded,
    /// Its source has not given it yet.
    NotRead,
    /// The host cannot tell.
    Unknown,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 20] = [
        Self::AuthExpired,
        Self::RateLimit,
        Self::UpstreamDown,
        Self::SchemaMismatch,
        Self::BusinessRule,
        Self::MissingDependency,
        Self::Duplicate,
        Self::TransformError,
        Self::Denial,
        Self::PluginBug,
        Self::HostBug,
        Self::Configuration,
        Self::FlowPaused,
        Self::ConnectionStopped,
        Self::InProgress,
        Self::Delivered,
        Self::Dropped,
        Self::Discarded,
        Self::NotRead,
        Self::Unknown,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthExpired => "auth-expired",
            Self::RateLimit => "rate-limit",
            Self::UpstreamDown => "upstream-down",
            Self::SchemaMismatch => "schema-mismatch",
            Self::BusinessRule => "business-rule",
            Self::MissingDependency => "missing-dependency",
            Self::Duplicate => "duplicate",
            Self::TransformError => "transform-error",
            Self::Denial => "denial",
            Self::PluginBug => "plugin-bug",
            Self::HostBug => "host-bug",
            Self::Configuration => "configuration",
            Self::FlowPaused => "flow-paused",
            Self::ConnectionStopped => "connection-stopped",
            Self::InProgress => "in-progress",
            Self::Delivered => "delivered",
            Self::Dropped => "dropped",
            Self::Discarded => "discarded",
            Self::NotRead => "not-read",
            Self::Unknown => "unknown",
        }
    }

    /// Whether nothing is wrong, or only what a person wanted.
    #[must_use]
    pub const fn is_no_failure(self) -> bool {
        matches!(
            self,
            Self::FlowPaused | Self::InProgress | Self::Delivered | Self::Dropped | Self::Discarded
        )
    }
}

/// How sure the host is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Confidence {
    /// Something speaks for it, and something else is as well possible.
    Possible,
    /// It fits what is known, and nothing speaks against it.
    Likely,
    /// It was said by the system or seen by the host itself.
    Certain,
}

impl Confidence {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Certain => "certain",
            Self::Likely => "likely",
            Self::Possible => "possible",
        }
    }
}

/// A cause, what speaks for it, whom else it hits, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Hypothesis {
    /// The cause.
    pub cause: Cause,
    /// How sure this is.
    pub confidence: Confidence,
    /// The flow that it is about; none if the key is in no flow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Name>,
    /// The record that it is about: the one that the key waits for, which may be an earlier one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<RecordId>,
    /// What is the matter, in a sentence or two, for a person.
    pub sentence: String,
    /// What speaks for it, the strongest first.
    pub evidence: Vec<Evidence>,
    /// The field of the payload that is the matter (JSON Pointer, RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub field: Option<String>,
    /// Other records that are stuck for it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub same_cause: Option<SameCause>,
    /// What to do.
    pub action: Action,
}

/// Something that speaks for a cause, and where it can be looked up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Evidence {
    /// What.
    pub what: String,
    /// Where: `record/orders-to-erp/7, attempt 3`, `connection/erp`, `audit`, …
    #[serde(rename = "where")]
    pub place: String,
}

/// Records that are stuck for the same cause, the one in question among them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SameCause {
    /// How many.
    pub count: u64,
    /// Whether there are more than were counted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub or_more: bool,
    /// Keys of some of them.
    pub keys: Vec<String>,
    /// Since when the oldest of them has been so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<i64>,
    /// The flows that they are in.
    pub flows: Vec<Name>,
    /// Names the cause for `stecker quarantine retry --group`, in the flow of the record in question.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub group: Option<String>,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Action {
    /// In a sentence.
    pub sentence: String,
    /// As commands, in their order, quoted for a POSIX shell.
    pub commands: Vec<String>,
}
