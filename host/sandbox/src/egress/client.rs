//! Sends requests that were decided on, and reads their answers within bounds. Decides nothing.

use std::{error::Error as _, time::Duration};

use futures_util::StreamExt as _;
use reqwest::{
    Method,
    header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap},
};
use stecker_model::{ErrorCode, PluginError};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    Failure, HttpResponse, ResponseBudget,
    body::Body,
    cause,
    decode::{Coding, Decoder, Fault},
    headers, maybe_sent, not_sent, policy,
    quota::Quota,
    resolve::ForbiddenAddresses,
};
use crate::{blob::BlobError, meter::Meter};

/// A request with all that the host puts in.
pub(super) struct Outgoing {
    pub(super) client: reqwest::Client,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Body,
}

impl Outgoing {
    /// Bytes as they cross the network, roughly: HTTP/2 compresses headers, TLS adds a little.
    pub(super) fn size(&self) -> u64 {
        let line = self.method.as_str().len() + self.url.as_str().len();
        let head = u64::try_from(line + headers::size(&self.headers)).unwrap_or(u64::MAX);
        head.saturating_add(self.body.len())
    }
}

/// Who counts.
#[derive(Clone, Copy)]
pub(super) struct Traffic<'a> {
    pub(super) meter: &'a Meter,
    pub(super) quota: &'a Quota,
}

impl Traffic<'_> {
    fn count(&self, bytes: u64) {
        self.meter.http_bytes(bytes);
        self.quota.count(bytes);
    }

    /// Of an answer's body.
    pub(super) fn received(&self, bytes: usize) {
        self.meter.bytes_in(bytes);
        self.count(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}

/// Up to the head of the answer.
pub(super) async fn send(
    outgoing: Outgoing,
    traffic: Traffic<'_>,
    deadline: Instant,
) -> Result<reqwest::Response, Failure> {
    traffic.meter.request_sent();
    traffic.count(outgoing.size());
    let (method, url) = (outgoing.method, outgoing.url);
    let mut request = outgoing
        .client
        .request(method.clone(), url.clone())
        .headers(outgoing.headers);
    if let Some(body) = outgoing.body.into_wire() {
        request = request.body(body);
    }
    // Not reqwest's own time-out: that of the whole exchange, connecting included, has to be told from that of connecting.
    let answer = timeout_at(deadline, request.send())
        .await
        .map_err(|_| Failure::Error(too_late()))?;
    let response = answer.map_err(|error| not_answered(&error, &method, &url))?;
    let head = headers::size(response.headers());
    traffic.count(u64::try_from(head).unwrap_or(u64::MAX));
    if !headers::fit(response.headers().len(), head) {
        // Not `transient`: the same request would give the same answer.
        return Err(maybe_sent(
            ErrorCode::Fatal,
            format!(
                "the answer (status {}) has {} headers of {head} bytes; it may have {} of {}",
                response.status().as_u16(),
                response.headers().len(),
                headers::MAX_COUNT,
                headers::MAX_BYTES
            ),
        )
        .with_detail("cause", cause::TOO_LARGE)
        .into());
    }
    Ok(response)
}

pub(super) fn too_late() -> PluginError {
    maybe_sent(
        ErrorCode::Transient,
        "there was no complete answer within the time that the request has",
    )
    .with_detail("cause", cause::TIMEOUT)
}

pub(super) fn stopped(status: u16, idle: Duration) -> PluginError {
    maybe_sent(
        ErrorCode::Transient,
        format!("the answer (status {status}) stopped half-way: nothing came for {idle:?}"),
    )
    .with_detail("cause", cause::TIMEOUT)
}

fn not_answered(error: &reqwest::Error, method: &Method, url: &Url) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ForbiddenAddresses(addresses)) = inner.downcast_ref() {
            return policy::deny_addresses(method, url, addresses).into();
        }
        if let Some(error) = inner.downcast_ref::<BlobError>() {
            let code = match error {
                BlobError::NotFound { .. } => ErrorCode::NotFound,
                BlobError::Damaged { .. } => ErrorCode::Data,
                BlobError::Quota { .. } | BlobError::Unavailable { .. } => ErrorCode::Transient,
            };
            let message = format!("the request broke off: {error}");
            return maybe_sent(code, message).into();
        }
        cause = inner.source();
    }
    failed(error).into()
}

