//! Publishing a manifest, with the embedder's [`Gate`] in between: what it looks at is complete and invisible, and what becomes visible
//! is what it looked at, in the repository that it looked at.

use async_trait::async_trait;
use bytes::Bytes;

use crate::{
    digest::Digest,
    error::RegistryError,
    manifest::Manifest,
    name::RepositoryName,
    reference::Tag,
    registry::Registry,
    store::{NewManifest, Published},
};

/// How often a decision is made again because something else was published in the repository meanwhile.
const DECISIONS: usize = 5;

/// Why something is not to be published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong, why, and what to do about it.
    pub message: String,
    /// More for programs; null: nothing.
    pub detail: serde_json::Value,
    /// Whether it is the publisher who may not (`DENIED`), rather than the content that is wrong (`MANIFEST_INVALID`).
    pub denied: bool,
}

/// What somebody wants to publish. All that it names is in the repository.
#[derive(Debug)]
pub struct Candidate<'c> {
    /// Where.
    pub repository: &'c RepositoryName,
    /// What.
    pub digest: &'c Digest,
    /// Its bytes.
    pub bytes: &'c [u8],
    /// As it was read.
    pub manifest: &'c Manifest,
    /// As what; none: only by its digest.
    pub tags: &'c [Tag],
    /// The registry as it is without it.
    pub registry: &'c Registry,
}

impl Candidate<'_> {
    /// A blob that the manifest names, of at most `most` bytes; none: it has more, or is not one of the manifest's.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub async fn blob(&self, digest: &Digest, most: u64) -> Result<Option<Bytes>, RegistryError> {
        if !self
            .manifest
            .blobs
            .iter()
            .any(|(named, size)| named == digest && *size <= most)
        {
            return Ok(None);
        }
        self.registry.content(self.repository, digest, most).await
    }
}

/// Decides what may be published.
///
/// Asked when the manifest is well formed and everything that it names is there, and before anything of it is visible. If something
/// else is published in the repository before the decision takes effect, it is asked again: what it saw is what the publication
/// adds to. It may be slow; it holds up nobody else.
#[async_trait]
pub trait Gate: std::fmt::Debug + Send + Sync + 'static {
    /// Whether this may be published.
    async fn admit(&self, candidate: Candidate<'_>) -> Result<(), Refusal>;
}

/// Why a manifest was not published.
#[derive(Debug)]
pub(crate) enum PublishError {
    Registry(RegistryError),
    Missing(Vec<Digest>),
    SizeDiffers { digest: Digest, said: u64, is: u64 },
    Released { tag: Tag, digest: Digest },
    Refused(Refusal),
    Busy,
}

impl From<RegistryError> for PublishError {
    fn from(error: RegistryError) -> Self {
        Self::Registry(error)
    }
}

impl Registry {
    /// Publishes a manifest, with all its tags or not at all.
    pub(crate) async fn publish(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        bytes: &[u8],
        manifest: &Manifest,
        tags: &[Tag],
        gate: Option<&dyn Gate>,
    ) -> Result<(), PublishError> {
        for _ in 0..DECISIONS {
            let mut revision = None;
            if let Some(gate) = gate {
                revision = Some(self.store().revision(repository).await?.unwrap_or(0));
                let missing = self.store().missing(repository, manifest).await?;
                if !missing.is_empty() {
                    return Err(PublishError::Missing(missing));
                }
                let candidate = Candidate {
                    repository,
                    digest,
                    bytes,
                    manifest,
                    tags,
                    registry: self,
                };
                gate.admit(candidate).await.map_err(PublishError::Refused)?;
            }
            let new = NewManifest {
                repository,
                digest,
                bytes,
                manifest,
                tags,
                revision,
            };
            return match self.store().publish(new, self.now()).await? {
                Published::Done => Ok(()),
                Published::Missing(digests) => Err(PublishError::Missing(digests)),
                Published::SizeDiffers { digest, said, is } => {
                    Err(PublishError::SizeDiffers { digest, said, is })
                }
                Published::Released { tag, digest } => Err(PublishError::Released { tag, digest }),
                Published::Changed => continue,
            };
        }
        Err(PublishError::Busy)
    }
}
