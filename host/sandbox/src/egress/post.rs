//! What the host itself sends to an address that a tenant chose: webhooks.
//!
//! The same rules as for plugins' requests, by the same code: the URL is read by [`policy`], every address that its name resolves to is
//! checked while connecting, redirects are answers, and no proxy is asked. What a plugin is granted by its connection, a receiver is granted
//! by being named: https at public addresses is open to all, anything else takes an entry that whoever runs the host has made. An address
//! that is named by a tenant is never carved out by that alone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use reqwest::{
    Method,
    header::{HeaderMap, HeaderName, HeaderValue, RETRY_AFTER},
};
use stecker_model::{Grants, HttpGrant, Name};
use tokio::time::Instant;
use url::{Host, Url};

use super::{
    Failure,
    address::CarveOuts,
    body::Body,
    client::{self, Outgoing, Traffic},
    policy::{self, Policy},
    pool::Pool,
    quota::Quota,
    resolve::Resolver,
};
use crate::{binding::Denial, meter::Meter};

/// What was answered. The body is of no interest and is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Posted {
    /// The status, whatever it is; a redirect too.
    pub status: u16,
    /// The header `retry-after`, as it came.
    pub retry_after: Option<String>,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PostError {
    /// It may not be sent there; nothing was.
    #[error("{0}")]
    Refused(String),
    /// It could not be sent, or the answer did not come in time.
    #[error("{0}")]
    Failed(String),
}

/// Sends what the host has to say to others. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Poster {
    resolver: Resolver,
    /// One a tenant, as with sessions: nobody is to tell by a connection that two tenants share a host.
    pools: Arc<Mutex<HashMap<Name, Arc<Pool>>>>,
}

impl Poster {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            pools: Arc::default(),
        }
    }

    /// Whether a URL can be a receiver, as far as that can be told without asking for the addresses of its host. `receivers`: where it may
    /// go besides https at public addresses.
    ///
    /// # Errors
    /// [`PostError::Refused`], with what would have to be allowed; an entry of `receivers` that cannot be understood.
    pub fn check(url: &str, receivers: &[HttpGrant]) -> Result<(), PostError> {
        decide(url, receivers).map(drop)
    }

    /// POSTs `body`; any status is an answer.
    ///
    /// # Errors
    /// [`PostError`]: it is refused, or there is no answer `within` that time.
    pub async fn post(
        &self,
        tenant: &Name,
        (url, receivers): (&str, &[HttpGrant]),
        headers: &[(&'static str, String)],
        body: String,
        within: Duration,
    ) -> Result<Posted, PostError> {
        let deadline = Instant::now() + within;
        let (url, carve_outs) = decide(url, receivers)?;
        let mut all = HeaderMap::new();
        for (name, value) in headers {
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| PostError::Failed(format!("the header {name} cannot be written")))?;
            all.insert(HeaderName::from_static(name), value);
        }
        let client = self.pool(tenant).client(&url, carve_outs).map_err(|error| {
            PostError::Failed(format!("the host's HTTP client could not be set up: {error}"))
        })?;
        let outgoing = Outgoing {
            client,
            method: Method::POST,
            url,
            headers: all,
            body: Body::Bytes(Bytes::from(body)),
        };
        // Events are no plugin's, so they are on no connection's account.
        let (meter, quota) = (Meter::default(), Quota::default());
        let traffic = Traffic {
            meter: &meter,
            quota: &quota,
        };
        let answer = client::send(outgoing, traffic, deadline)
            .await
            .map_err(|failure| match failure {
                Failure::Denied(denial) | Failure::AnswerDenied(denial) => refused(&denial),
                Failure::Error(error) => PostError::Failed(error.message),
            })?;
        let retry_after = answer.headers().get(RETRY_AFTER);
        Ok(Posted {
            status: answer.status().as_u16(),
            retry_after: retry_after
                .and_then(|value| value.to_str().ok())
                .map(str::to_owned),
        })
    }

    fn pool(&self, tenant: &Name) -> Arc<Pool> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        let pool = pools
            .entry(tenant.clone())
            .or_insert_with(|| Arc::new(Pool::new(self.resolver.clone())));
        Arc::clone(pool)
    }
}

