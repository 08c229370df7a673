//! What an operator sees of stuck records and does about them: causes, steps, edits, selections.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reason, RecordSummary};
use crate::{Digest, Name, Operation, RecordId, RecordState};

/// Records that are stuck for the same cause: the same flow, code, place and message, but for values in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CauseGroup {
    /// Names the cause: 12 hexadecimal digits, the same whenever it comes again.
    pub id: String,
    /// The flow.
    pub flow: Name,
    /// The code.
    pub code: String,
    /// Where in the payload, with `*` for places in lists.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub path: Option<String>,
    /// The message, with `#` and `…` where values were.
    pub message: String,
    /// How many records.
    pub count: u64,
    /// Those of them that are in quarantine and wait for a person.
    pub quarantined: u64,
    /// Those of them that the host tries again by itself, or looks up.
    pub trying: u64,
    /// Since when the first of them has been so.
    pub first_seen_at: i64,
    /// Since when the last of them has been so.
    pub last_seen_at: i64,
    /// Some of them, the oldest first.
    pub samples: Vec<CauseSample>,
}

/// One record of a group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CauseSample {
    /// The record.
    pub id: RecordId,
    /// Its key.
    pub key: String,
    /// Its own message.
    pub message: String,
}

/// What a decision on quarantined records would meet, at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SelectionPreview {
    /// How many records.
    pub records: u64,
    /// The moment. The same selection with `until` set to it meets no record that goes into quarantine later.
    pub as_of: i64,
    /// Some of them, at most 10, by flow and number.
    pub samples: Vec<RecordSummary>,
}

/// A new payload for a record in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EditPayload {
    /// The payload as a JSON text, kept as it is; at most 4 MiB.
    pub payload: String,
    /// Why; kept with the record.
    pub reason: String,
    /// How many edits the editor has seen; if there are more by now, nothing is changed. Not given: whatever was before is replaced.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after_edits: Option<u32>,
}

/// A payload as a text, to be edited.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PayloadText {
    /// The record.
    pub id: RecordId,
    /// Where it stands; only one in quarantine can be edited.
    pub state: RecordState,
    /// The payload as it would be sent into the transforms, byte for byte.
    pub payload: String,
    /// How often it was edited.
    pub edits: u32,
}

/// What an edit came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Edited {
    /// The record.
    pub id: RecordId,
    /// Whether there was anything to change.
    pub changed: bool,
    /// How often it was edited by now.
    pub edits: u32,
    /// Where the new payload does not fit the schema that the source gives for its stream, or why that is not known.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
}

/// An edit of a record's payload.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct EditInfo {
    /// Counts from 1.
    pub edit: u32,
    /// When.
    pub at: i64,
    /// Who.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// The payload before it, as a text; none: it is not kept any more. That of the first edit is what was read.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub replaced: Option<String>,
}

/// A payload that is not kept any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RemovedPayload {
    /// SHA-256 of its text, 64 hexadecimal digits.
    pub sha256: String,
    /// Bytes that it had.
    pub size: u64,
    /// When it was removed.
    pub removed_at: i64,
}

/// A replay that sent a record again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplayMark {
    /// The job.
    pub replay: Name,
    /// Who started it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When the record was queued by it.
    pub at: i64,
    /// The attempts before it; later ones are its.
    pub after_attempt: u32,
}

/// A record on its way from the source to what would be sent: each transform run again now, on the current releases. Nothing is
/// sent or changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RecordSteps {
    /// The record.
    pub id: RecordId,
    /// Where it stands.
    pub state: RecordState,
    /// The payload that goes in, as it was read or last edited.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// How often it was edited.
    pub edits: u32,
    /// When the transforms were run for this answer.
    pub run_at: i64,
    /// Each transform in turn, up to the one that ended it.
    pub steps: Vec<StepResult>,
    /// What would be sent, if anything would.
    pub would_send: Vec<WouldSend>,
    /// Why nothing would be sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub nothing: Option<Reason>,
}

/// What one transform made of a record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StepResult {
    /// Counts from 1.
    pub step: u32,
    /// The release that ran.
    pub release: Digest,
    /// The same as a person calls it: `namespace/name@version`.
    pub plugin: String,
    /// `emitted`, `dropped`, `rejected`, or `failed` if the transform itself did.
    pub outcome: String,
    /// Why it was dropped or rejected, or what failed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
    /// What came out.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub records: Vec<StepRecord>,
}

/// What came out of a transform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StepRecord {
    /// Its key.
    pub key: String,
    /// Upsert or delete.
    pub operation: Operation,
    /// Its payload.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
}

/// What would be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct WouldSend {
    /// To this connection,
    pub connection: Name,
    /// on this stream,
    pub stream: String,
    /// under this key,
    pub key: String,
    /// upsert or delete,
    pub operation: Operation,
    /// with this idempotency key, the same as at every attempt,
    pub idempotency_key: String,
    /// and this payload.
    #[schema(value_type = Object)]
    pub payload: serde_json::Value,
    /// Whether it is at the destination already, while other parts of the record are not: then it would not be sent again.
    pub written: bool,
}
