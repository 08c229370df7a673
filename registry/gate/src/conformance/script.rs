//! The upstream: the same answer to every request, one way of behaving at a time.

use std::sync::{Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use stecker_sandbox::{Answers, AskedRequest, Asker, GivenAnswer, NoAnswer};

/// Requests that are remembered of one call. A plugin that follows pages without end is stopped by its time.
const KEPT: usize = 1_000;
/// Beyond what an answer may have (see `stage`).
pub(super) const TOO_MUCH: usize = 3 << 20;

/// How the upstream behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behaviour {
    /// 200 with JSON that has a little of everything.
    Plain,
    /// 200 with an empty JSON object.
    Empty,
    /// 401.
    Unauthorized,
    /// 429 with `Retry-After: 7`.
    TooMany,
    /// 500.
    Broken,
    /// 200, and the connection is lost in the middle of the body.
    CutOff,
    /// 200 with a body beyond what the connection takes.
    Huge,
    /// 200 with a page of HTML.
    NotJson,
    /// The connection is lost before anything comes back.
    Lost,
}

impl Behaviour {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Plain,
        Self::Empty,
        Self::Unauthorized,
        Self::TooMany,
        Self::Broken,
        Self::CutOff,
        Self::Huge,
        Self::NotJson,
        Self::Lost,
    ];

    /// In words, for a sentence that begins with "with".
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "200 and generic JSON",
            Self::Empty => "200 and {}",
            Self::Unauthorized => "401",
            Self::TooMany => "429",
            Self::Broken => "500",
            Self::CutOff => "an answer that is cut off",
            Self::Huge => "an answer that is too large",
            Self::NotJson => "200 and HTML",
            Self::Lost => "a lost connection",
        }
    }

    /// Whether no request was acted on, as far as anybody can tell by the answer.
    pub(super) const fn is_refusal(self) -> bool {
        matches!(self, Self::Unauthorized | Self::TooMany | Self::Broken)
    }

    fn answer(self) -> Result<GivenAnswer, NoAnswer> {
        const PLAIN: &str = r#"{"id":"1","object":"list","ok":true,"total":1,"count":1,"has_more":false,"next":null,"cursor":null,"data":[{"id":"1","name":"one","updated_at":"2026-01-01T00:00:00Z"}],"items":[],"results":[],"result":[],"errors":null}"#;
        const PAGE: &str = "<!doctype html><html><body><h1>Maintenance</h1></body></html>";
        let answer = |status: u16, kind: &str, body: Bytes| GivenAnswer {
            status,
            headers: vec![("content-type".to_owned(), kind.to_owned())],
            body,
            is_cut_off: false,
        };
        let json = |status: u16, body: &'static str| {
            answer(status, "application/json", Bytes::from_static(body.as_bytes()))
        };
        Ok(match self {
            Self::Plain => json(200, PLAIN),
            Self::Empty => json(200, "{}"),
            Self::Unauthorized => json(401, r#"{"error":"unauthorized"}"#),
            Self::TooMany => {
                let mut answer = json(429, r#"{"error":"too many requests"}"#);
                answer.headers.push(("retry-after".to_owned(), "7".to_owned()));
                answer
            }
            Self::Broken => json(500, r#"{"error":"internal"}"#),
            Self::CutOff => GivenAnswer {
                is_cut_off: true,
                ..json(200, r#"{"id":"1","data":[{"id":"1","na"#)
            },
            Self::Huge => {
                let mut body = br#"{"data":["#.to_vec();
                body.resize(TOO_MUCH, b' ');
                body.extend_from_slice(b"]}");
                answer(200, "application/json", body.into())
            }
            Self::NotJson => answer(200, "text/html", Bytes::from_static(PAGE.as_bytes())),
            Self::Lost => return Err(NoAnswer::Lost),
        })
    }
}

/// Answers the requests of a session, and remembers them.
pub(super) struct Script {
    answer: Result<GivenAnswer, NoAnswer>,
    asked: Mutex<Vec<AskedRequest>>,
}

impl Script {
    pub(super) fn new(behaviour: Behaviour) -> Self {
        Self {
            answer: behaviour.answer(),
            asked: Mutex::default(),
        }
    }

    /// What was asked since the last time, without bodies.
    pub(super) fn take(&self) -> Vec<AskedRequest> {
        std::mem::take(&mut *self.asked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[async_trait]
impl Answers for Script {
    async fn answer(&self, request: AskedRequest) -> Result<GivenAnswer, NoAnswer> {
        if request.by == Asker::Token {
            let token = hex::encode(rand::random::<[u8; 24]>());
            let answer = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":3600}}"#);
            return Ok(GivenAnswer {
                status: 200,
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: answer.into(),
                is_cut_off: false,
            });
        }
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if asked.len() < KEPT {
            asked.push(AskedRequest {
                body: None,
                ..request
            });
        }
        drop(asked);
        self.answer.clone()
    }
}
