//! Records and what becomes of them: the host's own picture of the contract's `types` and `roles`, free of any
//! WebAssembly machinery, so that the flow engine and the store never see a contract version.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::error::PluginError;

/// Key/value pairs in the order in which they were given; keys are unique.
pub type Attributes = Vec<(String, String)>;

/// What a record does to the thing that its key names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Operation {
    /// The thing is now as the payload says.
    Upsert,
    /// The thing is gone.
    Delete,
}

impl Operation {
    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Delete => "delete",
        }
    }
}

/// One change of one thing on one stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Record {
    /// The stream.
    pub stream: String,
    /// Names the thing on its stream, 1 to 512 bytes; order is kept per key.
    pub key: String,
    /// Upsert or delete.
    pub operation: Operation,
    /// The thing as a JSON text.
    pub payload: String,
    /// The thing before the change, as a JSON text, where the system tells it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub before: Option<String>,
    /// When the change happened at the source, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub event_time: Option<u64>,
    /// Which state of the thing this is; a later state compares greater, byte by byte.
    pub source_version: String,
    /// Key/value tail.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub attributes: Attributes,
}

/// Where a record of the ledger stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RecordState {
    /// Accepted, not yet tried.
    Queued,
    /// Being written right now, by the holder of the flow's lease.
    Sending,
    /// Tried in vain; waits for its next attempt.
    Retrying,
    /// Asked, but the answer never came; the next step is a lookup.
    Unknown,
    /// Written at the destination (or found there already).
    Delivered,
    /// Needs a person or a fix.
    Quarantined,
    /// Left out by a transform, on purpose.
    Dropped,
    /// Given up by a person, with a reason.
    Discarded,
}

impl RecordState {
    /// Every state.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Sending,
        Self::Retrying,
        Self::Unknown,
        Self::Delivered,
        Self::Quarantined,
        Self::Dropped,
        Self::Discarded,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Sending => "sending",
            Self::Retrying => "retrying",
            Self::Unknown => "unknown",
            Self::Delivered => "delivered",
            Self::Quarantined => "quarantined",
            Self::Dropped => "dropped",
            Self::Discarded => "discarded",
        }
    }

    /// Reads what [`RecordState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether the host still has work to do on it.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(
            self,
            Self::Queued | Self::Sending | Self::Retrying | Self::Unknown
        )
    }
}

/// What a source is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReadRequest {
    /// The stream.
    pub stream: String,
    /// What the page before returned.
    pub cursor: Option<String>,
    /// 1 to 10,000.
    pub max_records: u32,
    /// Bytes of payload, roughly.
    pub max_bytes: u64,
    /// Milliseconds until the call is interrupted.
    pub deadline_ms: u64,
    /// Key/value tail.
    pub options: Attributes,
}

/// What a source answered.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Page {
    /// In the order of the source.
    pub records: Vec<Record>,
    /// Where the next page begins.
    pub cursor: Option<String>,
    /// Whether there is more at once.
    pub more: bool,
    /// Key/value tail.
    pub hints: Attributes,
}

/// One record on its way into a destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct WriteItem {
    /// The record.
    pub record: Record,
    /// The same for every retry, replay and release, 1 to 128 ASCII characters.
    pub idempotency_key: String,
    /// 1 for the first time.
    pub attempt: u32,
}

/// Why a record was refused for good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Rejection {
    /// Short and stable, to group by.
    pub code: String,
    /// For a person.
    pub reason: String,
    /// Where in the payload (JSON Pointer, RFC 6901).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// Key/value tail.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    #[schema(value_type = Vec<Vec<String>>)]
    pub details: Attributes,
}

/// What became of one write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Written, known for sure; with the destination's id where it has one.
    Delivered(Option<String>),
    /// It was there already.
    Duplicate(Option<String>),
    /// Not written, worth another try.
    Retry(PluginError),
    /// Not written, and never will be like this.
    Rejected(Rejection),
    /// Asked, but the answer never came.
    Unknown(PluginError),
}

/// What a destination is asked about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LookupItem {
    /// The record's key.
    pub key: String,
    /// The delivery's idempotency key.
    pub idempotency_key: String,
    /// The state that was to be written.
    pub source_version: String,
}

/// What a destination found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// It is there, in the asked state or a later one.
    #[serde(rename_all = "kebab-case")]
    Present {
        /// The thing's id at the destination.
        external_id: Option<String>,
        /// The thing as it is there now, as a JSON text.
        payload: Option<String>,
    },
    /// It is not there.
    Absent,
    /// The system cannot tell.
    Undecided,
}

/// A call that came in from a system, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRequest {
    /// Upper case.
    pub method: String,
    /// What follows the connection's own path, with a leading slash, or empty.
    pub path: String,
    /// Without the question mark.
    pub query: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    /// As it came.
    pub body: Vec<u8>,
}

/// What a plugin thinks of a call that came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Genuine; take the records.
    Accept,
    /// Genuine, of no interest.
    Ignore,
    /// Not genuine or not understood.
    Refuse,
}

/// What the caller of a webhook gets back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Reply {
    /// HTTP status.
    pub status: u16,
    /// Headers.
    pub headers: Vec<(String, String)>,
    /// Body.
    pub body: Vec<u8>,
}

/// A call that came in, taken apart by the plugin.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Received {
    /// Whether it counts.
    pub verdict: Verdict,
    /// The vendor's id of the event.
    pub event_id: Option<String>,
    /// What it told.
    pub records: Vec<Record>,
    /// What the vendor gets.
    pub reply: Option<Reply>,
    /// Why it was ignored or refused.
    pub reason: Option<String>,
}

/// What a transform made of one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Transformed {
    /// None, one or more in its place.
    Emit(Vec<Record>),
    /// Left out, with the reason.
    Drop(String),
    /// Cannot be transformed.
    Reject(Rejection),
}
