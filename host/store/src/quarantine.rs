//! What people do to quarantined records: send them on again, or give them up.
//!
//! A decision on many is made in pieces, each a transaction of its own. What makes it one decision is its moment: records that
//! went into quarantine after it are not met, so that a piece can be repeated, and a decision that was interrupted too.

use std::collections::BTreeMap;

use stecker_model::{
    Name, RecordId, RecordState,
    api::{Affected, QuarantineSelection, Reason, SelectionPreview},
};

use crate::{
    AuditEntry, Backend, Store, StoreError, audit,
    counters::Tally,
    lists,
    nodes::{self, Told},
    outgoing::events,
    sql::{Columns, LEAVE_QUEUE, OF_QUEUE, OF_RECORDS, Sql, Tx, pieces, readable, to_i64, to_json},
};

/// Records that a preview shows.
const SAMPLES: i64 = 10;

/// Adds from where and under which conditions records are selected.
///
/// Quarantined records are found by `records_by_state` (its condition stands here word for word), those of a group by `queue_by_cause`,
/// named ones by their keys.
fn selected(sql: &mut Sql, tenant: &Name, selection: &QuarantineSelection, ids: &[RecordId]) {
    sql.push(" FROM records AS r");
    if selection.group.is_some() {
        sql.push(" JOIN queue AS q ON q.tenant = r.tenant AND q.flow = r.flow AND q.seq = r.seq");
    }
    sql.push(" WHERE r.state = 'quarantined' AND r.state <> 'delivered' AND r.tenant = ")
        .bind(tenant.as_str());
    if let Some(group) = &selection.group {
        sql.push(" AND q.cause IS NOT NULL AND q.tenant = ")
            .bind(tenant.as_str())
            .push(" AND q.cause = ")
            .bind(readable(group).into_owned());
        if let Some(flow) = &selection.flow {
            sql.push(" AND q.flow = ").bind(flow.as_str());
        }
    }
    if let Some(flow) = &selection.flow {
        sql.push(" AND r.flow = ").bind(flow.as_str());
    }
    if let Some(code) = &selection.code {
        sql.push(" AND r.reason_code = ")
            .bind(readable(code).into_owned());
    }
    if let Some(key) = &selection.key {
        sql.push(" AND r.key = ").bind(readable(key).into_owned());
    }
    if let Some(since) = selection.since {
        sql.push(" AND r.updated_at >= ").bind(since);
    }
    if let Some(until) = selection.until {
        sql.push(" AND r.updated_at <= ").bind(until);
    }
    if !ids.is_empty() {
        sql.push(" AND (r.flow, r.seq) IN (VALUES ").rows(ids, |row, id| {
            row.value(id.flow.as_str()).value(id.seq);
        });
        sql.push(")");
    }
}

/// Selected records by flow, locked, at most as many as the selection's limit; and whether the limit kept some out.
async fn take(
    store: &Store,
    tx: &mut Tx,
    tenant: &Name,
    selection: &QuarantineSelection,
) -> Result<(BTreeMap<Name, Vec<i64>>, bool), StoreError> {
    let mut taken: BTreeMap<Name, Vec<i64>> = BTreeMap::new();
    let mut left = selection.limit.map_or(i64::MAX, i64::from);
    let all: [&[RecordId]; 1] = [&[]];
    let lists: Vec<&[RecordId]> = if selection.ids.is_empty() {
        all.to_vec()
    } else {
        pieces(&selection.ids).collect()
    };
    for ids in lists {
        if left == 0 {
            return Ok((taken, true));
        }
        let mut sql = Sql::new("SELECT r.flow, r.seq");
        selected(&mut sql, tenant, selection, ids);
        sql.push(" ORDER BY r.flow, r.seq LIMIT ")
            .bind(left)
            .push(match store.backend() {
                Backend::Sqlite => "",
                Backend::Postgres => " FOR UPDATE OF r",
            });
        for row in sql.query(tx.backend())?.fetch_all(&mut **tx).await? {
            taken
                .entry(row.parsed("flow")?)
                .or_default()
                .push(row.int("seq")?);
            left -= 1;
        }
    }
    Ok((taken, left == 0))
}

