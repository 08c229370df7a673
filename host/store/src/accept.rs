//! Accepting records into the ledger, the same way from a page and from a webhook: each state of a thing once, and never one
//! that a newer state has overtaken.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use stecker_model::{Digest, Name, Record, RecordState};

use crate::{
    Store, StoreError,
    counters::{PAYLOAD_BYTES, PAYLOADS, Tally},
    sql::{Columns, Sql, Tx, pieces, storable, to_i64, to_json},
};

/// A record to be accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewRecord {
    /// The record.
    pub record: Record,
}

impl From<Record> for NewRecord {
    fn from(record: Record) -> Self {
        Self { record }
    }
}

/// What became of the records of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Committed {
    /// New in the ledger.
    pub accepted: u64,
    /// Left out: read before, or overtaken by a newer state of the same thing.
    pub duplicates: u64,
}

/// SHA-256 over parts, each with its length before it, so that no two lists of parts look the same.
pub(crate) fn fingerprint(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

/// The same for the same state of the same thing on its way through the same flow, whatever release reads or writes it.
fn idempotency_key(tenant: &Name, connection: &str, flow: &Name, record: &Record) -> String {
    let parts = [
        "stecker",
        tenant.as_str(),
        connection,
        flow.as_str(),
        &record.stream,
        &record.key,
        &record.source_version,
    ];
    let mut key = hex::encode(fingerprint(&parts));
    key.truncate(32);
    key
}

fn check(record: &Record) -> Result<(), StoreError> {
    let of = |what: &str| format!("the {what} of a record (key `{}`)", record.key.escape_debug());
    if record.key.is_empty() || record.key.len() > 512 {
        return Err(StoreError::Unstorable {
            what: of("key"),
            reason: "a key has 1 to 512 bytes".to_owned(),
        });
    }
    storable(&of("key"), &record.key)?;
    storable(&of("stream"), &record.stream)?;
    storable(&of("source version"), &record.source_version)?;
    storable(&of("payload"), &record.payload)?;
    storable(
        &of("payload before the change"),
        record.before.as_deref().unwrap_or_default(),
    )?;
    Ok(())
}

/// What a record takes in the table of payloads.
fn payload_bytes(record: &Record) -> i64 {
    to_i64(record.payload.len() + record.before.as_ref().map_or(0, String::len))
}

/// Where records go, and who is allowed to number them: the row of the flow's reader, held until the transaction ends.
pub(crate) struct Place {
    pub(crate) connection: String,
    pub(crate) next_seq: i64,
}

impl Store {
    /// Accepts records in their order. The caller has begun `tx`, fenced or not.
    pub(crate) async fn accept(
        &self,
        tx: &mut Tx,
        (tenant, flow): (&Name, &Name),
        release: &Digest,
        records: Vec<NewRecord>,
        now: i64,
    ) -> Result<Committed, StoreError> {
        let place = self.place(tx, tenant, flow).await?;
        if records.is_empty() {
            return Ok(Committed::default());
        }
        let mut ids = Vec::with_capacity(records.len());
        for NewRecord { record } in &records {
            check(record)?;
            ids.push(fingerprint(&[&place.connection, &record.stream, &record.key]));
        }
        let mut newest = newest(tx, tenant, flow, &ids).await?;
        let read = records.len();
        let mut fresh: Vec<(i64, Record)> = Vec::with_capacity(read);
        let mut heads: HashMap<[u8; 32], String> = HashMap::new();
        for (NewRecord { record }, id) in records.into_iter().zip(ids) {
            if newest
                .get(&id)
                .is_some_and(|newest| record.source_version <= *newest)
            {
                continue;
            }
            newest.insert(id, record.source_version.clone());
            heads.insert(id, record.source_version.clone());
            fresh.push((place.next_seq + to_i64(fresh.len()), record));
        }
        let accepted = fresh.len();
        let bytes = fresh.iter().map(|(_, record)| payload_bytes(record)).sum();
        let duplicates = read - accepted;
        insert_records(tx, (tenant, flow), &place.connection, release, &fresh, now).await?;
        insert_payloads(tx, tenant, flow, &fresh).await?;
        enqueue(tx, tenant, flow, &fresh).await?;
        put_heads(tx, tenant, flow, heads).await?;
        sqlx::query(
            "UPDATE readers SET next_seq = next_seq + $1, duplicates = duplicates + $2 WHERE tenant = $3 AND flow = $4",
        )
        .bind(to_i64(accepted))
        .bind(to_i64(duplicates))
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .execute(&mut **tx)
        .await?;
        let mut tally = Tally::default();
        tally.added(RecordState::Queued, to_i64(accepted));
        tally.count(PAYLOADS, to_i64(accepted));
        tally.count(PAYLOAD_BYTES, bytes);
        tally.write(self, tx, tenant, flow).await?;
        Ok(Committed {
            accepted: accepted as u64,
            duplicates: duplicates as u64,
        })
    }

    pub(crate) async fn place(&self, tx: &mut Tx, tenant: &Name, flow: &Name) -> Result<Place, StoreError> {
        let mut sql = Sql::new("SELECT connection, next_seq FROM readers WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND flow = ")
            .bind(flow.as_str())
            .push(self.lock());
        let row = sql
            .query(tx.backend())?
            .fetch_optional(&mut **tx)
            .await?
            .ok_or_else(|| StoreError::not_found("flow", flow))?;
        Ok(Place {
            connection: row.text("connection")?,
            next_seq: row.int("next_seq")?,
        })
    }
}

pub(crate) async fn newest(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    ids: &[[u8; 32]],
) -> Result<HashMap<[u8; 32], String>, StoreError> {
    let mut newest = HashMap::with_capacity(ids.len());
    for piece in pieces(ids) {
        // Joined by the whole key, see `Sql::with_keys`.
        let mut sql = Sql::new("WITH v (tenant, flow, id) AS (VALUES ");
        sql.rows(piece, |row, id| {
            row.value(tenant.as_str()).value(flow.as_str()).value(id.to_vec());
        });
        sql.push(
            ") SELECT heads.id, heads.newest FROM v \
             JOIN heads ON heads.tenant = v.tenant AND heads.flow = v.flow AND heads.id = v.id",
        );
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            let id = <[u8; 32]>::try_from(row.bytes("id")?)
                .map_err(|_| StoreError::corrupt("column id", "it has not 32 bytes"))?;
            newest.insert(id, row.text("newest")?);
        }
    }
    Ok(newest)
}

