//! Why a comparison does not go on.

use stecker_model::{ErrorCode, api::Reason};
use stecker_sandbox::CallError;
use stecker_store::StoreError;

use super::drill::Contradiction;
use crate::{FlowError, outcome, prepare::BatchFailed};

/// Why a comparison does not go on.
#[derive(Debug)]
pub(crate) enum Stop {
    /// A person ended it.
    Ended,
    /// It cannot be done, for this reason.
    Failed(Reason),
    /// The store failed, or the lease is gone.
    Store(StoreError),
}

impl Stop {
    pub(crate) fn failed(code: &str, message: impl Into<String>) -> Self {
        Self::Failed(Reason {
            code: code.to_owned(),
            message: message.into(),
            path: None,
        })
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unstorable { .. } => Self::failed("data", error.to_string()),
            error => Self::Store(error),
        }
    }
}

impl From<FlowError> for Stop {
    fn from(error: FlowError) -> Self {
        match error {
            FlowError::Store(error) => error.into(),
            FlowError::Call { code, message, .. } => Self::failed(code.as_str(), message),
            FlowError::Circuit { .. } => Self::failed("circuit", error.to_string()),
            other => Self::failed(ErrorCode::Config.as_str(), other.to_string()),
        }
    }
}

impl From<CallError> for Stop {
    fn from(error: CallError) -> Self {
        Self::Failed(outcome::call_reason(&error))
    }
}

impl From<BatchFailed> for Stop {
    fn from(failed: BatchFailed) -> Self {
        Self::Failed(failed.reason())
    }
}

impl From<Contradiction> for Stop {
    fn from(Contradiction(why): Contradiction) -> Self {
        Self::failed(
            "contradiction",
            format!(
                "what the destination's plugin says of its keys cannot be right: {why}. Nothing was repaired; this is a fault of the plugin, \
                 or of a system that changes faster than it can be compared"
            ),
        )
    }
}
