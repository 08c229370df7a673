//! An OCI Distribution 1.1 registry as an [`axum::Router`]: pull, push, discovery and management for whatever speaks that language,
//! with metadata in SQLite or Postgres and blobs in a folder or an object store.
//!
//! It knows nothing of what it keeps. Who may do what is the embedder's ([`Access`]), and so is what may be published ([`Gate`]). What
//! it adds to the specification is that versions are immutable, and can be yanked and deprecated ([`Release`]).
//!
//! - Words of the specification are parsed into types that cannot hold anything else ([`RepositoryName`], [`Digest`], [`Tag`]).
//! - What is published becomes visible in one transaction, or not at all.
//! - Content is hashed as it was stored, and again whenever it is read.
//! - Objects have names that are used once, so that collecting garbage beside pushes needs no clock and no luck.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use stecker_distribution::{BlobStore, Http, Registry, RegistryOptions};
//!
//! let blobs = BlobStore::folder("data/blobs".as_ref())?;
//! let registry = Registry::open("sqlite:data/registry.sqlite", blobs, RegistryOptions::default()).await?;
//! let router: axum::Router = Http::open_to_all(registry.clone()).router();
//! // From time to time:
//! registry.collect(false).await?;
//! # Ok(()) }
//! ```

mod auth;
mod blobs;
mod collecting;
mod digest;
mod error;
mod http;
mod manifest;
mod name;
mod paging;
mod publishing;
mod pulling;
mod pushing;
mod range;
mod reference;
mod registry;
mod releases;
mod route;
mod store;

pub use auth::{
    Access, AccessError, Action, Actions, Auth, Grant, Identity, Passwords, Rule, Scope, ScopeError,
    TokenIssuer, hash_password,
};
pub use blobs::BlobStore;
pub use collecting::Collected;
pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use error::{ApiError, Code, RegistryError};
pub use http::{Asker, Discovery, Http, TOKEN_PATH};
pub use manifest::{
    DOCKER_LIST, DOCKER_MANIFEST, IMAGE_INDEX, IMAGE_MANIFEST, MAX_MANIFEST, MAX_REFERENCES, Manifest,
    ManifestError, Referrer,
};
pub use name::{NameError, RepositoryName};
/// The object store whose buckets [`BlobStore::object_store`] takes.
pub use object_store;
pub use publishing::{Candidate, Gate, Refusal};
pub use reference::{Reference, ReferenceError, Tag, TagError};
pub use registry::{Clock, Registry, RegistryOptions, SystemClock};
pub use releases::{Deprecation, Listed, MAX_TEXT, Release, Yank};
