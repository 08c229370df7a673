//! What the sandbox asks for from outside: storage and blobs, filled from the store. Secrets and the observer have files of their own.

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use stecker_model::{Digest, Name};
use stecker_sandbox::{
    BlobError, BlobQuota, BlobStore, BlobStream, BlobWriter, Condition, Quota, Storage, StorageError,
    StoredEntry,
};
use stecker_store::{BlobFault, BlobRoom, BlobUpload, KvCondition, KvQuota, KvRoom, Store, StoreError};

/// The key/value store of one connection.
pub(crate) struct StoreStorage {
    pub(crate) store: Store,
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    /// The generation of the connection that the plugin is bound at; nothing is written for it any more once there is another.
    pub(crate) generation: i64,
}

impl StoreStorage {
    fn room(&self) -> KvRoom<'_> {
        KvRoom {
            tenant: &self.tenant,
            connection: &self.connection,
            generation: Some(self.generation),
        }
    }
}

fn condition(condition: Condition) -> KvCondition {
    match condition {
        Condition::Always => KvCondition::Always,
        Condition::Absent => KvCondition::Absent,
        Condition::Version(version) => KvCondition::Version(version),
    }
}

fn storage_error(error: StoreError) -> StorageError {
    match error {
        StoreError::KvConflict { current } => StorageError::Conflict { current },
        StoreError::KvQuota { needed, max, .. } => StorageError::Quota { needed, max },
        StoreError::KvKeys { needed, max } => StorageError::Keys { needed, max },
        other => StorageError::Unavailable {
            message: other.to_string(),
        },
    }
}

#[async_trait]
impl Storage for StoreStorage {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        let entry = self
            .store
            .kv_get(&self.tenant, &self.connection, key)
            .await
            .map_err(storage_error)?;
        Ok(entry.map(|entry| StoredEntry {
            value: entry.value,
            version: entry.version,
        }))
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        when: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        let quota = KvQuota {
            max_bytes: quota.max_bytes,
            max_keys: quota.max_keys,
        };
        self.store
            .kv_put(self.room(), key, &value, condition(when), quota)
            .await
            .map_err(storage_error)
    }

    async fn delete(&self, key: &str, when: Condition) -> Result<bool, StorageError> {
        self.store
            .kv_delete(self.room(), key, condition(when))
            .await
            .map_err(storage_error)
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        self.store
            .kv_list(&self.tenant, &self.connection, prefix, after, limit)
            .await
            .map_err(storage_error)
    }
}

/// The blobs of a tenant in a folder, as one connection has them: what a binding of the sandbox takes.
#[derive(Debug, Clone)]
pub struct FolderBlobs(pub BlobRoom);

/// One on its way in.
struct Upload(BlobUpload);

fn blob_error(fault: BlobFault) -> BlobError {
    match fault {
        BlobFault::NotFound { digest } => BlobError::NotFound { digest },
        BlobFault::Quota { needed, max } => BlobError::Quota { needed, max },
        // Where the host keeps its files is none of a guest's business.
        BlobFault::File { path, source } => {
            tracing::warn!(path = %path.display(), %source, "a blob's file failed");
            BlobError::Unavailable {
                message: source.kind().to_string(),
            }
        }
        other => BlobError::Unavailable {
            message: other.to_string(),
        },
    }
}

#[async_trait]
impl BlobStore for FolderBlobs {
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        self.0.size(digest).await.map_err(blob_error)
    }

    async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let pieces = self.0.read(digest, range).await.map_err(blob_error)?;
        Ok(pieces.map_err(blob_error).boxed())
    }

    async fn begin(&self, quota: BlobQuota) -> Result<Box<dyn BlobWriter>, BlobError> {
        let upload = self.0.begin(quota.max_bytes).await.map_err(blob_error)?;
        Ok(Box::new(Upload(upload)))
    }
}

#[async_trait]
impl BlobWriter for Upload {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.0.write(bytes).await.map_err(blob_error)
    }

    async fn finish(self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        self.0.finish(digest).await.map_err(blob_error)
    }
}
