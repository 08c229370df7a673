//! The vault: connections' secrets, and the tokens that the host got for them, encrypted in the database.
//!
//! Envelope encryption: every tenant has a data key of 32 random bytes; secrets are sealed with it (XChaCha20-Poly1305, a random nonce
//! each), and it is itself sealed with the master key, which is in a file or a variable and never in the database. So whoever has a copy of
//! the database has nothing; the master key can be changed by sealing a few data keys again; and a tenant's secrets are gone for good
//! when its data key is. What is sealed is bound to its place (tenant, connection, credential, part, version of the key): a row that is
//! moved elsewhere does not open.
//!
//! What this does not keep out: somebody who can write the database can bring back an older value of the same place.

mod error;
mod keys;
mod master;
mod rotate;
mod rows;
mod seal;
mod signing;
mod tapes;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use stecker_model::Name;
use zeroize::Zeroizing;

pub use error::VaultError;
pub use master::{InvalidMasterKey, MasterKey, MasterKeySource, MasterKeys};
pub use rotate::Rotated;
pub(crate) use signing::remove_signing;
pub use tapes::NewTape;

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, Sql, from_json, to_i64, to_json},
    tenants,
};
use error::{MAX_SECRET, MIN_SECRET};
use rows::{Part, Row, at, damaged};
use seal::DataKey;

/// Milliseconds. The last use of a secret is known that precisely, and a busy connection does not write all the time.
const USED_PRECISION: i64 = 60_000;

/// What a secret is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Place<'a> {
    /// The tenant.
    pub tenant: &'a Name,
    /// Its connection.
    pub connection: &'a Name,
    /// The credential, as the manifest names it.
    pub credential: &'a Name,
}

/// A secret as an operator set it.
#[derive(Clone)]
pub struct VaultSecret {
    /// The user name or client id that goes with it.
    pub username: Option<String>,
    /// The secret, 8 bytes to 16 KiB.
    pub value: Zeroizing<String>,
}

impl std::fmt::Debug for VaultSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultSecret(…)")
    }
}

/// A secret as everybody may see it. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VaultEntry {
    /// Of which connection.
    pub connection: Name,
    /// For which of its credentials.
    pub credential: Name,
    /// When the secret was set; none if there are only tokens.
    pub set_at: Option<i64>,
    /// When it was used last, to the minute.
    pub used_at: Option<i64>,
    /// When tokens were stored last.
    pub tokens_at: Option<i64>,
    /// When the access token ends.
    pub expires_at: Option<i64>,
}

/// Tokens as they are kept; what is in them is their owner's business.
#[derive(Clone)]
pub struct VaultTokens {
    /// The tokens.
    pub bytes: Zeroizing<Vec<u8>>,
    /// From 1, up by one with every change.
    pub version: u64,
}

/// The vault of a store. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    store: Store,
    shared: Arc<Shared>,
}

/// What every clone of a store's vault shares.
pub(crate) struct Shared {
    source: Arc<dyn MasterKeySource>,
    master: Mutex<Option<MasterKeys>>,
    data_keys: Mutex<HashMap<(Name, i64), Arc<DataKey>>>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

impl Store {
    /// Says where the master key comes from. It is not looked for before the first secret is. Only the first call counts.
    #[must_use]
    pub fn with_master_key(self, source: Arc<dyn MasterKeySource>) -> Self {
        self.inner.vault.get_or_init(|| {
            Arc::new(Shared {
                source,
                master: Mutex::default(),
                data_keys: Mutex::default(),
            })
        });
        self
    }

