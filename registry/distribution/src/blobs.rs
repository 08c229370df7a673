//! Where blobs are kept: a folder, a bucket, memory. Objects are written once under a name that is never used again, whole or not at
//! all, and what is read is compared with its digest before its last byte is handed on.

use std::{fmt, path::Path as FilePath, sync::Arc};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream::BoxStream};
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutPayload, WriteMultipart, local::LocalFileSystem,
    memory::InMemory, path::Path,
};

use crate::{
    digest::{Digest, Hasher},
    error::RegistryError,
};

/// How much is held in memory of what is being pushed, in bytes; and how large the pieces are that survive a kill. S3 takes no
/// smaller parts than 5 MiB.
pub(crate) const PIECE: usize = 8 * 1024 * 1024;

/// Where blobs are kept.
#[derive(Clone)]
pub struct BlobStore {
    store: Arc<dyn ObjectStore>,
    /// What is written half by a process that is killed stays beside its final place here.
    local: Option<LocalFileSystem>,
}

impl fmt::Debug for BlobStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("BlobStore").field(&self.store.to_string()).finish()
    }
}

impl BlobStore {
    /// A folder, which is made if it is not there. What is written survives a loss of power.
    ///
    /// # Errors
    /// The folder cannot be made or entered.
    pub fn folder(path: &FilePath) -> Result<Self, RegistryError> {
        std::fs::create_dir_all(path).map_err(|source| object_store::Error::Generic {
            store: "LocalFileSystem",
            source: Box::new(source),
        })?;
        let local = LocalFileSystem::new_with_prefix(path)?.with_fsync(true);
        Ok(Self {
            store: Arc::new(local.clone()),
            local: Some(local),
        })
    }

    /// Memory, for tests: gone with the process.
    #[must_use]
    pub fn memory() -> Self {
        Self::object_store(Arc::new(InMemory::new()))
    }

    /// Any object store that reads what it wrote, such as a bucket of S3 (feature `aws`). Give the bucket a rule that ends multipart
    /// uploads which nobody completes, because a process that is killed cannot.
    #[must_use]
    pub fn object_store(store: Arc<dyn ObjectStore>) -> Self {
        Self { store, local: None }
    }

    /// Writes a small object.
    pub(crate) async fn put(&self, place: &str, content: Vec<Bytes>) -> Result<(), RegistryError> {
        self.store
            .put(&Path::from(place), PutPayload::from_iter(content))
            .await?;
        Ok(())
    }

    /// Begins an object of any size.
    pub(crate) async fn write(&self, place: &str) -> Result<Writing, RegistryError> {
        let upload = self.store.put_multipart(&Path::from(place)).await?;
        Ok(Writing(WriteMultipart::new_with_chunk_size(upload, PIECE)))
    }

    /// Reads an object, as it is there.
    pub(crate) async fn read(
        &self,
        place: &str,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, RegistryError> {
        Ok(self.store.get(&Path::from(place)).await?.into_stream())
    }

    /// Reads a part of an object, as it is there.
    pub(crate) async fn read_part(
        &self,
        place: &str,
        start: u64,
        end: u64,
    ) -> Result<BoxStream<'static, object_store::Result<Bytes>>, RegistryError> {
        let options = GetOptions {
            range: Some(GetRange::Bounded(start..end)),
            ..GetOptions::default()
        };
        Ok(self
            .store
            .get_opts(&Path::from(place), options)
            .await?
            .into_stream())
    }

    /// Deletes an object, and what a killed process left of it. One that is not there is fine.
    pub(crate) async fn delete(&self, place: &str) -> Result<(), RegistryError> {
        let path = Path::from(place);
        match self.store.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(local) = &self.local {
            let file = local.path_to_filesystem(&path)?;
            // How `LocalFileSystem` names what it has not finished.
            let staged = format!("{}#1", file.display());
            match tokio::fs::remove_file(staged).await {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => {
                    return Err(object_store::Error::Generic {
                        store: "LocalFileSystem",
                        source: Box::new(error),
                    }
                    .into());
                }
            }
        }
        Ok(())
    }

    /// Everything that is there: place by place.
    pub(crate) fn list(&self) -> BoxStream<'static, Result<String, RegistryError>> {
        self.store
            .list(None)
            .map_ok(|meta| meta.location.to_string())
            .map_err(RegistryError::from)
            .boxed()
    }

    /// Reads an object to its end and says what it is; none: it is not there.
    pub(crate) async fn inspect(
        &self,
        place: &str,
        digest: &Digest,
    ) -> Result<Option<(Digest, u64)>, RegistryError> {
        let mut stream = match self.read(place).await {
            Ok(stream) => stream,
            Err(RegistryError::Blobs {
                source: object_store::Error::NotFound { .. },
            }) => return Ok(None),
            Err(error) => return Err(error),
        };
        let (mut hasher, mut size) = (Hasher::new(digest.algorithm()), 0);
        while let Some(bytes) = stream.try_next().await? {
            size += bytes.len() as u64;
            hasher.update(&bytes);
        }
        Ok(Some((hasher.finish(), size)))
    }
}

/// An object that is being written. Dropped before it is finished, nothing of it is ever visible.
pub(crate) struct Writing(WriteMultipart);

impl Writing {
    pub(crate) async fn add(&mut self, bytes: Bytes) -> Result<(), RegistryError> {
        // One piece on its way, one being filled.
        self.0.wait_for_capacity(1).await?;
        self.0.put(bytes);
        Ok(())
    }

    pub(crate) async fn finish(self) -> Result<(), RegistryError> {
        self.0.finish().await?;
        Ok(())
    }

    pub(crate) async fn abort(self) -> Result<(), RegistryError> {
        self.0.abort().await?;
        Ok(())
    }
}
