//! Upstream accounts: what their systems still let through, and which of their hosts are down.
//!
//! A *breaker* is about an upstream's host that does not answer; a *circuit* ([`Circuit`](super::Circuit)) is about a plugin that crashes.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Name, UpstreamBudget};

/// Whether requests are sent to a host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum BreakerState {
    /// They are.
    #[default]
    Closed,
    /// They are not: the host failed again and again.
    Open,
    /// A few, to see whether it answers again; by one at a time, over all nodes.
    HalfOpen,
}

impl BreakerState {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half-open",
        }
    }
}

/// The breaker of one host of an account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", default)]
pub struct Breaker {
    /// Whether requests are sent.
    pub state: BreakerState,
    /// Since when the host is down; half-open and opening again do not change it.
    pub since: i64,
    /// Open: when it is tried again. Half-open: when the trial is given up.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
    /// What happened last, for a person.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// How often it opened without having been closed in between.
    pub trips: u32,
    /// Connections that use the host.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub connections: Vec<Name>,
}

/// Nothing of an account is sent before a moment, because its system asked for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamHold {
    /// Since when.
    pub since: i64,
    /// Until when.
    pub until: i64,
    /// Which answer asked for it, for a person.
    pub reason: String,
}

/// What a system said about its limits, in the headers of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamLearned {
    /// The header that said it.
    pub header: String,
    /// Requests of a whole window, if it said that.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub limit: Option<u64>,
    /// Requests that are left of it, those that are under way taken off.
    pub left: u64,
    /// When the window is over, or the bucket empty again.
    pub reset_at: i64,
    /// When it said so.
    pub at: i64,
}

/// A host of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamHost {
    /// Its name, with the port where that is not the usual one.
    pub host: String,
    /// Its breaker.
    pub breaker: Breaker,
}

/// An upstream account. What was learned, and who waited, is what the node that answers knows of it; holds and breakers are the same on
/// every node.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamInfo {
    /// Its name: the one that connections give, or the connection's own.
    pub account: Name,
    /// Connections that use it.
    pub connections: Vec<Name>,
    /// Flows that read or write through it.
    pub flows: Vec<Name>,
    /// Its hosts: those that its connections are granted by name, and those that requests went to.
    pub hosts: Vec<UpstreamHost>,
    /// Until when nothing is sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hold: Option<UpstreamHold>,
    /// What was configured.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub budget: Option<UpstreamBudget>,
    /// What was learned.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub learned: Option<UpstreamLearned>,
    /// Requests that wait for their turn now.
    pub waiting: u64,
    /// Requests that had to wait since the node was started.
    pub waited: u64,
    /// Milliseconds that they waited in all.
    pub waited_ms: u64,
}

impl UpstreamInfo {
    /// The hosts that requests are not sent to freely.
    pub fn down(&self) -> impl Iterator<Item = &UpstreamHost> {
        self.hosts
            .iter()
            .filter(|host| host.breaker.state != BreakerState::Closed)
    }
}

/// Why a flow waits although it has something to do: its upstream is down, or asked to be left alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamWait {
    /// The connection.
    pub connection: Name,
    /// Its account.
    pub account: Name,
    /// The host that is down; none: the whole account waits.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub host: Option<String>,
    /// Since when.
    pub since: i64,
    /// When it is tried again.
    pub until: i64,
    /// Why, for a person, with both moments.
    pub message: String,
}

/// Forgetting a hold and open breakers of an account by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CloseUpstream {
    /// Why; kept in the audit trail.
    pub reason: String,
}
