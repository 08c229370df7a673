//! Guests' key/value storage, a room for each connection, with bounds on its bytes and its keys.

use std::collections::BTreeMap;

use stecker_model::Name;

use crate::{
    Store, StoreError,
    sql::{Columns, Sql, Tx, to_i64},
};

/// A value and its version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KvEntry {
    /// The value.
    pub value: Vec<u8>,
    /// Goes up with every change of the key, from 1.
    pub version: u64,
}

/// When a write is to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KvCondition {
    /// Always.
    Always,
    /// Only if the key is not there.
    Absent,
    /// Only if the key is at this version.
    Version(u64),
}

impl KvCondition {
    fn check(self, current: Option<u64>) -> Result<(), StoreError> {
        let holds = match self {
            Self::Always => true,
            Self::Absent => current.is_none(),
            Self::Version(version) => current == Some(version),
        };
        if holds {
            Ok(())
        } else {
            Err(StoreError::KvConflict { current })
        }
    }
}

/// How much a room may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvQuota {
    /// Bytes of keys and values together.
    pub max_bytes: u64,
    /// Keys.
    pub max_keys: u64,
}

/// Whose room it is, and who writes.
#[derive(Debug, Clone, Copy)]
pub struct KvRoom<'r> {
    /// The tenant.
    pub tenant: &'r Name,
    /// The connection.
    pub connection: &'r Name,
    /// The generation of the connection that the writing plugin was bound at: it only writes if that is the current one. None: in any case.
    pub generation: Option<i64>,
}

impl<'r> KvRoom<'r> {
    /// For whoever may write in any case.
    #[must_use]
    pub const fn of(tenant: &'r Name, connection: &'r Name) -> Self {
        Self {
            tenant,
            connection,
            generation: None,
        }
    }

    /// The row of the room is held by now, as it is by whoever moves the connection.
    pub(crate) async fn is_current(&self, tx: &mut Tx) -> Result<(), StoreError> {
        let Some(generation) = self.generation else {
            return Ok(());
        };
        let row = sqlx::query("SELECT generation FROM connections WHERE tenant = $1 AND name = $2")
            .bind(self.tenant.as_str())
            .bind(self.connection.as_str())
            .fetch_optional(&mut **tx)
            .await?;
        if row.map(|row| row.int("generation")).transpose()? == Some(generation) {
            return Ok(());
        }
        Err(StoreError::Superseded {
            connection: self.connection.to_string(),
        })
    }
}

/// The room of a connection and one key in it, held until the transaction ends.
struct Place {
    used: u64,
    keys: u64,
    /// Bytes of the key and its value, and its version, if it is there.
    entry: Option<(u64, u64)>,
}

async fn hold(tx: &mut Tx, tenant: &Name, connection: &Name, key: &str) -> Result<Place, StoreError> {
    // Writing to the room's row keeps other writers of the room out, on Postgres too.
    let row = sqlx::query(
        "INSERT INTO kv_usage (tenant, connection, bytes, keys) VALUES ($1, $2, 0, 0) \
         ON CONFLICT (tenant, connection) DO UPDATE SET bytes = kv_usage.bytes RETURNING bytes, keys",
    )
    .bind(tenant.as_str())
    .bind(connection.as_str())
    .fetch_one(&mut **tx)
    .await?;
    let (used, keys) = (row.count("bytes")?, row.count("keys")?);
    let row = sqlx::query(
        "SELECT CAST(LENGTH(key) + LENGTH(value) AS BIGINT) AS bytes, version FROM kv \
         WHERE tenant = $1 AND connection = $2 AND key = $3",
    )
    .bind(tenant.as_str())
    .bind(connection.as_str())
    .bind(key.as_bytes())
    .fetch_optional(&mut **tx)
    .await?;
    let entry = row
        .map(|row| Ok::<_, StoreError>((row.count("bytes")?, row.count("version")?)))
        .transpose()?;
    Ok(Place { used, keys, entry })
}

async fn set_used(
    tx: &mut Tx,
    tenant: &Name,
    connection: &Name,
    used: u64,
    keys: u64,
) -> Result<(), StoreError> {
    sqlx::query("UPDATE kv_usage SET bytes = $1, keys = $2 WHERE tenant = $3 AND connection = $4")
        .bind(to_i64(used))
        .bind(to_i64(keys))
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .execute(&mut **tx)
        .await?;
    Ok(())
}

/// The first bytes that come after everything that begins with `prefix`; none if there is no end.
fn end_of(prefix: &str) -> Option<Vec<u8>> {
    let mut end = prefix.as_bytes().to_vec();
    // UTF-8 has no byte 0xff, so that the last one can always be raised.
    *end.last_mut()? += 1;
    Some(end)
}

impl Store {
    /// A key's value.
    ///
    /// # Errors
    /// The database fails.
    pub async fn kv_get(
        &self,
        tenant: &Name,
        connection: &Name,
        key: &str,
    ) -> Result<Option<KvEntry>, StoreError> {
        let row =
            sqlx::query("SELECT value, version FROM kv WHERE tenant = $1 AND connection = $2 AND key = $3")
                .bind(tenant.as_str())
                .bind(connection.as_str())
                .bind(key.as_bytes())
                .fetch_optional(self.reader())
                .await?;
        row.map(|row| {
            Ok(KvEntry {
                value: row.bytes("value")?,
                version: row.count("version")?,
            })
        })
        .transpose()
    }

