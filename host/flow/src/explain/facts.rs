//! What the rules look at: facts about one record that does not get on, gathered before. No I/O, so that every case stands in a table of tests.

use std::collections::BTreeSet;

use stecker_model::{
    Name, RecordId, RecordState,
    api::{Circuit, DenialInfo, Pause, Reason, RecordSummary},
};
use stecker_store::StuckCause;

/// A record and everything around it that may explain where it is.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    /// The moment of asking.
    pub(crate) now: i64,
    /// The record that the case is about.
    pub(crate) record: RecordSummary,
    /// The newest record of the key, if it waits behind `record`.
    pub(crate) waiting: Option<RecordSummary>,
    /// What went wrong with it last; none: nothing did.
    pub(crate) failure: Option<Failure>,
    pub(crate) flow: FlowFacts,
    /// The connection that failed, or that comes next.
    pub(crate) connection: ConnectionFacts,
    /// What became of the flow's other records.
    pub(crate) others: Others,
    /// Records that are stuck for the same cause, this one among them.
    pub(crate) same_cause: Option<StuckCause>,
    /// Records that wait with this one although none of them was tried: its upstream is left alone.
    pub(crate) waiting_too: Option<WaitingToo>,
    /// What is stuck in the tenant's other flows, and sources that cannot be read.
    pub(crate) elsewhere: Vec<Elsewhere>,
    /// What the plugins in question were refused around the time of the failure, the latest first.
    pub(crate) denials: Vec<DenialInfo>,
    /// The field in question beside the same field of records that went through.
    pub(crate) field: Option<FieldFacts>,
    /// Things that the failure names, and what the ledger knows of them.
    pub(crate) named: Vec<Named>,
    /// Deliveries of the same key to the same system, by another record than this one or an earlier attempt.
    pub(crate) delivered_before: Vec<DeliveredBefore>,
    /// What was changed between the last record that went through and the first that did not, oldest first.
    pub(crate) changes: Vec<ChangeFact>,
    /// Who gave the record up and why, if a person did.
    pub(crate) given_up_by: Option<String>,
    /// The upstream is not asked at all at the moment, because it failed too often.
    pub(crate) breaker: Option<UpstreamBreaker>,
}

impl Case {
    /// Whether the host still has something to do with the record.
    pub(crate) const fn is_open(&self) -> bool {
        self.record.state.is_open()
    }

    /// Whether it waits for a person.
    pub(crate) fn is_quarantined(&self) -> bool {
        self.record.state == RecordState::Quarantined
    }

    /// Flows besides this one that fail with such a code at the same system.
    pub(crate) fn elsewhere_like(&self, is_like: impl Fn(&Reason) -> bool) -> Vec<&Elsewhere> {
        self.elsewhere
            .iter()
            .filter(|other| {
                other
                    .hosts
                    .iter()
                    .any(|host| self.connection.hosts.contains(host))
            })
            .filter(|other| is_like(&other.reason))
            .collect()
    }
}

/// Where something failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// A source could not be read.
    Reading,
    /// A transform, before anything was sent.
    Transform,
    /// The destination.
    Writing,
}

/// What went wrong with a record, or with reading.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    pub(crate) stage: Stage,
    pub(crate) reason: Reason,
    /// The word of the last attempt: `retry`, `rejected`, `unknown`.
    pub(crate) outcome: Option<String>,
    /// When it was so for the first time without having worked in between.
    pub(crate) first_at: i64,
    /// When it was so last.
    pub(crate) last_at: i64,
    /// Attempts that ended so.
    pub(crate) times: u64,
    /// Where that can be looked up.
    pub(crate) place: String,
}

/// The flow of a record.
#[derive(Debug, Clone)]
pub(crate) struct FlowFacts {
    pub(crate) name: Name,
    pub(crate) paused: Option<Pause>,
    /// Records that are accepted and not done.
    pub(crate) open: u64,
}