async fn insert_records(
    tx: &mut Tx,
    (tenant, flow): (&Name, &Name),
    connection: &str,
    release: &Digest,
    fresh: &[(i64, Record)],
    now: i64,
) -> Result<(), StoreError> {
    let mut rows = Vec::with_capacity(fresh.len());
    for (seq, record) in fresh {
        let attributes = if record.attributes.is_empty() {
            None
        } else {
            Some(to_json(&record.attributes)?)
        };
        rows.push((
            *seq,
            record,
            attributes,
            idempotency_key(tenant, connection, flow, record),
        ));
    }
    for piece in pieces(&rows) {
        let mut sql = Sql::new(
            "INSERT INTO records (tenant, flow, seq, stream, key, source_version, operation, event_time, attributes, \
             idempotency_key, release, state, attempts, attempts_at_reset, accepted_at, updated_at) VALUES ",
        );
        sql.rows(piece, |row, (seq, record, attributes, key)| {
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(*seq)
                .value(&*record.stream)
                .value(&*record.key)
                .value(&*record.source_version)
                .value(record.operation.as_str())
                .value(record.event_time.map(to_i64))
                .value(attributes.as_deref())
                .value(&**key)
                .value(release.as_str())
                .value(RecordState::Queued.as_str())
                .value(0_i64)
                .value(0_i64)
                .value(now)
                .value(now);
        });
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn insert_payloads(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    fresh: &[(i64, Record)],
) -> Result<(), StoreError> {
    for piece in pieces(fresh) {
        let mut sql = Sql::new("INSERT INTO payloads (tenant, flow, seq, payload, before_payload) VALUES ");
        sql.rows(piece, |row, (seq, record)| {
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(*seq)
                .value(&*record.payload)
                .value(record.before.as_deref());
        });
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

/// Records of one lane keep their order.
pub(crate) fn lane(tenant: &Name, flow: &Name, stream: &str, key: &str) -> [u8; 32] {
    fingerprint(&[tenant.as_str(), flow.as_str(), stream, key])
}

async fn enqueue(tx: &mut Tx, tenant: &Name, flow: &Name, fresh: &[(i64, Record)]) -> Result<(), StoreError> {
    for piece in pieces(fresh) {
        let mut sql = Sql::new("INSERT INTO queue (tenant, flow, seq, lane, state) VALUES ");
        sql.rows(piece, |row, (seq, record)| {
            let lane = lane(tenant, flow, &record.stream, &record.key);
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(*seq)
                .value(lane.to_vec())
                .value(RecordState::Queued.as_str());
        });
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn put_heads(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    heads: HashMap<[u8; 32], String>,
) -> Result<(), StoreError> {
    let heads: Vec<_> = heads.into_iter().collect();
    for piece in pieces(&heads) {
        let mut sql = Sql::new("INSERT INTO heads (tenant, flow, id, newest) VALUES ");
        sql.rows(piece, |row, (id, newest)| {
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(id.to_vec())
                .value(&**newest);
        });
        sql.push(" ON CONFLICT (tenant, flow, id) DO UPDATE SET newest = excluded.newest");
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(fingerprint(&["ab", "c"]), fingerprint(&["a", "bc"]));
        assert_ne!(fingerprint(&["ab"]), fingerprint(&["ab", ""]));
    }
}
