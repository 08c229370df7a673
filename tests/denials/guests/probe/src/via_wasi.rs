//! Requests through `wasi:http`, told in the same words as those through `stecker:plugin/http`, as far as there are any.

use serde_json::json;

use crate::{
    bindings::wasi::{
        http::{
            outgoing_handler::handle,
            types::{
                ErrorCode, Fields, FutureIncomingResponse, IncomingResponse, Method, OutgoingBody,
                OutgoingRequest, RequestOptions, Scheme,
            },
        },
        io::streams::StreamError,
    },
    step::{Many, Request},
    tell::{MAX_BODY, Told},
};

const CHUNK: usize = 16 << 10;

/// A request on its way, whose body is still to be written.
struct Sent {
    response: FutureIncomingResponse,
    body: Option<OutgoingBody>,
}

pub fn send(request: &Request) -> Told {
    let body = request.body();
    let sent = match start(request, body.is_some()) {
        Ok(sent) => sent,
        Err(told) => return told,
    };
    if let (Some(out), Some(bytes)) = (sent.body, body)
        && let Err(told) = write(out, &bytes)
    {
        return told;
    }
    receive(&sent.response)
}

/// Starts them and waits for none.
pub fn many(many: &Many) -> Told {
    let mut under_way = Vec::new();
    for _ in 0..many.count {
        match start(&many.request, false) {
            Ok(sent) => under_way.push(sent),
            Err(told) => return told,
        }
    }
    let started = under_way.len();
    if many.keep {
        std::mem::forget(under_way);
    }
    Told::done(format!("started {started}"), json!({ "started": started }))
}

pub fn endless(request: &Request) -> Told {
    let mut sent = match start(request, true) {
        Ok(sent) => sent,
        Err(told) => return told,
    };
    let Some(body) = sent.body.take() else {
        return Told::invalid("the request has no body");
    };
    let mut written = 0_u64;
    {
        let Ok(stream) = body.write() else {
            return Told::invalid("the body cannot be written");
        };
        let chunk = [b'x'; 4_096];
        while stream.blocking_write_and_flush(&chunk).is_ok() {
            written += 4_096;
        }
    }
    let mut told = receive(&sent.response);
    if let Some(details) = told.details.as_object_mut() {
        details.insert("written".to_owned(), written.into());
    }
    told
}

fn start(request: &Request, with_body: bool) -> Result<Sent, Told> {
    if !request.options.is_empty() {
        return Err(Told::invalid("`options` has no counterpart in wasi:http"));
    }
    let for_the_host = [
        ("stecker-credential", &request.credential),
        ("stecker-idempotency-key", &request.idempotency_key),
    ];
    let for_the_host = for_the_host
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value.clone()?)));
    let fields = Fields::new();
    for (name, value) in request.headers().into_iter().chain(for_the_host) {
        fields
            .append(&name, value.as_bytes())
            .map_err(|error| Told::invalid(&format!("the header `{name}`: {error:?}")))?;
    }

    let refused = |what: &'static str| move |()| Told::invalid(&format!("wasi:http takes no such {what}"));
    let (scheme, authority, path) = parts(&request.url).ok_or_else(|| refused("URL")(()))?;
    let outgoing = OutgoingRequest::new(fields);
    outgoing
        .set_method(&method(&request.method))
        .map_err(refused("method"))?;
    outgoing.set_scheme(Some(&scheme)).map_err(refused("scheme"))?;
    outgoing
        .set_authority(Some(authority))
        .map_err(refused("authority"))?;
    outgoing
        .set_path_with_query(Some(path))
        .map_err(refused("path"))?;
    let body = if with_body {
        Some(outgoing.body().map_err(refused("body"))?)
    } else {
        None
    };
    let options = RequestOptions::new();
    let timeout = request.timeout_ms.map(|ms| u64::from(ms) * 1_000_000);
    options
        .set_first_byte_timeout(timeout)
        .map_err(refused("time-out"))?;
    let response = handle(outgoing, Some(options)).map_err(|code| told(&code))?;
    Ok(Sent { response, body })
}

/// Scheme, authority, path and query; without any of the cleverness that an URL parser has, so that the host gets what the step says.
fn parts(url: &str) -> Option<(Scheme, &str, &str)> {
    let (scheme, rest) = url.split_once("://")?;
    let scheme = match scheme {
        "http" => Scheme::Http,
        "https" => Scheme::Https,
        other => Scheme::Other(other.to_owned()),
    };
    let rest = rest.split('#').next().unwrap_or(rest);
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    Some((scheme, authority, if path.is_empty() { "/" } else { path }))
}

