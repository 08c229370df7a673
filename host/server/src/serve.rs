//! A host with an HTTP face, from its start to its graceful end.

use std::{
    future::IntoFuture as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use crate::{BootstrapToken, Context, DataFolder, Host, HostError, HostOptions, RegistryOption, Working};

/// How long requests that are being answered may take after the end was asked for.
const DRAIN: Duration = Duration::from_secs(20);

/// What a server is made from.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The host behind it.
    pub host: HostOptions,
    /// Where it listens. Anything but loopback is reachable by others, without encryption.
    pub listen: SocketAddr,
    /// Whether whoever has no token may pull from its registry.
    pub anonymous_pull: bool,
    /// The host and port by which clients reach its registry; none: those that it listens on.
    pub public: Option<String>,
}

impl ServeOptions {
    /// On loopback, at the port that commands expect, with a registry that is for whoever has the token.
    #[must_use]
    pub fn new(host: HostOptions) -> Self {
        Self {
            host: HostOptions {
                registry: RegistryOption::Made,
                ..host
            },
            anonymous_pull: false,
            public: None,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 7420)),
        }
    }
}

/// A server that runs.
#[derive(Debug)]
pub struct Server {
    host: Host,
    address: SocketAddr,
    context: Context,
    working: Working,
    stop: CancellationToken,
    task: JoinHandle<std::io::Result<()>>,
    /// Collects the registry's garbage.
    keeping: Option<JoinHandle<()>>,
}

impl Server {
    /// Opens the host, listens, starts the engine, and tells commands on this machine where it is.
    ///
    /// # Errors
    /// [`HostError`]; nothing runs then.
    pub async fn start(options: ServeOptions) -> Result<Self, HostError> {
        // First what fails cheaply and for reasons that a person can remove at once.
        let folder = DataFolder::take(&options.host.data, &options.host.command)?;
        let listen = |source| HostError::Listen {
            address: options.listen,
            source,
        };
        let listener = TcpListener::bind(options.listen).await.map_err(listen)?;
        let address = listener.local_addr().map_err(listen)?;
        if !address.ip().is_loopback() {
            tracing::warn!(
                %address,
                "this address is reachable by others, and what goes over it is not encrypted: put a proxy that speaks TLS in front of it"
            );
        }
        let host = Host::open_in(folder, &options.host).await?;
        let token = host.folder().token()?;
        let working = Working::default();
        let service = host.service(stecker_model::Name::default_tenant(), "host");
        let mut router = crate::router(
            service,
            Arc::new(BootstrapToken::new(token.clone())),
            working.clone(),
        )
        .map_err(|error| HostError::Server(error.to_string()))?;
        let mut keeping = None;
        if let Some(registry) = host.registry() {
            let sandbox = host.sandbox().clone();
            let public = options
                .public
                .clone()
                .unwrap_or_else(|| from_here(address).to_string());
            router = router.merge(registry.router(token, sandbox, public, options.anonymous_pull));
            keeping = Some(tokio::spawn(registry.clone().keep()));
        }
        let stop = CancellationToken::new();
        let serving = axum::serve(listener, router).with_graceful_shutdown(stop.clone().cancelled_owned());
        let task = tokio::spawn(serving.into_future());
        host.engine().start();
        working.set(true);
        let context = host
            .folder()
            .announce_server(&format!("http://{}", from_here(address)))?;
        tracing::info!(url = context.url, pid = context.pid, data = %host.folder().path().display(), "serving");
        Ok(Self {
            host,
            address,
            context,
            working,
            stop,
            task,
            keeping,
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it told commands on this machine.
    #[must_use]
    pub fn context(&self) -> &Context {
        &self.context
    }

    /// The host behind it.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// Ends when the server breaks off by itself.
    async fn broken(&mut self) -> HostError {
        HostError::Server(match (&mut self.task).await {
            Ok(Ok(())) => "it stopped listening".to_owned(),
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        })
    }

    /// Takes no new requests, answers those that it has, lets running batches finish, gives leases back.
    pub async fn shutdown(self) {
        self.working.set(false);
        if let Err(error) = self.host.folder().forget_server() {
            tracing::warn!(%error, "the file that tells where the server is could not be removed");
        }
        self.stop.cancel();
        let abort = self.task.abort_handle();
        if tokio::time::timeout(DRAIN, self.task).await.is_err() {
            tracing::warn!(
                seconds = DRAIN.as_secs(),
                "requests were still being answered and are cut off"
            );
            abort.abort();
        }
        if let Some(keeping) = &self.keeping {
            keeping.abort();
        }
        self.host.close().await;
        tracing::info!("ended");
    }
}

/// The address by which this machine reaches it.
fn from_here(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// Serves until SIGTERM or ctrl-c, then ends gracefully. A second signal ends at once, which costs no accepted record either.
/// `ready` is called when requests are answered.
///
/// # Errors
/// [`HostError`] if it cannot start or breaks off.
pub async fn serve(options: ServeOptions, ready: impl FnOnce(&Server) + Send) -> Result<(), HostError> {
    // Before anything is taken, so that no signal is missed in between.
    let mut signals = Signals::listen().map_err(|error| HostError::Server(error.to_string()))?;
    let mut server = Server::start(options).await?;
    ready(&server);
    let broken = tokio::select! {
        () = signals.next() => None,
        error = server.broken() => Some(error),
    };
    if let Some(error) = broken {
        server.host.close().await;
        return Err(error);
    }
    tracing::info!("ending; once more to end at once");
    tokio::select! {
        () = server.shutdown() => {}
        () = signals.next() => tracing::warn!("ended at once; what was being sent is looked up at the next start"),
    }
    Ok(())
}

/// Done when the process is asked to end: by SIGTERM, or ctrl-c. Never, where signals cannot be heard.
pub async fn asked_to_end() {
    match Signals::listen() {
        Ok(mut signals) => signals.next().await,
        Err(error) => {
            tracing::warn!(%error, "signals cannot be heard; end the process by force");
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(unix)]
struct Signals(tokio::signal::unix::Signal, tokio::signal::unix::Signal);

#[cfg(unix)]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self(
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
        ))
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.0.recv() => {}
            _ = self.1.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
