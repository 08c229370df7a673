//! Sends requests that were decided on. One pool of connections per session, so no TLS session, cookie or connection is shared between
//! tenants.

use std::{
    sync::{Once, OnceLock},
    time::Duration,
};

use futures_util::StreamExt as _;
use reqwest::{Method, header::HeaderMap, redirect};
use stecker_model::{ErrorCode, PluginError};
use url::Url;

use super::{HttpResponse, ResponseBudget, maybe_sent, not_sent};
use crate::call::Meter;

/// Name, TCP and TLS together.
const CONNECT_TIME: Duration = Duration::from_secs(10);
const IDLE_TIME: Duration = Duration::from_secs(60);
const IDLE_PER_HOST: usize = 8;

pub(super) struct Outgoing {
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Vec<u8>>,
    pub(super) timeout: Duration,
}

/// Made at the first use: transforms and most checks never send anything.
#[derive(Debug, Default)]
pub(super) struct Client(OnceLock<Result<reqwest::Client, String>>);

fn build() -> Result<reqwest::Client, String> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An embedder that has chosen a provider for its process keeps its choice.
        drop(rustls::crypto::ring::default_provider().install_default());
    });
    reqwest::Client::builder()
        // A redirect is an answer: the next hop is a request of its own, through the policy.
        .redirect(redirect::Policy::none())
        // Variables like HTTPS_PROXY would send requests past the policy.
        .no_proxy()
        .referer(false)
        // Repeating is up to the plugin, which knows what is safe to repeat.
        .retry(reqwest::retry::never())
        .connect_timeout(CONNECT_TIME)
        .pool_idle_timeout(IDLE_TIME)
        .pool_max_idle_per_host(IDLE_PER_HOST)
        .user_agent(concat!("stecker/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| describe(&error))
}

impl Client {
    pub(super) async fn send(
        &self,
        outgoing: Outgoing,
        budget: &ResponseBudget,
        meter: &Meter,
    ) -> Result<HttpResponse, PluginError> {
        let client = self.0.get_or_init(build).as_ref().map_err(|error| {
            not_sent(
                ErrorCode::Transient,
                format!("the host's HTTP client could not be set up: {error}"),
            )
        })?;
        let timeout = outgoing.timeout;
        let mut request = client
            .request(outgoing.method, outgoing.url)
            .headers(outgoing.headers);
        if let Some(body) = outgoing.body {
            request = request.body(body);
        }
        meter.request_sent();
        // Not reqwest's own time-out: that of the whole exchange, connecting included, has to be told from that of connecting.
        let exchange = async {
            let response = request.send().await.map_err(|error| failed(&error))?;
            receive(response, budget, meter).await
        };
        tokio::time::timeout(timeout, exchange).await.unwrap_or_else(|_| {
            Err(maybe_sent(
                ErrorCode::Transient,
                format!("there was no complete answer within {timeout:?}"),
            ))
        })
    }
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
            ));
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
        not_sent(
            ErrorCode::Unsupported,
            format!("the request cannot be made: {message}"),
        )
    } else if error.is_connect() {
        not_sent(ErrorCode::Transient, format!("no connection: {message}"))
    } else {
        maybe_sent(
            ErrorCode::Transient,
            format!("the connection was lost before the answer was complete: {message}"),
        )
    }
}

/// The causes without the URL, whose query may hold what does not belong into an error.
fn describe(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause = std::error::Error::source(error);
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
