//! The way out: one path, one policy.
//!
//! - [`policy`]: whether a request may go where it wants to go. Pure.
//! - [`address`]: which IP addresses it may be sent to. Pure.
//! - [`headers`]: which headers a guest may set. Pure.
//! - [`credential`]: puts secrets into requests, after the policy said yes.
//! - [`oauth`]: gets the tokens that are put in.
//! - [`signing`]: signs requests. Pure.
//! - [`scrub`]: takes secrets out of answers.
//! - [`resolve`]: from names to checked addresses, within the connecting.
//! - [`pool`]: connections, shared by nobody else.
//! - [`client`]: sends. Decides nothing.
//! - [`cause`]: why there was no answer, for programs.

mod address;
pub(crate) mod cause;
mod client;
mod credential;
mod headers;
pub(crate) mod oauth;
mod policy;
mod pool;
mod resolve;
pub(crate) mod scrub;
mod signing;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use stecker_model::{Authorization, ErrorCode, Grants, PluginError};
use stecker_registry::Manifest;

use crate::{
    binding::{Binding, Credentials, Denial},
    call::Meter,
    error::BindError,
};
pub(crate) use credential::Supply;
use credential::{CredentialUses, Outbound, UsedToken};
use oauth::TokenEndpoint;
use policy::Policy;
use pool::Pool;
use resolve::Resolver;
use scrub::Scrubber;

/// The largest answer that is handed to a guest, after decompression.
const MAX_BODY: usize = 32 << 20;
/// For one exchange, whatever the guest asks for.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Names the header that carries the idempotency key, in `options`.
const IDEMPOTENCY_HEADER_OPTION: &str = "idempotency-header";
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// A request as a guest makes it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct HttpRequest {
    pub(crate) method: String,
    pub(crate) url: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Option<Vec<u8>>,
    pub(crate) credential: Option<String>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) timeout_ms: Option<u32>,
    pub(crate) options: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HttpResponse {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

/// Why there is no response.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was sent.
    Denied(Box<Denial>),
    Error(PluginError),
}

impl From<Denial> for Failure {
    fn from(denial: Denial) -> Self {
        Self::Denied(Box::new(denial))
    }
}

impl From<PluginError> for Failure {
    fn from(error: PluginError) -> Self {
        Self::Error(error)
    }
}

/// The request never left.
fn not_sent(code: ErrorCode, message: impl Into<String>) -> PluginError {
    PluginError::new(code, message).with_detail("sent", "no")
}

/// The request may have been acted on.
fn maybe_sent(code: ErrorCode, message: impl Into<String>) -> PluginError {
    PluginError::new(code, message).with_detail("sent", "maybe")
}

/// Room for answers, shared by the requests of one call of the guest.
#[derive(Debug)]
pub(crate) struct ResponseBudget {
    left: AtomicUsize,
    max: usize,
    /// What is taken here is taken there as well, until this one is dropped.
    of: Option<Arc<Self>>,
}

impl ResponseBudget {
    /// An answer that does not fit into the guest's memory would only kill it.
    pub(crate) fn for_guest(memory: usize) -> Self {
        Self::of(MAX_BODY.min(memory))
    }

    fn of(max: usize) -> Self {
        Self {
            left: AtomicUsize::new(max),
            max,
            of: None,
        }
    }

    /// Whatever is left of another one; dropping this gives it back.
    pub(crate) fn within(whole: Arc<Self>) -> Self {
        Self {
            left: AtomicUsize::new(whole.max),
            max: whole.max,
            of: Some(whole),
        }
    }

    pub(crate) fn take(&self, bytes: usize) -> bool {
        if let Some(whole) = &self.of
            && !whole.take(bytes)
        {
            return false;
        }
        self.left
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(bytes)
            })
            .is_ok()
    }
}

impl Drop for ResponseBudget {
    fn drop(&mut self) {
        if let Some(whole) = &self.of {
            let taken = self.max.saturating_sub(self.left.load(Ordering::Relaxed));
            whole.left.fetch_add(taken, Ordering::Relaxed);
        }
    }
}

/// What comes from the call that a request is part of.
#[derive(Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) remaining: Duration,
    pub(crate) budget: &'a ResponseBudget,
    pub(crate) meter: &'a Meter,
    pub(crate) credentials: &'a Arc<dyn Credentials>,
    pub(crate) scrubber: &'a Arc<Scrubber>,
}

impl<'a> Exchange<'a> {
    fn supply(&self) -> Supply<'a> {
        Supply {
            credentials: self.credentials,
            scrubber: self.scrubber,
            remaining: self.remaining,
        }
    }
}

