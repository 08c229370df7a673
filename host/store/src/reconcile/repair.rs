//! Sending records once more that were delivered: through the queue like any other, in the order of their key, with the idempotency key
//! that they have.

use std::collections::BTreeSet;

use stecker_model::{Digest, Name, RecordState, RepairKind, api::ReconcileRun};

use crate::{
    AuditEntry, Committed, Lease, NewRecord, Store, StoreError,
    accept::fingerprint,
    audit,
    counters::Tally,
    sql::{Columns, OF_RECORDS, Sql, Tx, pieces, to_i64},
};

/// A delivered record that is to be delivered again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repair {
    /// Its number within the flow.
    pub seq: i64,
    /// Why. The destination's plugin hears of it.
    pub kind: RepairKind,
    /// What is left of [`crate::Settlement::outputs`]: outputs that are in it are not written again.
    pub outputs: Option<String>,
}

/// What became of repairs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Repaired {
    /// These are on their way. The others are not in the state that was compared any more.
    Queued(BTreeSet<i64>),
    /// The comparison was ended meanwhile; nothing was done.
    Ended,
}

impl Store {
    /// Sends delivered records on their way again, with a fresh budget of attempts; those of which a newer state of the same key is known
    /// are left alone. All in one transaction, with an entry in the audit trail.
    ///
    /// # Errors
    /// The lease is not the current one, or the database fails.
    pub async fn repair(
        &self,
        lease: &Lease,
        run: &ReconcileRun,
        repairs: &[Repair],
        now: i64,
    ) -> Result<Repaired, StoreError> {
        let (tenant, flow) = (&lease.tenant, &run.flow);
        let mut tx = self.begin_fenced(lease).await?;
        if !self.still_running(&mut tx, tenant, run).await? {
            return Ok(Repaired::Ended);
        }
        // Nothing is accepted meanwhile: a newer record that is not seen here could overtake the older one.
        self.hold_reader(&mut tx, tenant, flow).await?;
        let seqs: Vec<i64> = repairs.iter().map(|repair| repair.seq).collect();
        let held = self.hold(&mut tx, tenant, flow, &seqs).await?;
        let overtaken = overtaken(&mut tx, tenant, flow, &seqs).await?;
        let mut queued = BTreeSet::new();
        let chosen: Vec<&Repair> = repairs
            .iter()
            .filter(|repair| {
                let delivered = held
                    .get(&repair.seq)
                    .is_some_and(|held| held.state == RecordState::Delivered);
                delivered && !overtaken.contains(&repair.seq) && queued.insert(repair.seq)
            })
            .collect();
        for piece in pieces(&chosen) {
            send_again(&mut tx, tenant, flow, piece, now).await?;
        }
        let mut tally = Tally::default();
        tally.moved(
            RecordState::Delivered,
            RecordState::Retrying,
            to_i64(queued.len()),
        );
        tally.write(self, &mut tx, tenant, flow).await?;
        if !queued.is_empty() {
            note(&mut tx, tenant, run, "queued", queued.len(), now).await?;
        }
        tx.commit().await?;
        Ok(Repaired::Queued(queued))
    }

    /// Accepts records that a comparison came upon and the ledger does not know, as a page would. `None` if the comparison was ended
    /// meanwhile; nothing was done then.
    ///
    /// # Errors
    /// The lease is not the current one, a record cannot be stored, or the database fails.
    pub async fn accept_found(
        &self,
        lease: &Lease,
        run: &ReconcileRun,
        release: &Digest,
        records: Vec<NewRecord>,
        now: i64,
    ) -> Result<Option<Committed>, StoreError> {
        let (tenant, flow) = (&lease.tenant, &run.flow);
        let mut tx = self.begin_fenced(lease).await?;
        if !self.still_running(&mut tx, tenant, run).await? {
            return Ok(None);
        }
        let committed = self
            .accept(&mut tx, (tenant, flow), release, records, now)
            .await?;
        if committed.accepted > 0 {
            let records = usize::try_from(committed.accepted).unwrap_or(usize::MAX);
            note(&mut tx, tenant, run, "accepted", records, now).await?;
        }
        tx.commit().await?;
        Ok(Some(committed))
    }