    /// The vault.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] if this store was never told where its master key comes from.
    pub fn vault(&self) -> Result<Vault, VaultError> {
        let shared = self.inner.vault.get().ok_or_else(|| VaultError::MasterKey {
            what: "this host was started without one, so it has no vault".to_owned(),
        })?;
        Ok(Vault {
            store: self.clone(),
            shared: Arc::clone(shared),
        })
    }
}

/// What is sealed of a secret.
#[derive(serde::Serialize, serde::Deserialize)]
struct Plain {
    username: Option<String>,
    value: String,
}

impl Drop for Plain {
    fn drop(&mut self) {
        zeroize::Zeroize::zeroize(&mut self.value);
    }
}

impl Vault {
    /// Sets a secret, or replaces it.
    ///
    /// # Errors
    /// [`VaultError::Length`], a master key that is missing or wrong, an unknown tenant, or the database fails.
    pub async fn set(
        &self,
        place: Place<'_>,
        secret: &VaultSecret,
        actor: &str,
        now: i64,
    ) -> Result<(), VaultError> {
        let len = secret.value.len();
        if !(MIN_SECRET..=MAX_SECRET).contains(&len) {
            return Err(VaultError::Length { len });
        }
        let plain = Plain {
            username: secret.username.clone(),
            value: secret.value.to_string(),
        };
        let bytes = Zeroizing::new(to_json(&plain)?.into_bytes());
        let mut tx = self.store.begin_tx().await?;
        tenants::require(&mut tx, place.tenant, "").await?;
        let version = self
            .stored(&mut tx, place, Part::Secret)
            .await?
            .map_or(0, |row| row.version);
        let put = self
            .put(&mut tx, place, Part::Secret, &bytes, version + 1, None, now)
            .await?;
        if !put {
            return Err(StoreError::conflict(
                "somebody else set this secret at the same moment; set it again",
            )
            .into());
        }
        audit::write(&mut tx, place.tenant, &entry(place, "secret.set", actor, now)).await?;
        Ok(tx.commit().await.map_err(StoreError::from)?)
    }

    /// A secret, if it was set. Writes down that it was used, to the minute.
    ///
    /// # Errors
    /// A master key that is missing or wrong, a row that was tampered with, or the database fails.
    pub async fn secret(&self, place: Place<'_>, now: i64) -> Result<Option<VaultSecret>, VaultError> {
        let Some((secret, row)) = self.read(place).await? else {
            return Ok(None);
        };
        if row.used_at.is_none_or(|used| now - used >= USED_PRECISION)
            && let Err(error) = self.used(place, now).await
        {
            // Of no use to whoever needs the secret now.
            tracing::warn!(%error, connection = %place.connection, credential = %place.credential, "the use of a secret is not written down");
        }
        Ok(Some(secret))
    }

    /// As [`Vault::secret`], but nobody uses it: nothing is written down.
    ///
    /// # Errors
    /// As [`Vault::secret`].
    pub async fn peek(&self, place: Place<'_>) -> Result<Option<VaultSecret>, VaultError> {
        Ok(self.read(place).await?.map(|(secret, _)| secret))
    }

    async fn read(&self, place: Place<'_>) -> Result<Option<(VaultSecret, Row)>, VaultError> {
        let Some((bytes, row)) = self.open(place, Part::Secret).await? else {
            return Ok(None);
        };
        let text = std::str::from_utf8(&bytes).unwrap_or_default();
        let mut plain: Plain = from_json("sealed", text).map_err(|_| damaged(place, Part::Secret))?;
        let secret = VaultSecret {
            username: plain.username.take(),
            value: Zeroizing::new(std::mem::take(&mut plain.value)),
        };
        Ok(Some((secret, row)))
    }

    async fn used(&self, place: Place<'_>, now: i64) -> Result<(), StoreError> {
        let mut tx = self.store.begin_tx().await?;
        let mut sql = Sql::new("UPDATE vault SET used_at = ");
        sql.bind(now).push(" WHERE ");
        at(&mut sql, place);
        sql.push(" AND part = 'secret'");
        sql.query(tx.backend())?.execute(&mut *tx).await?;
        Ok(tx.commit().await?)
    }

