//! Forgetting: payloads that are older than a flow keeps them become digests, and records that are older than that go.
//!
//! Each call is one small transaction of the holder of the flow's lease. It walks the flow by number from where the call before ended.
//! Numbers grow with the time of acceptance, and nothing is done before it was accepted: the walk ends at the first record that was
//! accepted after the cut-off. What recognises a repeated read (heads) is never touched.

use sha2::{Digest as _, Sha256};
use stecker_model::{Name, RecordState, is_past};

use sqlx::any::AnyRow;

use crate::{
    Lease, Store, StoreError,
    counters::{ATTEMPTS, PAYLOAD_BYTES, PAYLOADS, PAYLOADS_REMOVED, REMOVED, Tally},
    due::parse_state,
    sql::{Columns, Sql, Tx, pieces, to_i64},
};

/// What one transaction forgot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Forgotten {
    /// Payloads, or records.
    pub count: u64,
    /// Bytes of payloads.
    pub bytes: u64,
    /// Where the next call goes on; none: nothing is old enough beyond.
    pub next: Option<i64>,
}

/// A record that the walk passed.
struct Passed {
    seq: i64,
    state: RecordState,
    updated_at: i64,
    accepted_at: i64,
}

fn passed(row: &AnyRow) -> Result<Passed, StoreError> {
    Ok(Passed {
        seq: row.int("seq")?,
        state: parse_state(&row.text("state")?)?,
        updated_at: row.int("updated_at")?,
        accepted_at: row.int("accepted_at")?,
    })
}

/// The records of a piece that are old enough, and where to go on.
fn past(rows: &[AnyRow], cut_off: i64, limit: u32) -> Result<(Vec<Passed>, Option<i64>), StoreError> {
    let mut old = Vec::new();
    let mut last = None;
    for row in rows {
        let record = passed(row)?;
        if record.accepted_at >= cut_off {
            return Ok((old, None));
        }
        last = Some(record.seq);
        if is_past(record.state, record.updated_at, cut_off) {
            old.push(record);
        }
    }
    let more = rows.len() >= limit as usize;
    Ok((old, last.filter(|_| more)))
}

impl Store {
    /// Replaces payloads of records that were done before `cut_off` by their SHA-256 and size. At most `limit` records are looked at,
    /// those after the number `after`.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn forget_payloads(
        &self,
        lease: &Lease,
        flow: &Name,
        cut_off: i64,
        after: i64,
        limit: u32,
        now: i64,
    ) -> Result<Forgotten, StoreError> {
        let tenant = &lease.tenant;
        if !self.has_any("payloads", tenant, flow, after).await? {
            return Ok(Forgotten::default());
        }
        let mut tx = self.begin_fenced(lease).await?;
        // By the primary key of payloads: what is a digest already costs nothing.
        let rows = sqlx::query(
            "SELECT r.seq, r.state, r.updated_at, r.accepted_at FROM payloads AS p \
             JOIN records AS r ON r.tenant = p.tenant AND r.flow = p.flow AND r.seq = p.seq \
             WHERE p.tenant = $1 AND p.flow = $2 AND p.seq > $3 ORDER BY p.seq LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        let (old, next) = past(&rows, cut_off, limit)?;
        let old = self.still_past(&mut tx, (tenant, flow), old, cut_off).await?;
        let seqs: Vec<i64> = old.iter().map(|record| record.seq).collect();
        let bytes = remove_payloads(&mut tx, (tenant, flow), &seqs, Some(now)).await?;
        let mut tally = Tally::default();
        tally.count(PAYLOADS, -to_i64(seqs.len()));
        tally.count(PAYLOADS_REMOVED, to_i64(seqs.len()));
        tally.count(PAYLOAD_BYTES, -bytes);
        tally.write(self, &mut tx, tenant, flow).await?;
        tx.commit().await?;
        Ok(Forgotten {
            count: seqs.len() as u64,
            bytes: bytes.unsigned_abs(),
            next,
        })
    }

    /// Removes records that were done before `cut_off`, with everything that is known of them. At most `limit` records are looked at,
    /// those after the number `after`.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn forget_records(
        &self,
        lease: &Lease,
        flow: &Name,
        cut_off: i64,
        after: i64,
        limit: u32,
    ) -> Result<Forgotten, StoreError> {
        let tenant = &lease.tenant;
        if !self.has_any("records", tenant, flow, after).await? {
            return Ok(Forgotten::default());
        }
        let mut tx = self.begin_fenced(lease).await?;
        // By the primary key.
        let rows = sqlx::query(
            "SELECT seq, state, updated_at, accepted_at FROM records \
             WHERE tenant = $1 AND flow = $2 AND seq > $3 ORDER BY seq LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(after)
        .bind(i64::from(limit))
        .fetch_all(&mut *tx)
        .await?;
        let (old, next) = past(&rows, cut_off, limit)?;
        let old = self.still_past(&mut tx, (tenant, flow), old, cut_off).await?;
        let seqs: Vec<i64> = old.iter().map(|record| record.seq).collect();
        let mut tally = Tally::default();
        let kept = count_of(&mut tx, (tenant, flow), &seqs, "payloads").await?;
        let digests = count_of(&mut tx, (tenant, flow), &seqs, "payload_digests").await?;
        let bytes = remove_payloads(&mut tx, (tenant, flow), &seqs, None).await?;
        for table in ["edits", "payload_digests"] {
            remove(&mut tx, (tenant, flow), &seqs, table).await?;
        }
        remove_items(&mut tx, (tenant, flow), &seqs).await?;
        let attempts = remove(&mut tx, (tenant, flow), &seqs, "attempts").await?;
        remove(&mut tx, (tenant, flow), &seqs, "records").await?;
        for record in &old {
            tally.added(record.state, -1);
        }
        tally.count(PAYLOADS, -kept);
        tally.count(PAYLOADS_REMOVED, -digests);
        tally.count(PAYLOAD_BYTES, -bytes);
        tally.count(ATTEMPTS, -attempts);
        tally.count(REMOVED, to_i64(seqs.len()));
        tally.write(self, &mut tx, tenant, flow).await?;
        tx.commit().await?;
        Ok(Forgotten {
            count: seqs.len() as u64,
            bytes: bytes.unsigned_abs(),
            next,
        })
    }

    /// Whether a flow has anything after a number in one of the ledger's tables, by its primary key. Most flows of many tenants have nothing, and
    /// wait for nobody's turn to write to find that out.
    async fn has_any(
        &self,
        table: &'static str,
        tenant: &Name,
        flow: &Name,
        after: i64,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new("SELECT seq FROM ");
        sql.push(table)
            .push(" WHERE tenant = ")
            .bind(tenant.as_str())
            .push(" AND flow = ")
            .bind(flow.as_str())
            .push(" AND seq > ")
            .bind(after)
            .push(" LIMIT 1");
        Ok(sql
            .query(self.backend())?
            .fetch_optional(self.reader())
            .await?
            .is_some())
    }

    /// Keeps records from everybody else, and leaves those out that somebody moved meanwhile: a replay may have queued one.
    async fn still_past(
        &self,
        tx: &mut Tx,
        (tenant, flow): (&Name, &Name),
        old: Vec<Passed>,
        cut_off: i64,
    ) -> Result<Vec<Passed>, StoreError> {
        let seqs: Vec<i64> = old.iter().map(|record| record.seq).collect();
        let held = self.hold(tx, tenant, flow, &seqs).await?;
        Ok(old
            .into_iter()
            .filter(|record| {
                held.get(&record.seq)
                    .is_some_and(|now| is_past(now.state, record.updated_at, cut_off))
            })
            .collect())
    }
}