    /// Held, so that it cannot be ended between this look and the commit.
    async fn still_running(
        &self,
        tx: &mut Tx,
        tenant: &Name,
        run: &ReconcileRun,
    ) -> Result<bool, StoreError> {
        let mut sql = Sql::new("SELECT id FROM reconciles WHERE state = 'running' AND tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND id = ")
            .bind(&*run.id)
            .push(self.lock());
        Ok(sql
            .query(tx.backend())?
            .fetch_optional(&mut **tx)
            .await?
            .is_some())
    }

    async fn hold_reader(&self, tx: &mut Tx, tenant: &Name, flow: &Name) -> Result<(), StoreError> {
        let mut sql = Sql::new("SELECT next_seq FROM readers WHERE tenant = ");
        sql.bind(tenant.as_str())
            .push(" AND flow = ")
            .bind(flow.as_str())
            .push(self.lock());
        sql.query(tx.backend())?.fetch_optional(&mut **tx).await?;
        Ok(())
    }
}

/// Those of which a later record of the same key was delivered, is on its way or is in quarantine.
async fn overtaken(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    seqs: &[i64],
) -> Result<BTreeSet<i64>, StoreError> {
    let mut found = BTreeSet::new();
    for piece in pieces(seqs) {
        let mut sql = Sql::with_keys(tenant, flow, piece);
        sql.push(
            "SELECT DISTINCT r.seq FROM v JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq \
             JOIN records AS n ON n.tenant = r.tenant AND n.key = r.key AND n.flow = r.flow AND n.seq > r.seq \
             AND n.stream = r.stream AND n.state NOT IN ('dropped', 'discarded')",
        );
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            found.insert(row.int("seq")?);
        }
    }
    Ok(found)
}

async fn send_again(
    tx: &mut Tx,
    tenant: &Name,
    flow: &Name,
    piece: &[&Repair],
    now: i64,
) -> Result<(), StoreError> {
    let seqs: Vec<i64> = piece.iter().map(|repair| repair.seq).collect();
    let mut sql = Sql::with_keys(tenant, flow, &seqs);
    sql.push("SELECT r.seq, r.stream, r.key FROM v JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq");
    let mut lanes = Vec::with_capacity(seqs.len());
    for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
        let parts = [
            tenant.as_str(),
            flow.as_str(),
            &row.text("stream")?,
            &row.text("key")?,
        ];
        lanes.push((row.int("seq")?, fingerprint(&parts)));
    }
    let mut sql = Sql::new("WITH v (tenant, flow, seq, repair, outputs) AS (VALUES ");
    sql.rows(piece, |row, repair| {
        row.value(tenant.as_str())
            .value(flow.as_str())
            .value(repair.seq)
            .value(repair.kind.as_str())
            .value(repair.outputs.as_deref());
    });
    sql.push(
        ") UPDATE records SET state = 'retrying', attempts_at_reset = attempts, tries = NULL, reason_code = NULL, reason = NULL, \
         repair = v.repair, outputs = v.outputs, updated_at = ",
    )
    .bind(now)
    .push(", next_attempt_at = ")
    .bind(now)
    .push(OF_RECORDS);
    sql.query(tx.backend())?.execute(&mut **tx).await?;
    for piece in pieces(&lanes) {
        let mut sql = Sql::new("INSERT INTO queue (tenant, flow, seq, lane, state, next_attempt_at) VALUES ");
        sql.rows(piece, |row, (seq, lane)| {
            row.value(tenant.as_str())
                .value(flow.as_str())
                .value(*seq)
                .value(lane.to_vec())
                .value(RecordState::Retrying.as_str())
                .value(now);
        });
        sql.query(tx.backend())?.execute(&mut **tx).await?;
    }
    Ok(())
}

async fn note(
    tx: &mut Tx,
    tenant: &Name,
    run: &ReconcileRun,
    what: &str,
    records: usize,
    now: i64,
) -> Result<(), StoreError> {
    let entry = AuditEntry {
        at: now,
        actor: run.requested_by.clone(),
        action: "reconcile.repair".to_owned(),
        subject: format!("flow/{}", run.flow),
        detail: serde_json::json!({ "reconcile": run.id, "records": records, "what": what }),
    };
    audit::write(tx, tenant, &entry).await
}
