//! What goes into the way out and what comes out of it: requests, answers, failures, and the room for answers.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use stecker_model::{ErrorCode, PluginError};

use super::cause;
use crate::binding::Denial;

/// A request as a guest makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) credential: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) options: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was sent.
    Denied(Box<Denial>),
    /// The request was sent, and may have been acted on; where its answer redirects to, or what would become of its answer, is denied.
    AnswerDenied(Box<Denial>),
    Error(PluginError),
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    /// Why nothing came back, where that is because nobody answered.
    pub(super) fn no_answer(&self) -> Option<String> {
        match self {
            Self::Error(error) => {
                let cause = error.detail("cause")?;
                let is_silence = [
                    cause::DNS,
                    cause::REFUSED,
                    cause::TLS,
                    cause::CONNECT,
                    cause::TIMEOUT,
                    cause::LOST,
                ];
                is_silence.contains(&cause).then(|| error.message.clone())
            }
            Self::Denied(_) | Self::AnswerDenied(_) => None,
        }
    }

    /// The same, of a request that follows from the answer to another.
    pub(super) fn after_sending(self) -> Self {
        match self {
            Self::Denied(denial) | Self::AnswerDenied(denial) => Self::AnswerDenied(denial),
            Self::Error(error) => Self::Error(maybe(error)),
        }
    }
}

/// The request never left.
pub(super) fn not_sent(code: ErrorCode, message: impl Into<String>) -> PluginError {
    PluginError::new(code, message).with_detail("sent", "no")
}

/// The request may have been acted on.
pub(super) fn maybe_sent(code: ErrorCode, message: impl Into<String>) -> PluginError {
    PluginError::new(code, message).with_detail("sent", "maybe")
}

/// The same failure, but of what follows after something was sent.
pub(crate) fn maybe(mut error: PluginError) -> PluginError {
    error.details.retain(|(name, _)| name != "sent");
    error.with_detail("sent", "maybe")
}

/// Room for answers, shared by the requests of one call of the guest.
#[derive(Debug)]
pub(crate) struct ResponseBudget {
    left: AtomicUsize,
    pub(super) max: usize,
    /// What is taken here is taken there as well, until this one is dropped.
    of: Option<Arc<Self>>,
}

impl ResponseBudget {
    /// An answer that does not fit into the guest's memory would only kill it.
    pub(crate) fn for_guest(memory: usize) -> Self {
        Self::of(memory)
    }

    pub(super) fn of(max: usize) -> Self {
        Self {
            left: AtomicUsize::new(max),
            max,
            of: None,
        }
    }

    /// Whatever is left of another one; dropping this gives it back.
    pub(crate) fn within(whole: Arc<Self>) -> Self {
        Self {
            left: AtomicUsize::new(whole.max),
            max: whole.max,
            of: Some(whole),
        }
    }

    pub(crate) fn take(&self, bytes: usize) -> bool {
        if let Some(whole) = &self.of
            && !whole.take(bytes)
        {
            return false;
        }
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }
}

impl Drop for ResponseBudget {
    fn drop(&mut self) {
        if let Some(whole) = &self.of {
            let taken = self.max.saturating_sub(self.left.load(Ordering::Relaxed));
            whole.left.fetch_add(taken, Ordering::Relaxed);
        }
    }
}
