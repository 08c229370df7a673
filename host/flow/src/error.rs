//! What can go wrong for whoever asks the engine for something.

use stecker_model::{
    ErrorCode, Name,
    api::{Circuit, Fault},
};
use stecker_store::StoreError;

/// Why the engine could not do what it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum FlowError {
    /// There is no such thing.
    #[error("there is no {what} named `{name}`")]
    NotFound {
        /// `connection`, `flow`, `release`, …
        what: &'static str,
        /// What was asked for.
        name: String,
    },
    /// The setup has faults.
    #[error("the setup has {} fault(s), the first: {}", .0.len(), .0.first().map(|fault| format!("{}: {}", fault.path, fault.reason)).unwrap_or_default())]
    Invalid(Vec<Fault>),
    /// The component cannot be used.
    #[error("{0}")]
    Load(String),
    /// The plugin failed.
    #[error("{message}")]
    Call {
        /// What kind of failure.
        code: ErrorCode,
        /// What happened.
        message: String,
        /// The guest's stack, innermost first, where it trapped.
        backtrace: Vec<String>,
    },
    /// The plugin crashed too often, or a person stopped the connection: nothing of it is called at the moment.
    #[error("nothing of the connection `{connection}` is called: {}", crate::status::told(.circuit))]
    Circuit {
        /// Which connection.
        connection: Name,
        /// Why, since when, until when.
        circuit: Box<Circuit>,
    },
    /// More calls come for a connection than it takes.
    #[error(
        "the connection `{connection}` takes {per_second} webhook calls a second (`limits.webhook.per-second`), and more came"
    )]
    TooManyCalls {
        /// Which connection.
        connection: Name,
        /// What it takes.
        per_second: u32,
        /// After how many seconds to call again.
        retry_after: u64,
    },
    /// More calls wait for a connection than may.
    #[error(
        "{backlog} webhook calls for the connection `{connection}` wait to be understood (`limits.webhook.backlog`), and no more are kept"
    )]
    Backlog {
        /// Which connection.
        connection: Name,
        /// How many may wait.
        backlog: u32,
        /// After how many seconds to call again.
        retry_after: u64,
    },
    /// More of a tenant waits than may.
    #[error(
        "{waiting} records of the tenant `{tenant}` wait, and it may have {max_waiting} (`max-waiting` of its limits); nothing more is taken \
         until there is room"
    )]
    TenantFull {
        /// Which tenant.
        tenant: Name,
        /// Records that wait, over all of its flows.
        waiting: u64,
        /// How many may.
        max_waiting: u32,
        /// After how many seconds to call again.
        retry_after: u64,
    },
    /// Several keys are as well meant.
    #[error("`{text}` may be {}{}", candidates.join(", "), if *more { ", and others" } else { "" })]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// Keys that it may be.
        candidates: Vec<String>,
        /// Whether there are more.
        more: bool,
    },
    /// The tenant's trust root does not let the release be loaded.
    #[error("{name}@{version} is not loaded: {reason}")]
    Untrusted {
        /// The plugin.
        name: String,
        /// Its version.
        version: String,
        /// The reason, for machines.
        code: &'static str,
        /// The reason.
        reason: String,
    },
    /// What was given as a trust root was not taken.
    #[error(transparent)]
    Root(#[from] stecker_trust::RootError),
    /// What was given as a signature is none.
    #[error("this is not a signature of a release: {0}")]
    Signature(String),
    /// The registry that knows which releases were yanked cannot be asked.
    #[error("the registry cannot be asked which releases were yanked: {0}")]
    Registry(String),
    /// Somebody else is at it.
    #[error("{what} is busy: {by}")]
    Busy {
        /// Which thing.
        what: String,
        /// Who has it.
        by: String,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// After how many seconds to call again while the store fails.
const STORE_RETRY: u64 = 5;

impl FlowError {
    /// After how many seconds a system that called should call again, if it should.
    #[must_use]
    pub const fn retry_after(&self) -> Option<u64> {
        match self {
            Self::TooManyCalls { retry_after, .. }
            | Self::Backlog { retry_after, .. }
            | Self::TenantFull { retry_after, .. } => Some(*retry_after),
            Self::Store(error) if error.passes_by_itself() => Some(STORE_RETRY),
            _ => None,
        }
    }

    pub(crate) fn not_found(what: &'static str, name: &impl ToString) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }
}

impl From<stecker_sandbox::CallError> for FlowError {
    fn from(error: stecker_sandbox::CallError) -> Self {
        let backtrace = error.backtrace().to_vec();
        Self::Call {
            code: error.code(),
            message: error.to_string(),
            backtrace,
        }
    }
}
