//! Who calls a plugin, with what, and what the host gives it: made per connection by whoever embeds the sandbox.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use serde::Serialize;
use stecker_model::{Grants, Instances, Limits, Name, TenantLimits};
use zeroize::Zeroizing;

use crate::blob::BlobStore;

/// Everything about one connection (or one use of a transform) that calls need.
#[derive(Clone)]
pub struct Binding {
    /// Whose connection it is.
    pub tenant: Name,
    /// Which one.
    pub connection: Name,
    /// A JSON object, valid against the plugin's own schema. Never holds a secret.
    pub config: String,
    /// What the operator allows. What really counts is this, intersected with what the manifest asks for.
    pub grants: Grants,
    /// Bounds of each call. The manifest's wishes count where they are lower.
    pub limits: Limits,
    /// What the embedder knows to have gone over the network for this connection since midnight UTC (the sum of
    /// [`CallUsage::http_bytes`](stecker_model::CallUsage)). The sandbox counts on from this or from its own count, whichever is higher.
    pub http_bytes_today: u64,
    /// What the tenant may have in all, over all of its connections.
    pub tenant_limits: TenantLimits,
    /// Whether an instance serves one call or several.
    pub instances: Instances,
    /// The secrets behind the credentials that the manifest names.
    pub credentials: Arc<dyn Credentials>,
    /// This connection's key/value store.
    pub storage: Arc<dyn Storage>,
    /// The tenant's blobs, as this connection has them.
    pub blobs: Arc<dyn BlobStore>,
    /// Gets the guest's log lines, and what was refused to it.
    pub observer: Arc<dyn Observer>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Binding")
            .field("tenant", &self.tenant)
            .field("connection", &self.connection)
            .field("grants", &self.grants)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

/// When a write to the storage is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// In any case.
    Always,
    /// Only if the key is not there.
    Absent,
    /// Only if the key is at this version.
    Version(u64),
}

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredEntry {
    /// The value.
    pub value: Vec<u8>,
    /// From 1, up by one with every change of the key.
    pub version: u64,
}

/// Why the storage did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// The condition does not hold; nothing was changed.
    #[error("the key is at {}, so the condition does not hold", current.map_or("no version (it is not there)".to_owned(), |version| format!("version {version}")))]
    Conflict {
        /// The version it is at; none: it is not there.
        current: Option<u64>,
    },
    /// There is no room for it; nothing was changed.
    #[error("the write would take the storage to {needed} bytes, and {max} are granted")]
    Quota {
        /// Bytes of keys and values together, with the write.
        needed: u64,
        /// Bytes that are granted.
        max: u64,
    },
    /// There are too many keys for another one; nothing was changed.
    #[error("the write would take the storage to {needed} keys, and {max} are granted")]
    Keys {
        /// Keys, with the write.
        needed: u64,
        /// Keys that are granted.
        max: u64,
    },
    /// The storage cannot be reached or failed.
    #[error("the storage cannot be used right now: {message}")]
    Unavailable {
        /// What happened.
        message: String,
    },
}

/// How much a storage may hold: the least of what the manifest asks for, the operator grants and the tenant may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quota {
    /// Bytes of keys and values together.
    pub max_bytes: u64,
    /// Keys.
    pub max_keys: u64,
}

/// The key/value store of one connection. One object is one namespace: keys need no prefix. The sandbox says what the quota is; it is
/// enforced here, in the same transaction as the write, because only that is exact where calls run side by side.
#[async_trait]
pub trait Storage: Send + Sync {
    /// The value of a key (1 to 512 bytes).
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError>;

    /// Writes, and returns the new version. The value has at most 1 MiB. What makes the storage smaller is allowed even beyond the quota.
    ///
    /// # Errors
    /// [`StorageError`].
    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        quota: Quota,
    ) -> Result<u64, StorageError>;

    /// Removes; whether it was there.
    ///
    /// # Errors
    /// [`StorageError`], except for the quota.
    async fn delete(&self, key: &str, condition: Condition) -> Result<bool, StorageError>;

    /// Keys that begin with `prefix` and come after `after`, ascending bytewise, at most `limit` (1 to 1,000).
    ///
    /// # Errors
    /// [`StorageError::Unavailable`].
    async fn list_keys(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StorageError>;
}

/// A secret, wiped from memory when it is dropped. Cannot be printed.
#[derive(Clone)]
pub struct Secret {
    username: Option<String>,
    value: Zeroizing<String>,
}

impl Secret {
    /// A secret by itself: a token, a key.
    #[must_use]
    pub fn new(value: String) -> Self {
        Self {
            username: None,
            value: Zeroizing::new(value),
        }
    }

    /// A secret that goes with a user name, for HTTP Basic (RFC 7617).
    #[must_use]
    pub fn with_username(username: String, value: String) -> Self {
        Self {
            username: Some(username),
            value: Zeroizing::new(value),
        }
    }

    /// The user name.
    #[must_use]
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// The secret itself. Do not keep it longer than it is needed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.value
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Why there is no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The connection has none by this name.
    #[error("the connection has no secret for the credential `{name}`: add it under `credentials.{name}`")]
    NotBound {
        /// The credential.
        name: String,
    },
    /// There should be one, and it cannot be read.
    #[error("the secret of the credential `{name}` cannot be read: {message}")]
    Unavailable {
        /// The credential.
        name: String,
        /// Why not. Must not hold any part of the secret.
        message: String,
    },
    /// Somebody else changed the credential's tokens in the meantime.
    #[error("the tokens of the credential `{name}` were changed by somebody else in the meantime; try again")]
    Overtaken {
        /// The credential.
        name: String,
    },
}

