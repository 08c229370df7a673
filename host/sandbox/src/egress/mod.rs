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
//! - [`quota`]: how much a connection may send.
//! - [`wire`]: the network, or who answers in its place.
//! - [`client`]: sends and receives. Decides nothing.
//! - [`message`]: what goes in and comes out, and the room for it.
//! - [`decode`]: takes the content coding off, within bounds. Pure.
//! - [`redirect`]: where an answer sends to, for guests that want to follow. Pure.
//! - [`body`]: what a request carries, in memory or not.
//! - [`sink`]: answers that become blobs.
//! - [`cause`]: why there was no answer, for programs.
//! - [`post`]: what the host itself sends, by the same rules.

mod address;
pub(crate) mod body;
pub(crate) mod cause;
mod client;
mod credential;
mod decode;
mod headers;
mod message;
pub(crate) mod oauth;
mod policy;
mod pool;
pub(crate) mod post;
mod quota;
mod redirect;
mod resolve;
pub(crate) mod scrub;
mod signing;
pub(crate) mod sink;
pub(crate) mod wire;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::header::{ACCEPT_ENCODING, HeaderValue};
use stecker_model::{Authorization, ErrorCode, Grants, HttpLimits, Priority};
use stecker_registry::Manifest;
use tokio::time::Instant;

use crate::{
    binding::{Binding, Credentials},
    blob::Stored,
    error::BindError,
    meter::Meter,
    tape::{Recorder, Take},
    upstream::{Pass, Upstreams, Way},
};
use body::{Body, Pieces};
use client::{Bounds, Outgoing, Traffic};
pub(crate) use credential::Supply;
use credential::{CredentialUses, Outbound, UsedToken};
pub(crate) use message::{Failure, HttpRequest, HttpResponse, ResponseBudget, maybe};
use message::{maybe_sent, not_sent};
use oauth::TokenEndpoint;
use policy::Policy;
use pool::Pool;
use quota::{Quota, Quotas};
use redirect::Wanted;
use resolve::Resolver;
use scrub::Scrubber;
use sink::Sink;
use wire::{Answers, Wire};

/// For one exchange, whatever the guest asks for.
const MAX_TIME: Duration = Duration::from_secs(120);
/// Between two pieces of an answer's body.
const IDLE_TIME: Duration = Duration::from_secs(30);
/// Names the header that carries the idempotency key, in `options`.
const IDEMPOTENCY_HEADER_OPTION: &str = "idempotency-header";
const IDEMPOTENCY_HEADER: &str = "idempotency-key";

/// What comes from the call that a request is part of.
#[derive(Clone, Copy)]
pub(crate) struct Exchange<'a> {
    pub(crate) remaining: Duration,
    pub(crate) priority: Priority,
    pub(crate) budget: &'a ResponseBudget,
    pub(crate) meter: &'a Meter,
    pub(crate) credentials: &'a Arc<dyn Credentials>,
    pub(crate) scrubber: &'a Arc<Scrubber>,
    /// Takes down what goes over the wire, if somebody wants to have it.
    pub(crate) recorder: Option<&'a Recorder>,
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
    quotas: Quotas,
    upstreams: Upstreams,
}

impl Network {
    /// `dns`: the name servers to ask; none: the system's way.
    pub(crate) fn new(dns: &[SocketAddr]) -> Result<Self, String> {
        Ok(Self {
            resolver: Resolver::new(dns)?,
            quotas: Quotas::default(),
            upstreams: Upstreams::default(),
        })
    }

    pub(crate) fn upstreams(&self) -> &Upstreams {
        &self.upstreams
    }

    /// The way out for what the host itself sends.
    pub(crate) fn poster(&self) -> post::Poster {
        post::Poster::new(self.resolver.clone())
    }
}

/// The way out of one connection: its policy, its credentials, its wire, its account.
#[derive(Debug)]
pub(crate) struct Egress {
    policy: Policy,
    credentials: CredentialUses,
    wire: Arc<Wire>,
    quota: Arc<Quota>,
    way: Way,
    limits: HttpLimits,
    idle: Duration,
}

impl Egress {
    pub(crate) fn new(
        manifest: &Manifest,
        config: &serde_json::Value,
        binding: &Binding,
        network: &Network,
    ) -> Result<Self, BindError> {
        let wire = Wire::Network(Pool::new(network.resolver.clone()));
        Self::on(wire, manifest, config, binding, network)
    }

    /// One that never reaches the network. What goes over it counts neither for the connection nor for its upstream account: nothing is used up
    /// there.
    pub(crate) fn answered(
        manifest: &Manifest,
        config: &serde_json::Value,
        binding: &Binding,
        network: &Network,
        answers: Arc<dyn Answers>,
    ) -> Result<Self, BindError> {
        let apart = Network {
            resolver: network.resolver.clone(),
            quotas: Quotas::default(),
            upstreams: Upstreams::default(),
        };
        Self::on(Wire::Answers(answers), manifest, config, binding, &apart)
    }

