//! What calls came to, by connection, release and day: what a new release is held against.

use sqlx::any::AnyRow;
use stecker_model::{Digest, Name, api::CallNumbers};

use crate::{
    Store, StoreError,
    sql::{Columns, Sql, Tx, pieces, storable, to_i64},
};

/// Days that are kept.
const DAYS: i64 = 14;

/// Calls since the last time that they were written down.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NewCalls {
    /// The tenant.
    pub tenant: Name,
    /// The connection.
    pub connection: Name,
    /// The release that was called, or that read the record.
    pub release: Digest,
    /// Days since 1970, UTC.
    pub day: i64,
    /// A function, `record`, a time.
    pub what: String,
    /// What it came to.
    pub class: String,
    /// How many.
    pub n: u64,
}

const NUMBERS: &str = "SELECT what, class, CAST(SUM(n) AS BIGINT) AS n FROM call_stats WHERE tenant = $1 AND connection = $2 AND release = $3 \
    GROUP BY what, class";

fn sums(rows: &[AnyRow]) -> Result<CallNumbers, StoreError> {
    let mut numbers = CallNumbers::new();
    for row in rows {
        numbers
            .entry(row.text("what")?)
            .or_default()
            .insert(row.text("class")?, row.count("n")?);
    }
    Ok(numbers)
}

/// Within a transaction, so that nothing is counted between a look and a move.
pub(super) async fn numbers(
    tx: &mut Tx,
    tenant: &Name,
    connection: &Name,
    release: &Digest,
) -> Result<CallNumbers, StoreError> {
    let query = sqlx::query(NUMBERS)
        .bind(tenant.as_str())
        .bind(connection.as_str())
        .bind(release.as_str());
    sums(&query.fetch_all(&mut **tx).await?)
}

impl Store {
    /// Adds calls; all or nothing. Each kind is given at most once. What is older than two weeks goes.
    ///
    /// # Errors
    /// The database fails.
    pub async fn add_calls(&self, mut rows: Vec<NewCalls>) -> Result<(), StoreError> {
        // One order for everybody, so that nodes do not wait for each other crosswise.
        rows.sort();
        let mut tx = self.begin_tx().await?;
        for piece in pieces(&rows) {
            for new in piece {
                storable("what a call came to", &new.class)?;
            }
            let mut sql =
                Sql::new("INSERT INTO call_stats (tenant, connection, release, day, what, class, n) VALUES ");
            sql.rows(piece, |row, new| {
                row.value(new.tenant.as_str())
                    .value(new.connection.as_str())
                    .value(new.release.as_str())
                    .value(new.day)
                    .value(&*new.what)
                    .value(&*new.class)
                    .value(to_i64(new.n));
            });
            sql.push(
                " ON CONFLICT (tenant, connection, release, day, what, class) DO UPDATE SET n = call_stats.n + excluded.n",
            );
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Forgets what calls came to before a time that nobody looks at any more; how many rows that were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget_calls(&self, today: i64) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx().await?;
        let gone = sqlx::query("DELETE FROM call_stats WHERE day < $1")
            .bind(today - DAYS)
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }

    /// What the calls of a connection's release came to, in the two weeks that are kept.
    ///
    /// # Errors
    /// The database fails.
    pub async fn call_numbers(
        &self,
        tenant: &Name,
        connection: &Name,
        release: &Digest,
    ) -> Result<CallNumbers, StoreError> {
        let query = sqlx::query(NUMBERS)
            .bind(tenant.as_str())
            .bind(connection.as_str())
            .bind(release.as_str());
        sums(&query.fetch_all(self.reader()).await?)
    }
}
