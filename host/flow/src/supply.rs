//! What the sandbox asks for from outside: storage and somebody to tell, filled from the store. Secrets have a file of their own.

use async_trait::async_trait;
use stecker_model::Name;
use stecker_sandbox::{Condition, Denial, LogLevel, Observer, Storage, StorageError, StoredEntry};
use stecker_store::{KvCondition, Store, StoreError};

/// Passes what guests log, and what they are refused, on to the host's log, with the connection's name.
pub(crate) struct ConnectionLog {
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
}

impl Observer for ConnectionLog {
    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let Self { tenant, connection } = self;
        match level {
            LogLevel::Trace => tracing::trace!(target: "guest", %tenant, %connection, ?fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target: "guest", %tenant, %connection, ?fields, "{message}"),
            LogLevel::Info => tracing::info!(target: "guest", %tenant, %connection, ?fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "guest", %tenant, %connection, ?fields, "{message}"),
            LogLevel::Error => tracing::error!(target: "guest", %tenant, %connection, ?fields, "{message}"),
        }
    }

    fn denied(&self, denial: &Denial) {
        let Self { tenant, connection } = self;
        tracing::warn!(%tenant, %connection, rule = denial.rule, asked = denial.asked, grant = denial.smallest_grant, "denied");
    }
}

/// The key/value store of one connection.
pub(crate) struct StoreStorage {
    pub(crate) store: Store,
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    /// Keys and values together.
    pub(crate) max_bytes: u64,
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

    async fn put(&self, key: &str, value: Vec<u8>, when: Condition) -> Result<u64, StorageError> {
        self.store
            .kv_put(
                &self.tenant,
                &self.connection,
                key,
                &value,
                condition(when),
                self.max_bytes,
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
