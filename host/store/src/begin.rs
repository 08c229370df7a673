//! The beginning of an attempt, written down before anything is sent, and what becomes of attempts that were cut off.

use std::collections::BTreeMap;

use stecker_model::{Digest, Name, OnQuarantine, RecordState, api::Reason};

use crate::{
    Backend, Lease, Store, StoreError,
    causes::cause,
    counters::{ATTEMPTS, Tally},
    due::{in_the_way, parse_state},
    sql::{Columns, OF_QUEUE, OF_RECORDS, Sql, Tx, pieces, to_i64, to_json},
};

/// A record as a transaction found it, and holds it.
pub(crate) struct Held {
    pub(crate) state: RecordState,
    pub(crate) attempts: i64,
    /// A person or a replay sent it again, after its first attempts.
    pub(crate) sent_again: bool,
}

impl Store {
    /// Records of a flow by number, kept from everybody else until the transaction ends.
    pub(crate) async fn hold(
        &self,
        tx: &mut Tx,
        tenant: &Name,
        flow: &Name,
        seqs: &[i64],
    ) -> Result<BTreeMap<i64, Held>, StoreError> {
        let mut held = BTreeMap::new();
        for piece in pieces(seqs) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push(
                "SELECT r.seq, r.state, r.attempts, r.attempts_at_reset FROM v \
                 JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq ORDER BY r.seq",
            )
            .push(match self.backend() {
                Backend::Sqlite => "",
                Backend::Postgres => " FOR UPDATE OF r",
            });
            for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
                let found = Held {
                    state: parse_state(&row.text("state")?)?,
                    attempts: row.int("attempts")?,
                    sent_again: row.int("attempts_at_reset")? > 0,
                };
                held.insert(row.int("seq")?, found);
            }
        }
        Ok(held)
    }

    /// Begins an attempt with each of the given records: they are being sent from now on, and what follows is known to have
    /// been tried. All or none.
    ///
    /// # Errors
    /// The lease is not the current one, a record is not due (it is done, in quarantine, being sent, or an earlier one of its
    /// key is open), or the database fails.
    pub async fn begin(
        &self,
        lease: &Lease,
        flow: &Name,
        seqs: &[i64],
        destination_release: &Digest,
        now: i64,
    ) -> Result<(), StoreError> {
        let tenant = &lease.tenant;
        let mut tx = self.begin_fenced(lease).await?;
        let held = self.hold(&mut tx, tenant, flow, seqs).await?;
        let mut tally = Tally::default();
        let mut attempts = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let record = held
                .get(seq)
                .ok_or_else(|| StoreError::not_found("record", &format!("{flow}/{seq}")))?;
            if !record.state.is_open() || record.state == RecordState::Sending {
                let what = format!(
                    "the record {flow}/{seq} is {}, not waiting",
                    record.state.as_str()
                );
                return Err(StoreError::conflict(what));
            }
            tally.moved(record.state, RecordState::Sending, 1);
            // One that was delivered and is queued again by a replay did not need it.
            if record.attempts == 1 && record.state != RecordState::Queued {
                tally.retried();
            }
            attempts.push((*seq, record.attempts + 1));
        }
        tally.count(ATTEMPTS, to_i64(attempts.len()));
        for piece in pieces(&attempts) {
            let seqs: Vec<i64> = piece.iter().map(|(seq, _)| *seq).collect();
            send(&mut tx, tenant, flow, &seqs, now).await?;
            let mut sql = Sql::new(
                "INSERT INTO attempts (tenant, flow, seq, attempt, started_at, release, node) VALUES ",
            );
            sql.rows(piece, |row, (seq, attempt)| {
                row.value(tenant.as_str())
                    .value(flow.as_str())
                    .value(*seq)
                    .value(*attempt)
                    .value(now)
                    .value(destination_release.as_str())
                    .value(&*lease.owner);
            });
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        tally.write(self, &mut tx, tenant, flow).await?;
        Ok(tx.commit().await?)
    }

    /// Whether anything was being sent when the lease was taken. Nearly always there is nothing, and a host that takes up ten thousand flows
    /// need not wait its turn to write for that: nobody but the lease's holder can have begun anything since.
    async fn was_interrupted(&self, lease: &Lease, flow: &Name) -> Result<bool, StoreError> {
        let row = sqlx::query(
            "SELECT (SELECT COUNT(*) FROM leases WHERE tenant = $1 AND unit = $3 AND owner = $4 AND epoch = $5) AS held, \
             (SELECT COUNT(*) FROM (SELECT 1 AS one FROM queue WHERE tenant = $1 AND flow = $2 AND state = 'sending' LIMIT 1) AS s) AS sending",
        )
        .bind(lease.tenant.as_str())
        .bind(flow.as_str())
        .bind(&*lease.unit)
        .bind(&*lease.owner)
        .bind(lease.epoch)
        .fetch_one(self.reader())
        .await?;
        if row.int("held")? == 0 {
            return Err(StoreError::Fenced {
                unit: lease.unit.clone(),
                epoch: lease.epoch,
            });
        }
        Ok(row.int("sending")? > 0)
    }

    /// After a lease was taken: records that the holder before was sending may or may not have arrived, so that they have to
    /// be looked up, from `look_at` on: what was cut off may still be on its way. Returns how many there are. The attempts stay
    /// without an end until the lookup tells it.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn recover(
        &self,
        lease: &Lease,
        flow: &Name,
        now: i64,
        look_at: i64,
    ) -> Result<u64, StoreError> {
        let tenant = &lease.tenant;
        if !self.was_interrupted(lease, flow).await? {
            return Ok(0);
        }
        let mut tx = self.begin_fenced(lease).await?;
        let reason = Reason {
            code: "interrupted".to_owned(),
            message: "the host ended or lost its lease while the record was being sent".to_owned(),
            path: None,
        };
        let rows = sqlx::query("SELECT seq FROM queue WHERE tenant = $1 AND flow = $2 AND state = 'sending'")
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .fetch_all(&mut *tx)
            .await?;
        let found = rows
            .iter()
            .map(|row| row.int("seq"))
            .collect::<Result<Vec<_>, _>>()?;
        let reason_json = to_json(&reason)?;
        let cause = cause(flow, &reason);
        for piece in pieces(&found) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push("UPDATE records SET state = 'unknown', next_attempt_at = ")
                .bind(look_at)
                .push(", updated_at = ")
                .bind(now)
                .push(", reason_code = ")
                .bind(&*reason.code)
                .push(", reason = ")
                .bind(&*reason_json)
                .push(OF_RECORDS);
            sql.query(tx.backend())?.execute(&mut *tx).await?;
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push("UPDATE queue SET state = 'unknown', next_attempt_at = ")
                .bind(look_at)
                .push(", cause = ")
                .bind(&*cause)
                .push(OF_QUEUE);
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        let mut tally = Tally::default();
        tally.moved(RecordState::Sending, RecordState::Unknown, to_i64(found.len()));
        tally.write(self, &mut tx, tenant, flow).await?;
        tx.commit().await?;
        Ok(found.len() as u64)
    }
}

