//! Recorded calls, sealed with the tenant's data key: what systems answer is the tenant's business, whoever has a copy of the database.
//!
//! A tape is bound to its place (tenant, connection, id, version of the key). Renewing the key drops the tapes instead of sealing them again:
//! they are a sample that is recorded anew in an hour, and a rotation whose work grew with them would be put off.

use stecker_model::{Digest, Name, api::TapeInfo};
use zeroize::Zeroizing;

use super::{Vault, VaultError};
use crate::{
    Store, StoreError,
    sql::{Columns, Tx, storable, to_i64},
};

/// Tapes that are kept of one connection.
const MAX_TAPES: u64 = 500;
/// Bytes of them together, as they are sealed.
const MAX_BYTES: u64 = 64 << 20;

/// A call to be kept.
#[derive(Debug, Clone)]
pub struct NewTape<'a> {
    /// Whose connection.
    pub tenant: &'a Name,
    /// Which one.
    pub connection: &'a Name,
    /// When the call began, in milliseconds since 1970.
    pub at: i64,
    /// The release that was called.
    pub release: &'a Digest,
    /// The function.
    pub function: &'a str,
    /// The call.
    pub bytes: &'a [u8],
}

/// What a sealed tape is bound to. Names and ids have no NUL in them.
fn bound(tenant: &Name, connection: &Name, id: &str, key_version: i64) -> Vec<u8> {
    format!("tape\0{tenant}\0{connection}\0{id}\0{key_version}").into_bytes()
}

impl Vault {
    /// Keeps a call, if the connection is still recorded at `now`; whether it is. The oldest tapes of the connection go beyond 500 of them,
    /// or 64 MiB.
    ///
    /// # Errors
    /// A master key that is missing or wrong, or the database fails.
    pub async fn keep_tape(&self, tape: &NewTape<'_>, now: i64) -> Result<bool, VaultError> {
        let NewTape {
            tenant, connection, ..
        } = tape;
        let mut tx = self.store.begin_tx_of(tenant).await?;
        let counted = sqlx::query(
            "UPDATE taping SET calls_left = calls_left - 1 \
             WHERE tenant = $1 AND connection = $2 AND until > $3 AND calls_left > 0",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(now)
        .execute(&mut *tx)
        .await?;
        if counted.rows_affected() == 0 {
            return Ok(false);
        }
        let (key_version, key) = self.newest_key(&mut tx, tenant, now).await?;
        let id = uuid::Uuid::now_v7().simple().to_string();
        let sealed = key.seal(&bound(tenant, connection, &id, key_version), tape.bytes)?;
        let bytes = to_i64(sealed.len());
        sqlx::query(
            "INSERT INTO tapes (tenant, connection, id, at, release, function, key_version, sealed, bytes) \
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(id)
        .bind(tape.at)
        .bind(tape.release.as_str())
        .bind(storable("the function of a tape", tape.function)?)
        .bind(key_version)
        .bind(sealed)
        .bind(bytes)
        .execute(&mut *tx)
        .await?;
        make_room(&mut tx, tenant, connection).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(true)
    }

    /// A tape, opened. None: it is gone.
    ///
    /// # Errors
    /// A master key that is missing or wrong, a row that was tampered with, or the database fails.
    pub async fn open_tape(
        &self,
        tenant: &Name,
        connection: &Name,
        id: &str,
    ) -> Result<Option<Zeroizing<Vec<u8>>>, VaultError> {
        let row = sqlx::query(
            "SELECT key_version, sealed FROM tapes WHERE tenant = $1 AND connection = $2 AND id = $3",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(storable("the id of a tape", id)?)
        .fetch_optional(self.store.reader())
        .await?;
        let Some(row) = row else {
            return Ok(None);
        };
        let (key_version, sealed) = (row.int("key_version")?, row.bytes("sealed")?);
        // The key was renewed in this very moment, and the tape went with the old one.
        let Some(key) = self.data_key(tenant, key_version).await? else {
            return Ok(None);
        };
        let opened = key.open(&bound(tenant, connection, id, key_version), &sealed);
        opened.map(Some).ok_or_else(|| VaultError::Damaged {
            what: format!("the tape `{id}` of connection `{connection}`"),
        })
    }
}

impl Store {
    /// The tapes of a connection, the newest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tapes(&self, tenant: &Name, connection: &Name) -> Result<Vec<TapeInfo>, StoreError> {
        let rows = sqlx::query(
            "SELECT id, at, release, function, bytes FROM tapes WHERE tenant = $1 AND connection = $2 \
             ORDER BY at DESC, id DESC",
        )
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .fetch_all(self.reader())
        .await?;
        let info = |row: &sqlx::any::AnyRow| {
            Ok(TapeInfo {
                id: row.text("id")?,
                at: row.int("at")?,
                release: row.parsed("release")?,
                function: row.text("function")?,
                bytes: row.count("bytes")?,
            })
        };
        rows.iter().map(info).collect()
    }
}

/// The oldest tapes go beyond the bounds.
async fn make_room(tx: &mut Tx, tenant: &Name, connection: &Name) -> Result<(), StoreError> {
    let rows = sqlx::query(
        "SELECT id, bytes FROM tapes WHERE tenant = $1 AND connection = $2 ORDER BY at DESC, id DESC",
    )
    .bind(tenant.as_str())
    .bind(connection.as_str())
    .fetch_all(&mut **tx)
    .await?;
    let (mut tapes, mut bytes) = (0, 0);
    for row in &rows {
        tapes += 1;
        bytes += row.count("bytes")?;
        if tapes > MAX_TAPES || (tapes > 1 && bytes > MAX_BYTES) {
            sqlx::query("DELETE FROM tapes WHERE tenant = $1 AND connection = $2 AND id = $3")
                .bind(tenant.as_str())
                .bind(connection.as_str())
                .bind(row.text("id")?)
                .execute(&mut **tx)
                .await?;
        }
    }
    Ok(())
}

/// Tapes that were sealed with another version of the key.
pub(super) async fn drop_old(tx: &mut Tx, tenant: &Name, newest: i64) -> Result<(), StoreError> {
    sqlx::query("DELETE FROM tapes WHERE tenant = $1 AND key_version <> $2")
        .bind(tenant.as_str())
        .bind(newest)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