/// Where it goes, and the addresses beyond the public ones that it may be sent to.
fn decide(url: &str, receivers: &[HttpGrant]) -> Result<(Url, CarveOuts), PostError> {
    let url = policy::parse(url).map_err(|denial| refused(&denial))?;
    let grant = |schemes: &[&str]| HttpGrant {
        host: format!(
            "{}:{}",
            url.host_str().unwrap_or_default(),
            url.port_or_known_default().unwrap_or_default()
        ),
        schemes: schemes.iter().map(|scheme| (*scheme).to_owned()).collect(),
        methods: vec![Method::POST.as_str().to_owned()],
        ..HttpGrant::default()
    };
    let mut granted = receivers.to_vec();
    // A grant of an address or of localhost with its port opens it (see `policy::rule`), and a tenant must not open anything.
    if is_public_name(&url) {
        granted.push(grant(&["https"]));
    }
    // The host wants to go exactly there; what stands in the way is the operator's to allow.
    let wanted = Grants {
        http: vec![grant(&["https", "http"])],
        ..Grants::default()
    };
    let granted = Grants {
        http: granted,
        ..Grants::default()
    };
    let policy = Policy::new(&wanted, &granted, None)
        .map_err(|error| PostError::Refused(format!("`receivers` of the tenant's limits: {error}")))?;
    let carve_outs = policy
        .decide(&Method::POST, &url)
        .map_err(|denial| refused(&denial))?;
    Ok((url, carve_outs))
}

fn is_public_name(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => !policy::is_localhost(name),
        _ => false,
    }
}

fn refused(denial: &Denial) -> PostError {
    let asked = &denial.asked;
    if denial.smallest_grant.is_empty() {
        return PostError::Refused(format!("{asked} is never allowed ({})", denial.rule));
    }
    let grant = denial
        .smallest_grant
        .replace("[[connection.grants.http]]", "[[receivers]]")
        .replace('\n', "; ");
    PostError::Refused(format!(
        "{asked} is not open to webhooks ({}); whoever runs the host can allow it in the tenant's limits: {grant}",
        denial.rule
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn receiver(host: &str, addresses: &[&str]) -> HttpGrant {
        HttpGrant {
            host: host.to_owned(),
            schemes: vec!["http".to_owned(), "https".to_owned()],
            addresses: addresses.iter().map(|range| (*range).to_owned()).collect(),
            ..HttpGrant::default()
        }
    }

    #[test]
    fn only_https_at_public_names_is_open_to_all() {
        for url in [
            "https://hooks.acme.example/stecker",
            "https://hooks.acme.example:8443/a?b=c",
            "https://xn--bcher-kva.example/",
        ] {
            assert_eq!(Poster::check(url, &[]), Ok(()), "{url}");
        }
        for url in [
            "http://hooks.acme.example/",
            "https://127.0.0.1/",
            "https://127.0.0.1:8443/",
            "https://localhost:8443/",
            "https://api.localhost:8443/",
            "https://10.1.2.3/",
            "https://169.254.169.254/latest/meta-data",
            "https://[::1]:8443/",
            "https://[::ffff:127.0.0.1]/",
            "https://1.1.1.1/",
            "https://0x7f000001/",
            "https://user:pass@hooks.acme.example/",
            "ftp://hooks.acme.example/",
            "https://hooks.acme.example./",
            "nonsense",
        ] {
            assert!(
                matches!(Poster::check(url, &[]), Err(PostError::Refused(_))),
                "{url}"
            );
        }
    }

    #[test]
    fn whoever_runs_the_host_opens_what_is_named() {
        let receivers = [
            receiver("127.0.0.1:9000", &[]),
            receiver("hooks.internal", &["10.0.0.0/8"]),
        ];
        for (url, open) in [
            ("http://127.0.0.1:9000/a", true),
            ("http://127.0.0.1:9001/a", false),
            ("http://hooks.internal/", true),
            ("http://hooks.internal:8080/", false),
            ("http://other.internal/", false),
        ] {
            assert_eq!(Poster::check(url, &receivers).is_ok(), open, "{url}");
        }
        let (_, carve_outs) = decide("https://hooks.internal/", &receivers).unwrap();
        assert!(carve_outs.admit("10.1.2.3".parse().unwrap()).is_ok());
        assert!(carve_outs.admit("127.0.0.1".parse().unwrap()).is_err());
        let (_, carve_outs) = decide("https://hooks.acme.example/", &receivers).unwrap();
        assert!(
            carve_outs.admit("10.1.2.3".parse().unwrap()).is_err(),
            "what one name may resolve to, another may not"
        );
    }

    #[test]
    fn a_refusal_names_what_would_allow_it() {
        let Err(PostError::Refused(text)) = Poster::check("http://127.0.0.1:9000/", &[]) else {
            panic!("it was not refused");
        };
        for part in [
            "POST http://127.0.0.1:9000",
            "[[receivers]]",
            "host = \"127.0.0.1:9000\"",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }
}
