//! New keys without downtime: data keys by sealing a tenant's secrets again in batches, the master key by sealing the data keys again.
//! Whoever reads meanwhile finds either the old or the new form, and a key for each. A rotation that was killed goes on where it was.

use std::sync::{Arc, PoisonError};

use stecker_model::Name;

use super::{
    Place, Vault, VaultError,
    keys::{self, Wrapped},
    rows::{Part, at, bound, damaged},
    seal::DataKey,
    tapes,
};
use crate::{
    AuditEntry, StoreError, audit,
    sql::{Columns, Sql, Tx},
};

/// Rows of one transaction.
const BATCH: i64 = 100;

/// What a rotation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rotated {
    /// The version of the tenant's data key now; 0 if the tenant has no secrets.
    pub key_version: u64,
    /// Secrets and tokens that were sealed again.
    pub items: u64,
    /// Data keys, of all tenants, that were sealed again with the current master key.
    pub data_keys: u64,
}

/// A sealed row on its way to another key.
struct Item {
    connection: Name,
    credential: Name,
    part: Part,
    version: i64,
    key_version: i64,
    sealed: Vec<u8>,
}

impl Vault {
    /// Gives a tenant a new data key, seals everything with it, and deletes the old ones. If an earlier rotation is not complete, completes
    /// that one instead. `progress` hears after every batch how many were done.
    ///
    /// # Errors
    /// A master key that is missing or wrong, a row that was tampered with (everything else stays readable), or the database fails.
    pub async fn rotate(
        &self,
        tenant: &Name,
        actor: &str,
        now: i64,
        progress: &mut (dyn FnMut(u64) + Send),
    ) -> Result<Rotated, VaultError> {
        let Some(version) = self.begin_rotation(tenant, actor, now).await? else {
            return Ok(Rotated::default());
        };
        let key = self
            .data_key(tenant, version)
            .await?
            .ok_or_else(|| StoreError::internal("the newest data key is gone"))?;
        let mut items = 0;
        loop {
            match self.reseal_batch(tenant, version, &key).await? {
                0 if self.delete_old_keys(tenant, version).await? => break,
                done => items += done,
            }
            progress(items);
        }
        Ok(Rotated {
            key_version: u64::try_from(version).unwrap_or(0),
            items,
            data_keys: 0,
        })
    }