/// Removes payloads, and what edits replaced; with `removed_at`, digests and sizes stay. Returns the bytes that went.
async fn remove_payloads(
    tx: &mut Tx,
    (tenant, flow): (&Name, &Name),
    seqs: &[i64],
    removed_at: Option<i64>,
) -> Result<i64, StoreError> {
    let mut bytes = 0;
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "SELECT p.seq, p.payload, CAST(COALESCE(OCTET_LENGTH(p.before_payload), 0) AS BIGINT) AS before_size FROM v \
             JOIN payloads AS p ON p.tenant = v.tenant AND p.flow = v.flow AND p.seq = v.seq",
        );
        let mut digests = Vec::with_capacity(piece.len());
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            let payload = row.text("payload")?;
            bytes += to_i64(payload.len()) + row.int("before_size")?;
            digests.push((
                row.int("seq")?,
                Sha256::digest(payload.as_bytes()),
                to_i64(payload.len()),
            ));
        }
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "SELECT e.size FROM v JOIN edits AS e ON e.tenant = v.tenant AND e.flow = v.flow AND e.seq = v.seq \
             WHERE e.replaced IS NOT NULL",
        );
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            bytes += row.int("size")?;
        }
        remove(tx, (tenant, flow), piece, "payloads").await?;
        let Some(removed_at) = removed_at else { continue };
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "UPDATE edits SET replaced = NULL FROM v WHERE edits.tenant = v.tenant AND edits.flow = v.flow \
             AND edits.seq = v.seq",
        );
        sql.query(tx.backend())?.execute(&mut **tx).await?;
        for digests in pieces(&digests) {
            let mut sql =
                Sql::new("INSERT INTO payload_digests (tenant, flow, seq, digest, size, removed_at) VALUES ");
            sql.rows(digests, |row, (seq, digest, size)| {
                row.value(tenant.as_str())
                    .value(flow.as_str())
                    .value(*seq)
                    .value(digest.to_vec())
                    .value(*size)
                    .value(removed_at);
            });
            sql.query(tx.backend())?.execute(&mut **tx).await?;
        }
    }
    Ok(bytes)
}

/// Removes the rows of records from one of the ledger's tables; how many there were.
async fn remove(
    tx: &mut Tx,
    (tenant, flow): (&Name, &Name),
    seqs: &[i64],
    table: &'static str,
) -> Result<i64, StoreError> {
    let mut removed = 0;
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push("DELETE FROM ")
            .push(table)
            .push(" WHERE (tenant, flow, seq) IN (SELECT tenant, flow, seq FROM v)");
        removed += to_i64(sql.query(tx.backend())?.execute(&mut **tx).await?.rows_affected());
    }
    Ok(removed)
}

/// Removes what replays decided on records. What they have not decided on stays, so that they can count it. Served by
/// `replay_items_by_record`.
async fn remove_items(tx: &mut Tx, (tenant, flow): (&Name, &Name), seqs: &[i64]) -> Result<(), StoreError> {
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "DELETE FROM replay_items WHERE (flow, seq) IN (SELECT flow, seq FROM v) AND outcome IS NOT NULL \
             AND tenant || '' = ",
        )
        .bind(tenant.as_str());
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn count_of(
    tx: &mut Tx,
    (tenant, flow): (&Name, &Name),
    seqs: &[i64],
    table: &'static str,
) -> Result<i64, StoreError> {
    let mut found = 0;
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push("SELECT COUNT(*) AS found FROM v JOIN ")
            .push(table)
            .push(" AS t ON t.tenant = v.tenant AND t.flow = v.flow AND t.seq = v.seq");
        found += sql
            .query(tx.backend())?
            .fetch_one(&mut **tx)
            .await?
            .int("found")?;
    }
    Ok(found)
}
