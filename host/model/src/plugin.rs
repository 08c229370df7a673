//! What a plugin tells of itself and what a call to it cost.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Name;

/// Where a plugin is used, and so on whose account its calls go.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PluginUse {
    /// As the connector of this connection.
    Connection(Name),
    /// As a transform of this flow.
    Flow(Name),
}

impl PluginUse {
    /// `connection` or `flow`.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Connection(_) => "connection",
            Self::Flow(_) => "flow",
        }
    }

    /// The name of the connection or the flow.
    #[must_use]
    pub const fn name(&self) -> &Name {
        match self {
            Self::Connection(name) | Self::Flow(name) => name,
        }
    }

    /// The use of a kind and a name, if there is such a kind.
    #[must_use]
    pub fn of(kind: &str, name: Name) -> Option<Self> {
        match kind {
            "connection" => Some(Self::Connection(name)),
            "flow" => Some(Self::Flow(name)),
            _ => None,
        }
    }

    /// The connection and the flow, of which one is there.
    #[must_use]
    pub fn split(self) -> (Option<Name>, Option<Name>) {
        match self {
            Self::Connection(name) => (Some(name), None),
            Self::Flow(name) => (None, Some(name)),
        }
    }
}

/// One thing that `connection.check` tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Probe {
    /// What was tried.
    pub name: String,
    /// Whether it went well.
    pub ok: bool,
    /// What was seen.
    pub message: String,
    /// What the operator can do about it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub hint: Option<String>,
}

/// A stream that `connection.discover` found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct StreamInfo {
    /// The stream's name.
    pub name: String,
    /// JSON Schema (draft 2020-12) of the payload.
    #[schema(value_type = Object)]
    pub schema: serde_json::Value,
    /// JSON Pointers that together are the key.
    pub primary_key: Vec<String>,
    /// JSON Pointer to what incremental reading goes by.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cursor_field: Option<String>,
    /// Any of read, write, lookup, webhook.
    pub modes: Vec<String>,
    /// One of never, tombstone, full-scan, soft.
    pub deletes: String,
}

/// What one call to a guest used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct CallUsage {
    /// Wall time of the call in microseconds, waiting for other systems included.
    pub wall_us: u64,
    /// Epoch ticks that fired while guest code ran: CPU time in units of the engine's tick (see the sandbox's options).
    pub epoch_ticks: u64,
    /// The most memory that the guest had at once, in bytes, over all its memories and tables.
    pub peak_memory: u64,
    /// Requests sent.
    pub http_requests: u32,
    /// Bytes received in bodies, as they came over the network.
    pub http_bytes_in: u64,
    /// Bytes of requests and responses, bodies and headers, as they crossed the network (headers roughly): what counts towards
    /// `limits.http.bytes-per-day`.
    pub http_bytes: u64,
    /// Microseconds that a thread was busy with the call: guest code and what the host did for it, without waiting.
    pub cpu_us: u64,
}

impl CallUsage {
    /// Adds another call's use; the peak is the higher of the two.
    pub fn add(&mut self, other: &Self) {
        self.wall_us += other.wall_us;
        self.epoch_ticks += other.epoch_ticks;
        self.cpu_us += other.cpu_us;
        self.peak_memory = self.peak_memory.max(other.peak_memory);
        self.http_requests += other.http_requests;
        self.http_bytes_in += other.http_bytes_in;
        self.http_bytes += other.http_bytes;
    }
}
