//! The vault: connections' secrets, and the tokens that the host got for them, encrypted in the database.
//!
//! Envelope encryption: every tenant has a data key of 32 random bytes; secrets are sealed with it (XChaCha20-Poly1305, a random nonce
//! each), and it is itself sealed with the master key, which is in a file or a variable and never in the database. So whoever has a copy of
//! the database has nothing; the master key can be changed by sealing a few data keys again; and a tenant's secrets are gone for good
//! when its data key is. What is sealed is bound to its place (tenant, connection, credential, part, version of the key): a row that is
//! moved elsewhere does not open.
//!
//! What this does not keep out: somebody who can write the database can bring back an older value of the same place.

mod keys;
mod master;
mod rotate;
mod seal;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use sqlx::any::AnyRow;
use stecker_model::Name;
use zeroize::Zeroizing;

pub use master::{InvalidMasterKey, MasterKey, MasterKeySource, MasterKeys};
pub use rotate::Rotated;

use crate::{
    AuditEntry, Store, StoreError, audit,
    sql::{Columns, Sql, Tx, from_json, storable, to_i64, to_json},
    tenants,
};
use seal::DataKey;

/// Bytes that a secret has at least. A shorter one could not be searched for in answers without spoiling data by chance.
const MIN_SECRET: usize = 8;
const MAX_SECRET: usize = 16 << 10;
/// Milliseconds. The last use of a secret is known that precisely, and a busy connection does not write all the time.
const USED_PRECISION: i64 = 60_000;

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are secrets, and the key to them is not there.
    #[error(
        "the database has secrets that were sealed with the master key {needed}, and there is no master key here. Give the host the key \
         file that it had before (--master-key-file); without it the secrets cannot be read, and would have to be set again"
    )]
    NoMasterKey {
        /// The id of the key.
        needed: String,
    },
    /// There are secrets, and the key is another one.
    #[error(
        "the secrets in the database were sealed with the master key {needed}, and the host was given {given}. Give it the right key file \
         (--master-key-file); hosts that share a database share the key, and a file with a new key keeps the old one on the next line until \
         `stecker secret rotate-keys` is done"
    )]
    WrongMasterKey {
        /// The id of the key.
        needed: String,
        /// The ids of the keys that are here.
        given: String,
    },
    /// The master key cannot be had.
    #[error("the master key cannot be used: {what}")]
    MasterKey {
        /// What is wrong, where, and what to do.
        what: String,
    },
    /// What is sealed does not open at this place.
    #[error("{what} does not open: it was altered, or moved from somewhere else. Set the secret again")]
    Damaged {
        /// Which.
        what: String,
    },
    /// Too short to be looked for, or too long.
    #[error(
        "the secret has {len} bytes; it has to have {MIN_SECRET} to {MAX_SECRET}. A shorter one could not be taken out of answers and logs \
         without taking out other things that look the same; ask the system for a longer one"
    )]
    Length {
        /// Bytes.
        len: usize,
    },
}

impl From<sqlx::Error> for VaultError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Secret,
    Tokens,
}

