//! Pulling blobs. Nothing that is damaged is served as good: a whole blob is hashed while it is sent, and its last bytes wait for the
//! outcome, so that a damaged one ends in an error and never in a complete answer; a part is sent only of a blob that was read to
//! its end and found good within the last minutes.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream, stream::BoxStream};

use crate::{
    blobs::PIECE,
    digest::{Digest, Hasher},
    error::RegistryError,
    name::RepositoryName,
    registry::Registry,
    store::StoredBlob,
};

/// How long a blob that was found good is not read again for a part of it, in milliseconds.
const TRUSTED: i64 = 5 * 60 * 1000;
/// How many such are remembered.
const REMEMBERED: usize = 4096;

type Content = BoxStream<'static, Result<Bytes, RegistryError>>;

impl Registry {
    /// A blob of a repository, checked, if it has at most `most` bytes; none: it has more, or is not there.
    ///
    /// # Errors
    /// It is damaged, or cannot be read.
    pub async fn content(
        &self,
        repository: &RepositoryName,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, RegistryError> {
        let blob = self.store().blob(repository, digest).await?;
        let Some(blob) = blob.filter(|blob| blob.size <= most) else {
            return Ok(None);
        };
        let chunks: Vec<Bytes> = self.whole(&blob).await?.try_collect().await?;
        Ok(Some(chunks.concat().into()))
    }

    /// The whole of a blob. One of up to a piece was checked when this returns.
    pub(crate) async fn whole(&self, blob: &StoredBlob) -> Result<Content, RegistryError> {
        let source = match self.blobs().read(&blob.place).await {
            Ok(source) => source,
            Err(RegistryError::Blobs {
                source: object_store::Error::NotFound { .. },
            }) => return Err(self.set_aside(blob, "the object is not there").await),
            Err(error) => return Err(error),
        };
        let checked = Checked {
            registry: self.clone(),
            blob: blob.clone(),
            source: source.map_err(RegistryError::from).boxed(),
            hasher: Some(Hasher::new(blob.digest.algorithm())),
            held: Bytes::new(),
            received: 0,
        };
        let content = stream::try_unfold(checked, Checked::next).boxed();
        if blob.size <= PIECE as u64 {
            let chunks: Vec<Bytes> = content.try_collect().await?;
            return Ok(stream::iter(chunks.into_iter().map(Ok)).boxed());
        }
        Ok(content)
    }

    /// The bytes of a blob from `start` to before `end`.
    pub(crate) async fn part(
        &self,
        blob: &StoredBlob,
        start: u64,
        end: u64,
    ) -> Result<Content, RegistryError> {
        let now = self.now();
        let fresh = self
            .lock_verified()
            .get(&blob.object)
            .is_some_and(|at| now - at < TRUSTED);
        if !fresh {
            match self.blobs().inspect(&blob.place, &blob.digest).await? {
                None => return Err(self.set_aside(blob, "the object is not there").await),
                Some((digest, size)) => self.compare(blob, &digest, size).await?,
            }
        }
        let source = self.blobs().read_part(&blob.place, start, end).await?;
        Ok(source.map_err(RegistryError::from).boxed())
    }

    async fn compare(&self, blob: &StoredBlob, digest: &Digest, size: u64) -> Result<(), RegistryError> {
        if *digest == blob.digest && size == blob.size {
            let now = self.now();
            let mut verified = self.lock_verified();
            if verified.len() >= REMEMBERED {
                verified.retain(|_, at| now - *at < TRUSTED);
            }
            if verified.len() < REMEMBERED {
                verified.insert(blob.object.clone(), now);
            }
            return Ok(());
        }
        let what = format!("{size} bytes that are {digest}, instead of {} bytes", blob.size);
        Err(self.set_aside(blob, &what).await)
    }

    /// Sets a damaged blob aside, and says so.
    async fn set_aside(&self, blob: &StoredBlob, what: &str) -> RegistryError {
        self.lock_verified().remove(&blob.object);
        if let Err(error) = self.store().set_aside(&blob.object, what, self.now()).await {
            return error;
        }
        tracing::error!(digest = %blob.digest, place = blob.place, what, "a stored blob is damaged and was set aside");
        RegistryError::Corrupt {
            digest: blob.digest.to_string(),
            what: what.to_owned(),
        }
    }
}

/// A blob on its way out.
struct Checked {
    registry: Registry,
    blob: StoredBlob,
    source: Content,
    /// None: everything was handed on.
    hasher: Option<Hasher>,
    /// The last bytes that came, which are not handed on before more come or the digest is known.
    held: Bytes,
    received: u64,
}

impl Checked {
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, RegistryError> {
        let Some(mut hasher) = self.hasher.take() else {
            return Ok(None);
        };
        loop {
            if let Some(bytes) = self.source.try_next().await? {
                hasher.update(&bytes);
                self.received += bytes.len() as u64;
                if self.received > self.blob.size {
                    // More would be sent than was announced.
                    let what = format!("more than {} bytes", self.blob.size);
                    return Err(self.registry.set_aside(&self.blob, &what).await);
                }
                let before = std::mem::replace(&mut self.held, bytes);
                if before.is_empty() {
                    continue;
                }
                self.hasher = Some(hasher);
                return Ok(Some((before, self)));
            }
            self.registry
                .compare(&self.blob, &hasher.finish(), self.received)
                .await?;
            let last = std::mem::take(&mut self.held);
            return Ok((!last.is_empty()).then_some((last, self)));
        }
    }
}
