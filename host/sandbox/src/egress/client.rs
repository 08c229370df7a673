//! Sends requests that were decided on. Decides nothing.

use std::{error::Error as _, time::Duration};

use futures_util::StreamExt as _;
use reqwest::{Method, header::HeaderMap};
use stecker_model::{ErrorCode, PluginError};
use url::Url;

use super::{
    Failure, HttpResponse, ResponseBudget, cause, maybe_sent, not_sent, policy, resolve::ForbiddenAddresses,
};
use crate::call::Meter;

pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) timeout: Duration,
}

pub(super) async fn send(
    client: &reqwest::Client,
    outgoing: Outgoing,
    budget: &ResponseBudget,
    meter: &Meter,
) -> Result<HttpResponse, Failure> {
    let timeout = outgoing.timeout;
    let (method, url) = (outgoing.method, outgoing.url);
    let mut request = client
        .request(method.clone(), url.clone())
        .headers(outgoing.headers);
    if let Some(body) = outgoing.body {
        request = request.body(body);
    }
    meter.request_sent();
    // Not reqwest's own time-out: that of the whole exchange, connecting included, has to be told from that of connecting.
    let exchange = async {
        match request.send().await {
            Ok(response) => receive(response, budget, meter).await.map_err(Failure::Error),
            Err(error) => Err(not_answered(&error, &method, &url)),
        }
    };
    tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
        Err(maybe_sent(
            ErrorCode::Transient,
            format!("there was no complete answer within {timeout:?}"),
        )
        .with_detail("cause", cause::TIMEOUT)
        .into())
    })
}

fn not_answered(error: &reqwest::Error, method: &Method, url: &Url) -> Failure {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(ForbiddenAddresses(addresses)) = inner.downcast_ref() {
            return policy::deny_addresses(method, url, addresses).into();
        }
        cause = inner.source();
    }
    failed(error).into()
}

async fn receive(
    response: reqwest::Response,
    budget: &ResponseBudget,
    meter: &Meter,
) -> Result<HttpResponse, PluginError> {
    let status = response.status().as_u16();
    let headers = response
        .headers()
        .iter()
        .map(|(name, value)| {
            let value = String::from_utf8_lossy(value.as_bytes());
            (name.as_str().to_owned(), value.into_owned())
        })
        .collect();
    let mut body = Vec::new();
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| failed(&error))?;
        meter.bytes_in(chunk.len());
        if !budget.take(chunk.len()) {
            // Not `transient`: the same request would give the same answer.
            return Err(maybe_sent(
                ErrorCode::Fatal,
                format!(
                    "the answer (status {status}) is larger than the {} bytes that there is room for; ask for smaller pages",
                    budget.max
                ),
            )
            .with_detail("cause", cause::TOO_LARGE));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(HttpResponse {
        status,
        headers,
        body,
    })
}

/// Only what failed before there was a connection has certainly not been acted on.
fn failed(error: &reqwest::Error) -> PluginError {
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