impl Part {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Tokens => "tokens",
        }
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
        sql.query()?.execute(&mut *tx).await?;
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
        let removed = sql.query()?.execute(&mut *tx).await?.rows_affected() > 0;
        if removed {
            audit::write(&mut tx, place.tenant, &entry(place, "secret.remove", actor, now)).await?;
        }
        tx.commit().await?;
        Ok(removed)
    }

    /// What there is for a tenant, by connection and credential. Needs no key.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list(&self, tenant: &Name) -> Result<Vec<VaultEntry>, VaultError> {
        let rows = sqlx::query(
            "SELECT connection, credential, part, set_at, used_at, expires_at FROM vault WHERE tenant = $1 \
             ORDER BY connection, credential, part",
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

    /// Seals and writes a version, if the one before is what is there; whether it was.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    async fn put(
        &self,
        tx: &mut Tx,
        place: Place<'_>,
        part: Part,
        bytes: &[u8],
        version: i64,
        expires_at: Option<i64>,
        now: i64,
    ) -> Result<bool, VaultError> {
        let (key_version, key) = self.newest_key(tx, place.tenant, now).await?;
        let sealed = key.seal(&bound(place, part, key_version), bytes)?;
        let done = sqlx::query(
            "INSERT INTO vault (tenant, connection, credential, part, version, key_version, sealed, set_at, expires_at) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) \
             ON CONFLICT (tenant, connection, credential, part) DO UPDATE SET version = excluded.version, \
             key_version = excluded.key_version, sealed = excluded.sealed, set_at = excluded.set_at, \
             expires_at = excluded.expires_at WHERE vault.version = excluded.version - 1",
        )
        .bind(place.tenant.as_str())
        .bind(place.connection.as_str())
        .bind(place.credential.as_str())
        .bind(storable("the part of a secret", part.as_str())?)
        .bind(version)
        .bind(key_version)
        .bind(sealed)
        .bind(now)
        .bind(expires_at)
        .execute(&mut **tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// The row, kept from others until the transaction ends.
    async fn stored(&self, tx: &mut Tx, place: Place<'_>, part: Part) -> Result<Option<Row>, VaultError> {
        let sql = select(place, part, self.store.lock());
        let row = sql.query()?.fetch_optional(&mut **tx).await?;
        Ok(row.as_ref().map(Row::of).transpose()?)
    }

    async fn open(
        &self,
        place: Place<'_>,
        part: Part,
    ) -> Result<Option<(Zeroizing<Vec<u8>>, Row)>, VaultError> {
        // A rotation may replace a row and delete its old key between the two looks at the database; then the row has another key.
        for _ in 0..3 {
            let sql = select(place, part, "");
            let Some(row) = sql.query()?.fetch_optional(self.store.reader()).await? else {
                return Ok(None);
            };
            let row = Row::of(&row)?;
            let Some(key) = self.data_key(place.tenant, row.key_version).await? else {
                continue;
            };
            let bytes = key
                .open(&bound(place, part, row.key_version), &row.sealed)
                .ok_or_else(|| damaged(place, part))?;
            return Ok(Some((bytes, row)));
        }
        Err(damaged(place, part))
    }

    fn forget_keys(&self) {
        *self.shared.master.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

struct Row {
    version: i64,
    key_version: i64,
    sealed: Vec<u8>,
    used_at: Option<i64>,
}

impl Row {
    fn of(row: &AnyRow) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.int("version")?,
            key_version: row.int("key_version")?,
            sealed: row.bytes("sealed")?,
            used_at: row.maybe_int("used_at")?,
        })
    }
}

fn select(place: Place<'_>, part: Part, lock: &str) -> Sql {
    let mut sql = Sql::new("SELECT version, key_version, sealed, used_at FROM vault WHERE ");
    at(&mut sql, place);
    sql.push(" AND part = ").bind(part.as_str()).push(lock);
    sql
}

fn at(sql: &mut Sql, place: Place<'_>) {
    sql.push("tenant = ").bind(place.tenant.as_str());
    sql.push(" AND connection = ").bind(place.connection.as_str());
    sql.push(" AND credential = ").bind(place.credential.as_str());
}

/// What a sealed value is bound to. Names have no NUL in them.
fn bound(place: Place<'_>, part: Part, key_version: i64) -> Vec<u8> {
    let Place {
        tenant,
        connection,
        credential,
    } = place;
    format!(
        "secret\0{tenant}\0{connection}\0{credential}\0{}\0{key_version}",
        part.as_str()
    )
    .into_bytes()
}

fn damaged(place: Place<'_>, part: Part) -> VaultError {
    VaultError::Damaged {
        what: format!(
            "what is stored of the credential `{}` of connection `{}` ({})",
            place.credential,
            place.connection,
            part.as_str()
        ),
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
