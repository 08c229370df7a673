//! Tenants as whoever runs the host sees them: what they may have, and what they used.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{CallUsage, Name, TenantLimits};

/// What plugins used on one day (UTC).
///
/// Kept in memory for about a second before it is written, so that a process that is killed forgets that much at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DayUsage {
    /// Calls of plugins, those that failed included.
    pub calls: u64,
    /// Microseconds that threads were busy with them.
    pub cpu_us: u64,
    /// Epoch ticks that fired while guest code ran.
    pub epoch_ticks: u64,
    /// Microseconds from the beginning of each call to its end, waiting for other systems included.
    pub wall_us: u64,
    /// The most memory that one of the calls had at once, in bytes.
    pub peak_memory: u64,
    /// Requests sent.
    pub http_requests: u64,
    /// Bytes that they and their answers had.
    pub http_bytes: u64,
    /// Uses of a capability that were refused.
    pub denials: u64,
}

impl DayUsage {
    /// One call.
    #[must_use]
    pub fn of(call: &CallUsage) -> Self {
        Self {
            calls: 1,
            cpu_us: call.cpu_us,
            epoch_ticks: call.epoch_ticks,
            wall_us: call.wall_us,
            peak_memory: call.peak_memory,
            http_requests: call.http_requests.into(),
            http_bytes: call.http_bytes,
            denials: 0,
        }
    }

    /// Adds what others used; the peak is the higher of the two.
    pub fn add(&mut self, other: &Self) {
        self.calls = self.calls.saturating_add(other.calls);
        self.cpu_us = self.cpu_us.saturating_add(other.cpu_us);
        self.epoch_ticks = self.epoch_ticks.saturating_add(other.epoch_ticks);
        self.wall_us = self.wall_us.saturating_add(other.wall_us);
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.http_requests = self.http_requests.saturating_add(other.http_requests);
        self.http_bytes = self.http_bytes.saturating_add(other.http_bytes);
        self.denials = self.denials.saturating_add(other.denials);
    }
}

/// What the plugin of one connection used, or the transforms of one flow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UsageInfo {
    /// The connection,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<Name>,
    /// or the flow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Name>,
    /// What it used.
    #[serde(flatten)]
    pub usage: DayUsage,
}

/// A tenant, what it may have, and what it used today.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TenantInfo {
    /// Its name.
    pub name: Name,
    /// When it was made.
    pub created_at: i64,
    /// What it may have in all.
    pub limits: TenantLimits,
    /// Whether these limits were set, or are the usual ones.
    pub limits_set: bool,
    /// Since midnight UTC, over everything.
    pub today: DayUsage,
    /// The same by connection and flow; only where one tenant is shown.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub by_use: Vec<UsageInfo>,
}
