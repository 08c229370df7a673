//! Requests on their way onto a tape.

use bytes::Bytes;
use stecker_model::{TapedAnswer, TapedBody, TapedExchange};

use super::Recorder;
use crate::egress::{
    Failure, HttpResponse,
    scrub::Scrubber,
    wire::{AskedRequest, Asker},
};

const HIDDEN: &str = "[redacted]";
/// Parts of names of headers that are there to hold what opens something.
const SECRETIVE: [&str; 8] = [
    "authorization",
    "cookie",
    "signature",
    "token",
    "secret",
    "api-key",
    "apikey",
    "password",
];

/// One request after the other of one exchange: with redirects there are several.
pub(crate) struct Take<'a> {
    recorder: Option<&'a Recorder>,
    scrubber: &'a Scrubber,
    open: Option<(usize, Box<AskedRequest>)>,
}

impl<'a> Take<'a> {
    pub(crate) fn new(recorder: Option<&'a Recorder>, scrubber: &'a Scrubber) -> Self {
        Self {
            recorder,
            scrubber,
            open: None,
        }
    }

    /// Something of it is nothing that a tape holds.
    pub(crate) fn truncate(&self) {
        if let Some(recorder) = self.recorder {
            recorder.truncate();
        }
    }

    /// The policy allowed a request.
    pub(crate) fn asked(&mut self, asked: impl FnOnce() -> AskedRequest) {
        let Some(recorder) = self.recorder else {
            return;
        };
        let asked = asked();
        if asked.by == Asker::Guest {
            self.open = recorder.begin().map(|place| (place, Box::new(asked)));
        }
    }

    /// Its answer sends elsewhere; nobody read its body.
    pub(crate) fn redirected(&mut self, status: u16, headers: impl FnOnce() -> Vec<(String, String)>) {
        if self.open.is_none() {
            return;
        }
        let mut headers = headers();
        self.scrubber.headers(&mut headers);
        // Without a body there is none of that length.
        headers.retain(|(name, _)| !matches!(name.as_str(), "content-length" | "content-encoding"));
        self.close(answered(status, &headers, &[]));
    }

    /// What the guest gets.
    pub(crate) fn ended(&mut self, ended: Result<&HttpResponse, &Failure>) {
        if self.open.is_none() {
            return;
        }
        let answer = match ended {
            Ok(response) => answered(response.status, &response.headers, &response.body),
            Err(Failure::Error(error)) => TapedAnswer::Failed {
                code: error.code.clone(),
                message: self.scrubber.text(&error.message).into_owned(),
                maybe_sent: error.detail("sent") != Some("no"),
            },
            Err(Failure::Denied(denial) | Failure::AnswerDenied(denial)) => TapedAnswer::Failed {
                code: "denied".to_owned(),
                message: self.scrubber.text(&denial.rule).into_owned(),
                maybe_sent: matches!(ended, Err(Failure::AnswerDenied(_))),
            },
        };
        self.close(answer);
    }

    fn close(&mut self, answer: TapedAnswer) {
        let (Some(recorder), Some((place, asked))) = (self.recorder, self.open.take()) else {
            return;
        };
        // A guest has no secrets to put into a request, except one that it got from a system that does not keep to itself.
        let body = |bytes: Bytes| TapedBody::of(&self.scrubber.bytes(bytes.to_vec()));
        let mut headers = asked.headers;
        self.scrubber.headers(&mut headers);
        let exchange = TapedExchange {
            method: asked.method,
            url: self.scrubber.text(asked.url.as_str()).into_owned(),
            headers: hidden(&headers),
            body: asked.body.map(body),
            credential: asked.credential,
            answer,
        };
        let bytes = size(&exchange);
        recorder.put(place, exchange, bytes);
    }
}

fn answered(status: u16, headers: &[(String, String)], body: &[u8]) -> TapedAnswer {
    TapedAnswer::Answered {
        status,
        headers: hidden(headers),
        body: TapedBody::of(body),
    }
}

fn hidden(headers: &[(String, String)]) -> Vec<(String, String)> {
    let hide = |(name, value): &(String, String)| {
        let is_secretive = SECRETIVE.iter().any(|part| name.contains(part));
        let value = if is_secretive { HIDDEN } else { value };
        (name.clone(), value.to_owned())
    };
    headers.iter().map(hide).collect()
}

fn size(exchange: &TapedExchange) -> usize {
    let of_headers = |headers: &[(String, String)]| -> usize {
        headers.iter().map(|(name, value)| name.len() + value.len()).sum()
    };
    let answer = match &exchange.answer {
        TapedAnswer::Answered { headers, body, .. } => of_headers(headers) + body.len(),
        TapedAnswer::Failed { message, .. } => message.len(),
    };
    let asked = exchange.url.len() + exchange.body.as_ref().map_or(0, TapedBody::len);
    asked + of_headers(&exchange.headers) + answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_opens_something_is_hidden_by_the_name_of_its_header() {
        let headers = [
            ("authorization", "Bearer x"),
            ("set-cookie", "session=1"),
            ("x-shop-signature", "abc"),
            ("stripe-version", "2026-01-01"),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let values: Vec<_> = hidden(&headers).into_iter().map(|(_, value)| value).collect();
        assert_eq!(values, [HIDDEN, HIDDEN, HIDDEN, "2026-01-01"]);
    }
}
