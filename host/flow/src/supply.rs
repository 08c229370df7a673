//! What the sandbox asks for from outside: storage, filled from the store. Secrets and the observer have files of their own.

use async_trait::async_trait;
use stecker_model::Name;
use stecker_sandbox::{Condition, Quota, Storage, StorageError, StoredEntry};
use stecker_store::{KvCondition, KvQuota, Store, StoreError};

/// The key/value store of one connection.
pub(crate) struct StoreStorage {
    pub(crate) store: Store,
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
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
            .kv_put(
                &self.tenant,
                &self.connection,
                key,
                &value,
                condition(when),
                quota,
            )
            .await
            .map_err(storage_error)
    }

    async fn delete(&self, key: &str, when: Condition) -> Result<bool, StorageError> {
        self.store
            .kv_delete(&self.tenant, &self.connection, key, condition(when))
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
