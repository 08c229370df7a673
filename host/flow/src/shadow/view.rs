//! A connection's storage for a call that is played again: what is there is read from a copy, what is written stays here.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use stecker_sandbox::{Condition, Quota, Storage, StorageError, StoredEntry};
use stecker_store::KvEntry;

pub(super) type Snapshot = Arc<BTreeMap<String, StoredEntry>>;

/// Writes over a snapshot.
pub(crate) struct View {
    below: Snapshot,
    /// None: removed.
    written: Mutex<BTreeMap<String, Option<StoredEntry>>>,
}

impl View {
    pub(super) fn of(below: &Snapshot) -> Self {
        Self {
            below: Arc::clone(below),
            written: Mutex::default(),
        }
    }

    /// Over what the store holds.
    pub(crate) fn of_entries(entries: BTreeMap<String, KvEntry>) -> Self {
        let stored = entries.into_iter().map(|(key, entry)| {
            let entry = StoredEntry {
                value: entry.value,
                version: entry.version,
            };
            (key, entry)
        });
        Self::of(&Arc::new(stored.collect()))
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<String, Option<StoredEntry>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The keys that were written, each with what it holds now; none: nothing.
    pub(super) fn changes(&self) -> BTreeMap<String, Option<Vec<u8>>> {
        let written = self.written();
        let value = |entry: &Option<StoredEntry>| entry.as_ref().map(|entry| entry.value.clone());
        written
            .iter()
            .map(|(key, entry)| (key.clone(), value(entry)))
            .collect()
    }

    fn now<'a>(
        &'a self,
        written: &'a BTreeMap<String, Option<StoredEntry>>,
        key: &str,
    ) -> Option<&'a StoredEntry> {
        match written.get(key) {
            Some(entry) => entry.as_ref(),
            None => self.below.get(key),
        }
    }

    fn all<'a>(
        &'a self,
        written: &'a BTreeMap<String, Option<StoredEntry>>,
    ) -> BTreeMap<&'a str, &'a StoredEntry> {
        let mut all: BTreeMap<_, _> = self
            .below
            .iter()
            .map(|(key, entry)| (key.as_str(), entry))
            .collect();
        for (key, entry) in written {
            match entry {
                Some(entry) => all.insert(key, entry),
                None => all.remove(key.as_str()),
            };
        }
        all
    }
}

fn holds(condition: Condition, entry: Option<&StoredEntry>) -> Result<(), StorageError> {
    let current = entry.map(|entry| entry.version);
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
impl Storage for View {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.now(&self.written(), key).cloned())
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        let mut written = self.written();
        let version = {
            let before = self.now(&written, key);
            holds(condition, before)?;
            let old = before.map_or(0, |entry| size(key, &entry.value));
            let all = self.all(&written);
            let used: u64 = all.iter().map(|(key, entry)| size(key, &entry.value)).sum();
            let (needed, new) = (used - old + size(key, &value), size(key, &value));
            if needed > quota.max_bytes && new > old {
                return Err(StorageError::Quota {
                    needed,
                    max: quota.max_bytes,
                });
            }
            let keys = u64::try_from(all.len()).unwrap_or(u64::MAX) + u64::from(before.is_none());
            if keys > quota.max_keys && before.is_none() {
                return Err(StorageError::Keys {
                    needed: keys,
                    max: quota.max_keys,
                });
            }
            before.map_or(0, |entry| entry.version) + 1
        };
        written.insert(key.to_owned(), Some(StoredEntry { value, version }));
        Ok(version)
    }

    async fn delete(&self, key: &str, condition: Condition) -> Result<bool, StorageError> {
        let mut written = self.written();
        let before = self.now(&written, key);
        holds(condition, before)?;
        let was_there = before.is_some();
        if was_there {
            written.insert(key.to_owned(), None);
        }
        Ok(was_there)
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        let written = self.written();
        let all = self.all(&written);
        Ok(all
            .keys()
            .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| **key > after))
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|key| (*key).to_owned())
            .collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Quota = Quota {
        max_bytes: 100,
        max_keys: 3,
    };

    fn snapshot() -> Snapshot {
        let entry = |value: &[u8]| StoredEntry {
            value: value.to_vec(),
            version: 4,
        };
        Arc::new(BTreeMap::from([
            ("a".to_owned(), entry(b"1")),
            ("b".to_owned(), entry(b"2")),
        ]))
    }

    #[tokio::test]
    async fn what_is_written_is_seen_here_and_nowhere_else() {
        let below = snapshot();
        let (view, other) = (View::of(&below), View::of(&below));
        assert_eq!(
            view.put("a", b"9".to_vec(), Condition::Version(4), ROOM).await,
            Ok(5)
        );
        assert_eq!(view.delete("b", Condition::Always).await, Ok(true));
        assert_eq!(view.put("c", b"3".to_vec(), Condition::Absent, ROOM).await, Ok(1));
        assert_eq!(view.get("a").await.unwrap().unwrap().value, b"9");
        assert_eq!(view.get("b").await, Ok(None));
        assert_eq!(view.list_keys("", None, 10).await.unwrap(), ["a", "c"]);
        assert_eq!(other.list_keys("", Some("a"), 10).await.unwrap(), ["b"]);
        assert_eq!(other.get("a").await.unwrap().unwrap().value, b"1");
        let changes = view.changes();
        assert_eq!(changes.keys().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(changes["b"], None);
    }

    #[tokio::test]
    async fn conditions_and_bounds_hold_as_they_do_in_the_store() {
        let view = View::of(&snapshot());
        let conflict = view.put("a", Vec::new(), Condition::Version(1), ROOM).await;
        assert_eq!(conflict, Err(StorageError::Conflict { current: Some(4) }));
        let quota = view.put("c", vec![0; 200], Condition::Always, ROOM).await;
        assert!(matches!(quota, Err(StorageError::Quota { .. })), "{quota:?}");
        view.put("c", Vec::new(), Condition::Always, ROOM).await.unwrap();
        let keys = view.put("d", Vec::new(), Condition::Always, ROOM).await;
        assert_eq!(keys, Err(StorageError::Keys { needed: 4, max: 3 }));
    }
}
