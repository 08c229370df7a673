//! What the ledger says should be at a flow's destination: of each key the newest state that was delivered, unless a newer one is on its way.

use sqlx::any::AnyRow;
use stecker_model::{Name, Record};

use crate::{
    Store, StoreError,
    due::record,
    sql::{Columns, Sql, pieces},
};

/// What the ledger knows of one key of the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExpectedKey {
    /// The key.
    pub key: String,
    /// The newest record of it that was delivered.
    pub delivered: Option<i64>,
    /// A newer one that is open or in quarantine; the newest of them.
    pub waiting: Option<i64>,
}

/// A record with what its delivery left.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerRecord {
    /// Its number within the flow.
    pub seq: i64,
    /// As it was read.
    pub record: Record,
    /// As for its delivery.
    pub idempotency_key: String,
    /// What [`crate::Settlement::outputs`] last left.
    pub outputs: Option<String>,
}

const KEYS: &str = "SELECT key, MAX(CASE WHEN state = 'delivered' THEN seq END) AS delivered, \
    MAX(CASE WHEN state NOT IN ('delivered', 'dropped', 'discarded') THEN seq END) AS waiting FROM records WHERE tenant = ";
const RECORDS: &str = "SELECT r.seq, r.stream, r.key, r.source_version, r.operation, r.event_time, r.attributes, \
    r.idempotency_key, r.outputs, p.payload, p.before_payload FROM ";

fn expected(row: &AnyRow) -> Result<ExpectedKey, StoreError> {
    let delivered = row.maybe_int("delivered")?;
    Ok(ExpectedKey {
        key: row.text("key")?,
        delivered,
        waiting: row.maybe_int("waiting")?.filter(|seq| Some(*seq) > delivered),
    })
}

fn ledger_record(row: &AnyRow) -> Result<LedgerRecord, StoreError> {
    Ok(LedgerRecord {
        seq: row.int("seq")?,
        record: record(row)?,
        idempotency_key: row.text("idempotency_key")?,
        outputs: row.maybe_text("outputs")?,
    })
}

impl Store {
    /// The keys of a flow's stream after one of them, ascending bytewise, and after which one it goes on; `None` at the end. It looks at
    /// about `limit` records of the tenant, so that there may be no key of the flow among them.
    ///
    /// Two statements: one that only walks the index finds where the page ends, and between two ends there is nothing left to plan wrongly.
    ///
    /// # Errors
    /// The database fails.
    pub async fn expected_keys(
        &self,
        (tenant, flow): (&Name, &Name),
        stream: &str,
        after: &str,
        limit: u32,
    ) -> Result<Option<(Vec<ExpectedKey>, String)>, StoreError> {
        let mut sql = Sql::new("SELECT MAX(key) AS last FROM (SELECT key FROM records WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND key > ")
            .bind(after)
            .push(" ORDER BY key LIMIT ")
            .bind(i64::from(limit))
            .push(") AS page");
        let row = sql.query(self.backend())?.fetch_one(self.reader()).await?;
        let Some(last) = row.maybe_text("last")? else {
            return Ok(None);
        };
        let mut sql = Sql::new(KEYS);
        sql.bind(tenant.as_str())
            .push(" AND key > ")
            .bind(after)
            .push(" AND key <= ")
            .bind(&*last)
            .push(" AND flow = ")
            .bind(flow.as_str())
            .push(" AND stream = ")
            .bind(stream)
            .push(" GROUP BY key ORDER BY key");
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        let keys = rows.iter().map(expected).collect::<Result<Vec<_>, _>>()?;
        Ok(Some((keys, last)))
    }

    /// The same for certain keys; those that the ledger does not know are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn expected_of(
        &self,
        (tenant, flow): (&Name, &Name),
        stream: &str,
        keys: &[String],
    ) -> Result<Vec<ExpectedKey>, StoreError> {
        let mut found = Vec::with_capacity(keys.len());
        // A key that cannot be stored is the key of no record.
        let keys: Vec<&String> = keys.iter().filter(|key| !key.contains('\0')).collect();
        for piece in pieces(&keys) {
            let mut sql = Sql::new(KEYS);
            sql.bind(tenant.as_str())
                .push(" AND flow = ")
                .bind(flow.as_str())
                .push(" AND stream = ")
                .bind(stream)
                .push(" AND key IN (VALUES ")
                .rows(piece, |row, key| {
                    row.value(key.as_str());
                })
                .push(") GROUP BY key");
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                found.push(expected(&row)?);
            }
        }
        Ok(found)
    }

    /// Records by number, with their payloads; those whose payload is not kept any more are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn ledger_records(
        &self,
        (tenant, flow): (&Name, &Name),
        seqs: &[i64],
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        let mut found = Vec::with_capacity(seqs.len());
        for piece in pieces(seqs) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push(RECORDS).push(
                "v JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq \
                 JOIN payloads AS p ON p.tenant = v.tenant AND p.flow = v.flow AND p.seq = v.seq",
            );
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                found.push(ledger_record(&row)?);
            }
        }
        found.sort_unstable_by_key(|record| record.seq);
        Ok(found)
    }

    /// Records accepted after a number, ascending, at most `limit`; those whose payload is not kept any more are left out.
    ///
    /// # Errors
    /// The database fails.
    pub async fn accepted_after(
        &self,
        (tenant, flow): (&Name, &Name),
        seq: i64,
        limit: u32,
    ) -> Result<Vec<LedgerRecord>, StoreError> {
        let mut sql = Sql::new(RECORDS);
        sql.push(
            "records AS r JOIN payloads AS p ON p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq WHERE r.tenant = ",
        )
        .bind(tenant.as_str())
        .push(" AND r.flow = ")
        .bind(flow.as_str())
        .push(" AND r.seq > ")
        .bind(seq)
        .push(" ORDER BY r.seq LIMIT ")
        .bind(i64::from(limit));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(ledger_record).collect()
    }

    /// The number of the record that a flow accepted last; 0 if there is none.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn newest_seq(&self, tenant: &Name, flow: &Name) -> Result<i64, StoreError> {
        let row = sqlx::query("SELECT next_seq FROM readers WHERE tenant = $1 AND flow = $2")
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .fetch_optional(self.reader())
            .await?
            .ok_or_else(|| StoreError::not_found("flow", flow))?;
        Ok(row.int("next_seq")? - 1)
    }
}