/// Moves records to `sending`, unless an earlier one of their key is open. Quarantined ones do not count here: whether they
/// hold others back is the flow's policy, which [`Store::due`] has applied.
async fn send(tx: &mut Tx, tenant: &Name, flow: &Name, seqs: &[i64], now: i64) -> Result<(), StoreError> {
    let mut sql = Sql::with_keys(tenant, flow, seqs);
    sql.push(
        "UPDATE queue AS q SET state = 'sending', next_attempt_at = NULL FROM v \
         WHERE q.tenant = v.tenant AND q.flow = v.flow AND q.seq = v.seq \
         AND q.state IN ('queued', 'retrying', 'unknown') AND NOT ",
    )
    .push(in_the_way(OnQuarantine::Continue));
    let moved = sql.query(tx.backend())?.execute(&mut **tx).await?.rows_affected();
    if moved != seqs.len() as u64 {
        let what =
            format!("a record of flow {flow} is given twice, or one before it of the same key is open");
        return Err(StoreError::conflict(what));
    }
    let mut sql = Sql::with_keys(tenant, flow, seqs);
    sql.push("UPDATE records SET state = 'sending', attempts = attempts + 1, next_attempt_at = NULL, updated_at = ")
        .bind(now)
        .push(OF_RECORDS);
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    Ok(())
}
