//! `wasi:http`, for guests whose language brings an HTTP client of its own: `fetch` in JavaScript, `net/http` in Go. It is the same way out
//! as `stecker:plugin/http`, with the same policy, bounds and denials; nothing is sent from here. `wasi:http/incoming-handler` is not
//! offered: plugins are called through their roles.
//!
//! What such a client cannot say, it says in request headers, which are for the host and never leave it:
//! - `stecker-credential`: the credential that the host is to put in, by the name that the manifest gives it;
//! - `stecker-idempotency-key`: sent as `Idempotency-Key`.
//!
//! What the interface itself makes different from the other one:
//! - A request's body is collected before anything is sent, and a response's before the guest sees its first byte, so `first-byte-timeout`
//!   bounds the whole exchange. The other two time-outs have no meaning of their own; the host's bounds apply.
//! - A `Content-Length` that is the length of the body is the client's way to make the body, and left out. Any other is up to the policy.
//! - There is no place for a reason: a refusal is `HTTP-request-denied`, and why is told to the operator.
//! - A guest may start requests and not wait for them. They end with the handle, and all with the call.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, header::CONTENT_LENGTH, uri::Scheme};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use stecker_model::{ErrorCode, PluginError};
use tokio::sync::watch;
use wasmtime::component::{Linker, ResourceTable};
use wasmtime_wasi_http::{
    Error, ForbiddenHeaderFilter, RequestOptions, Result, WasiBody, WasiHttpCtx, WasiHttpCtxView,
    WasiHttpHooks,
};

use crate::{
    call::{CallState, Caller},
    egress::{HttpRequest, HttpResponse, ResponseBudget, cause},
};

const CREDENTIAL: &str = "stecker-credential";
const IDEMPOTENCY_KEY: &str = "stecker-idempotency-key";
/// What begins like this is for the host; a misspelt one must not go out in its place.
const FOR_THE_HOST: &str = "stecker-";

/// Of one `fields`, in memory. A guest may have as many of them as it may have resources.
const MAX_FIELDS_BYTES: usize = 64 << 10;
/// Bytes of one write to a request's body. Two of them are kept per body, also for requests that are never sent.
const MAX_WRITE: usize = 32 << 10;

pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(linker)
}

/// What one call has under way. Dropping it ends all of that, so it has to go before the table of resources does: a body that goes while
/// its request waits for more of it would look complete.
pub(crate) struct WasiHttp {
    ctx: WasiHttpCtx,
    hooks: Hooks,
}

struct Hooks {
    caller: Arc<Caller>,
    /// For what the host holds of the call's bodies at any moment, those of requests and those of responses.
    room: Arc<ResponseBudget>,
    over: watch::Sender<()>,
}

impl WasiHttp {
    pub(crate) fn new(caller: Caller) -> Self {
        let mut ctx = WasiHttpCtx::new();
        ctx.set_field_size_limit(MAX_FIELDS_BYTES);
        let hooks = Hooks {
            room: Arc::new(ResponseBudget::for_guest(caller.bound.memory_limit)),
            caller: Arc::new(caller),
            over: watch::Sender::new(()),
        };
        Self { ctx, hooks }
    }

    pub(crate) fn view<'a>(&'a mut self, table: &'a mut ResourceTable) -> WasiHttpCtxView<'a> {
        WasiHttpCtxView {
            hooks: &mut self.hooks,
            table,
            ctx: &mut self.ctx,
        }
    }
}

type Reported = Box<dyn Future<Output = Result<()>> + Send>;
type Answer = Result<(http::Response<WasiBody>, Reported)>;

/// What is not ours to check is let through to the policy, which says no in the same way for both interfaces.
impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, _: &HeaderName) -> bool {
        false
    }

    fn forbidden_header_filter(&mut self) -> ForbiddenHeaderFilter {
        Arc::new(|_| false)
    }

    fn is_supported_scheme(&mut self, _: &Scheme) -> bool {
        true
    }

    fn set_host_header(&mut self) -> bool {
        false
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        MAX_WRITE
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Reported,
    ) -> Box<dyn Future<Output = Answer> + Send> {
        let (caller, room) = (Arc::clone(&self.caller), Arc::clone(&self.room));
        let mut over = self.over.subscribe();
        Box::new(async move {
            tokio::select! {
                // First: the end of the call is also the end of the body, and must not be taken for it.
                biased;
                _ = over.changed() => Err(Error::ConnectionTerminated),
                answer = exchange(&caller, room, request, options) => answer,
            }
        })
    }
}

async fn exchange(
    caller: &Caller,
    room: Arc<ResponseBudget>,
    request: http::Request<WasiBody>,
    options: Option<RequestOptions>,
) -> Answer {
    let (parts, body) = request.into_parts();
    let room_out = ResponseBudget::within(Arc::clone(&room));
    let body = collect(body, caller.bound.binding.limits.http.request_bytes, &room_out).await?;
    let request = translate(parts, body, options)?;
    let room_in = ResponseBudget::within(room);
    let response = super::http::send_within(caller, request, &room_in)
        .await
        .map_err(|error| code_of(&error))?;
    let response = respond(response, room_in)?;
    Ok((response, Box::new(async { Ok(()) })))
}

