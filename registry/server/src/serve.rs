//! The registry as a server of its own.

use std::{
    future::Future,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use stecker_distribution::{
    Actions, Auth, BlobStore, Discovery, Http, Passwords, Registry, RegistryError, RegistryOptions, Rule,
};
use stecker_gate::GatePolicy;
use stecker_sandbox::{Sandbox, SandboxOptions};
use tokio::net::TcpListener;

use crate::gate::PluginGate;

/// How often what nothing names is collected.
const COLLECT: Duration = Duration::from_secs(3_600);

/// How a registry is served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// Where blobs are, and the database unless another is given. Made if it is not there.
    pub data: PathBuf,
    /// `sqlite:path` or `postgres://…`; none: a file in the data folder.
    pub database: Option<String>,
    /// Who may push and pull: a line each, `name:hash` (see [`stecker_distribution::hash_password`]). None: everybody may do everything, which is
    /// only taken on a loopback address.
    pub users: Option<PathBuf>,
    /// Whether whoever has no password may pull.
    pub anonymous_pull: bool,
    /// The host and port by which clients reach it; none: those that it listens on.
    pub public: Option<String>,
}

/// Why it does not serve.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Everybody could publish.
    #[error(
        "{listen} is reachable by others, and everybody could publish there: give `--users FILE`, or listen on a loopback address"
    )]
    Open {
        /// Where it was to listen.
        listen: SocketAddr,
    },
    /// The users.
    #[error("{}: {reason}", path.display())]
    Users {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The data folder, or the address.
    #[error("{what}: {error}")]
    Io {
        /// What was tried.
        what: String,
        /// What happened.
        error: io::Error,
    },
    /// The database or the blobs.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// What releases are examined in.
    #[error("there is no sandbox to examine releases in: {0}")]
    Sandbox(String),
}

fn tried(what: String) -> impl FnOnce(io::Error) -> ServeError {
    move |error| ServeError::Io { what, error }
}

/// Serves until `stop` is done. `told` hears the address.
///
/// # Errors
/// [`ServeError`]; nothing is served then.
pub async fn serve(
    options: ServeOptions,
    told: impl FnOnce(SocketAddr),
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let auth = auth(&options)?;
    let folder = &options.data;
    std::fs::create_dir_all(folder).map_err(tried(format!("{} cannot be made", folder.display())))?;
    let sandbox = Sandbox::new(SandboxOptions {
        cache_dir: Some(folder.join("cache")),
        ..SandboxOptions::default()
    })
    .map_err(|error| ServeError::Sandbox(error.to_string()))?;
    let database = options
        .database
        .clone()
        .unwrap_or_else(|| format!("sqlite:{}", folder.join("registry.sqlite").display()));
    let blobs = BlobStore::folder(&folder.join("blobs"))?;
    let registry = Registry::open(&database, blobs, RegistryOptions::default()).await?;
    let listener = TcpListener::bind(options.listen)
        .await
        .map_err(tried(format!("{} cannot be listened on", options.listen)))?;
    let address = listener
        .local_addr()
        .map_err(tried("the address cannot be read".to_owned()))?;
    let http = Http {
        registry: registry.clone(),
        auth,
        gate: Some(Arc::new(PluginGate::new(sandbox, GatePolicy::publish(), ""))),
        discovery: Some(Discovery {
            registry: options.public.clone().unwrap_or_else(|| address.to_string()),
            namespace_prefix: String::new(),
        }),
    };
    let collecting = tokio::spawn(collect(registry.clone()));
    told(address);
    let served = axum::serve(listener, crate::router(http, ""))
        .with_graceful_shutdown(stop)
        .await;
    collecting.abort();
    registry.close().await;
    served.map_err(tried("serving ended".to_owned()))
}

/// Collects what nothing names, once an hour, for ever.
pub async fn collect(registry: Registry) {
    loop {
        tokio::time::sleep(COLLECT).await;
        match registry.collect(true).await {
            Ok(collected) => tracing::info!(?collected, "collected what nothing names"),
            Err(error) => {
                tracing::warn!(%error, "what nothing names could not be collected; it is tried again in an hour");
            }
        }
    }
}

fn auth(options: &ServeOptions) -> Result<Auth, ServeError> {
    let Some(path) = &options.users else {
        return if options.listen.ip().is_loopback() {
            Ok(Auth::Open)
        } else {
            Err(ServeError::Open {
                listen: options.listen,
            })
        };
    };
    let users = users(path)?;
    let mut rules: Vec<Rule> = users
        .iter()
        .map(|(user, _)| Rule {
            user: Some(user.clone()),
            below: None,
            actions: Actions::ALL,
        })
        .collect();
    if options.anonymous_pull {
        rules.push(Rule {
            user: None,
            below: None,
            actions: Actions::PULL,
        });
    }
    let passwords = Passwords::new(users, rules).map_err(|error| ServeError::Users {
        path: path.clone(),
        reason: error.to_string(),
    })?;
    Ok(Auth::Basic {
        realm: "plugins".to_owned(),
        access: Arc::new(passwords),
    })
}

fn users(path: &Path) -> Result<Vec<(String, String)>, ServeError> {
    let text = std::fs::read_to_string(path).map_err(tried(format!("{} cannot be read", path.display())))?;
    let mut users = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let user = line
            .trim()
            .split_once(':')
            .filter(|(name, hash)| !name.is_empty() && hash.starts_with("$argon2"));
        let (name, hash) = user.ok_or_else(|| ServeError::Users {
            path: path.to_owned(),
            reason: format!(
                "line {} is not `name:hash`; `stecker registry user NAME` makes such lines",
                number + 1
            ),
        })?;
        users.push((name.to_owned(), hash.to_owned()));
    }
    Ok(users)
}
