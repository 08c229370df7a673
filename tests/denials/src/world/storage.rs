//! The store of every connection in a world, in memory: with the same keys in all of them, as it is in a database.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use async_trait::async_trait;
use stecker_model::Name;
use stecker_sandbox::{Condition, Quota, Storage, StorageError, StoredEntry};

type Space = BTreeMap<String, StoredEntry>;

#[derive(Debug, Default)]
pub(crate) struct MemoryStorage(Mutex<BTreeMap<(Name, Name), Space>>);

impl MemoryStorage {
    fn with<T>(&self, of: &(Name, Name), f: impl FnOnce(&mut Space) -> T) -> T {
        let mut spaces = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f(spaces.entry(of.clone()).or_default())
    }

    pub(crate) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    pub(crate) fn put(&self, of: &(Name, Name), key: &str, value: &str) {
        let entry = StoredEntry {
            value: value.as_bytes().to_vec(),
            version: 1,
        };
        self.with(of, |space| space.insert(key.to_owned(), entry));
    }

    /// Key and value of all that a connection has, in order.
    pub(crate) fn all(&self, of: &(Name, Name)) -> Vec<(String, Vec<u8>)> {
        let entry = |(key, entry): (&String, &StoredEntry)| (key.clone(), entry.value.clone());
        self.with(of, |space| space.iter().map(entry).collect())
    }

    pub(crate) fn of(self: &Arc<Self>, of: &(Name, Name), max_bytes: u64) -> Namespace {
        Namespace {
            storage: Arc::clone(self),
            of: of.clone(),
            max_bytes,
        }
    }
}

/// What one connection sees of it.
pub(crate) struct Namespace {
    storage: Arc<MemoryStorage>,
    of: (Name, Name),
    max_bytes: u64,
}

fn meets(current: Option<&StoredEntry>, condition: Condition) -> Result<(), StorageError> {
    let current = current.map(|entry| entry.version);
    let holds = match condition {
        Condition::Always => true,
        Condition::Absent => current.is_none(),
        Condition::Version(version) => current == Some(version),
    };
    if holds {
        Ok(())
    } else {
        Err(StorageError::Conflict { current })
    }
}

fn size(key: &str, value: &[u8]) -> u64 {
    u64::try_from(key.len() + value.len()).unwrap_or(u64::MAX)
}

#[async_trait]
impl Storage for Namespace {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.storage.with(&self.of, |space| space.get(key).cloned()))
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        self.storage.with(&self.of, |space| {
            meets(space.get(key), condition)?;
            let others = space.iter().filter(|(other, _)| *other != key);
            let needed = others.map(|(key, entry)| size(key, &entry.value)).sum::<u64>() + size(key, &value);
            let max = quota.max_bytes.min(self.max_bytes);
            if needed > max {
                return Err(StorageError::Quota { needed, max });
            }
            let keys = u64::try_from(space.len()).unwrap_or(u64::MAX);
            if !space.contains_key(key) && keys >= quota.max_keys {
                return Err(StorageError::Keys {
                    needed: keys.saturating_add(1),
                    max: quota.max_keys,
                });
            }
            let version = space.get(key).map_or(1, |entry| entry.version + 1);
            space.insert(key.to_owned(), StoredEntry { value, version });
            Ok(version)
        })
    }

    async fn delete(&self, key: &str, condition: Condition) -> Result<bool, StorageError> {
        self.storage.with(&self.of, |space| {
            meets(space.get(key), condition)?;
            Ok(space.remove(key).is_some())
        })
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        Ok(self.storage.with(&self.of, |space| {
            let keys = space.keys().filter(|key| key.starts_with(prefix));
            let keys = keys.filter(|key| after.is_none_or(|after| key.as_str() > after));
            keys.take(limit).cloned().collect()
        }))
    }
}
