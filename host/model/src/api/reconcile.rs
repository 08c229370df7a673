//! Comparing what a flow should have brought about with what its destination holds.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Reason;
use crate::{Name, RecordId, RepairKind};

/// Where the account of what should be there comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReconcileMode {
    /// From the ledger: was anything changed or lost at the destination after it was delivered?
    #[default]
    Ledger,
    /// From the source, read again from its beginning: did everything that is there now arrive, whatever the host knows of it?
    Full,
}

impl ReconcileMode {
    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ledger => "ledger",
            Self::Full => "full",
        }
    }
}

/// What a comparison is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ReconcileRequest {
    /// Against what.
    pub mode: ReconcileMode,
    /// Which differences are repaired; none: it is only told.
    pub repair: Vec<RepairKind>,
    /// Records that are queued again in a second at most, 1 to 10,000.
    pub rate: u32,
}

impl Default for ReconcileRequest {
    fn default() -> Self {
        Self {
            mode: ReconcileMode::Ledger,
            repair: Vec::new(),
            rate: 100,
        }
    }
}

/// Where a comparison stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReconcileState {
    /// Asked for; the holder of the flow's lease begins it.
    Requested,
    /// At work.
    Running,
    /// Over; the report is complete.
    Done,
    /// Broken off; see `error`.
    Failed,
    /// Ended by a person before it was over.
    Aborted,
}

impl ReconcileState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Requested,
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Aborted,
    ];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }

    /// Reads what [`ReconcileState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it is still to come or at work.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Requested | Self::Running)
    }
}

/// How the destination was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReconcileMethod {
    /// Sums of buckets, and lists of those that differ.
    Digest,
    /// A list of everything.
    List,
    /// Key by key, as many as the flow knows. What else is there cannot be found out.
    Lookup,
}

/// How many of what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct ReconcileCounts {
    /// Things that should be at the destination.
    pub expected: u64,
    /// There, and as they should be.
    pub equal: u64,
    /// Not there.
    pub missing: u64,
    /// There, and not known here.
    pub extra: u64,
    /// There, and otherwise than they should be.
    pub different: u64,
    /// There more than once.
    pub doubled: u64,
    /// On their way or in quarantine: not compared.
    pub pending: u64,
    /// The destination cannot tell.
    pub undecided: u64,
}

/// How often the destination's plugin was called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct ReconcileCalls {
    /// `reconcile.digest`.
    pub digest: u64,
    /// `reconcile.list-keys`.
    pub list: u64,
    /// `destination.lookup`.
    pub lookup: u64,
}

/// One comparison of a flow, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReconcileRun {
    /// Names it: 12 hexadecimal digits.
    pub id: String,
    /// The flow.
    pub flow: Name,
    /// Where it stands.
    pub state: ReconcileState,
    /// What was asked for.
    pub request: ReconcileRequest,
    /// Who asked, or `schedule`.
    pub requested_by: String,
    /// When.
    pub requested_at: i64,
    /// When it began, the last time that it did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub started_at: Option<i64>,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub finished_at: Option<i64>,
    /// How often it was begun: more than once if the process ended in between.
    pub starts: u32,
    /// What came of it so far.
    pub report: ReconcileReport,
}

/// What came of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct ReconcileReport {
    /// What it is doing, for a person.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<String>,
    /// How the destination was asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<ReconcileMethod>,
    /// JSON Pointers of what was compared; empty: everything.
    pub fields: Vec<String>,
    /// How many of what.
    pub counts: ReconcileCounts,
    /// Calls that it took.
    pub calls: ReconcileCalls,
    /// Records that were queued again.
    pub repaired: u64,
    /// Differences that were found and are not kept one by one, because there are too many.
    pub left_out: u64,
    /// Why it broke off.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<Reason>,
}

/// What is wrong with one thing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DifferenceKind {
    /// It should be at the destination and is not, or only in an earlier state.
    Missing,
    /// It is at the destination, and nothing here says that it should.
    Extra,
    /// It is there, and otherwise than it should be.
    Different,
    /// It is there more than once.
    Doubled,
}

impl DifferenceKind {
    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Different => "different",
            Self::Doubled => "doubled",
        }
    }
}

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Difference {
    /// What is wrong.
    pub kind: DifferenceKind,
    /// The key at the destination.
    pub key: String,
    /// The record that brought it there, or should have.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub record: Option<RecordId>,
    /// Its id at the destination.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub external_id: Option<String>,
    /// The differing places, where the destination shows its things.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub fields: Vec<FieldDifference>,
    /// What was done about it: `queued`, `accepted`, or why nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub repair: Option<String>,
}

/// One differing place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct FieldDifference {
    /// JSON Pointer into the payload.
    pub path: String,
    /// What should be there, as JSON, cut to 120 characters; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expected: Option<String>,
    /// What is there.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub found: Option<String>,
}

/// A comparison with its differences.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReconcileDetail {
    /// The comparison.
    pub run: ReconcileRun,
    /// Those kept, by kind and key; at most 10,000, and 1,000 of them here.
    pub differences: Vec<Difference>,
}

/// Which comparisons to list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default)]
#[into_params(parameter_in = Query)]
pub struct ReconcileFilter {
    /// Of this flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub flow: Option<Name>,
    /// At most this many, 1 to 1,000; 20 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}
