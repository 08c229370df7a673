//! Answers the requests of a call that is played again from its tape, and notes what is not on it.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use stecker_model::{TapedAnswer, TapedExchange};
use stecker_sandbox::{Answers, AskedRequest, Asker, GivenAnswer, NoAnswer};

use super::matching::{Asked, OffTape, Reel};

/// Requests off the tape that are noted of one call. A plugin that tries again and again is stopped by its time.
const NOTED: usize = 100;

/// One call's exchanges, in the place of its system.
pub(super) struct TapePlayer(Mutex<Played>);

struct Played {
    reel: Reel,
    off_tape: Vec<OffTape>,
}

impl TapePlayer {
    /// `versions`: those of the systems' APIs that are taken for one.
    pub(super) fn new(exchanges: &[TapedExchange], versions: &[String]) -> Self {
        Self(Mutex::new(Played {
            reel: Reel::new(exchanges, versions),
            off_tape: Vec::new(),
        }))
    }

    /// What was asked that is not on the tape; and what was on it, changed something, and was not asked for.
    pub(super) fn ended(&self) -> (Vec<OffTape>, Vec<(String, String)>) {
        let mut played = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (std::mem::take(&mut played.off_tape), played.reel.unsent())
    }

    fn find(&self, request: &AskedRequest) -> Result<GivenAnswer, NoAnswer> {
        let mut played = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let asked = Asked {
            method: &request.method,
            url: &request.url,
            body: request.body.as_deref(),
        };
        let off_tape = match played.reel.answer(asked) {
            Ok(answer) => return given(answer),
            Err(off_tape) => *off_tape,
        };
        if played.off_tape.len() < NOTED {
            played.off_tape.push(off_tape);
        }
        Err(NoAnswer::Refused)
    }
}

fn given(answer: &TapedAnswer) -> Result<GivenAnswer, NoAnswer> {
    match answer {
        TapedAnswer::Answered {
            status,
            headers,
            body,
        } => {
            // As it was kept, the answer is decoded already, and its length is that of its body.
            let is_of_body =
                |name: &str| ["content-encoding", "content-length", "transfer-encoding"].contains(&name);
            let headers = headers.iter().filter(|(name, _)| !is_of_body(name));
            Ok(GivenAnswer {
                status: *status,
                headers: headers.cloned().collect(),
                body: body.bytes().unwrap_or_default().into(),
                is_cut_off: false,
            })
        }
        TapedAnswer::Failed { maybe_sent: true, .. } => Err(NoAnswer::Lost),
        TapedAnswer::Failed {
            maybe_sent: false, ..
        } => Err(NoAnswer::Refused),
    }
}

#[async_trait]
impl Answers for TapePlayer {
    async fn answer(&self, request: AskedRequest) -> Result<GivenAnswer, NoAnswer> {
        match request.by {
            Asker::Guest => self.find(&request),
            // Tokens are on no tape. Whoever asks for one gets one that opens nothing.
            Asker::Token => {
                let token = hex::encode(rand::random::<[u8; 24]>());
                let body = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
                Ok(GivenAnswer {
                    status: 200,
                    headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                    body: body.into(),
                    is_cut_off: false,
                })
            }
        }
    }
}
