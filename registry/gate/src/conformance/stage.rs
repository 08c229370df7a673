//! What a session has besides the upstream: secrets made up for the run, a storage in memory, and somebody who counts what is denied.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use stecker_model::{Grants, HttpGrant, HttpLimits, Instances, Limits, Name, Period, TenantLimits};
use stecker_registry::{Manifest, manifest::KeyEncoding};
use stecker_sandbox::{
    Binding, Condition, CredentialError, Credentials, Denial, KeptTokens, LogLevel, MemoryBlobs, Observer,
    Quota, Secret, Storage, StorageError, StoredEntry, TokenLease, Tokens, refresh_token_only,
};
use url::Url;

/// Bytes of one answer; what the script calls huge is beyond.
const ANSWER: u64 = 2 << 20;

/// The binding of one session: everything is granted that the manifest asks for. None if the configuration does not fit its placeholders.
pub(super) fn binding(
    manifest: &Manifest,
    config: &Value,
    call: Duration,
    observer: Arc<Denied>,
) -> Option<Binding> {
    let mut grants = manifest.capabilities.as_grants(config).ok()?;
    grant_tokens(manifest, config, &mut grants);
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

/// Where tokens come from is granted by itself: the guest does not get there by it.
fn grant_tokens(manifest: &Manifest, config: &Value, grants: &mut Grants) {
    let settings = manifest.credentials.values().filter_map(|one| one.oauth.as_ref());
    let urls = settings.filter_map(|oauth| oauth.token_url.resolve(config).ok());
    grants.http.extend(urls.filter_map(|url: Url| {
        let host = url.host_str()?;
        Some(HttpGrant {
            host: url
                .port()
                .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")),
            schemes: vec![url.scheme().to_owned()],
            methods: vec!["POST".to_owned()],
            ..HttpGrant::default()
        })
    }));
}

/// Secrets that open nothing, in the form that each credential wants, different in every run.
struct MadeUp {
    secrets: BTreeMap<String, String>,
    /// Of the kinds that a person authorized, or brought a refresh token for, before: every run begins after that.
    tokens: Mutex<BTreeMap<String, KeptTokens>>,
}

impl MadeUp {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, KeptTokens>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }

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
        let secrets: BTreeMap<_, _> = secrets.collect();
        let kept = |secret: &String| KeptTokens {
            bytes: refresh_token_only(secret),
            version: 1,
        };
        let tokens = secrets.iter().map(|(name, secret)| (name.clone(), kept(secret)));
        Self {
            tokens: Mutex::new(tokens.collect()),
            secrets,
        }
    }
}

#[async_trait]
impl Credentials for MadeUp {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        let secret = self.secrets.get(name).ok_or_else(|| CredentialError::NotBound {
            name: name.to_owned(),
        })?;
        Ok(Secret::with_username("conformance".to_owned(), secret.clone()))
    }

    fn tokens(&self) -> Option<&dyn Tokens> {
        Some(self)
    }
}

#[async_trait]
impl Tokens for MadeUp {
    async fn load(&self, name: &str) -> Result<Option<KeptTokens>, CredentialError> {
        Ok(self.kept().get(name).cloned())
    }

    /// A session makes one call at a time, so nobody else ever wants it.
    async fn lease(&self, _: &str, _: Duration) -> Result<Option<TokenLease>, CredentialError> {
        Ok(Some(TokenLease(String::new())))
    }

    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        _: Option<i64>,
        version: u64,
    ) -> Result<u64, CredentialError> {
        let next = KeptTokens {
            bytes: bytes.to_vec().into(),
            version: version + 1,
        };
        self.kept().insert(name.to_owned(), next);
        Ok(version + 1)
    }

    async fn release(&self, _: &str, _: &TokenLease) -> Result<(), CredentialError> {
        Ok(())
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
