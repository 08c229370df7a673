//! What a session has besides the upstream: secrets made up for the run, a storage in memory, and somebody who counts what is denied.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use stecker_model::{HttpLimits, Instances, Limits, Name, Period, TenantLimits};
use stecker_registry::{Manifest, manifest::KeyEncoding};
use stecker_sandbox::{
    Binding, Condition, CredentialError, Credentials, Denial, LogLevel, MemoryBlobs, Observer, Quota, Secret, Storage,
    StorageError, StoredEntry,
};

/// Bytes of one answer; what the script calls huge is beyond.
const ANSWER: u64 = 2 << 20;

/// The binding of one session: everything is granted that the manifest asks for. None if the configuration does not fit its placeholders.
pub(super) fn binding(
    manifest: &Manifest,
    config: &Value,
    call: Duration,
    observer: Arc<Denied>,
) -> Option<Binding> {
    let grants = manifest.capabilities.as_grants(config).ok()?;
    // Nobody's: a tenant of that name has no connection, so nothing of anybody is used up or limited by it.
    let name: Name = "conformance-run".parse().ok()?;
    let millis = u64::try_from(call.as_millis()).unwrap_or(u64::MAX);
    let blobs = MemoryBlobs::default().of(&name, &name);
    Some(Binding {
        tenant: name.clone(),
        connection: name,
        config: config.to_string(),
        grants,
        limits: Limits {
            deadline: Period::from_millis(millis.max(1)),
            http: HttpLimits {
                per_second: 10_000,
                response_bytes: ANSWER,
                ..HttpLimits::default()
            },
            ..Limits::default()
        },
        http_bytes_today: 0,
        tenant_limits: TenantLimits::default(),
        instances: Instances::Fresh,
        credentials: Arc::new(MadeUp::of(manifest)),
        storage: Arc::new(Memory::default()),
        blobs,
        observer,
    })
}

/// Secrets that open nothing, in the form that each credential wants, different in every run.
struct MadeUp(BTreeMap<String, String>);

impl MadeUp {
    fn of(manifest: &Manifest) -> Self {
        // Hexadecimal digits in a multiple of four are also base64.
        let plain = || hex::encode(rand::random::<[u8; 24]>());
        let secrets = manifest.credentials.iter().map(|(name, credential)| {
            let secret = match credential.key {
                Some(KeyEncoding::StandardWebhooks) => format!("whsec_{}", plain()),
                _ => plain(),
            };
            (name.as_str().to_owned(), secret)
        });
        Self(secrets.collect())
    }
}

#[async_trait]
impl Credentials for MadeUp {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        let secret = self.0.get(name).ok_or_else(|| CredentialError::NotBound {
            name: name.to_owned(),
        })?;
        Ok(Secret::with_username("conformance".to_owned(), secret.clone()))
    }
}

/// The rules that denied something.
#[derive(Default)]
pub(super) struct Denied(Mutex<Vec<String>>);

impl Denied {
    const KEPT: usize = 20;

    /// What was denied since the last time.
    pub(super) fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Observer for Denied {
    /// What a plugin says to its operator is not looked at.
    fn log(&self, _: LogLevel, _: &str, _: &[(String, String)]) {}

    fn denied(&self, denial: &Denial) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < Self::KEPT {
            all.push(format!("{} by {}", denial.asked, denial.rule));
        }
    }
}

/// A key/value store that is gone with the session.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, StoredEntry>>);

impl Memory {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeMap<String, StoredEntry>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
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

fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

#[async_trait]
impl Storage for Memory {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.with(|all| all.get(key).cloned()))
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError> {
        self.with(|all| {
            holds(condition, all.get(key))?;
            let others = all.iter().filter(|(other, _)| other.as_str() != key);
            let (bytes, keys) = others.fold((0, 0), |(bytes, keys), (key, entry)| {
                (bytes + count(key.len() + entry.value.len()), keys + 1)
            });
            let (needed, keys) = (bytes + count(key.len() + value.len()), keys + 1);
            if needed > quota.max_bytes {
                return Err(StorageError::Quota {
                    needed,
                    max: quota.max_bytes,
                });
            }
            if keys > quota.max_keys {
                return Err(StorageError::Keys {
                    needed: keys,
                    max: quota.max_keys,
                });
            }
            let version = all.get(key).map_or(0, |entry| entry.version) + 1;
            all.insert(key.to_owned(), StoredEntry { value, version });
            Ok(version)
        })
    }

    async fn delete(&self, key: &str, condition: Condition) -> Result<bool, StorageError> {
        self.with(|all| {
            holds(condition, all.get(key))?;
            Ok(all.remove(key).is_some())
        })
    }

    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError> {
        Ok(self.with(|all| {
            all.keys()
                .filter(|key| key.starts_with(prefix) && after.is_none_or(|after| key.as_str() > after))
                .take(usize::try_from(limit).unwrap_or(usize::MAX))
                .cloned()
                .collect()
        }))
    }
}