/// None: the request was made without a body.
async fn collect(mut body: WasiBody, max: u64, room: &ResponseBudget) -> Result<Option<Vec<u8>>> {
    if body.is_end_stream() {
        return Ok(None);
    }
    let max_bytes = usize::try_from(max).unwrap_or(usize::MAX);
    let mut collected = Vec::new();
    while let Some(frame) = body.frame().await {
        let data = frame?
            .into_data()
            .map_err(|_trailers| Error::HttpRequestTrailerSectionSize(Some(0)))?;
        if data.len() > max_bytes.saturating_sub(collected.len()) || !room.take(data.len()) {
            return Err(Error::HttpRequestBodySize(Some(max)));
        }
        collected.extend_from_slice(&data);
    }
    Ok(Some(collected))
}

fn translate(
    parts: http::request::Parts,
    body: Option<Vec<u8>>,
    options: Option<RequestOptions>,
) -> Result<HttpRequest> {
    let mut headers = parts.headers;
    let credential = take(&mut headers, CREDENTIAL)?;
    let idempotency_key = take(&mut headers, IDEMPOTENCY_KEY)?;
    let length = body.as_ref().map_or(0, Vec::len).to_string();
    if headers.get(CONTENT_LENGTH).is_some_and(|given| *given == length) {
        headers.remove(CONTENT_LENGTH);
    }
    Ok(HttpRequest {
        method: parts.method.as_str().to_owned(),
        url: parts.uri.to_string(),
        headers: headers
            .iter()
            .map(|(name, value)| Ok((for_others(name)?.to_owned(), text(name, value)?.to_owned())))
            .collect::<Result<_>>()?,
        body,
        credential,
        idempotency_key,
        timeout_ms: options
            .and_then(|options| options.first_byte_timeout)
            .map(|timeout| u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX)),
        options: Vec::new(),
    })
}

fn take(headers: &mut HeaderMap, name: &str) -> Result<Option<String>> {
    if headers.get_all(name).iter().count() > 1 {
        return Err(unsupported(format!(
            "the header `{name}` is there more than once"
        )));
    }
    let value = headers.remove(name);
    value
        .map(|value| text(name, &value).map(ToOwned::to_owned))
        .transpose()
}

fn for_others(name: &HeaderName) -> Result<&str> {
    if name.as_str().starts_with(FOR_THE_HOST) {
        return Err(unsupported(format!(
            "the header `{name}` would be for the host, which knows `{CREDENTIAL}` and `{IDEMPOTENCY_KEY}`"
        )));
    }
    Ok(name.as_str())
}

fn text(name: impl std::fmt::Display, value: &http::HeaderValue) -> Result<&str> {
    std::str::from_utf8(value.as_bytes())
        .map_err(|_| unsupported(format!("the value of the header `{name}` is not UTF-8")))
}

fn unsupported(message: String) -> Error {
    code_of(&PluginError::new(ErrorCode::Unsupported, message))
}

/// The nearest code that `wasi:http` has; where it has none, the error's own code and message as the text of an internal error.
fn code_of(error: &PluginError) -> Error {
    let maybe_sent = error.detail("sent") == Some("maybe");
    match (error.kind(), error.detail("cause")) {
        (ErrorCode::Denied, _) => Error::HttpRequestDenied,
        (_, Some(cause::DNS)) => Error::DnsError {
            rcode: None,
            info_code: None,
        },
        (_, Some(cause::REFUSED)) => Error::ConnectionRefused,
        (_, Some(cause::TLS)) => Error::TlsProtocolError,
        (_, Some(cause::CONNECT)) => Error::DestinationUnavailable,
        (_, Some(cause::TIMEOUT)) if maybe_sent => Error::HttpResponseTimeout,
        (_, Some(cause::TIMEOUT)) => Error::ConnectionTimeout,
        (_, Some(cause::LOST)) => Error::ConnectionTerminated,
        (_, Some(cause::TOO_LARGE)) => Error::HttpResponseBodySize(None),
        _ => Error::InternalError(Some(format!("{}: {}", error.code, error.message))),
    }
}

fn respond(response: HttpResponse, room: ResponseBudget) -> Result<http::Response<WasiBody>> {
    let body = Held {
        bytes: Some(Bytes::from(response.body)),
        _room: room,
    };
    let mut builder = http::Response::builder().status(response.status);
    for (name, value) in response.headers {
        builder = builder.header(name, value);
    }
    builder
        .body(body.boxed_unsync())
        .map_err(|_| Error::HttpProtocolError)
}

/// A body that was received as a whole. It keeps its room until the guest has read it or thrown it away.
struct Held {
    bytes: Option<Bytes>,
    _room: ResponseBudget,
}

impl Body for Held {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>>>> {
        let bytes = self.bytes.take().filter(|bytes| !bytes.is_empty());
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}

#[cfg(test)]
#[path = "wasi_http_tests.rs"]
mod tests;