fn method(method: &str) -> Method {
    match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        "PUT" => Method::Put,
        "DELETE" => Method::Delete,
        "CONNECT" => Method::Connect,
        "OPTIONS" => Method::Options,
        "TRACE" => Method::Trace,
        "PATCH" => Method::Patch,
        other => Method::Other(other.to_owned()),
    }
}

/// A stream that is closed early says why in the response.
fn write(body: OutgoingBody, bytes: &[u8]) -> Result<(), Told> {
    {
        let stream = body
            .write()
            .map_err(|()| Told::invalid("the body cannot be written"))?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let Ok(room) = stream.check_write() else {
                return Ok(());
            };
            if room == 0 {
                stream.subscribe().block();
                continue;
            }
            let room = usize::try_from(room).unwrap_or(CHUNK).min(CHUNK).min(rest.len());
            let (now, later) = rest.split_at(room);
            if stream.write(now).is_err() {
                return Ok(());
            }
            rest = later;
        }
    }
    OutgoingBody::finish(body, None).map_err(|code| told(&code))
}

fn receive(response: &FutureIncomingResponse) -> Told {
    response.subscribe().block();
    match response.get() {
        Some(Ok(Ok(response))) => read(&response),
        Some(Ok(Err(code))) => told(&code),
        Some(Err(())) | None => Told::invalid("the response is not there"),
    }
}

fn read(response: &IncomingResponse) -> Told {
    let headers = response.headers().entries();
    let headers = headers
        .into_iter()
        .map(|(name, value)| (name, String::from_utf8_lossy(&value).into_owned()));
    let Ok(body) = response.consume() else {
        return Told::invalid("the body is gone");
    };
    let Ok(stream) = body.stream() else {
        return Told::invalid("the body is being read");
    };
    let (mut kept, mut bytes) = (Vec::new(), 0);
    loop {
        match stream.blocking_read(CHUNK as u64) {
            Ok(chunk) => {
                bytes += chunk.len();
                kept.extend_from_slice(&chunk[..chunk.len().min(MAX_BODY - kept.len())]);
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                return Told::failed("transient", &error.to_debug_string(), json!({}));
            }
        }
    }
    Told::response(response.status(), headers, &kept, bytes)
}

/// Internal errors carry the host's own code and message.
fn told(code: &ErrorCode) -> Told {
    let name = name(code);
    let details = json!({ "wasi": name });
    let known = match code {
        ErrorCode::InternalError(Some(text)) => match text.split_once(": ") {
            Some((code, message)) => return Told::failed(code, message, details),
            None => return Told::failed("fatal", text, details),
        },
        ErrorCode::HttpRequestDenied | ErrorCode::DestinationIpProhibited => "denied",
        ErrorCode::HttpRequestMethodInvalid
        | ErrorCode::HttpRequestUriInvalid
        | ErrorCode::HttpRequestUriTooLong
        | ErrorCode::HttpRequestBodySize(_)
        | ErrorCode::HttpRequestHeaderSectionSize(_)
        | ErrorCode::HttpRequestHeaderSize(_)
        | ErrorCode::HttpRequestTrailerSectionSize(_)
        | ErrorCode::HttpRequestTrailerSize(_)
        | ErrorCode::HttpRequestLengthRequired
        | ErrorCode::HttpProtocolError => "unsupported",
        ErrorCode::HttpResponseBodySize(_)
        | ErrorCode::HttpResponseHeaderSectionSize(_)
        | ErrorCode::HttpResponseHeaderSize(_)
        | ErrorCode::HttpResponseContentCoding(_)
        | ErrorCode::HttpResponseTransferCoding(_)
        | ErrorCode::InternalError(None) => "fatal",
        _ => "transient",
    };
    Told::failed(known, &name, details)
}

/// As the bindings spell it, with what it carries; the one that scenarios ask for as the standard does.
fn name(code: &ErrorCode) -> String {
    match code {
        ErrorCode::HttpRequestDenied => "HTTP-request-denied".to_owned(),
        other => format!("{other:?}").replacen("ErrorCode::", "", 1),
    }
}
