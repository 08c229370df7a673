//! Connections, kept per session and origin, so that no connection, TLS session or cookie is shared between tenants.
//!
//! There is one client per origin and set of carve-outs, because the hook that resolves names is told neither scheme nor port, and because
//! a connection that one grant opened must not carry the request of another.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use reqwest::redirect;
use rustls::{
    ClientConfig, RootCertStore,
    client::{Resumption, danger::ServerCertVerifier},
    crypto::CryptoProvider,
};
use url::Url;

use super::{
    address::CarveOuts,
    resolve::{Guarded, Resolver},
};

/// Name, TCP and TLS together.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// After which an unused connection is closed.
const UNUSED_TIME: Duration = Duration::from_secs(60);
const UNUSED_PER_ORIGIN: usize = 8;
/// Per session. A plugin speaks to one system, mostly under one or two names.
const MAX_ORIGINS: usize = 16;
const TLS_SESSIONS: usize = 16;
/// Where the connection is given up. Above what an answer may have, so that a little too much is told from a flood.
const MAX_HEADERS: usize = 1_000;
const MAX_HEADER_LIST: u32 = 256 << 10;

#[derive(Debug, Clone, PartialEq, Eq)]
struct Origin {
    secure: bool,
    host: String,
    port: u16,
    carve_outs: Arc<CarveOuts>,
}

/// The clients of one session.
#[derive(Debug)]
pub(super) struct Pool {
    resolver: Resolver,
    /// The one used last is the last.
    clients: Mutex<Vec<(Origin, reqwest::Client)>>,
}

impl Pool {
    pub(super) fn new(resolver: Resolver) -> Self {
        Self {
            resolver,
            clients: Mutex::default(),
        }
    }

    /// The client for a URL that the policy allowed.
    pub(super) fn client(&self, url: &Url, carve_outs: CarveOuts) -> Result<reqwest::Client, String> {
        let origin = Origin {
            secure: url.scheme() == "https",
            host: url.host_str().unwrap_or_default().to_owned(),
            port: url.port_or_known_default().unwrap_or_default(),
            carve_outs: Arc::new(carve_outs),
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let known = clients.iter().position(|(known, _)| *known == origin);
        let entry = match known {
            Some(index) => clients.remove(index),
            None => {
                let client = build(&origin, self.resolver.clone())?;
                if clients.len() >= MAX_ORIGINS {
                    // What is in use goes on until it is done; its connections are closed then.
                    clients.remove(0);
                }
                (origin, client)
            }
        };
        let client = entry.1.clone();
        clients.push(entry);
        Ok(client)
    }
}

fn build(origin: &Origin, resolver: Resolver) -> Result<reqwest::Client, String> {
    reqwest::Client::builder()
        // A redirect is an answer: the next hop goes through the policy like a request of its own.
        .redirect(redirect::Policy::none())
        // Variables like HTTPS_PROXY would send requests past the policy.
        .no_proxy()
        .referer(false)
        // Repeating is up to the plugin, which knows what is safe to repeat.
        .retry(reqwest::retry::never())
        .https_only(origin.secure)
        .dns_resolver(Arc::new(Guarded {
            resolver,
            carve_outs: Arc::clone(&origin.carve_outs),
        }))
        .tls_backend_preconfigured(tls(origin.secure)?)
        .connect_timeout(CONNECT_TIME)
        .pool_idle_timeout(UNUSED_TIME)
        .pool_max_idle_per_host(UNUSED_PER_ORIGIN)
        .http1_max_headers(MAX_HEADERS)
        .http2_max_header_list_size(MAX_HEADER_LIST)
        .user_agent(concat!("stecker/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(|error| super::client::describe(&error))
}

/// TLS with the platform's certificates, and with sessions of its own: a session that is resumed tells the server that it is the same
/// client, and tenants are not.
fn tls(secure: bool) -> Result<ClientConfig, String> {
    // An embedder that has chosen a provider for its process keeps its choice.
    let provider = CryptoProvider::get_default()
        .map_or_else(|| Arc::new(rustls::crypto::ring::default_provider()), Arc::clone);
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    if !secure {
        // Never used, and a machine without certificates can speak http to its neighbours.
        return Ok(builder
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth());
    }
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(verifier(provider)?)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.resumption = Resumption::in_memory_sessions(TLS_SESSIONS);
    Ok(config)
}

/// One for the process: reading the platform's certificates takes longer than most requests. It keeps nothing of a connection.
fn verifier(provider: Arc<CryptoProvider>) -> Result<Arc<dyn ServerCertVerifier>, String> {
    static VERIFIER: OnceLock<Result<Arc<rustls_platform_verifier::Verifier>, String>> = OnceLock::new();
    let verifier = VERIFIER.get_or_init(|| {
        rustls_platform_verifier::Verifier::new(provider)
            .map(Arc::new)
            .map_err(|error| format!("the certificates of this machine cannot be used: {error}"))
    });
    match verifier {
        Ok(verifier) => Ok(Arc::clone(verifier) as Arc<dyn ServerCertVerifier>),
        Err(error) => Err(error.clone()),
    }
}
