//! Recording calls of connections: what a call was given, what it asked and got, and what it returned, sealed and kept for a while, so that another
//! release can be tried on it (see `shadow`).
//!
//! Whether a connection is recorded is in the database, and comes with everything else that a call needs. Recording never changes what a call
//! comes to: what cannot be kept is left out, and said in the log.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use stecker_model::{
    Digest, Name, TAPE_FORM, Tape, TapedCall, TapedRequest, TapedResult,
    api::{Fault, StartTaping},
};
use stecker_sandbox::{CallError, CallOptions, Called, Recorded, Recorder, Session, TapeBounds};
use stecker_store::{NewTape, Store, VaultError};

use crate::{FlowError, clock::Clock};

/// Bytes of one tape. What a batch holds is on it too.
const MAX_TAPE: usize = 8 << 20;
/// For keeping one. The call is over by then, and whoever made it waits.
const PATIENCE: Duration = Duration::from_secs(5);
/// Of one recording.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MOST_CALLS: u32 = 500;
const HIDDEN: &str = "[redacted]";

/// Keeps the calls of one connection.
#[derive(Clone)]
pub(crate) struct Taper {
    pub(crate) store: Store,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    pub(crate) release: Digest,
}

impl Taper {
    /// Makes a call and keeps it.
    pub(crate) async fn record<T, F: Future<Output = Called<T>>>(
        &self,
        session: &Session,
        call: TapedCall,
        function: impl FnOnce(Session) -> F,
        result: impl FnOnce(&T) -> TapedResult,
    ) -> Called<T> {
        let recorder = Arc::new(Recorder::new(TapeBounds::default()));
        let options = CallOptions::Recorded(Arc::clone(&recorder));
        let called = function(session.clone().with(options)).await;
        let ended = match &called.result {
            Ok(answer) => Some(result(answer)),
            Err(error) => failed(error),
        };
        // A call that the plugin never got, or that ended for reasons of other calls, tells nothing.
        if let Some(ended) = ended {
            let tape = tape(&self.release, call, recorder.recorded(), ended, &called);
            if tokio::time::timeout(PATIENCE, self.keep(&tape)).await.is_err() {
                self.warn("the database took too long");
            }
        }
        called
    }

    async fn keep(&self, tape: &Tape) {
        let Some(bytes) = fitting(tape) else {
            return self.warn("it is too large");
        };
        let (now, function) = (self.clock.now_ms(), tape.call.function());
        let new = NewTape {
            tenant: &self.tenant,
            connection: &self.connection,
            at: i64::try_from(tape.clock).unwrap_or(i64::MAX),
            release: &tape.release,
            function,
            bytes: &bytes,
        };
        let kept = match self.store.vault() {
            Ok(vault) => vault.keep_tape(&new, now).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            self.warn(&error.to_string());
        }
    }

    fn warn(&self, reason: &str) {
        let Self {
            tenant, connection, ..
        } = self;
        tracing::warn!(%tenant, %connection, reason, "a call was to be recorded and is not kept");
    }
}

fn tape<T>(
    release: &Digest,
    mut call: TapedCall,
    recorded: Recorded,
    result: TapedResult,
    called: &Called<T>,
) -> Tape {
    if let TapedCall::Receive(request) = &mut call {
        hide(request);
    }
    let Recorded {
        circumstances,
        exchanges,
        truncated,
    } = recorded;
    Tape {
        form: TAPE_FORM,
        release: release.clone(),
        call,
        clock: circumstances.clock,
        clock_readings: circumstances.readings,
        seed: hex::encode(circumstances.seed),
        exchanges,
        truncated,
        result,
        usage: called.usage,
    }
}

/// The bytes of a tape. One that is too large is kept as far as it says that it is.
fn fitting(tape: &Tape) -> Option<Vec<u8>> {
    let bytes = json(tape)?;
    if bytes.len() <= MAX_TAPE {
        return Some(bytes);
    }
    let cut = Tape {
        exchanges: Vec::new(),
        truncated: true,
        ..tape.clone()
    };
    json(&cut).filter(|bytes| bytes.len() <= MAX_TAPE)
}

fn json(value: &impl Serialize) -> Option<Vec<u8>> {
    serde_json::to_vec(value).ok()
}