    fn on(
        wire: Wire,
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
        let limits = binding.limits.http;
        for (field, value, most) in limits.bounds() {
            if !(1..=most).contains(&value) {
                return Err(BindError::Limits {
                    message: format!("`http.{field}` is {value}; it has to be 1 to {most}"),
                });
            }
        }
        let policy = |asked: &Grants| {
            let ceiling = binding.tenant_limits.ceiling.as_ref();
            Policy::new(asked, &binding.grants, ceiling).map_err(|error| unusable(error.to_string()))
        };
        let wire = Arc::new(wire);
        let quotas = &network.quotas;
        let quota = quotas.of(&binding.tenant, &binding.connection, binding.http_bytes_today);
        let way = network.upstreams.way(&binding.tenant, &binding.connection);
        let endpoint = Arc::new(TokenEndpoint {
            policy: policy(&credential::token_grants(manifest, config))?,
            wire: Arc::clone(&wire),
            quota: Arc::clone(&quota),
            way: way.clone(),
        });
        Ok(Self {
            policy: policy(&asked)?,
            credentials: CredentialUses::new(manifest, config, &endpoint).map_err(unusable)?,
            wire,
            quota,
            way,
            limits,
            idle: IDLE_TIME,
        })
    }

    pub(crate) async fn send(
        &self,
        request: HttpRequest,
        exchange: Exchange<'_>,
    ) -> Result<HttpResponse, Failure> {
        Ok(self.exchange(request, None, None, exchange).await?.0)
    }