/// What the connections of a sandbox have in common on their way out.
#[derive(Debug)]
pub(crate) struct Network {
    resolver: Resolver,
}

impl Network {
    /// `dns`: the name servers to ask; none: the system's way.
    pub(crate) fn new(dns: &[SocketAddr]) -> Result<Self, String> {
        Ok(Self {
            resolver: Resolver::new(dns)?,
        })
    }
}

/// The way out of one connection: its policy, its credentials, its pool of connections.
#[derive(Debug)]
pub(crate) struct Egress {
    policy: Policy,
    credentials: CredentialUses,
    pool: Arc<Pool>,
}

impl Egress {
    pub(crate) fn new(
        manifest: &Manifest,
        config: &serde_json::Value,
        binding: &Binding,
        network: &Network,
    ) -> Result<Self, BindError> {
        let unusable = |message: String| BindError::Grant { message };
        let asked = manifest
            .capabilities
            .as_grants(config)
            .map_err(|error| unusable(error.to_string()))?;
        let policy = |asked: &Grants| {
            let ceiling = binding.tenant_limits.ceiling.as_ref();
            Policy::new(asked, &binding.grants, ceiling).map_err(|error| unusable(error.to_string()))
        };
        let pool = Arc::new(Pool::new(network.resolver.clone()));
        let endpoint = Arc::new(TokenEndpoint {
            policy: policy(&credential::token_grants(manifest, config))?,
            pool: Arc::clone(&pool),
        });
        Ok(Self {
            policy: policy(&asked)?,
            credentials: CredentialUses::new(manifest, config, &endpoint).map_err(unusable)?,
            pool,
        })
    }

    pub(crate) async fn send(
        &self,
        request: HttpRequest,
        exchange: Exchange<'_>,
    ) -> Result<HttpResponse, Failure> {
        let supply = exchange.supply();
        self.credentials.learn_all(supply).await;
        let (answer, used) = self.attempt(&request, exchange).await?;
        if let (401, Some(name), Some(used)) = (answer.status, &request.credential, used)
            && self.credentials.renew(name, &used, supply).await?
        {
            return Ok(self.attempt(&request, exchange).await?.0);
        }
        Ok(answer)
    }

    async fn attempt(
        &self,
        request: &HttpRequest,
        exchange: Exchange<'_>,
    ) -> Result<(HttpResponse, Option<UsedToken>), Failure> {
        let mut url = policy::parse(&request.url)?;
        let method = policy::parse_method(&request.method)?;
        let carve_outs = self.policy.decide(&method, &url)?;
        let mut outgoing = headers::of_guest(&request.headers)?;
        if let Some(key) = &request.idempotency_key {
            let options = request.options.iter();
            let header = options
                .rev()
                .find(|(name, _)| name == IDEMPOTENCY_HEADER_OPTION)
                .map_or(IDEMPOTENCY_HEADER, |(_, header)| header.as_str());
            headers::set_idempotency_key(&mut outgoing, header, key)?;
        }
        let mut used = None;
        if let Some(name) = &request.credential {
            let outbound = Outbound {
                method: &method,
                url: &mut url,
                headers: &mut outgoing,
                body: request.body.as_deref().unwrap_or_default(),
            };
            used = self.credentials.inject(name, outbound, exchange.supply()).await?;
        }
        let wish = request
            .timeout_ms
            .map_or(MAX_TIME, |ms| Duration::from_millis(ms.into()));
        let client = self.pool.client(&url, carve_outs).map_err(|error| {
            not_sent(
                ErrorCode::Transient,
                format!("the host's HTTP client could not be set up: {error}"),
            )
        })?;
        let outgoing = client::Outgoing {
            method,
            url,
            headers: outgoing,
            body: request.body.clone(),
            timeout: wish.min(MAX_TIME).min(exchange.remaining),
        };
        let answer = client::send(&client, outgoing, exchange.budget, exchange.meter).await;
        Ok((exchange.scrubber.response(answer?), used))
    }

    /// Begins an authorization by a person; see `oauth`.
    pub(crate) async fn begin_authorization(
        &self,
        credential: &str,
        redirect_uri: &str,
        supply: Supply<'_>,
    ) -> Result<Authorization, Failure> {
        self.credentials
            .begin_authorization(credential, redirect_uri, supply)
            .await
    }

    /// Ends it.
    pub(crate) async fn finish_authorization(
        &self,
        credential: &str,
        callback: &str,
        supply: Supply<'_>,
    ) -> Result<(), Failure> {
        self.credentials
            .finish_authorization(credential, callback, supply)
            .await
    }
}

#[cfg(test)]
mod tests;