    /// Writes a value; returns its version. The quota bounds the keys and values of the connection together, within the transaction of
    /// the write; what makes the room no larger is allowed even beyond it.
    ///
    /// # Errors
    /// The condition does not hold, there is no room, the connection was changed since ([`StoreError::Superseded`]), or the database fails.
    pub async fn kv_put(
        &self,
        room: KvRoom<'_>,
        key: &str,
        value: &[u8],
        condition: KvCondition,
        quota: KvQuota,
    ) -> Result<u64, StoreError> {
        let KvRoom {
            tenant, connection, ..
        } = room;
        let mut tx = self.begin_tx_of(tenant).await?;
        let Place { used, keys, entry } = hold(&mut tx, tenant, connection, key).await?;
        room.is_current(&mut tx).await?;
        condition.check(entry.map(|(_, version)| version))?;
        let keys = keys + u64::from(entry.is_none());
        if entry.is_none() && keys > quota.max_keys {
            return Err(StoreError::KvKeys {
                needed: keys,
                max: quota.max_keys,
            });
        }
        let (before, version) = entry.unwrap_or((0, 0));
        let needed = used.saturating_sub(before) + (key.len() + value.len()) as u64;
        if needed > quota.max_bytes && needed > used {
            return Err(StoreError::KvQuota {
                used,
                needed,
                max: quota.max_bytes,
            });
        }
        sqlx::query(
            "INSERT INTO kv (tenant, connection, key, value, version) VALUES ($1, $2, $3, $4, $5) \
             ON CONFLICT (tenant, connection, key) DO UPDATE SET value = excluded.value, version = excluded.version",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(key.as_bytes())
        .bind(value)
        .bind(to_i64(version + 1))
        .execute(&mut *tx)
        .await?;
        set_used(&mut tx, tenant, connection, needed, keys).await?;
        tx.commit().await?;
        Ok(version + 1)
    }

    /// Deletes a key; whether it was there. Its versions begin at 1 again.
    ///
    /// # Errors
    /// The condition does not hold, the connection was changed since ([`StoreError::Superseded`]), or the database fails.
    pub async fn kv_delete(
        &self,
        room: KvRoom<'_>,
        key: &str,
        condition: KvCondition,
    ) -> Result<bool, StoreError> {
        let KvRoom {
            tenant, connection, ..
        } = room;
        let mut tx = self.begin_tx_of(tenant).await?;
        let Place { used, keys, entry } = hold(&mut tx, tenant, connection, key).await?;
        room.is_current(&mut tx).await?;
        condition.check(entry.map(|(_, version)| version))?;
        let Some((bytes, _)) = entry else {
            return Ok(false);
        };
        sqlx::query("DELETE FROM kv WHERE tenant = $1 AND connection = $2 AND key = $3")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .bind(key.as_bytes())
            .execute(&mut *tx)
            .await?;
        let (used, keys) = (used.saturating_sub(bytes), keys.saturating_sub(1));
        set_used(&mut tx, tenant, connection, used, keys).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Everything in a connection's room, by key, as of one moment. None: it is more than `max_bytes` of keys and values.
    ///
    /// # Errors
    /// The database fails.
    pub async fn kv_snapshot(
        &self,
        tenant: &Name,
        connection: &Name,
        max_bytes: u64,
    ) -> Result<Option<BTreeMap<String, KvEntry>>, StoreError> {
        let used = sqlx::query("SELECT bytes FROM kv_usage WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .fetch_optional(self.reader())
            .await?;
        if let Some(used) = used
            && used.count("bytes")? > max_bytes
        {
            return Ok(None);
        }
        let rows = sqlx::query("SELECT key, value, version FROM kv WHERE tenant = $1 AND connection = $2")
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .fetch_all(self.reader())
            .await?;
        let entry = |row: &sqlx::any::AnyRow| {
            let key = String::from_utf8(row.bytes("key")?)
                .map_err(|error| StoreError::corrupt("column key", error))?;
            let entry = KvEntry {
                value: row.bytes("value")?,
                version: row.count("version")?,
            };
            Ok((key, entry))
        };
        rows.iter().map(entry).collect::<Result<_, _>>().map(Some)
    }

    /// Keys that begin with `prefix` and come after `after`, in the order of their bytes, at most `limit` (1 to 1,000).
    ///
    /// # Errors
    /// The database fails.
    pub async fn kv_list(
        &self,
        tenant: &Name,
        connection: &Name,
        prefix: &str,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        let mut sql = Sql::new("SELECT key FROM kv WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND connection = ")
            .bind(connection.as_str());
        sql.push(" AND key >= ").bind(prefix.as_bytes());
        if let Some(end) = end_of(prefix) {
            sql.push(" AND key < ").bind(end);
        }
        if let Some(after) = after {
            sql.push(" AND key > ").bind(after.as_bytes());
        }
        sql.push(" ORDER BY key LIMIT ")
            .bind(i64::from(limit.clamp(1, 1_000)));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter()
            .map(|row| {
                String::from_utf8(row.bytes("key")?).map_err(|error| StoreError::corrupt("column key", error))
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_ends_before_the_next_one() {
        assert_eq!(end_of("a"), Some(b"b".to_vec()));
        assert_eq!(end_of(""), None);
        assert!(end_of("ä").is_some_and(|end| "äz".as_bytes() < &*end && "å".as_bytes() >= &*end));
    }
}
