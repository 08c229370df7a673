//! The registry: what can be done with it, whoever asks. HTTP is one way of asking (see [`crate::http`]).

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    blobs::BlobStore,
    digest::Digest,
    error::RegistryError,
    manifest::Referrer,
    name::RepositoryName,
    reference::{Reference, Tag},
    releases::{Deprecation, Listed, MAX_TEXT, Release, Yank},
    store::{Store, StoredManifest},
};

/// What time it is. Tests have their own.
pub trait Clock: fmt::Debug + Send + Sync + 'static {
    /// Milliseconds since 1970.
    fn now(&self) -> i64;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }
}

/// How much a registry takes, and how long it waits.
#[derive(Debug, Clone)]
pub struct RegistryOptions {
    /// Most connections to the database.
    pub connections: u32,
    /// Largest blob, in bytes.
    pub max_blob: u64,
    /// Largest body of one request that adds to an upload, in bytes.
    pub max_chunk: u64,
    /// How long a blob that no manifest names is kept after somebody who pushes was told that it is there. A push that takes longer
    /// between its blobs and its manifest has to send blobs again. At least some minutes, for people.
    pub grace: Duration,
    /// How long an upload lasts that nothing is added to.
    pub upload_life: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

impl Default for RegistryOptions {
    fn default() -> Self {
        Self {
            connections: 16,
            max_blob: 4 * 1024 * 1024 * 1024,
            max_chunk: 4 * 1024 * 1024 * 1024,
            grace: Duration::from_secs(24 * 3600),
            upload_life: Duration::from_secs(24 * 3600),
            clock: Arc::new(SystemClock),
        }
    }
}

/// A registry. Cheap to clone; all clones are the same one.
#[derive(Debug, Clone)]
pub struct Registry {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) store: Store,
    pub(crate) blobs: BlobStore,
    pub(crate) options: RegistryOptions,
    /// Objects that were found whole, and when, so that ranges of them are not paid for with reading everything each time.
    pub(crate) verified: Mutex<HashMap<String, i64>>,
}

impl Registry {
    /// Opens a registry: `url` is `sqlite:path` (made if it is not there) or `postgres://…`. The database may be the host's own; every
    /// table's name begins with `oci_`.
    ///
    /// # Errors
    /// The database cannot be used.
    pub async fn open(url: &str, blobs: BlobStore, options: RegistryOptions) -> Result<Self, RegistryError> {
        let store = Store::open(url, options.connections).await?;
        Ok(Self {
            inner: Arc::new(Inner {
                store,
                blobs,
                options,
                verified: Mutex::default(),
            }),
        })
    }

    /// Lets go of the database. Whatever is still asked for fails.
    pub async fn close(&self) {
        self.inner.store.close().await;
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.options.clock.now()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn blobs(&self) -> &BlobStore {
        &self.inner.blobs
    }

    /// All releases of a repository, yanked ones too, in the order of their tags' bytes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn releases(&self, repository: &RepositoryName) -> Result<Vec<Release>, RegistryError> {
        self.store().releases(repository).await
    }

    /// A release; none if there is none by this tag.
    ///
    /// # Errors
    /// The database fails.
    pub async fn release(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
    ) -> Result<Option<Release>, RegistryError> {
        self.store().release(repository, tag).await
    }

    /// Releases of all repositories that are there, yanked ones too, behind the one given, in the order of the bytes of repository and tag; at
    /// most `most`.
    ///
    /// # Errors
    /// The database fails.
    pub async fn all_releases(
        &self,
        behind: Option<(&RepositoryName, &Tag)>,
        most: u32,
    ) -> Result<Vec<Listed>, RegistryError> {
        let behind = behind.map_or(("", ""), |(repository, tag)| (repository.as_str(), tag.as_str()));
        self.store().all_releases(behind, most).await
    }

    /// What is said about a manifest, of one kind; the first thousand or 3 MiB of it.
    ///
    /// # Errors
    /// The database fails.
    pub async fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        kind: &str,
    ) -> Result<Vec<Referrer>, RegistryError> {
        let most = 3 * 1024 * 1024;
        let found = self.store().referrers(repository, subject, Some(kind), "", most);
        Ok(found.await?.0)
    }

    /// A manifest's digest, media type and bytes; none if it is not there.
    ///
    /// # Errors
    /// The database fails, or has other bytes than it should.
    pub async fn manifest(
        &self,
        repository: &RepositoryName,
        reference: &Reference,
    ) -> Result<Option<(Digest, String, Vec<u8>)>, RegistryError> {
        let found = self.store().manifest(repository, reference).await?;
        Ok(found.map(
            |StoredManifest {
                 digest,
                 media_type,
                 bytes,
             }| (digest, media_type, bytes),
        ))
    }

    /// Takes a release out of what is offered: `tags/list` leaves it out. Who asks for it by tag or digest still gets it, with a
    /// warning.
    ///
    /// # Errors
    /// No such release; a reason that is too long; the database fails.
    pub async fn yank(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        reason: &str,
    ) -> Result<(), RegistryError> {
        let yank = Yank {
            at: self.now(),
            reason: text("the reason", reason)?,
        };
        found(
            self.store().set_yanked(repository, tag, Some(yank)).await?,
            repository,
            tag,
        )
    }

    /// Offers a yanked release again.
    ///
    /// # Errors
    /// No such release; the database fails.
    pub async fn unyank(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), RegistryError> {
        found(
            self.store().set_yanked(repository, tag, None).await?,
            repository,
            tag,
        )
    }

    /// Tells whoever pulls a release to move on, until `deadline` (milliseconds since 1970).
    ///
    /// # Errors
    /// No such release; a message that is too long; the database fails.
    pub async fn deprecate(
        &self,
        repository: &RepositoryName,
        tag: &Tag,
        message: &str,
        deadline: Option<i64>,
    ) -> Result<(), RegistryError> {
        let deprecation = Deprecation {
            at: self.now(),
            message: text("the message", message)?,
            deadline,
        };
        found(
            self.store()
                .set_deprecated(repository, tag, Some(deprecation))
                .await?,
            repository,
            tag,
        )
    }

    /// Takes a deprecation back.
    ///
    /// # Errors
    /// No such release; the database fails.
    pub async fn undeprecate(&self, repository: &RepositoryName, tag: &Tag) -> Result<(), RegistryError> {
        found(
            self.store().set_deprecated(repository, tag, None).await?,
            repository,
            tag,
        )
    }

    /// What was found damaged and set aside: where it lies, and what was found. Nothing deletes these but people.
    ///
    /// # Errors
    /// The database fails.
    pub async fn damaged(&self) -> Result<Vec<(String, String)>, RegistryError> {
        self.store().set_asides().await
    }

    pub(crate) fn lock_verified(&self) -> std::sync::MutexGuard<'_, HashMap<String, i64>> {
        self.inner.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn found(found: bool, repository: &RepositoryName, tag: &Tag) -> Result<(), RegistryError> {
    if found {
        return Ok(());
    }
    Err(RegistryError::NoRelease {
        repository: repository.to_string(),
        tag: tag.to_string(),
    })
}

fn text(what: &'static str, text: &str) -> Result<String, RegistryError> {
    if text.len() > MAX_TEXT || text.chars().any(|c| c.is_control() && c != '\n') {
        return Err(RegistryError::Text { what, max: MAX_TEXT });
    }
    Ok(text.to_owned())
}
