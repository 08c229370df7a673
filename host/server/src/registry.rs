//! The registry that a host has: plugins are pushed to and pulled from the address at which the host serves, and what is said about releases there counts
//! when the host chooses one.
//!
//! It lies beside the store: with SQLite in a file of its own in the data folder, with Postgres in the same database (its tables begin with `oci_`). Whoever
//! has the host's token may do everything in it, as a bearer token or as the password of any user.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use async_trait::async_trait;
use axum::Router;
use jiff::{Timestamp, tz::TimeZone};
use stecker_distribution::{
    Access, AccessError, Actions, Auth, BlobStore, Discovery, Http, Identity, Reference, Registry,
    RegistryError, RegistryOptions, RepositoryName,
};
use stecker_flow::{Mark, Marks};
use stecker_gate::GatePolicy;
use stecker_package::layer_of;
use stecker_registry::PluginName;
use stecker_registry_server::PluginGate;
use stecker_sandbox::Sandbox;
use stecker_trust::index::Deprecation;
use subtle::ConstantTimeEq as _;
use tower_http::catch_panic::CatchPanicLayer;

/// Whether a host has a registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RegistryOption {
    /// It has none, and asks none.
    Off,
    /// If one was made before: for commands that look into the data folder and are gone again.
    #[default]
    IfThere,
    /// It has one, which is made if it is not there.
    Made,
}

/// A host's registry.
#[derive(Debug, Clone)]
pub(crate) struct HostRegistry {
    registry: Registry,
}

/// Where it lies.
pub(crate) struct Place<'p> {
    /// The data folder.
    pub(crate) data: &'p Path,
    /// The host's database, if it is not a file in the data folder.
    pub(crate) database: Option<&'p str>,
    /// The folder that hosts share for blobs, if they share one.
    pub(crate) blobs: Option<&'p Path>,
}

impl HostRegistry {
    /// Opens it; none if there is to be none.
    pub(crate) async fn open(
        option: RegistryOption,
        place: Place<'_>,
    ) -> Result<Option<Self>, RegistryError> {
        let folder = place.data.join("registry");
        let file = folder.join("registry.sqlite");
        let shared = place.database.filter(|url| !url.starts_with("sqlite"));
        let wanted = match option {
            RegistryOption::Off => false,
            RegistryOption::IfThere => shared.is_some() || file.is_file(),
            RegistryOption::Made => true,
        };
        if !wanted {
            return Ok(None);
        }
        // No tenant is called so.
        let blobs: PathBuf = place
            .blobs
            .map_or_else(|| folder.join("blobs"), |blobs| blobs.join("_registry"));
        std::fs::create_dir_all(&folder).map_err(|error| RegistryError::BadUrl {
            reason: format!("{} cannot be made: {error}", folder.display()),
        })?;
        let url = shared.map_or_else(|| format!("sqlite:{}", file.display()), ToOwned::to_owned);
        let registry = Registry::open(&url, BlobStore::folder(&blobs)?, RegistryOptions::default()).await?;
        Ok(Some(Self { registry }))
    }

    /// Its HTTP face, to be merged at the root. `public` is where clients reach it, host and port.
    pub(crate) fn router(
        &self,
        token: String,
        sandbox: Sandbox,
        public: String,
        anonymous_pull: bool,
    ) -> Router {
        let http = Http {
            registry: self.registry.clone(),
            auth: Auth::Basic {
                realm: "plugins".to_owned(),
                access: Arc::new(TokenAccess {
                    token,
                    anonymous_pull,
                }),
            },
            gate: Some(Arc::new(PluginGate::new(sandbox, GatePolicy::publish(), ""))),
            discovery: Some(Discovery {
                registry: public,
                namespace_prefix: String::new(),
            }),
        };
        stecker_registry_server::router(http, "").layer(CatchPanicLayer::new())
    }

    /// Collects what nothing names, from time to time.
    pub(crate) async fn keep(self) {
        stecker_registry_server::collect(self.registry).await;
    }

    pub(crate) async fn close(&self) {
        self.registry.close().await;
    }
}

#[async_trait]
impl Marks for HostRegistry {
    async fn of(&self, name: &PluginName) -> Result<Vec<Mark>, String> {
        let repository: RepositoryName = stecker_package::repository("", name)
            .parse()
            .map_err(|error: stecker_distribution::NameError| error.to_string())?;
        let failed = |error: RegistryError| error.to_string();
        let mut marks = Vec::new();
        for release in self.registry.releases(&repository).await.map_err(failed)? {
            if release.yanked.is_none() && release.deprecated.is_none() {
                continue;
            }
            let image = Reference::Digest(release.digest.clone());
            let found = self
                .registry
                .manifest(&repository, &image)
                .await
                .map_err(failed)?;
            // What was deleted there is not known by its component any more.
            let Some(layer) = found.and_then(|(_, _, bytes)| layer_of(&bytes).ok()) else {
                continue;
            };
            marks.push(Mark {
                component: layer.digest,
                yanked: release.yanked.map(|yank| yank.reason),
                deprecated: release.deprecated.map(|deprecation| Deprecation {
                    message: deprecation.message,
                    deadline: deprecation
                        .deadline
                        .and_then(|at| Timestamp::from_millisecond(at).ok())
                        .map(|at| at.to_zoned(TimeZone::UTC).date()),
                    guide: None,
                }),
            });
        }
        Ok(marks)
    }
}

/// Whoever has the host's token.
struct TokenAccess {
    token: String,
    anonymous_pull: bool,
}

impl std::fmt::Debug for TokenAccess {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenAccess(…)")
    }
}

impl TokenAccess {
    fn is(&self, token: &str) -> bool {
        // An empty token would let everybody in; there is none such, but a truncated file could make one.
        !self.token.is_empty() && bool::from(self.token.as_bytes().ct_eq(token.as_bytes()))
    }
}

#[async_trait]
impl Access for TokenAccess {
    async fn knows(&self, _user: &str, password: &str) -> Result<bool, AccessError> {
        Ok(self.is(password))
    }

    async fn bearer(&self, token: &str) -> Result<Option<Identity>, AccessError> {
        Ok(self.is(token).then(|| Identity::User("operator".to_owned())))
    }

    async fn rights(&self, who: &Identity, _repository: &RepositoryName) -> Result<Actions, AccessError> {
        Ok(match who {
            Identity::User(_) => Actions::ALL,
            Identity::Anonymous if self.anonymous_pull => Actions::PULL,
            Identity::Anonymous => Actions::NONE,
        })
    }
}
