//! What people do to quarantined records: send them on again, or give them up.

use std::collections::BTreeMap;

use stecker_model::{
    Name, RecordId, RecordState,
    api::{QuarantineSelection, Reason},
};

use crate::{
    AuditEntry, Store, StoreError, audit,
    counters::Tally,
    nodes::{self, Told},
    outgoing::events,
    sql::{Columns, LEAVE_QUEUE, OF_QUEUE, Sql, Tx, pieces, readable, to_i64, to_json},
};

/// Adds the condition that a record is in quarantine and selected.
fn selected(sql: &mut Sql, tenant: &Name, selection: &QuarantineSelection, ids: &[RecordId]) {
    sql.push(" WHERE state = 'quarantined' AND state <> 'delivered' AND tenant = ")
        .bind(tenant.as_str());
    if let Some(flow) = &selection.flow {
        sql.push(" AND flow = ").bind(flow.as_str());
    }
    if let Some(code) = &selection.code {
        sql.push(" AND reason_code = ").bind(readable(code).into_owned());
    }
    if !ids.is_empty() {
        sql.push(" AND (flow, seq) IN (VALUES ").rows(ids, |row, id| {
            row.value(id.flow.as_str()).value(id.seq);
        });
        sql.push(")");
    }
    sql.push(" RETURNING flow, seq");
}

/// Moves the selected records with an `UPDATE records SET …` that `set` begins; returns which went, by flow.
async fn move_selected(
    tx: &mut Tx,
    tenant: &Name,
    selection: &QuarantineSelection,
    set: impl Fn() -> Result<Sql, StoreError>,
) -> Result<BTreeMap<Name, Vec<i64>>, StoreError> {
    let mut moved: BTreeMap<Name, Vec<i64>> = BTreeMap::new();
    let all: [&[RecordId]; 1] = [&[]];
    let lists: Vec<&[RecordId]> = if selection.ids.is_empty() {
        all.to_vec()
    } else {
        pieces(&selection.ids).collect()
    };
    for ids in lists {
        let mut sql = set()?;
        selected(&mut sql, tenant, selection, ids);
        for row in sql.query()?.fetch_all(&mut **tx).await? {
            moved
                .entry(row.parsed("flow")?)
                .or_default()
                .push(row.int("seq")?);
        }
    }
    Ok(moved)
}

impl Store {
    /// Sends quarantined records on their way again, at once and with a fresh budget of attempts; the attempts so far stay
    /// in their story. Returns how many. Selected records that are not in quarantine any more are left alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retry_quarantined(
        &self,
        tenant: &Name,
        selection: &QuarantineSelection,
        actor: &str,
        now: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let moved = move_selected(&mut tx, tenant, selection, || {
            let mut sql = Sql::new(
                "UPDATE records SET state = 'retrying', attempts_at_reset = attempts, updated_at = ",
            );
            sql.bind(now).push(", next_attempt_at = ").bind(now);
            Ok(sql)
        })
        .await?;
        let detail = serde_json::json!({ "selection": selection });
        self.finish_decision(
            tx,
            tenant,
            moved,
            RecordState::Retrying,
            ("quarantine.retry", actor, now, detail),
        )
        .await
    }

    /// Gives quarantined records up, for good, and keeps why. Returns how many. Selected records that are not in quarantine
    /// any more are left alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn discard_quarantined(
        &self,
        tenant: &Name,
        selection: &QuarantineSelection,
        reason: &str,
        actor: &str,
        now: i64,
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let why = Reason {
            code: "discarded".to_owned(),
            message: reason.to_owned(),
            path: None,
        };
        let moved = move_selected(&mut tx, tenant, selection, || {
            let mut sql =
                Sql::new("UPDATE records SET state = 'discarded', next_attempt_at = NULL, updated_at = ");
            sql.bind(now)
                .push(", reason_code = ")
                .bind(&*why.code)
                .push(", reason = ")
                .bind(to_json(&why)?);
            Ok(sql)
        })
        .await?;
        let detail = serde_json::json!({ "selection": selection, "reason": reason });
        self.finish_decision(
            tx,
            tenant,
            moved,
            RecordState::Discarded,
            ("quarantine.discard", actor, now, detail),
        )
        .await
    }

    async fn finish_decision(
        &self,
        mut tx: Tx,
        tenant: &Name,
        moved: BTreeMap<Name, Vec<i64>>,
        to: RecordState,
        (action, actor, at, detail): (&str, &str, i64, serde_json::Value),
    ) -> Result<u64, StoreError> {
        let mut total = 0;
        for (flow, seqs) in moved {
            for piece in pieces(&seqs) {
                let mut sql = Sql::with_keys(tenant, &flow, piece);
                if to == RecordState::Retrying {
                    sql.push("UPDATE queue SET state = 'retrying', next_attempt_at = ")
                        .bind(at)
                        .push(OF_QUEUE);
                } else {
                    sql.push(LEAVE_QUEUE);
                }
                sql.query()?.execute(&mut *tx).await?;
            }
            if events::of_state(to).is_some() {
                events::records(&mut tx, tenant, &flow, &seqs, at).await?;
            }
            let records = to_i64(seqs.len());
            let mut tally = Tally::default();
            tally.moved(RecordState::Quarantined, to, records);
            tally.write(self, &mut tx, tenant, &flow).await?;
            let mut detail = detail.clone();
            if let Some(detail) = detail.as_object_mut() {
                detail.insert("records".to_owned(), records.into());
            }
            let entry = AuditEntry {
                at,
                actor: actor.to_owned(),
                action: action.to_owned(),
                subject: format!("flow/{flow}"),
                detail,
            };
            audit::write(&mut tx, tenant, &entry).await?;
            nodes::tell(self, &mut tx, &Told::Deliver(tenant.clone(), flow)).await?;
            total += seqs.len() as u64;
        }
        tx.commit().await?;
        Ok(total)
    }
}
