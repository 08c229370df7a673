//! The rows of the vault: what is sealed at a place, and what it is bound to there.

use sqlx::any::AnyRow;
use zeroize::Zeroizing;

use super::{Place, Vault, VaultError};
use crate::{
    StoreError,
    sql::{Columns, Sql, Tx, storable},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Secret,
    Tokens,
    /// What a webhook is signed with.
    Webhook,
}

impl Part {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Secret => "secret",
            Self::Tokens => "tokens",
            Self::Webhook => "webhook",
        }
    }

    pub(super) fn parse(text: &str) -> Option<Self> {
        [Self::Secret, Self::Tokens, Self::Webhook]
            .into_iter()
            .find(|part| part.as_str() == text)
    }
}

impl Vault {
    /// Seals and writes a version, if the one before is what is there; whether it was.
    #[expect(clippy::too_many_arguments, reason = "the columns of one row")]
    pub(super) async fn put(
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
    pub(super) async fn stored(
        &self,
        tx: &mut Tx,
        place: Place<'_>,
        part: Part,
    ) -> Result<Option<Row>, VaultError> {
        let sql = select(place, part, self.store.lock());
        let row = sql.query(tx.backend())?.fetch_optional(&mut **tx).await?;
        Ok(row.as_ref().map(Row::of).transpose()?)
    }

    pub(super) async fn open(
        &self,
        place: Place<'_>,
        part: Part,
    ) -> Result<Option<(Zeroizing<Vec<u8>>, Row)>, VaultError> {
        // A rotation may replace a row and delete its old key between the two looks at the database; then the row has another key.
        for _ in 0..3 {
            let sql = select(place, part, "");
            let Some(row) = sql
                .query(self.store.backend())?
                .fetch_optional(self.store.reader())
                .await?
            else {
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
}

pub(super) struct Row {
    pub(super) version: i64,
    pub(super) key_version: i64,
    sealed: Vec<u8>,
    pub(super) used_at: Option<i64>,
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

pub(super) fn at(sql: &mut Sql, place: Place<'_>) {
    sql.push("tenant = ").bind(place.tenant.as_str());
    sql.push(" AND connection = ").bind(place.connection.as_str());
    sql.push(" AND credential = ").bind(place.credential.as_str());
}

/// What a sealed value is bound to. Names have no NUL in them.
pub(super) fn bound(place: Place<'_>, part: Part, key_version: i64) -> Vec<u8> {
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

pub(super) fn damaged(place: Place<'_>, part: Part) -> VaultError {
    if part == Part::Webhook {
        let what = format!("the secret of the webhook `{}`", place.connection);
        return VaultError::Damaged { what };
    }
    VaultError::Damaged {
        what: format!(
            "what is stored of the credential `{}` of connection `{}` ({})",
            place.credential,
            place.connection,
            part.as_str()
        ),
    }
}
