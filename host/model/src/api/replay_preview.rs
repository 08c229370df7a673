//! What a replay would do, and what that would change at the destination.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{Reason, ReplaySelection, ReplaySkipped};
use crate::RecordId;

/// Asking what a replay would do. Nothing is written, here or at the destination.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct PreviewReplay {
    /// Which records.
    pub selection: ReplaySelection,
    /// Whether the destination is asked what it has, and that is compared with what would be sent.
    #[serde(default)]
    pub compare: bool,
    /// Records that one answer looks at, 1 to 1,000; 200 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u32>,
    /// Where to go on, as `next` of the answer before says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub after: Option<ReplayCursor>,
}

/// How far a selection was walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplayCursor {
    /// The number of the last record.
    pub seq: i64,
    /// The highest number that belongs to the set: later records came after the question.
    pub up_to: i64,
}

/// What a replay would do with the next records of its selection.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplayPreview {
    /// Records that belong to the set.
    pub records: u64,
    /// Those that would be left out.
    pub skipped: ReplaySkipped,
    /// The others.
    pub would_queue: u64,
    /// Of those, what was found; only if it was compared.
    pub compared: Compared,
    /// Each compared record that is not equal.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub samples: Vec<ComparedRecord>,
    /// Where the next question goes on; none: that is all.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub next: Option<ReplayCursor>,
}

/// What a comparison found, in records.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Compared {
    /// Not at the destination, or only in an earlier state.
    pub absent: u64,
    /// There, just as it would be sent.
    pub equal: u64,
    /// There, and sending would change it.
    pub different: u64,
    /// The destination cannot tell, or does not say what it has.
    pub undecided: u64,
    /// Would not be sent: the transforms drop or refuse it now.
    pub unsendable: u64,
}

impl Compared {
    /// Counts one record.
    pub const fn count(&mut self, finding: ReplayFinding) {
        let number = match finding {
            ReplayFinding::Absent => &mut self.absent,
            ReplayFinding::Equal => &mut self.equal,
            ReplayFinding::Different => &mut self.different,
            ReplayFinding::Undecided => &mut self.undecided,
            ReplayFinding::Unsendable => &mut self.unsendable,
        };
        *number = number.saturating_add(1);
    }

    /// Adds what another answer found.
    pub const fn add(&mut self, other: &Self) {
        self.absent = self.absent.saturating_add(other.absent);
        self.equal = self.equal.saturating_add(other.equal);
        self.different = self.different.saturating_add(other.different);
        self.undecided = self.undecided.saturating_add(other.undecided);
        self.unsendable = self.unsendable.saturating_add(other.unsendable);
    }
}

/// What was found of one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayFinding {
    /// Not at the destination, or only in an earlier state.
    Absent,
    /// There, just as it would be sent.
    Equal,
    /// There, and sending would change it.
    Different,
    /// The destination cannot tell, or does not say what it has.
    Undecided,
    /// The transforms drop or refuse it now.
    Unsendable,
}

/// A record that a comparison did not find equal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ComparedRecord {
    /// The record.
    pub id: RecordId,
    /// Its key at the source.
    pub key: String,
    /// What was found.
    pub finding: ReplayFinding,
    /// The first 20 differing places.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub differences: Vec<DifferingPlace>,
    /// How many places differ in all.
    pub places: u64,
    /// Why it would not be sent, or why nothing is known.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<Reason>,
}

/// A place at which the destination has something else than would be sent. Values are JSON texts, cut to 120 characters; none: not
/// there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DifferingPlace {
    /// The key at the destination.
    pub key: String,
    /// JSON Pointer (RFC 6901).
    pub path: String,
    /// As it is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub there: Option<String>,
    /// As it would be sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sent: Option<String>,
}
