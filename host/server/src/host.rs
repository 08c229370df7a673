//! A host: a data folder of its own, a database, a sandbox and an engine. The same whether it serves or only does one command.

use std::{fs, io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use stecker_distribution::RegistryError;
use stecker_flow::{Engine, EngineOptions, Marks, Retention};
use stecker_model::Name;
use stecker_sandbox::{CompileBounds, Compiler, Sandbox, SandboxError, SandboxOptions};
use stecker_store::{Store, StoreError, StoreOptions};

use crate::{
    DataFolder, FolderError, MasterKeyOption, RegistryOption, Service,
    master_key::Source,
    registry::{HostRegistry, Place},
};

/// How long running batches may take when the host ends; longer than any of them usually takes.
const FINISH: Duration = Duration::from_secs(15);
/// How long the database may take to let its connections go.
const LET_GO: Duration = Duration::from_secs(3);

/// What a host is made from.
#[derive(Debug, Clone)]
pub struct HostOptions {
    /// The data folder; made if it is not there.
    pub data: PathBuf,
    /// `sqlite:FILE` or `postgres://…`; none: a file in the data folder.
    pub database: Option<String>,
    /// Who others are told has the folder, such as `stecker serve`.
    pub command: String,
    /// How long the flows of a node that died wait for another one. Only matters with several nodes on one Postgres.
    pub lease_ttl: Duration,
    /// The program that is started for compiling plugins, with the argument [`COMPILE`]; it has to call [`compile_as_child`](crate::compile_as_child) then. None:
    /// plugins are compiled in this process.
    pub compiler: Option<PathBuf>,
    /// What the vault's keys are encrypted with.
    pub master_key: MasterKeyOption,
    /// The name servers that the hosts of plugins' requests are looked up with; empty: the system's way.
    pub dns: Vec<SocketAddr>,
    /// How long things are kept that nobody will ask for again.
    pub retention: Retention,
    /// Where blobs are kept; none: in the data folder. Hosts that share a database share this folder too, on one file system.
    pub blobs: Option<PathBuf>,
    /// Whether it has a registry of plugins.
    pub registry: RegistryOption,
}

/// The only argument of a process that compiles a plugin.
pub const COMPILE: &str = "compile-component";

impl HostOptions {
    /// The usual ones.
    #[must_use]
    pub fn new(data: impl Into<PathBuf>, command: impl Into<String>) -> Self {
        Self {
            data: data.into(),
            database: None,
            command: command.into(),
            lease_ttl: EngineOptions::default().lease_ttl,
            compiler: None,
            master_key: MasterKeyOption::default(),
            dns: Vec::new(),
            retention: Retention::default(),
            blobs: None,
            registry: RegistryOption::default(),
        }
    }
}

/// Why there is no host.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HostError {
    /// The data folder.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The database.
    #[error("{database}: {source}")]
    Store {
        /// Its URL, without a password.
        database: String,
        /// Why it cannot be used.
        source: StoreError,
    },
    /// The registry.
    #[error("{0}. `--no-registry` serves without it")]
    Registry(#[from] RegistryError),
    /// The sandbox.
    #[error(transparent)]
    Sandbox(#[from] SandboxError),
    /// The address to listen on.
    #[error(
        "cannot listen on {address}: {source}. Choose another one with --listen, such as 127.0.0.1:0 for any free port"
    )]
    Listen {
        /// What was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// The server broke off.
    #[error("the server broke off: {0}. Start it again; nothing that was accepted is lost")]
    Server(String),
}

/// A data folder, opened.
pub struct Host {
    folder: DataFolder,
    service: Service,
    sandbox: Sandbox,
    registry: Option<HostRegistry>,
}

fn compiler(options: &HostOptions) -> Compiler {
    match &options.compiler {
        None => Compiler::InProcess,
        Some(program) => Compiler::Child {
            program: program.clone(),
            arguments: vec![COMPILE.into()],
            bounds: CompileBounds::default(),
        },
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host")
            .field("folder", &self.folder)
            .finish_non_exhaustive()
    }
}

impl Host {
    /// Takes the folder and opens everything in it. The engine does nothing by itself until it is started.
    ///
    /// # Errors
    /// [`HostError`]: somebody else works in the folder, a database that cannot be used, …
    pub async fn open(options: &HostOptions) -> Result<Self, HostError> {
        let folder = DataFolder::take(&options.data, &options.command)?;
        Self::open_in(folder, options).await
    }

    pub(crate) async fn open_in(folder: DataFolder, options: &HostOptions) -> Result<Self, HostError> {
        let database = options
            .database
            .clone()
            .map_or_else(|| folder.database_url(), Ok)?;
        let store = Store::open(&database, StoreOptions::default())
            .await
            .map_err(|source| HostError::Store {
                database: without_password(&database),
                source,
            })?
            .with_master_key(Arc::new(Source::new(options.master_key.clone(), folder.path())));
        let sandbox = Sandbox::new(SandboxOptions {
            cache_dir: Some(folder.cache_dir()),
            compiler: compiler(options),
            dns: options.dns.clone(),
            ..SandboxOptions::default()
        })?;
        let place = Place {
            data: folder.path(),
            database: options.database.as_deref(),
            blobs: options.blobs.as_deref(),
        };
        let registry = HostRegistry::open(options.registry, place).await?;
        let marks = registry
            .clone()
            .map(|registry| Arc::new(registry) as Arc<dyn Marks>);
        let options = EngineOptions {
            marks,
            node: node(&folder)?,
            lease_ttl: options.lease_ttl,
            retention: options.retention,
            blobs: Some(options.blobs.clone().unwrap_or_else(|| folder.blobs_dir())),
            ..EngineOptions::default()
        };
        let engine = Engine::new(store.clone(), sandbox.clone(), options);
        let service = Service::new(store, engine).with_data_folder(folder.path());
        Ok(Self {
            folder,
            service,
            sandbox,
            registry,
        })
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &DataFolder {
        &self.folder
    }

    pub(crate) fn registry(&self) -> Option<&HostRegistry> {
        self.registry.as_ref()
    }

    pub(crate) fn sandbox(&self) -> &Sandbox {
        &self.sandbox
    }

    /// The operations within a tenant; `actor` is who the audit trail names.
    #[must_use]
    pub fn service(&self, tenant: Name, actor: &str) -> Service {
        self.service.of(tenant, actor)
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        self.service.engine()
    }

    /// Ends the engine gracefully and closes the database. The folder is free afterwards.
    ///
    /// Not for ever: a system or a database that does not answer must not keep a host from ending. What is cut off by that is looked up by whoever
    /// takes the flows up.
    pub async fn close(self) {
        let engine = self.service.engine().shutdown();
        if tokio::time::timeout(FINISH, engine).await.is_err() {
            tracing::warn!(
                seconds = FINISH.as_secs(),
                "flows did not come to an end and are cut off"
            );
        }
        let stores = async {
            self.service.store().close().await;
            if let Some(registry) = &self.registry {
                registry.close().await;
            }
        };
        if tokio::time::timeout(LET_GO, stores).await.is_err() {
            tracing::warn!(
                seconds = LET_GO.as_secs(),
                "the database's connections could not be given back and are cut off"
            );
        }
    }
}

/// This node's name in leases: kept, so that a node that was killed has its flows back at once. The machine's name is part of it, because
/// a folder that was copied to another machine is another node; the folder's lock sees to it that nobody else has the name here.
fn node(folder: &DataFolder) -> Result<String, FolderError> {
    let file = folder.path().join("node");
    let at = |action, source| FolderError::File {
        action,
        path: file.clone(),
        source,
    };
    let id = match fs::read_to_string(&file) {
        Ok(id) if !id.trim().is_empty() => id.trim().to_owned(),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at("read", error)),
        _ => {
            let id = hex::encode(rand::random::<[u8; 8]>());
            fs::write(&file, &id).map_err(|error| at("write", error))?;
            id
        }
    };
    let machine = fs::read_to_string("/proc/sys/kernel/hostname")
        .ok()
        .or_else(|| std::env::var("HOSTNAME").ok());
    let machine = machine.as_deref().map_or("localhost", str::trim).to_owned();
    Ok(format!("{id}@{machine}"))
}

/// For people: `postgres://user:…@host/name`.
fn without_password(url: &str) -> String {
    let hidden = || {
        let (scheme, rest) = url.split_once("://")?;
        let (user, host) = rest
            .split_once('/')
            .map_or(rest, |(authority, _)| authority)
            .rsplit_once('@')?;
        let (user, _) = user.split_once(':')?;
        let path = rest
            .split_once('/')
            .map(|(_, path)| format!("/{path}"))
            .unwrap_or_default();
        Some(format!("{scheme}://{user}:…@{host}{path}"))
    };
    // The query can hold one too (`?password=`), and says little.
    let shown = hidden().unwrap_or_else(|| url.to_owned());
    shown
        .split_once('?')
        .map_or(shown.clone(), |(shown, _)| shown.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_never_shown() {
        for (url, shown) in [
            ("sqlite:/data/stecker.sqlite", "sqlite:/data/stecker.sqlite"),
            ("postgres://a@db/x", "postgres://a@db/x"),
            (
                "postgres://a:se:cr@t@db:5432/x?sslmode=require",
                "postgres://a:…@db:5432/x",
            ),
            ("postgres://db/x?user=a&password=secret", "postgres://db/x"),
            ("postgres://a:secret@db", "postgres://a:…@db"),
        ] {
            assert_eq!(without_password(url), shown);
        }
    }
}