    async fn begin_rotation(&self, tenant: &Name, actor: &str, now: i64) -> Result<Option<i64>, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        let Some(newest) = keys::newest(&mut tx, tenant, self.store.lock()).await? else {
            return Ok(None);
        };
        let row = sqlx::query("SELECT COUNT(*) AS n FROM vault WHERE tenant = $1 AND key_version <> $2")
            .bind(tenant.as_str())
            .bind(newest.version)
            .fetch_one(&mut *tx)
            .await?;
        if row.int("n")? > 0 {
            return Ok(Some(newest.version));
        }
        let version = newest.version + 1;
        self.make_key(&mut tx, tenant, version, now).await?;
        let entry = AuditEntry {
            at: now,
            actor: actor.to_owned(),
            action: "vault.rotate".to_owned(),
            subject: format!("vault/{tenant}"),
            detail: serde_json::json!({ "key-version": version }),
        };
        audit::write(&mut tx, tenant, &entry).await?;
        tx.commit().await?;
        Ok(Some(version))
    }

    async fn reseal_batch(&self, tenant: &Name, newest: i64, key: &Arc<DataKey>) -> Result<u64, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        let mut sql = Sql::new(
            "SELECT connection, credential, part, version, key_version, sealed FROM vault WHERE tenant = ",
        );
        sql.bind(tenant.as_str())
            .push(" AND key_version <> ")
            .bind(newest);
        sql.push(" ORDER BY connection, credential, part LIMIT ")
            .bind(BATCH);
        sql.push(self.store.lock());
        let rows = sql.query(tx.backend())?.fetch_all(&mut *tx).await?;
        let mut done = 0;
        for row in &rows {
            let item = Item::of(row)?;
            let place = item.place(tenant);
            let old = self
                .data_key(tenant, item.key_version)
                .await?
                .ok_or_else(|| damaged(place, item.part))?;
            let plain = old
                .open(&bound(place, item.part, item.key_version), &item.sealed)
                .ok_or_else(|| damaged(place, item.part))?;
            let sealed = key.seal(&bound(place, item.part, newest), &plain)?;
            done += self.replace(&mut tx, place, &item, newest, sealed).await?;
        }
        tx.commit().await?;
        Ok(done)
    }

    async fn replace(
        &self,
        tx: &mut Tx,
        place: Place<'_>,
        item: &Item,
        newest: i64,
        sealed: Vec<u8>,
    ) -> Result<u64, StoreError> {
        let mut sql = Sql::new("UPDATE vault SET key_version = ");
        sql.bind(newest).push(", sealed = ").bind(sealed).push(" WHERE ");
        at(&mut sql, place);
        sql.push(" AND part = ").bind(item.part.as_str());
        sql.push(" AND version = ").bind(item.version);
        Ok(sql.query(tx.backend())?.execute(&mut **tx).await?.rows_affected())
    }

    /// Whether all old keys are gone now. Whoever writes with one holds it, so none goes that is still needed.
    async fn delete_old_keys(&self, tenant: &Name, newest: i64) -> Result<bool, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        let mut sql = Sql::new("SELECT version FROM vault_keys WHERE tenant = ");
        sql.bind(tenant.as_str()).push(" AND version <> ").bind(newest);
        sql.push(self.store.lock());
        let rows = sql.query(tx.backend())?.fetch_all(&mut *tx).await?;
        let left = sqlx::query("SELECT COUNT(*) AS n FROM vault WHERE tenant = $1 AND key_version <> $2")
            .bind(tenant.as_str())
            .bind(newest)
            .fetch_one(&mut *tx)
            .await?;
        if left.int("n")? > 0 {
            return Ok(false);
        }
        tapes::drop_old(&mut tx, tenant, newest).await?;
        for row in &rows {
            sqlx::query("DELETE FROM vault_keys WHERE tenant = $1 AND version = $2")
                .bind(tenant.as_str())
                .bind(row.int("version")?)
                .execute(&mut *tx)
                .await?;
        }
        tx.commit().await?;
        let mut cached = self
            .shared
            .data_keys
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cached.retain(|(owner, version), _| owner != tenant || *version == newest);
        Ok(true)
    }

    /// Opens a tenant's newest data key, to see whether the master key is the right one. False: the tenant has no secrets.
    ///
    /// # Errors
    /// A master key that is missing or wrong, or the database fails.
    pub async fn try_key(&self, tenant: &Name) -> Result<bool, VaultError> {
        let mut tx = self.store.begin_tx().await?;
        match keys::newest(&mut tx, tenant, "").await? {
            Some(row) => self.unwrap_key(tenant, &row).map(|_| true),
            None => Ok(false),
        }
    }

    /// Seals the data keys of all tenants with the current master key, as far as they are sealed with an older one; how many.
    ///
    /// # Errors
    /// A master key that is missing or wrong, or the database fails.
    pub async fn rewrap(&self) -> Result<u64, VaultError> {
        // Whoever put a new key in front of the others means that one.
        self.forget_keys();
        let rows =
            sqlx::query("SELECT tenant, version, master, wrapped FROM vault_keys ORDER BY tenant, version")
                .fetch_all(self.store.reader())
                .await?;
        let mut done = 0;
        for row in &rows {
            let (tenant, row): (Name, Wrapped) = (row.parsed("tenant")?, keys::wrapped(row)?);
            let key = self.unwrap_key(&tenant, &row)?;
            let sealed = self.with_master(Some(&row.master), |keys| {
                let current = keys.current().filter(|current| current.id() != row.master);
                current
                    .map(|current| {
                        let sealed = current
                            .key()
                            .seal(&keys::bound(&tenant, row.version), key.bytes())?;
                        Ok((current.id().to_owned(), sealed))
                    })
                    .transpose()
            })?;
            let Some((master, wrapped)) = sealed else {
                continue;
            };
            let mut tx = self.store.begin_tx().await?;
            let changed = sqlx::query(
                "UPDATE vault_keys SET master = $1, wrapped = $2 WHERE tenant = $3 AND version = $4 AND master = $5",
            )
            .bind(master)
            .bind(wrapped)
            .bind(tenant.as_str())
            .bind(row.version)
            .bind(row.master)
            .execute(&mut *tx)
            .await?;
            tx.commit().await?;
            done += changed.rows_affected();
        }
        Ok(done)
    }

    /// Has the source make a new master key, seals the data keys of all tenants with it, and has the source forget the old one; how many
    /// data keys. For hosts that keep their key themselves. Killed at any moment, every secret can still be read, and the next call does
    /// the rest.
    ///
    /// # Errors
    /// The source makes no keys (the operator does), or as [`Vault::rewrap`].
    pub async fn renew_master(&self) -> Result<u64, VaultError> {
        self.shared.source.add()?;
        let done = self.rewrap().await?;
        self.shared.source.forget_old()?;
        self.forget_keys();
        Ok(done)
    }
}

impl Item {
    fn of(row: &sqlx::any::AnyRow) -> Result<Self, StoreError> {
        let part = row.text("part")?;
        let part = Part::parse(&part)
            .ok_or_else(|| StoreError::corrupt("column part", format!("`{part}` is no part of a secret")))?;
        Ok(Self {
            connection: row.parsed("connection")?,
            credential: row.parsed("credential")?,
            part,
            version: row.int("version")?,
            key_version: row.int("key_version")?,
            sealed: row.bytes("sealed")?,
        })
    }

    fn place<'a>(&'a self, tenant: &'a Name) -> Place<'a> {
        Place {
            tenant,
            connection: &self.connection,
            credential: &self.credential,
        }
    }
}
