//! The circuit of a connection: whether its plugin is called at all, after it crashed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Whether a connection's plugin is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CircuitState {
    /// It is.
    #[default]
    Closed,
    /// It crashed a moment ago; it is called again after a short pause.
    BackingOff,
    /// It is not called: it crashed again and again, or a person stopped it.
    Open,
    /// One call goes through, to see whether it works again.
    Probing,
}

impl CircuitState {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::BackingOff => "backing-off",
            Self::Open => "open",
            Self::Probing => "probing",
        }
    }
}

/// A call that ended in a trap, out of memory or time, with a broken contract or a panic of the host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Crash {
    /// When.
    pub at: i64,
    /// What was called: `read`, `write`, `lookup`, …
    pub function: String,
    /// What happened, for a person.
    pub message: String,
    /// The guest's functions, innermost first, where there is something to see.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub backtrace: Vec<String>,
    /// The plugin, `namespace/name@version`.
    pub plugin: String,
}

/// The circuit of a connection. While it is open or backing off, nothing of the connection is called: flows wait, records stay, webhooks
/// are stored.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Circuit {
    /// Whether the plugin is called.
    pub state: CircuitState,
    /// Since when it is in this state.
    pub since: i64,
    /// Backing off or open: not called before this moment; open without it: until a person closes it. Probing: when the probe is given
    /// up.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<i64>,
    /// Why, for a person.
    #[serde(skip_serializing_if = "String::is_empty", default)]
    pub reason: String,
    /// Who stopped it, if a person did.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub opened_by: Option<String>,
    /// Crashes in a row by function, each with the record that it happened on, or `-` if it cannot be put down to one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub crashes: BTreeMap<String, Vec<String>>,
    /// How often it opened without the function that crashed having worked in between.
    #[serde(skip_serializing_if = "is_zero", default)]
    pub trips: u32,
    /// The last crash.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub last_crash: Option<Crash>,
    /// The generation of the connection's specification that this is about: crashes of an earlier one say nothing about a later one.
    pub generation: i64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl Circuit {
    /// Closed, without a crash that would still count.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.state == CircuitState::Closed && self.crashes.is_empty() && self.trips == 0
    }

    /// Whether it was opened by a person.
    #[must_use]
    pub const fn by_hand(&self) -> bool {
        self.opened_by.is_some()
    }
}

/// Why a flow waits although it has something to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Waiting {
    /// The connection that is not called.
    pub connection: crate::Name,
    /// Its circuit.
    pub circuit: Circuit,
}

/// Opening or closing a circuit by hand.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct CircuitRequest {
    /// Why; kept in the audit trail, and shown while it is open.
    pub reason: String,
}
