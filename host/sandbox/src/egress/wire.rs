//! What carries a request that the policy allowed: the network, or somebody who answers in its place.
//!
//! A session that is bound with [`Answers`] has no way to the network at all: there is no client in it, and no name is looked up. Everything before
//! the wire is as it always is (the manifest's and the operator's say about where a request may go, bounds, credentials, their signatures), and so is
//! everything behind it (redirects hop by hop, decoding, bounds of the answer, secrets taken out). So a plugin that is tried out behaves as it would
//! behave in front of a system that answers like this.
//!
//! Whoever answers sees the request as the guest made it, without what the host puts in: neither a secret nor a signature ever gets into a recording that
//! is compared with it.

use std::{fmt, io, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream;
use reqwest::{Method, header::HeaderMap};
use stecker_model::ErrorCode;
use url::Url;

use super::{
    Failure, address::CarveOuts, body::Body, cause, maybe_sent, not_sent, pool::Pool, redirect::Wanted,
};

/// Answers the requests of a session instead of the network ([`Release::bind_answered`](crate::Release::bind_answered)).
///
/// Asked once for each request that the policy allowed, redirects that the host follows included. The exchange ends with the request's own time,
/// like one over the network; the future is dropped then. It runs within the guest's call, so it must not block.
#[async_trait]
pub trait Answers: Send + Sync {
    /// What comes back.
    ///
    /// # Errors
    /// [`NoAnswer`] if nothing does.
    async fn answer(&self, request: AskedRequest) -> Result<GivenAnswer, NoAnswer>;
}

/// A request that the policy allowed, without what the host puts into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedRequest {
    /// Who asks.
    pub by: Asker,
    /// In capitals.
    pub method: String,
    /// Absolute, without user, password or fragment.
    pub url: Url,
    /// The guest's own headers, names in lower case, the idempotency key among them.
    pub headers: Vec<(String, String)>,
    /// The body. Of a token request there is none to be seen, because it holds the client's secret, and none of one that is put together of
    /// blobs, which may be too large for memory.
    pub body: Option<Bytes>,
    /// The credential that the host puts in, by its name.
    pub credential: Option<String>,
    /// The name of the header that carries the idempotency key, if there is one.
    pub idempotency_header: Option<String>,
}

/// Who a request comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Asker {
    /// The guest.
    Guest,
    /// The host, for a token of an OAuth credential (RFC 6749).
    Token,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct GivenAnswer {
    /// 100 to 999.
    pub status: u16,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// The body, as its header `content-encoding` says.
    pub body: Bytes,
    /// Whether the connection is lost behind the body, before the answer is complete.
    pub is_cut_off: bool,
}

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NoAnswer {
    /// Nobody listens there: the request was certainly not acted on.
    Refused,
    /// The connection was lost before anything came back: the request may have been acted on.
    Lost,
}

/// The wire of a session.
pub(super) enum Wire {
    Network(Pool),
    Answers(Arc<dyn Answers>),
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Network(_) => "Network",
            Self::Answers(_) => "Answers",
        })
    }
}

/// What carries one request.
pub(super) enum Carrier {
    Network(reqwest::Client),
    Answers(Arc<dyn Answers>, Box<AskedRequest>),
}

impl Wire {
    /// For a URL that the policy allowed; `asked` is only made where somebody looks at it.
    pub(super) fn carrier(
        &self,
        url: &Url,
        carve_outs: CarveOuts,
        asked: impl FnOnce() -> AskedRequest,
    ) -> Result<Carrier, String> {
        match self {
            Self::Network(pool) => pool.client(url, carve_outs).map(Carrier::Network),
            Self::Answers(answers) => Ok(Carrier::Answers(Arc::clone(answers), Box::new(asked()))),
        }
    }
}

/// A guest's request as whoever answers sees it.
pub(super) fn asked(wanted: &Wanted) -> AskedRequest {
    AskedRequest {
        by: Asker::Guest,
        method: wanted.method.as_str().to_owned(),
        url: wanted.url.clone(),
        headers: seen(&wanted.headers),
        body: match &wanted.body {
            Body::Bytes(bytes) => Some(bytes.clone()),
            Body::None | Body::Pieces(_) => None,
        },
        credential: wanted.credential.clone(),
        idempotency_header: wanted.idempotency.as_ref().map(|name| name.as_str().to_owned()),
    }
}

/// Headers as whoever answers sees them.
fn seen(headers: &HeaderMap) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
    headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), text(value.as_bytes())))
        .collect()
}

/// A token request, of which only the address is anybody's business.
pub(super) fn token_request(method: &Method, url: &Url) -> AskedRequest {
    AskedRequest {
        by: Asker::Token,
        method: method.as_str().to_owned(),
        url: url.clone(),
        headers: Vec::new(),
        body: None,
        credential: None,
        idempotency_header: None,
    }
}

/// The answer, in the shape of those that come over the network.
pub(super) fn response(answer: Result<GivenAnswer, NoAnswer>) -> Result<reqwest::Response, Failure> {
    let answer = answer.map_err(|why| match why {
        NoAnswer::Refused => not_sent(ErrorCode::Transient, "no connection: nobody listens there")
            .with_detail("cause", cause::REFUSED),
        NoAnswer::Lost => maybe_sent(
            ErrorCode::Transient,
            "the connection was lost before the answer was complete",
        )
        .with_detail("cause", cause::LOST),
    })?;
    let body = if answer.is_cut_off {
        let rest = io::Error::from(io::ErrorKind::UnexpectedEof);
        reqwest::Body::wrap_stream(stream::iter([Ok(answer.body), Err(rest)]))
    } else {
        reqwest::Body::from(answer.body)
    };
    let mut response = http::Response::builder().status(answer.status);
    for (name, value) in &answer.headers {
        response = response.header(name, value);
    }
    let response = response.body(body).map_err(|error| {
        maybe_sent(
            ErrorCode::Fatal,
            format!("what answers in place of the network gave something that HTTP has no room for: {error}"),
        )
    })?;
    Ok(response.into())
}