/// A connection of a flow.
#[derive(Debug, Clone)]
pub(crate) struct ConnectionFacts {
    pub(crate) name: Name,
    /// `namespace/name@version`.
    pub(crate) plugin: String,
    /// Hosts that it is granted.
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) circuit: Circuit,
    pub(crate) credentials: Vec<CredentialFacts>,
}

/// A credential of a connection.
#[derive(Debug, Clone)]
pub(crate) struct CredentialFacts {
    pub(crate) name: Name,
    /// As in the manifest, such as `bearer`.
    pub(crate) kind: Option<String>,
    pub(crate) kept: Kept,
    /// The user name or client id that is beside it in the vault.
    pub(crate) username: Option<String>,
    /// When it was put into the vault.
    pub(crate) set_at: Option<i64>,
    /// When its tokens were got.
    pub(crate) tokens_at: Option<i64>,
    /// When its tokens end.
    pub(crate) expires_at: Option<i64>,
}

/// Where a secret is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Kept {
    Vault,
    File(String),
    Env(String),
}

/// What became of other records of the flow.
#[derive(Debug, Clone, Default)]
pub(crate) struct Others {
    /// When one went through last, before this one failed.
    pub(crate) last_good: Option<i64>,
    /// How many of those that were looked at went through since this one failed first.
    pub(crate) good_since: u64,
    /// The last of them: its key, and when.
    pub(crate) latest_good: Option<(String, i64)>,
}

/// What is stuck in another flow.
#[derive(Debug, Clone)]
pub(crate) struct Elsewhere {
    pub(crate) flow: Name,
    /// The connection that fails.
    pub(crate) connection: Name,
    /// Hosts that it is granted.
    pub(crate) hosts: BTreeSet<String>,
    pub(crate) reason: Reason,
    pub(crate) count: u64,
    pub(crate) since: i64,
    /// It is the source that cannot be read.
    pub(crate) reading: bool,
}

/// A field beside the same field of records that went through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldFacts {
    /// JSON Pointer.
    pub(crate) path: String,
    pub(crate) found: FieldFound,
    /// Records that it was compared with.
    pub(crate) peers: usize,
}

/// What the comparison found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FieldFound {
    /// It has another type than everywhere else.
    TypeChanged { was: &'static str, is: &'static str },
    /// It is everywhere else, and not here.
    Absent,
    /// It is here, and nowhere else.
    New,
    /// It has the same type.
    SameType,
}

/// A thing that a failure names.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// Its name there.
    pub(crate) text: String,
    /// What the ledger has under this key, in flows to the same system.
    pub(crate) known: Vec<KnownThing>,
}

/// A record of a thing that a failure names.
#[derive(Debug, Clone)]
pub(crate) struct KnownThing {
    pub(crate) id: RecordId,
    pub(crate) state: RecordState,
    pub(crate) since: i64,
}

/// The same key at the same system, before.
#[derive(Debug, Clone)]
pub(crate) struct DeliveredBefore {
    pub(crate) id: RecordId,
    pub(crate) external_id: Option<String>,
    pub(crate) at: i64,
}

/// Something that was changed.
#[derive(Debug, Clone)]
pub(crate) struct ChangeFact {
    pub(crate) at: i64,
    pub(crate) what: String,
    pub(crate) place: String,
}

/// Records of a flow that wait for the same upstream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct WaitingToo {
    pub(crate) count: u64,
    /// Some of their keys, the one that was asked for first.
    pub(crate) keys: Vec<String>,
    pub(crate) since: i64,
}

/// The upstream is left alone.
#[derive(Debug, Clone)]
pub(crate) struct UpstreamBreaker {
    /// It asked to be left alone; otherwise it does not answer.
    pub(crate) held: bool,
    /// The host or account.
    pub(crate) upstream: String,
    pub(crate) since: i64,
    pub(crate) until: Option<i64>,
    pub(crate) reason: String,
}
