//! What another release would have done differently, found on recorded calls.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;

/// What to try, on what, and what counts.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ShadowRequest {
    /// The candidate: a digest, or `namespace/name@range`, which is the newest release of the tenant that the range takes.
    #[schema(example = "acme/shop@1.5")]
    pub release: String,
    /// The configuration that it is to have. The connection's own unless given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<Object>)]
    pub config: Option<serde_json::Value>,
    /// On how many of the newest tapes, 1 to 500. 100 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub calls: Option<u32>,
    /// JSON Pointers (RFC 6901) into payloads and request bodies where differences do not count, with everything below. `*` stands for any one
    /// name or index.
    #[serde(default)]
    pub ignore: Vec<String>,
    /// How many times the processor time of the running release the candidate may take in all. 3 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub max_cpu_ratio: Option<f64>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShadowVerdict {
    /// It does the same, within the thresholds.
    Pass,
    /// It does not.
    Fail,
    /// There was no tape to tell by.
    Unknown,
}

/// What another release would have done differently.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowReport {
    /// Whose calls.
    pub connection: String,
    /// The release that runs, whose calls were recorded.
    pub running: ShadowRelease,
    /// The one that was tried.
    pub candidate: ShadowRelease,
    /// Whether it may take over.
    pub verdict: ShadowVerdict,
    /// Why not.
    pub reasons: Vec<String>,
    /// Tapes that were looked at.
    pub tapes: u64,
    /// Tapes that the comparison rests on.
    pub compared: u64,
    /// Tapes that say nothing, by reason.
    pub left_out: Vec<ShadowLeftOut>,
    /// What the candidate did differently.
    pub differences: Vec<ShadowDifference>,
    /// What the running release did differently from itself. It is not held against the candidate.
    pub noise: Vec<ShadowDifference>,
    /// What both took, over the compared calls, each played again under the same conditions.
    pub cost: ShadowCost,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowRelease {
    /// Its digest.
    pub digest: Digest,
    /// `namespace/name@version`.
    pub plugin: String,
}

/// Tapes that say nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowLeftOut {
    /// Why.
    pub reason: String,
    /// How many.
    pub count: u64,
}

/// What kind of thing is different.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ShadowDifferenceKind {
    /// A record does not come any more.
    MissingRecord,
    /// A record comes that did not come before.
    ExtraRecord,
    /// A field of a record is another.
    ChangedField,
    /// The records of a key come in another order.
    Order,
    /// The cursor is of another kind, or there is one where there was none, or whether there is more is told otherwise.
    Cursor,
    /// A write ends otherwise.
    Outcome,
    /// A lookup finds something else.
    Finding,
    /// A webhook is judged or answered otherwise.
    Webhook,
    /// A request is not on the tape.
    Request,
    /// A request that changes something is on the tape and is not sent any more.
    UnsentRequest,
    /// The call fails and did not, or the other way round, or otherwise.
    Error,
    /// Something is refused by the connection's grants.
    Denied,
    /// Something else is kept in the connection's storage.
    Storage,
}

impl ShadowDifferenceKind {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::MissingRecord => "missing-record",
            Self::ExtraRecord => "extra-record",
            Self::ChangedField => "changed-field",
            Self::Order => "order",
            Self::Cursor => "cursor",
            Self::Outcome => "outcome",
            Self::Finding => "finding",
            Self::Webhook => "webhook",
            Self::Request => "request",
            Self::UnsentRequest => "unsent-request",
            Self::Error => "error",
            Self::Denied => "denied",
            Self::Storage => "storage",
        }
    }
}

/// Differences of one kind at one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowDifference {
    /// Of which kind.
    pub kind: ShadowDifferenceKind,
    /// On which stream, where it is on one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub stream: Option<String>,
    /// Where: a JSON Pointer with `*` for every index of a list, a request, a key, or in a word what changed.
    pub place: String,
    /// How often.
    pub count: u64,
    /// Up to five.
    pub examples: Vec<ShadowExample>,
}

/// One of them. Values are cut to 200 characters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowExample {
    /// On which tape.
    pub tape: String,
    /// Of which record or item.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// As it was recorded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub old: Option<String>,
    /// As it would be.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub new: Option<String>,
}

/// What the compared calls took.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowCost {
    /// The running release, played again.
    pub running: ShadowUsage,
    /// The candidate.
    pub candidate: ShadowUsage,
    /// Candidate by running; none: the running release took none.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu_ratio: Option<f64>,
    /// The same of the peaks of memory.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub memory_ratio: Option<f64>,
    /// The same of requests.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub requests_ratio: Option<f64>,
}

/// Sums, and the highest peak.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ShadowUsage {
    /// Calls.
    pub calls: u64,
    /// Microseconds that a thread was busy.
    pub cpu_us: u64,
    /// The most memory of any call, in bytes.
    pub peak_memory: u64,
    /// Requests.
    pub http_requests: u64,
}
