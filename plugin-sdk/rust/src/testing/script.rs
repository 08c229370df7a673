//! Conversations written in the test.

use super::conversation::{Answer, Conversation, Expected};
use crate::bindings::host::stecker::plugin::{http, types};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;

/// What the plugin is expected to ask, and what it gets, in this order.
///
/// What an expectation names has to be so; what it does not name may be anything. (A [`Tape`](super::Tape) is stricter.)
#[derive(Debug, Default)]
pub struct Script {
    steps: Vec<(Expected, Answer)>,
}

/// A request that is expected. Method and path are; the rest as far as it is named.
#[derive(Clone, Debug)]
#[must_use = "give it to Script::expect"]
pub struct Expect {
    pub(super) expected: Expected,
}

/// An answer.
#[derive(Clone, Debug)]
#[must_use = "give it to ScriptStep::reply_with"]
pub struct Reply {
    response: http::Response,
}

/// A script that waits for the answer to its last expectation.
#[derive(Debug)]
#[must_use = "an expectation needs an answer"]
pub struct ScriptStep {
    script: Script,
    expected: Expected,
}

/// Expects a GET of this path (`/orders`), or of this URL if it begins with `http`.
pub fn get(path: &str) -> Expect {
    request("GET", path)
}

/// Expects a POST.
pub fn post(path: &str) -> Expect {
    request("POST", path)
}

/// Expects a PUT.
pub fn put(path: &str) -> Expect {
    request("PUT", path)
}

/// Expects a PATCH.
pub fn patch(path: &str) -> Expect {
    request("PATCH", path)
}

/// Expects a DELETE.
pub fn delete(path: &str) -> Expect {
    request("DELETE", path)
}

/// Expects a request of this method.
pub fn request(method: &str, path: &str) -> Expect {
    Expect {
        expected: Expected::new(method, path),
    }
}

impl Expect {
    /// … with this parameter in the query (decoded). The same name again expects a second one.
    pub fn query(mut self, name: &str, value: impl Display) -> Self {
        self.expected.query.push((name.to_owned(), value.to_string()));
        self
    }

    /// … without any parameter of this name in the query.
    pub fn no_query(mut self, name: &str) -> Self {
        self.expected.absent_query.push(name.to_owned());
        self
    }

    /// … with this header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.expected
            .headers
            .push((name.to_ascii_lowercase(), value.to_string()));
        self
    }

    /// … naming this credential.
    pub fn credential(mut self, name: &str) -> Self {
        self.expected.credential = Some(Some(name.to_owned()));
        self
    }

    /// … with this idempotency key.
    pub fn idempotency_key(mut self, key: &str) -> Self {
        self.expected.idempotency_key = Some(Some(key.to_owned()));
        self
    }

    /// … with exactly this JSON as its body.
    pub fn json(mut self, body: impl Serialize) -> Self {
        self.expected.body = Some(super::conversation::ExpectedBody::Json(to_value(body)));
        self
    }

    /// … with a JSON body that has at least these fields (at any depth; lists have to be equal in length).
    pub fn json_including(mut self, body: impl Serialize) -> Self {
        self.expected.body = Some(super::conversation::ExpectedBody::JsonIncluding(to_value(body)));
        self
    }

    /// … with exactly these bytes as its body, wherever they came from.
    pub fn bytes(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expected.body = Some(super::conversation::ExpectedBody::Bytes(body.into()));
        self
    }

    /// … with exactly this text as its body.
    pub fn text(mut self, body: impl Into<String>) -> Self {
        self.expected.body = Some(super::conversation::ExpectedBody::Text(body.into()));
        self
    }
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Self {
            response: http::Response {
                status,
                headers: Vec::new(),
                body: Vec::new(),
            },
        }
    }

    /// An answer with JSON.
    pub fn json(status: u16, body: impl Serialize) -> Self {
        let mut reply = Self::status(status).header("content-type", "application/json");
        reply.response.body = to_value(body).to_string().into_bytes();
        reply
    }

    /// An answer with these bytes.
    pub fn bytes(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut reply = Self::status(status);
        reply.response.body = body.into();
        reply
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: impl Display) -> Self {
        self.response
            .headers
            .push((name.to_ascii_lowercase(), value.to_string()));
        self
    }

    pub(super) fn into_response(self) -> http::Response {
        self.response
    }
}

impl Script {
    /// An empty script: no request is expected.
    pub fn new() -> Self {
        Self::default()
    }

    /// Next comes this request …
    pub fn expect(self, expect: Expect) -> ScriptStep {
        ScriptStep {
            script: self,
            expected: expect.expected,
        }
    }

    /// This script, and then that one.
    #[must_use]
    pub fn then(mut self, other: Self) -> Self {
        self.steps.extend(other.steps);
        self
    }

    pub(super) fn into_conversation(self) -> Conversation {
        Conversation::new(self.steps)
    }
}

impl ScriptStep {
    /// … which is answered with this status and JSON.
    pub fn reply(self, status: u16, body: impl Serialize) -> Script {
        self.reply_with(Reply::json(status, body))
    }

    /// … which is answered like this.
    pub fn reply_with(self, reply: Reply) -> Script {
        self.answer(Answer::Response(reply.into_response()))
    }

    /// … which never leaves the host (code `transient`, detail `sent` = `no`): the name does not resolve, the port is closed.
    pub fn never_sent(self) -> Script {
        self.answer(Answer::failure("could not connect", "no"))
    }

    /// … which is never answered (code `transient`, detail `sent` = `maybe`): the system may have acted on it.
    pub fn lost(self) -> Script {
        self.answer(Answer::failure(
            "the connection was closed before the answer",
            "maybe",
        ))
    }

    /// … which the host's policy refuses (code `denied`).
    pub fn denied(self, rule: &str) -> Script {
        self.answer(Answer::Failure(types::Error {
            code: "denied".to_owned(),
            message: format!("refused by rule {rule}"),
            retry_after_ms: None,
            details: Vec::new(),
        }))
    }

    fn answer(mut self, answer: Answer) -> Script {
        self.script.steps.push((self.expected, answer));
        self.script
    }
}

fn to_value(body: impl Serialize) -> Value {
    match serde_json::to_value(body) {
        Ok(value) => value,
        Err(error) => panic!("the test's body cannot be written as JSON: {error}"),
    }
}