impl Store {
    /// What a decision on a selection would meet now.
    ///
    /// # Errors
    /// The database fails.
    pub async fn quarantine_preview(
        &self,
        tenant: &Name,
        selection: &QuarantineSelection,
        now: i64,
    ) -> Result<SelectionPreview, StoreError> {
        if selection.group.is_some() {
            self.name_causes(tenant).await?;
        }
        let as_of = selection.until.unwrap_or(now).min(now);
        let selection = QuarantineSelection {
            until: Some(as_of),
            ..selection.clone()
        };
        let all: [&[RecordId]; 1] = [&[]];
        let parts: Vec<&[RecordId]> = if selection.ids.is_empty() {
            all.to_vec()
        } else {
            pieces(&selection.ids).collect()
        };
        let mut preview = SelectionPreview {
            records: 0,
            as_of,
            samples: Vec::new(),
        };
        for ids in parts {
            let mut sql = Sql::new("SELECT COUNT(*) AS records");
            selected(&mut sql, tenant, &selection, ids);
            preview.records += sql
                .query(self.backend())?
                .fetch_one(self.reader())
                .await?
                .count("records")?;
            let missing = SAMPLES - to_i64(preview.samples.len());
            if missing > 0 {
                let mut sql = Sql::new(lists::SUMMARY);
                selected(&mut sql, tenant, &selection, ids);
                sql.push(" ORDER BY r.flow, r.seq LIMIT ").bind(missing);
                for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                    preview.samples.push(lists::summary(&row)?);
                }
            }
        }
        Ok(preview)
    }

    /// Sends quarantined records on their way again, at once and with a fresh budget of attempts; the attempts so far stay
    /// in their story. One transaction, for at most as many as the selection's limit. Selected records that are not in quarantine any
    /// more are left alone.
    ///
    /// # Errors
    /// The database fails.
    pub async fn retry_quarantined(
        &self,
        tenant: &Name,
        selection: &QuarantineSelection,
        actor: &str,
        now: i64,
    ) -> Result<Affected, StoreError> {
        let mut tx = self.begin_tx_of(tenant).await?;
        let (taken, more) = take(self, &mut tx, tenant, selection).await?;
        for (flow, seqs) in &taken {
            for piece in pieces(seqs) {
                let mut sql = Sql::with_keys(tenant, flow, piece);
                sql.push(
                    "UPDATE records SET state = 'retrying', attempts_at_reset = attempts, tries = NULL, updated_at = ",
                )
                .bind(now)
                .push(", next_attempt_at = ")
                .bind(now)
                .push(OF_RECORDS);
                sql.query(tx.backend())?.execute(&mut *tx).await?;
                let mut sql = Sql::with_keys(tenant, flow, piece);
                sql.push("UPDATE queue SET state = 'retrying', next_attempt_at = ")
                    .bind(now)
                    .push(OF_QUEUE);
                sql.query(tx.backend())?.execute(&mut *tx).await?;
            }
        }
        let detail = serde_json::json!({ "selection": selection });
        let records = self
            .finish_decision(
                tx,
                tenant,
                taken,
                RecordState::Retrying,
                ("quarantine.retry", actor, now, detail),
            )
            .await?;
        Ok(Affected { records, more })
    }

    /// Gives quarantined records up, for good, and keeps why. One transaction, for at most as many as the selection's limit. Selected
    /// records that are not in quarantine any more are left alone.
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
    ) -> Result<Affected, StoreError> {
        let why = to_json(&Reason {
            code: "discarded".to_owned(),
            message: reason.to_owned(),
            path: None,
        })?;
        let mut tx = self.begin_tx().await?;
        let (taken, more) = take(self, &mut tx, tenant, selection).await?;
        for (flow, seqs) in &taken {
            for piece in pieces(seqs) {
                let mut sql = Sql::with_keys(tenant, flow, piece);
                sql.push("UPDATE records SET state = 'discarded', next_attempt_at = NULL, updated_at = ")
                    .bind(now)
                    .push(", reason_code = 'discarded', reason = ")
                    .bind(&*why)
                    .push(OF_RECORDS);
                sql.query(tx.backend())?.execute(&mut *tx).await?;
                let mut sql = Sql::with_keys(tenant, flow, piece);
                sql.push(LEAVE_QUEUE);
                sql.query(tx.backend())?.execute(&mut *tx).await?;
            }
        }
        let detail = serde_json::json!({ "selection": selection, "reason": reason });
        let records = self
            .finish_decision(
                tx,
                tenant,
                taken,
                RecordState::Discarded,
                ("quarantine.discard", actor, now, detail),
            )
            .await?;
        Ok(Affected { records, more })
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