    /// Removes a secret and its tokens; whether there was anything.
    ///
    /// # Errors
    /// The database fails.
    pub async fn remove(&self, place: Place<'_>, actor: &str, now: i64) -> Result<bool, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        let mut sql = Sql::new("DELETE FROM vault WHERE ");
        at(&mut sql, place);
        sql.push(" AND part <> ").bind(Part::Webhook.as_str());
        let removed = sql.query(tx.backend())?.execute(&mut *tx).await?.rows_affected() > 0;
        if removed {
            audit::write(&mut tx, place.tenant, &entry(place, "secret.remove", actor, now)).await?;
        }
        tx.commit().await?;
        Ok(removed)
    }

    /// What there is for a tenant's connections, by connection and credential. Needs no key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, tenant: &Name) -> Result<Vec<VaultEntry>, VaultError> {
        let rows = sqlx::query(
            "SELECT connection, credential, part, set_at, used_at, expires_at FROM vault \
             WHERE tenant = $1 AND part <> 'webhook' ORDER BY connection, credential, part",
        )
        .bind(tenant.as_str())
        .fetch_all(self.store.reader())
        .await?;
        let mut entries: Vec<VaultEntry> = Vec::new();
        for row in rows {
            let (connection, credential): (Name, Name) =
                (row.parsed("connection")?, row.parsed("credential")?);
            let known = entries
                .last()
                .is_some_and(|last| last.connection == connection && last.credential == credential);
            if !known {
                entries.push(VaultEntry {
                    connection,
                    credential,
                    set_at: None,
                    used_at: None,
                    tokens_at: None,
                    expires_at: None,
                });
            }
            let (set_at, is_secret) = (row.int("set_at")?, row.text("part")? == Part::Secret.as_str());
            if let Some(entry) = entries.last_mut() {
                if is_secret {
                    entry.set_at = Some(set_at);
                    entry.used_at = row.maybe_int("used_at")?;
                } else {
                    entry.tokens_at = Some(set_at);
                    entry.expires_at = row.maybe_int("expires_at")?;
                }
            }
        }
        Ok(entries)
    }

    /// The tokens of a credential.
    ///
    /// # Errors
    /// As [`Vault::secret`].
    pub async fn tokens(&self, place: Place<'_>) -> Result<Option<VaultTokens>, VaultError> {
        let found = self.open(place, Part::Tokens).await?;
        Ok(found.map(|(bytes, row)| VaultTokens {
            bytes,
            version: u64::try_from(row.version).unwrap_or(0),
        }))
    }

    /// Replaces the tokens that were at `version` (0: none were there); the new version, or none if they are at another one, and then
    /// nothing was changed. `told` is who is to be in the audit trail and for what; the host's own refreshes are not.
    ///
    /// # Errors
    /// As [`Vault::set`].
    pub async fn put_tokens(
        &self,
        place: Place<'_>,
        bytes: &[u8],
        expires_at: Option<i64>,
        version: u64,
        told: Option<(&str, &'static str)>,
        now: i64,
    ) -> Result<Option<u64>, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        tenants::require(&mut tx, place.tenant, "").await?;
        let found = self.stored(&mut tx, place, Part::Tokens).await?;
        if found.map_or(0, |row| row.version) != to_i64(version) {
            return Ok(None);
        }
        let next = version + 1;
        let put = self
            .put(&mut tx, place, Part::Tokens, bytes, to_i64(next), expires_at, now)
            .await?;
        if !put {
            return Ok(None);
        }
        if let Some((actor, action)) = told {
            audit::write(&mut tx, place.tenant, &entry(place, action, actor, now)).await?;
        }
        tx.commit().await?;
        Ok(Some(next))
    }

    fn forget_keys(&self) {
        *self.shared.master.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

fn entry(place: Place<'_>, action: &str, actor: &str, now: i64) -> AuditEntry {
    AuditEntry {
        at: now,
        actor: actor.to_owned(),
        action: action.to_owned(),
        subject: format!("secret/{}/{}", place.connection, place.credential),
        detail: serde_json::Value::Object(serde_json::Map::new()),
    }
}