/// Bounds of one answer's body.
#[derive(Clone, Copy)]
pub(super) struct Bounds<'a> {
    /// Bytes after decoding.
    pub(super) max: usize,
    /// What there is room for in the guest, together with the call's other answers.
    pub(super) budget: &'a ResponseBudget,
    /// How long nothing may come.
    pub(super) idle: Duration,
    pub(super) deadline: Instant,
}

/// The rest of an answer.
pub(super) async fn receive(
    response: reqwest::Response,
    bounds: Bounds<'_>,
    traffic: Traffic<'_>,
) -> Result<HttpResponse, PluginError> {
    let status = response.status().as_u16();
    let coding = Coding::of(response.headers()).map_err(|_| {
        maybe_sent(
            ErrorCode::Fatal,
            format!("the answer (status {status}) has several content codings on top of each other, which nobody asked for"),
        )
    })?;
    let headers = response.headers().clone();
    let mut decoder = Decoder::new(coding, bounds.max, bounds.budget);
    if let Some(length) = response.content_length() {
        decoder.expect(length);
    }
    let mut chunks = response.bytes_stream();
    let mut is_empty = true;
    loop {
        let until = bounds.deadline.min(Instant::now() + bounds.idle);
        let chunk = match timeout_at(until, chunks.next()).await {
            Ok(None) => break,
            Ok(Some(chunk)) => chunk.map_err(|error| failed(&error))?,
            Err(_) if until == bounds.deadline => return Err(too_late()),
            Err(_) => return Err(stopped(status, bounds.idle)),
        };
        is_empty &= chunk.is_empty();
        traffic.received(chunk.len());
        decoder
            .push(&chunk)
            .map_err(|fault| unfit(fault, status, bounds))?;
    }
    let body = decoder.finish().map_err(|fault| unfit(fault, status, bounds))?;
    let is_decoded = coding != Coding::AsItIs && !is_empty;
    Ok(HttpResponse {
        status,
        headers: for_guest(&headers, is_decoded.then_some(body.len())),
        body,
    })
}

/// `decoded`: the length of a body that no longer has the coding and the length that its headers say.
pub(super) fn for_guest(headers: &HeaderMap, decoded: Option<usize>) -> Vec<(String, String)> {
    headers
        .iter()
        .filter(|(name, _)| decoded.is_none() || **name != CONTENT_ENCODING)
        .map(|(name, value)| {
            let value = match decoded {
                Some(length) if *name == CONTENT_LENGTH => length.to_string(),
                _ => String::from_utf8_lossy(value.as_bytes()).into_owned(),
            };
            (name.as_str().to_owned(), value)
        })
        .collect()
}

/// The same request would give the same answer, except where it was damaged on its way.
fn unfit(fault: Fault, status: u16, bounds: Bounds<'_>) -> PluginError {
    let (code, cause, message) = match fault {
        Fault::TooLarge => (
            ErrorCode::Fatal,
            cause::TOO_LARGE,
            format!(
                "is larger than there is room for: {} bytes by `limits.http.response-bytes`, and {} in the plugin's memory for all answers \
                 of a call; ask for smaller pages",
                bounds.max, bounds.budget.max
            ),
        ),
        Fault::Bomb => (
            ErrorCode::Fatal,
            cause::TOO_LARGE,
            "is more than 100 times larger than what came over the network, as only attacks are".to_owned(),
        ),
        Fault::Damaged => (
            ErrorCode::Transient,
            cause::LOST,
            "is not coded as its header `content-encoding` says, or was cut off".to_owned(),
        ),
    };
    maybe_sent(code, format!("the answer (status {status}) {message}")).with_detail("cause", cause)
}

/// Only what failed before there was a connection has certainly not been acted on.
pub(super) fn failed(error: &reqwest::Error) -> PluginError {
    let message = describe(error);
    if error.is_builder() {
        return not_sent(
            ErrorCode::Unsupported,
            format!("the request cannot be made: {message}"),
        );
    }
    let failure = if error.is_connect() {
        not_sent(ErrorCode::Transient, format!("no connection: {message}"))
    } else {
        maybe_sent(
            ErrorCode::Transient,
            format!("the connection was lost before the answer was complete: {message}"),
        )
    };
    failure.with_detail("cause", cause::of(error))
}

/// The causes without the URL, whose query may hold what does not belong into an error.
pub(super) fn describe(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(inner) = cause {
        if !text.is_empty() {
            text.push_str(": ");
        }
        text.push_str(&inner.to_string());
        cause = inner.source();
    }
    if text.is_empty() {
        "it failed without a reason".to_owned()
    } else {
        text
    }
}