/// A signature has to stay, or nobody could check it again; whoever knows what else opens a door to the host would not need the signature.
fn hide(request: &mut TapedRequest) {
    for (name, value) in &mut request.headers {
        if ["authorization", "cookie", "token", "secret", "password"]
            .iter()
            .any(|part| name.contains(part))
        {
            HIDDEN.clone_into(value);
        }
    }
}

/// None: what the plugin does had no part in it.
pub(crate) fn failed(error: &CallError) -> Option<TapedResult> {
    let code = match error {
        CallError::Plugin(error) => error.code.as_str(),
        CallError::Trap { .. } | CallError::OutOfMemory { .. } | CallError::StackOverflow { .. } => "crashed",
        CallError::Deadline { .. } => "deadline",
        CallError::Contract { .. } => "contract",
        CallError::NoRole(_) => "no-role",
        CallError::Host { .. } | CallError::Busy { .. } | CallError::TenantOutOfMemory { .. } => return None,
    };
    Some(TapedResult::Failed {
        code: code.to_owned(),
        message: error.to_string(),
    })
}

/// When a recording ends that begins now.
///
/// # Errors
/// What is asked is out of bounds.
pub(crate) fn until(wish: &StartTaping, now: i64) -> Result<i64, FlowError> {
    let period = wish.period.duration();
    let fault = |path: &str, reason: String| {
        let path = path.to_owned();
        Err(FlowError::Invalid(vec![Fault { path, reason }]))
    };
    if period.is_zero() || period > LONGEST {
        return fault(
            "period",
            "it is out of bounds; use 1s to 7d, such as 1h".to_owned(),
        );
    }
    if !(1..=MOST_CALLS).contains(&wish.calls) {
        return fault(
            "calls",
            format!("{} is out of bounds; use 1 to {MOST_CALLS}", wish.calls),
        );
    }
    Ok(now.saturating_add(i64::try_from(period.as_millis()).unwrap_or(i64::MAX)))
}

/// The vault does not open.
pub(crate) fn unopened(error: VaultError) -> FlowError {
    match error {
        VaultError::Store(error) => error.into(),
        other => FlowError::Load(format!("recorded calls are sealed, and {other}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use stecker_model::{CallUsage, Page, ReadRequest, TapedBody};

    fn request() -> ReadRequest {
        ReadRequest {
            stream: "orders".to_owned(),
            cursor: None,
            max_records: 100,
            max_bytes: 1_000,
            deadline_ms: 1_000,
            options: Vec::new(),
        }
    }

    fn made(call: TapedCall) -> Tape {
        let recorded = Recorder::new(TapeBounds::default()).recorded();
        let called = Called {
            result: Ok::<_, CallError>(()),
            usage: CallUsage::default(),
        };
        let release = format!("sha256:{}", "a".repeat(64)).parse().unwrap();
        tape(
            &release,
            call,
            recorded,
            TapedResult::Page(Page::default()),
            &called,
        )
    }

    #[test]
    fn a_tape_comes_back_as_it_was() {
        let tape = made(TapedCall::Read(request()));
        let again: Tape = serde_json::from_slice(&fitting(&tape).unwrap()).unwrap();
        assert_eq!(again, tape);
    }

    #[test]
    fn what_opens_a_door_of_the_host_is_not_on_the_tape_of_a_webhook() {
        let headers = [("authorization", "Basic abc"), ("x-signature", "v1=beef")];
        let tape = made(TapedCall::Receive(TapedRequest {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
            body: TapedBody::of(b"{}"),
        }));
        let TapedCall::Receive(request) = &tape.call else {
            panic!("it was a webhook");
        };
        let values: Vec<_> = request.headers.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(values, [HIDDEN, "v1=beef"]);
    }

    #[test]
    fn one_that_is_too_large_is_useless_and_says_so() {
        let mut tape = made(TapedCall::Read(request()));
        tape.exchanges = vec![
            stecker_model::TapedExchange {
                method: "GET".to_owned(),
                url: "https://shop.example".to_owned(),
                headers: Vec::new(),
                body: None,
                credential: None,
                answer: stecker_model::TapedAnswer::Answered {
                    status: 200,
                    headers: Vec::new(),
                    body: TapedBody::Text("x".repeat(MAX_TAPE)),
                },
            };
            1
        ];
        let kept: Tape = serde_json::from_slice(&fitting(&tape).unwrap()).unwrap();
        assert!(kept.truncated && kept.exchanges.is_empty());
    }
}
