//! Data keys: one a tenant, in versions, sealed with the master key.

use std::sync::{Arc, PoisonError};

use stecker_model::Name;

use super::{MasterKeys, Vault, VaultError, seal::DataKey};
use crate::{
    StoreError,
    sql::{Columns, Sql, Tx},
};

/// A data key as it lies in the database.
pub(super) struct Wrapped {
    pub(super) version: i64,
    pub(super) master: String,
    pub(super) wrapped: Vec<u8>,
}

/// What a sealed data key is bound to.
pub(super) fn bound(tenant: &Name, version: i64) -> Vec<u8> {
    format!("data key\0{tenant}\0{version}").into_bytes()
}

impl Vault {
    /// Runs `use_keys` with the master keys, read once and kept; read again if they do not have what is needed.
    pub(super) fn with_master<T>(
        &self,
        needed: Option<&str>,
        use_keys: impl FnOnce(&MasterKeys) -> Result<T, VaultError>,
    ) -> Result<T, VaultError> {
        let mut master = self.shared.master.lock().unwrap_or_else(PoisonError::into_inner);
        let suffices = |keys: &MasterKeys| needed.is_none_or(|id| keys.by_id(id).is_some());
        if !master.as_ref().is_some_and(suffices) {
            *master = self.shared.source.load()?;
        }
        match (master.as_ref(), needed) {
            (Some(keys), Some(id)) if keys.by_id(id).is_none() => Err(VaultError::WrongMasterKey {
                needed: id.to_owned(),
                given: keys.ids(),
            }),
            (Some(keys), _) => use_keys(keys),
            (None, Some(id)) => Err(VaultError::NoMasterKey {
                needed: id.to_owned(),
            }),
            (None, None) => {
                self.shared.source.create()?;
                *master = self.shared.source.load()?;
                match master.as_ref() {
                    Some(keys) => use_keys(keys),
                    None => Err(VaultError::MasterKey {
                        what: "it was made and is gone again".to_owned(),
                    }),
                }
            }
        }
    }

    pub(super) fn unwrap_key(&self, tenant: &Name, row: &Wrapped) -> Result<Arc<DataKey>, VaultError> {
        let cached = (tenant.clone(), row.version);
        let known = {
            let keys = self
                .shared
                .data_keys
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            keys.get(&cached).cloned()
        };
        if let Some(key) = known {
            return Ok(key);
        }
        let key = self.with_master(Some(&row.master), |keys| {
            let opened = keys
                .by_id(&row.master)
                .and_then(|master| master.key().open(&bound(tenant, row.version), &row.wrapped))
                .and_then(|bytes| DataKey::from_slice(&bytes));
            opened.map(Arc::new).ok_or_else(|| VaultError::Damaged {
                what: format!("the data key {} of tenant `{tenant}`", row.version),
            })
        })?;
        let mut keys = self
            .shared
            .data_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        keys.insert(cached, Arc::clone(&key));
        Ok(key)
    }

    /// None if there is no such version (any more).
    pub(super) async fn data_key(
        &self,
        tenant: &Name,
        version: i64,
    ) -> Result<Option<Arc<DataKey>>, VaultError> {
        let cached = {
            let keys = self
                .shared
                .data_keys
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            keys.get(&(tenant.clone(), version)).cloned()
        };
        if cached.is_some() {
            return Ok(cached);
        }
        let row =
            sqlx::query("SELECT version, master, wrapped FROM vault_keys WHERE tenant = $1 AND version = $2")
                .bind(tenant.as_str())
                .bind(version)
                .fetch_optional(self.store.reader())
                .await?;
        match row {
            Some(row) => Ok(Some(self.unwrap_key(tenant, &wrapped(&row)?)?)),
            None => Ok(None),
        }
    }

    /// The newest key of a tenant, made if there is none. Nobody can delete it before the transaction ends.
    pub(super) async fn newest_key(
        &self,
        tx: &mut Tx,
        tenant: &Name,
        now: i64,
    ) -> Result<(i64, Arc<DataKey>), VaultError> {
        if let Some(row) = newest(tx, tenant, self.store.share()).await? {
            return Ok((row.version, self.unwrap_key(tenant, &row)?));
        }
        self.make_key(tx, tenant, 1, now).await?;
        // Somebody else may have made it at the same moment; then theirs counts.
        match newest(tx, tenant, self.store.share()).await? {
            Some(row) => Ok((row.version, self.unwrap_key(tenant, &row)?)),
            None => Err(StoreError::internal("a data key is gone right after it was made").into()),
        }
    }

    /// Seals a new key with the current master key. Refuses if anything in the database is sealed with one that is not here.
    pub(super) async fn make_key(
        &self,
        tx: &mut Tx,
        tenant: &Name,
        version: i64,
        now: i64,
    ) -> Result<(), VaultError> {
        let rows = sqlx::query("SELECT DISTINCT master FROM vault_keys")
            .fetch_all(&mut **tx)
            .await?;
        let masters: Vec<String> = rows
            .iter()
            .map(|row| row.text("master"))
            .collect::<Result<_, _>>()?;
        for master in &masters {
            self.with_master(Some(master), |_| Ok(()))?;
        }
        let key = DataKey::random()?;
        let (master, wrapped) = self.with_master(masters.first().map(String::as_str), |keys| {
            let current = keys.current().ok_or_else(|| VaultError::MasterKey {
                what: "there is none".to_owned(),
            })?;
            let wrapped = current.key().seal(&bound(tenant, version), key.bytes())?;
            Ok((current.id().to_owned(), wrapped))
        })?;
        sqlx::query(
            "INSERT INTO vault_keys (tenant, version, master, wrapped, created_at) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, version) DO NOTHING",
        )
        .bind(tenant.as_str())
        .bind(version)
        .bind(master)
        .bind(wrapped)
        .bind(now)
        .execute(&mut **tx)
        .await?;
        Ok(())
    }
}

pub(super) async fn newest(tx: &mut Tx, tenant: &Name, lock: &str) -> Result<Option<Wrapped>, StoreError> {
    let mut sql = Sql::new("SELECT version, master, wrapped FROM vault_keys WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" ORDER BY version DESC LIMIT 1")
        .push(lock);
    let row = sql.query(tx.backend())?.fetch_optional(&mut **tx).await?;
    row.as_ref().map(wrapped).transpose()
}

pub(super) fn wrapped(row: &sqlx::any::AnyRow) -> Result<Wrapped, StoreError> {
    Ok(Wrapped {
        version: row.int("version")?,
        master: row.text("master")?,
        wrapped: row.bytes("wrapped")?,
    })
}
