//! The storage of a release that is only tried: what the connection's holds, with writes that nobody sees and that are forgotten.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use stecker_sandbox::{Condition, Quota, Storage, StorageError, StoredEntry};
use stecker_store::KvEntry;

/// See the module.
#[derive(Debug)]
pub(crate) struct Scratch(Mutex<BTreeMap<String, StoredEntry>>);

impl Scratch {
    pub(crate) fn new(entries: Vec<(String, KvEntry)>) -> Self {
        let entries = entries.into_iter().map(|(key, entry)| {
            let stored = StoredEntry {
                value: entry.value,
                version: entry.version,
            };
            (key, stored)
        });
        Self(Mutex::new(entries.collect()))
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<String, StoredEntry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn check(when: Condition, current: Option<u64>) -> Result<(), StorageError> {
    let holds = match when {
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

#[async_trait]
impl Storage for Scratch {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.entries().get(key).cloned())
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        when: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        let mut entries = self.entries();
        let current = entries.get(key).map(|entry| entry.version);
        check(when, current)?;
        let others = entries.iter().filter(|(other, _)| *other != key);
        let (mut keys, mut needed) = (1, (key.len() + value.len()) as u64);
        for (other, entry) in others {
            keys += 1;
            needed += (other.len() + entry.value.len()) as u64;
        }
        if keys > quota.max_keys {
            return Err(StorageError::Keys {
                needed: keys,
                max: quota.max_keys,
            });
        }
        if needed > quota.max_bytes {
            return Err(StorageError::Quota {
                needed,
                max: quota.max_bytes,
            });
        }
        let version = current.unwrap_or(0) + 1;
        entries.insert(key.to_owned(), StoredEntry { value, version });
        Ok(version)
    }

    async fn delete(&self, key: &str, when: Condition) -> Result<bool, StorageError> {
        let mut entries = self.entries();
        check(when, entries.get(key).map(|entry| entry.version))?;
        Ok(entries.remove(key).is_some())
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        let entries = self.entries();
        let keys = entries
            .keys()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after));
        Ok(keys.take(limit as usize).cloned().collect())
    }
}
