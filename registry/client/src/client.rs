//! Requests to one registry, with what it wants to know of who asks.

use std::{collections::HashMap, sync::Mutex, sync::PoisonError, time::Duration};

use bytes::Bytes;
use futures_util::StreamExt as _;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::{
    auth::{Challenge, Credentials},
    cache::Cache,
    error::ClientError,
};

/// Connecting, and between two pieces of an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// Bytes of an answer that is read whole and is no blob, at most.
const SMALL: u64 = 4 * 1024 * 1024;

/// One registry.
#[derive(Debug)]
pub struct Registry {
    client: reqwest::Client,
    base: Url,
    credentials: Option<Credentials>,
    /// Tokens that were fetched, by what they are for.
    tokens: Mutex<HashMap<String, Zeroizing<String>>>,
    /// What was pulled before.
    pub(crate) cache: Option<Cache>,
    /// Who is asked first for what has a digest.
    pub(crate) mirrors: Vec<Self>,
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
}

/// How registries tell errors.
#[derive(Deserialize)]
pub(crate) struct Errors {
    #[serde(default)]
    pub(crate) errors: Vec<OneError>,
}

#[derive(Deserialize)]
pub(crate) struct OneError {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

impl Registry {
    /// The registry at an address: `https://…`, or `http://…` for one on this machine or behind a proxy.
    ///
    /// # Errors
    /// [`ClientError::Address`].
    pub fn at(address: &str, credentials: Option<Credentials>) -> Result<Self, ClientError> {
        let wrong = |reason: String| ClientError::Address {
            address: address.to_owned(),
            reason,
        };
        let base = Url::parse(address).map_err(|error| wrong(error.to_string()))?;
        if !matches!(base.scheme(), "http" | "https") || base.host_str().is_none() {
            return Err(wrong("it does not begin with `http://` or `https://`".to_owned()));
        }
        let client = reqwest::Client::builder()
            .connect_timeout(PATIENCE)
            .read_timeout(PATIENCE)
            .user_agent(concat!("stecker/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| wrong(format!("there is no HTTP client to be had: {error}")))?;
        Ok(Self {
            client,
            base,
            credentials,
            tokens: Mutex::default(),
            cache: None,
            mirrors: Vec::new(),
        })
    }

    /// With a cache, in which is looked before anybody is asked for what has a digest.
    #[must_use]
    pub fn with_cache(mut self, cache: Cache) -> Self {
        self.cache = Some(cache);
        self
    }

    /// With mirrors, which are asked before it for what has a digest, in this order; what one does not have, or has other bytes for, the next is asked
    /// for. What a tag means is asked of the registry itself, and of a mirror only while that cannot be reached, with a warning.
    #[must_use]
    pub fn with_mirrors(mut self, mirrors: Vec<Self>) -> Self {
        self.mirrors = mirrors;
        self
    }

    /// Its address, for people.
    #[must_use]
    pub fn address(&self) -> String {
        self.base.as_str().trim_end_matches('/').to_owned()
    }

    /// Whether what it is told of who asks can be read on the way: it goes over the network, and not over TLS.
    #[must_use]
    pub fn is_exposed(&self) -> bool {
        let is_here = match self.base.host() {
            Some(url::Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
            Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
            Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
            None => false,
        };
        self.credentials.is_some() && self.base.scheme() == "http" && !is_here
    }

    /// A place below its root.
    pub(crate) fn place(&self, path: &str) -> Result<Url, ClientError> {
        self.base.join(path).map_err(|error| ClientError::Address {
            address: path.to_owned(),
            reason: error.to_string(),
        })
    }

    /// A place below `/v2/` of a repository.
    pub(crate) fn url(&self, repository: &str, rest: &str) -> Result<Url, ClientError> {
        self.place(&format!("/v2/{repository}/{rest}"))
    }

    /// Where a registry sends on to, which may be relative (RFC 9110, 10.2.2).
    pub(crate) fn location(&self, answer: &Response, what: &str) -> Result<Url, ClientError> {
        let wrong = |reason: String| ClientError::Answer {
            what: what.to_owned(),
            reason,
        };
        let location = answer
            .headers()
            .get(header::LOCATION)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| wrong("there is no `Location`".to_owned()))?;
        self.base.join(location).map_err(|error| wrong(error.to_string()))
    }

    /// Sends a request; `make` adds headers and body, and may be asked twice: the second time with what the registry wants to know of who asks.
    pub(crate) async fn send(
        &self,
        method: Method,
        url: Url,
        scope: &str,
        what: &str,
        make: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Response, ClientError> {
        let ours = url.origin() == self.base.origin();
        let request = || make(self.client.request(method.clone(), url.clone()));
        let known = self
            .tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(scope)
            .cloned();
        let first = match known.or_else(|| self.credentials.as_ref().map(Credentials::header)) {
            // What is for this registry is not told to another one that it sends to.
            Some(known) if ours => request().header(header::AUTHORIZATION, known.as_str()),
            _ => request(),
        };
        let answer = first.send().await.map_err(|error| network(what, &error))?;
        if answer.status() != StatusCode::UNAUTHORIZED || !ours {
            return Ok(answer);
        }
        let Some(authorization) = self.answer_to(&answer, scope).await? else {
            return Ok(answer);
        };
        let again = request().header(header::AUTHORIZATION, authorization.as_str());
        again.send().await.map_err(|error| network(what, &error))
    }

    /// What to answer to a registry that asks who it is; none: nothing that was not told already.
    async fn answer_to(
        &self,
        answer: &Response,
        scope: &str,
    ) -> Result<Option<Zeroizing<String>>, ClientError> {
        let challenge = answer
            .headers()
            .get(header::WWW_AUTHENTICATE)
            .and_then(|value| value.to_str().ok())
            .and_then(Challenge::parse);
        let Some(Challenge::Bearer {
            realm,
            service,
            scope: asked,
        }) = challenge
        else {
            return Ok(None);
        };
        let unauthorized = |reason: String| ClientError::Unauthorized {
            registry: self.address(),
            reason,
        };
        let mut url = Url::parse(&realm)
            .map_err(|error| unauthorized(format!("tokens are to be had at `{realm}`: {error}")))?;
        // A password goes to a token service over TLS, or to where the registry itself is.
        let is_safe = url.scheme() == "https" || url.origin() == self.base.origin();
        url.query_pairs_mut()
            .extend_pairs(service.map(|service| ("service", service)))
            .append_pair("scope", asked.as_deref().unwrap_or(scope));
        let mut request = self.client.get(url);
        if let Some(credentials @ Credentials::Password { .. }) = &self.credentials {
            if !is_safe {
                return Err(unauthorized(format!(
                    "it wants the password sent to `{realm}`, unencrypted"
                )));
            }
            request = request.header(header::AUTHORIZATION, credentials.header().as_str());
        }
        let what = "asking for a token";
        let answer = request.send().await.map_err(|error| network(what, &error))?;
        if !answer.status().is_success() {
            let (status, reason) = said(answer).await;
            return Err(unauthorized(format!("no token ({status}): {reason}")));
        }
        let bytes = read(answer, SMALL, what).await?;
        let token: TokenAnswer =
            serde_json::from_slice(&bytes).map_err(|error| unauthorized(format!("no token: {error}")))?;
        let token = token.token.or(token.access_token);
        let token = token.ok_or_else(|| unauthorized("the answer has no token".to_owned()))?;
        let authorization = Zeroizing::new(format!("Bearer {token}"));
        self.tokens
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(scope.to_owned(), authorization.clone());
        Ok(Some(authorization))
    }

    /// The answer, if it is a good one.
    pub(crate) async fn good(&self, answer: Response, what: &str) -> Result<Response, ClientError> {
        match answer.status() {
            status if status.is_success() => Ok(answer),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let (_, reason) = said(answer).await;
                Err(ClientError::Unauthorized {
                    registry: self.address(),
                    reason,
                })
            }
            StatusCode::NOT_FOUND => Err(ClientError::NotThere {
                what: what.to_owned(),
            }),
            _ => {
                let (status, reason) = said(answer).await;
                Err(ClientError::Refused {
                    what: what.to_owned(),
                    status,
                    reason,
                })
            }
        }
    }
}

/// How often a transfer goes on after it broke off, without having come any further.
pub(crate) const TRIES: u32 = 5;

/// Before a transfer goes on: what broke off may be starting again. Some twelve seconds over all tries.
pub(crate) async fn pause(failures: u32) {
    tokio::time::sleep(Duration::from_millis(200 << failures.min(TRIES))).await;
}

pub(crate) fn network(what: &str, error: &reqwest::Error) -> ClientError {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    ClientError::Network {
        what: what.to_owned(),
        reason,
    }
}

/// The status and what the registry says, in a line.
async fn said(answer: Response) -> (u16, String) {
    const SHOWN: usize = 2_000;
    let status = answer.status().as_u16();
    let bytes = read(answer, SMALL, "the answer").await.unwrap_or_default();
    let errors = serde_json::from_slice::<Errors>(&bytes)
        .map(|errors| errors.errors)
        .unwrap_or_default();
    let said: Vec<String> = errors
        .iter()
        .map(|error| format!("{} {}", error.code, error.message).trim().to_owned())
        .collect();
    let text = if said.is_empty() {
        String::from_utf8_lossy(&bytes).into_owned()
    } else {
        said.join("; ")
    };
    let text: String = text.chars().filter(|c| !c.is_control()).take(SHOWN).collect();
    (status, text)
}

/// An answer in memory, of at most so many bytes.
pub(crate) async fn read(answer: Response, most: u64, what: &str) -> Result<Bytes, ClientError> {
    let too_large = || ClientError::TooLarge {
        what: what.to_owned(),
        most,
    };
    if answer.content_length().is_some_and(|length| length > most) {
        return Err(too_large());
    }
    let mut all = Vec::new();
    let mut pieces = answer.bytes_stream();
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|error| network(what, &error))?;
        if (all.len() + piece.len()) as u64 > most {
            return Err(too_large());
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.into())
}