/// The secrets of one connection, looked up at the moment of use.
#[async_trait]
pub trait Credentials: Send + Sync {
    /// The secret behind a credential of the manifest.
    ///
    /// # Errors
    /// [`CredentialError`] if there is none.
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError>;

    /// Every secret of the connection: also one that is not used has to stay out of answers. What cannot be read is left out, and this is
    /// no use of a secret that anybody counts.
    async fn all(&self) -> Vec<Secret> {
        Vec::new()
    }

    /// Where tokens are kept that the host gets for credentials of the OAuth kinds. None: they live in memory, for as long as the session
    /// does, and kinds that need a refresh token cannot be used.
    fn tokens(&self) -> Option<&dyn Tokens> {
        None
    }
}

/// What is kept of one credential's tokens: bytes that only this crate understands. They hold secrets, so whoever keeps them encrypts them.
#[derive(Clone)]
pub struct KeptTokens {
    /// The tokens.
    pub bytes: Zeroizing<Vec<u8>>,
    /// From 1, up by one with every change.
    pub version: u64,
}

impl fmt::Debug for KeptTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptTokens")
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

/// The right to refresh a credential's tokens, for a time. Whoever has it is the only one, over all nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TokenLease(pub String);

/// The tokens of one connection's credentials, shared by every node that serves the connection.
///
/// A refresh token that rotates (RFC 6749, section 6) can be used once: a second use makes careful servers revoke the whole grant. So a
/// refresh takes a lease, loads again, asks the server, and stores before it lets go; and [`Tokens::store`] compares versions, so that
/// even an overtaken holder cannot overwrite what came after.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// What is kept, if anything.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`].
    async fn load(&self, name: &str) -> Result<Option<KeptTokens>, CredentialError>;

    /// Takes the lease for `period`. None: somebody else has it now.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`].
    async fn lease(&self, name: &str, period: Duration) -> Result<Option<TokenLease>, CredentialError>;

    /// Replaces what was at `version` (0: nothing was there) and returns the new version. `expires_at` is when the access token ends, in
    /// milliseconds since 1970, for people who look at it.
    ///
    /// # Errors
    /// [`CredentialError::Overtaken`] if it is at another version; nothing was changed then.
    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        expires_at: Option<i64>,
        version: u64,
    ) -> Result<u64, CredentialError>;

    /// Gives the lease back. Nothing happens if it ran out and somebody else has it.
    ///
    /// # Errors
    /// [`CredentialError::Unavailable`].
    async fn release(&self, name: &str, lease: &TokenLease) -> Result<(), CredentialError>;
}

/// How much a log line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum LogLevel {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// Something that a guest asked for and did not get.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case")]
#[error(
    "{asked} was refused by the rule `{rule}` ({layer}).{}",
    advice(smallest_grant)
)]
pub struct Denial {
    /// The rule, short and stable, such as `http.host`.
    pub rule: String,
    /// Who said no: `manifest` (the plugin never asked for it), `grant` (the operator did not allow it), `ceiling` (the tenant may not have
    /// it) or `host` (never allowed).
    pub layer: String,
    /// What was asked for, for a person.
    pub asked: String,
    /// The least that would allow it, as TOML to paste: into the connection of a setup file for the layer `grant`, into plugin.toml for
    /// the layer `manifest`, into the tenant's limits for the layer `ceiling`. Empty if nothing would.
    pub smallest_grant: String,
}

fn advice(grant: &str) -> String {
    if grant.is_empty() {
        " No grant can allow it.".to_owned()
    } else {
        format!(" This would allow it:\n{grant}")
    }
}

/// Sees what guests say and what was refused to them. Called on async threads: it must not block.
pub trait Observer: Send + Sync {
    /// A line for the operator.
    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]);

    /// A refusal. The guest has got an error with the same content.
    fn denied(&self, denial: &Denial);
}

/// No storage: every use fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoStorage;

impl NoStorage {
    fn refuse<T>() -> Result<T, StorageError> {
        Err(StorageError::Unavailable {
            message: "this host keeps no storage for plugins".to_owned(),
        })
    }
}

#[async_trait]
impl Storage for NoStorage {
    async fn get(&self, _: &str) -> Result<Option<StoredEntry>, StorageError> {
        Self::refuse()
    }

    async fn put(&self, _: &str, _: Vec<u8>, _: Condition, _: Quota) -> Result<u64, StorageError> {
        Self::refuse()
    }

    async fn delete(&self, _: &str, _: Condition) -> Result<bool, StorageError> {
        Self::refuse()
    }

    async fn list_keys(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<String>, StorageError> {
        Self::refuse()
    }
}

/// No secrets at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoCredentials;

#[async_trait]
impl Credentials for NoCredentials {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        Err(CredentialError::NotBound {
            name: name.to_owned(),
        })
    }
}

/// Hands everything on to `tracing`.
#[derive(Debug, Clone, Copy, Default)]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        match level {
            LogLevel::Trace => tracing::trace!(?fields, "{message}"),
            LogLevel::Debug => tracing::debug!(?fields, "{message}"),
            LogLevel::Info => tracing::info!(?fields, "{message}"),
            LogLevel::Warn => tracing::warn!(?fields, "{message}"),
            LogLevel::Error => tracing::error!(?fields, "{message}"),
        }
    }

    fn denied(&self, denial: &Denial) {
        tracing::warn!(rule = denial.rule, layer = denial.layer, "{denial}");
    }
}