    /// The same for what is not in memory: `pieces` in place of the request's body, and `sink` for the body of an answer with a status of 200
    /// to 299.
    pub(crate) async fn exchange(
        &self,
        request: HttpRequest,
        pieces: Option<Arc<Pieces>>,
        sink: Option<Sink<'_>>,
        exchange: Exchange<'_>,
    ) -> Result<(HttpResponse, Option<Stored>), Failure> {
        let wish = request
            .timeout_ms
            .map_or(MAX_TIME, |ms| Duration::from_millis(ms.into()));
        let deadline = Instant::now() + wish.min(MAX_TIME).min(exchange.remaining);
        let hops = redirect::hops(&request.options)?;
        let mut wanted = self.wanted(request, pieces)?;
        if sink.is_some() {
            wanted
                .headers
                .insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let supply = exchange.supply();
        self.credentials.learn_all(supply).await;
        let attempt = |wanted| self.attempt(wanted, hops, deadline, sink, exchange);
        let (answer, used) = attempt(wanted.clone()).await?;
        if let (401, Some(name), Some(used)) = (answer.0.status, &wanted.credential, used)
            && self.credentials.renew(name, &used, supply).await?
        {
            return Ok(attempt(wanted).await?.0);
        }
        Ok(answer)
    }

    /// One answer, behind as many redirects as the guest wants to follow, and what is taken down of it.
    async fn attempt(
        &self,
        wanted: Wanted,
        hops: u8,
        deadline: Instant,
        sink: Option<Sink<'_>>,
        exchange: Exchange<'_>,
    ) -> Result<((HttpResponse, Option<Stored>), Option<UsedToken>), Failure> {
        let mut take = Take::new(exchange.recorder, exchange.scrubber);
        if sink.is_some() || matches!(wanted.body, Body::Pieces(_)) {
            // What goes past the guest's memory goes past the tape.
            take.truncate();
        }
        let ended = self.follow(wanted, hops, deadline, sink, exchange, &mut take);
        let ended = ended.await;
        take.ended(ended.as_ref().map(|((response, _), _)| response));
        ended
    }

    async fn follow(
        &self,
        mut wanted: Wanted,
        mut hops: u8,
        deadline: Instant,
        sink: Option<Sink<'_>>,
        exchange: Exchange<'_>,
        take: &mut Take<'_>,
    ) -> Result<((HttpResponse, Option<Stored>), Option<UsedToken>), Failure> {
        let traffic = Traffic {
            meter: exchange.meter,
            quota: &self.quota,
        };
        let (outgoing, mut used) = self.prepare(&wanted, exchange).await?;
        take.asked(|| wire::asked(&wanted));
        // Before there is a place for it: what waits for its turn must not keep more urgent requests of the connection out.
        let pass = self.way.enter(&outgoing.url, exchange.priority, deadline).await?;
        let _place = self.quota.enter(&self.limits, deadline).await?;
        let mut response = self.transmit(outgoing, pass, traffic, deadline).await?;
        while hops > 0 {
            let Some(next) = wanted.redirected(response.status().as_u16(), response.headers()) else {
                break;
            };
            take.redirected(response.status().as_u16(), || {
                client::for_guest(response.headers(), None)
            });
            // Nobody reads the answer on the way; its connection is closed with it.
            drop(response);
            wanted = next.map_err(|denial| Failure::from(denial).after_sending())?;
            let prepared = self.prepare(&wanted, exchange).await;
            let (outgoing, used_here) = prepared.map_err(Failure::after_sending)?;
            used = used_here;
            take.asked(|| wire::asked(&wanted));
            let pass = self.way.enter(&outgoing.url, exchange.priority, deadline).await;
            let pass = pass.map_err(|error| Failure::from(error).after_sending())?;
            let answer = self.transmit(outgoing, pass, traffic, deadline).await;
            response = answer.map_err(Failure::after_sending)?;
            hops -= 1;
        }
        let bounds = Bounds {
            max: usize::try_from(self.limits.response_bytes).unwrap_or(usize::MAX),
            budget: exchange.budget,
            idle: self.idle,
            deadline,
        };
        let (response, stored) = match sink.filter(|_| response.status().is_success()) {
            None => (client::receive(response, bounds, traffic).await?, None),
            Some(sink) => {
                let receiving = sink.receive(response, bounds, traffic, exchange.scrubber);
                let (response, stored) = receiving.await?;
                (response, Some(stored))
            }
        };
        Ok(((exchange.scrubber.response(response), stored), used))
    }

    /// Reads what the guest wrote, without deciding about it.
    fn wanted(&self, request: HttpRequest, pieces: Option<Arc<Pieces>>) -> Result<Wanted, Failure> {
        let url = policy::parse(&request.url)?;
        let method = policy::parse_method(&request.method)?;
        let mut headers = headers::of_guest(&request.headers)?;
        let mut idempotency = None;
        if let Some(key) = &request.idempotency_key {
            let options = request.options.iter();
            let header = options
                .rev()
                .find(|(name, _)| name == IDEMPOTENCY_HEADER_OPTION)
                .map_or(IDEMPOTENCY_HEADER, |(_, header)| header.as_str());
            idempotency = Some(headers::set_idempotency_key(&mut headers, header, key)?);
        }
        let body = match (request.body, pieces) {
            (Some(_), Some(_)) => {
                return Err(not_sent(
                    ErrorCode::Unsupported,
                    "the request has a body and pieces of one; it may have one of the two",
                )
                .into());
            }
            (None, Some(pieces)) => Body::Pieces(pieces),
            (Some(bytes), None) => Body::Bytes(Bytes::from(bytes)),
            (None, None) => Body::None,
        };
        // What comes out of blobs was never in the plugin's memory, and has a bound of its own.
        let size = match &body {
            Body::Pieces(pieces) => pieces.inline(),
            body => body.len(),
        };
        if size > self.limits.request_bytes {
            return Err(not_sent(
                ErrorCode::Unsupported,
                format!(
                    "the request's body has {size} bytes; `limits.http.request-bytes` of the connection allows {}. Make the batches \
                     smaller, or have the limit raised",
                    self.limits.request_bytes
                ),
            )
            .into());
        }
        Ok(Wanted {
            method,
            url,
            headers,
            body,
            credential: request.credential,
            idempotency,
        })
    }

    /// Decides, and puts in what the guest must not have.
    async fn prepare(
        &self,
        wanted: &Wanted,
        exchange: Exchange<'_>,
    ) -> Result<(Outgoing, Option<UsedToken>), Failure> {
        let carve_outs = self.policy.decide(&wanted.method, &wanted.url)?;
        let (mut url, mut headers) = (wanted.url.clone(), wanted.headers.clone());
        let mut used = None;
        if let Some(name) = &wanted.credential {
            let outbound = Outbound {
                method: &wanted.method,
                url: &mut url,
                headers: &mut headers,
                body: wanted.body.in_memory(),
            };
            used = self.credentials.inject(name, outbound, exchange.supply()).await?;
        }
        let asked = || wire::asked(wanted);
        let carrier = self.wire.carrier(&url, carve_outs, asked).map_err(|error| {
            not_sent(
                ErrorCode::Transient,
                format!("the host's HTTP client could not be set up: {error}"),
            )
        })?;
        let outgoing = Outgoing {
            carrier,
            method: wanted.method.clone(),
            url,
            headers,
            body: wanted.body.clone(),
        };
        Ok((outgoing, used))
    }

    async fn transmit(
        &self,
        outgoing: Outgoing,
        pass: Pass,
        traffic: Traffic<'_>,
        deadline: Instant,
    ) -> Result<reqwest::Response, Failure> {
        self.quota.admit(&self.limits, outgoing.size())?;
        self.quota.pace(&self.limits, deadline).await?;
        let sending = client::send(outgoing, traffic, deadline);
        pass.through(sending, Failure::no_answer).await
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
mod fuzz_tests;
#[cfg(test)]
mod tests;
