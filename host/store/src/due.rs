//! What is to be delivered now: of each key the first record that is not done, if its time has come.
//!
//! Two searches, each along an index that holds only what is not done: records that were never tried, by number, and tried
//! ones, by their time. For each candidate a third index answers whether an earlier record of its key is in the way.

use stecker_model::{Digest, FlowSpec, Name, OnQuarantine, Operation, Record, RecordState};

use sqlx::any::AnyRow;

use crate::{
    Store, StoreError,
    sql::{Columns, Sql, pieces},
};

/// A record whose turn it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DueRecord {
    /// Its number within the flow.
    pub seq: i64,
    /// As it was read.
    pub record: Record,
    /// The same for every attempt, 32 hex digits.
    pub idempotency_key: String,
    /// Queued, retrying, or unknown: the latter has to be looked up before it is sent again.
    pub state: RecordState,
    /// Attempts so far.
    pub attempts: u32,
    /// Attempts since a person sent it back from quarantine; the same as `attempts` if nobody did.
    pub attempts_since_reset: u32,
    /// The release that read it.
    pub release: Digest,
    /// What [`crate::Settlement::outputs`] last left.
    pub outputs: Option<String>,
}

/// An earlier record of the same key that is not done. With [`OnQuarantine::Continue`], quarantine counts as done.
const IN_THE_WAY: &str = "EXISTS (SELECT 1 FROM records AS e WHERE e.tenant = r.tenant AND e.flow = r.flow \
    AND e.stream = r.stream AND e.key = r.key AND e.seq < r.seq \
    AND e.state IN ('queued', 'sending', 'retrying', 'unknown', 'quarantined')";

pub(crate) fn in_the_way(on_quarantine: OnQuarantine) -> String {
    match on_quarantine {
        OnQuarantine::Hold => format!("{IN_THE_WAY})"),
        OnQuarantine::Continue => format!("{IN_THE_WAY} AND e.state <> 'quarantined')"),
    }
}

fn never_tried(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine, limit: u32) -> Sql {
    let mut sql = Sql::new("SELECT r.seq FROM records AS r WHERE r.tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND r.flow = ")
        .bind(flow.as_str())
        .push(" AND r.state = 'queued' AND r.state <> 'delivered' AND NOT ")
        .push(&in_the_way(on_quarantine))
        .push(" ORDER BY r.seq LIMIT ")
        .bind(i64::from(limit));
    sql
}

fn tried(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine, now: i64, limit: u32) -> Sql {
    let mut sql = Sql::new("SELECT r.seq FROM records AS r WHERE r.tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND r.flow = ")
        .bind(flow.as_str())
        .push(" AND r.state IN ('retrying', 'unknown') AND r.next_attempt_at <= ")
        .bind(now)
        .push(" AND NOT ")
        .push(&in_the_way(on_quarantine))
        .push(" ORDER BY r.next_attempt_at LIMIT ")
        .bind(i64::from(limit));
    sql
}

fn earliest(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine) -> Sql {
    let mut sql = Sql::new("SELECT r.next_attempt_at FROM records AS r WHERE r.tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND r.flow = ")
        .bind(flow.as_str())
        .push(" AND r.state IN ('retrying', 'unknown') AND NOT ")
        .push(&in_the_way(on_quarantine))
        .push(" ORDER BY r.next_attempt_at LIMIT 1");
    sql
}

fn due_record(row: &AnyRow) -> Result<DueRecord, StoreError> {
    let state = row.text("state")?;
    let attempts = row.int("attempts")?;
    let count = |n: i64| u32::try_from(n).map_err(|error| StoreError::corrupt("column attempts", error));
    Ok(DueRecord {
        seq: row.int("seq")?,
        record: record(row)?,
        idempotency_key: row.text("idempotency_key")?,
        state: parse_state(&state)?,
        attempts: count(attempts)?,
        attempts_since_reset: count(attempts - row.int("attempts_at_reset")?)?,
        release: row.parsed("release")?,
        outputs: row.maybe_text("outputs")?,
    })
}

pub(crate) fn parse_state(state: &str) -> Result<RecordState, StoreError> {
    RecordState::parse(state)
        .ok_or_else(|| StoreError::corrupt("column state", format!("`{state}` is no state")))
}

pub(crate) fn parse_operation(operation: &str) -> Result<Operation, StoreError> {
    [Operation::Upsert, Operation::Delete]
        .into_iter()
        .find(|known| known.as_str() == operation)
        .ok_or_else(|| StoreError::corrupt("column operation", format!("`{operation}` is no operation")))
}

fn record(row: &AnyRow) -> Result<Record, StoreError> {
    let event_time = row
        .maybe_int("event_time")?
        .map(u64::try_from)
        .transpose()
        .map_err(|error| StoreError::corrupt("column event_time", error))?;
    Ok(Record {
        stream: row.text("stream")?,
        key: row.text("key")?,
        operation: parse_operation(&row.text("operation")?)?,
        payload: row.text("payload")?,
        before: row.maybe_text("before_payload")?,
        event_time,
        source_version: row.text("source_version")?,
        attributes: row.maybe_json("attributes")?.unwrap_or_default(),
    })
}

impl Store {
    /// Up to `limit` records to deliver now, by number, at most one for each key. Records being sent are not among them, nor
    /// is anything behind them.
    ///
    /// # Errors
    /// The database fails.
    pub async fn due(
        &self,
        tenant: &Name,
        flow: &Name,
        on_quarantine: OnQuarantine,
        now: i64,
        limit: u32,
    ) -> Result<Vec<DueRecord>, StoreError> {
        let mut seqs = Vec::new();
        for sql in [
            never_tried(tenant, flow, on_quarantine, limit),
            tried(tenant, flow, on_quarantine, now, limit),
        ] {
            for row in sql.query()?.fetch_all(self.reader()).await? {
                seqs.push(row.int("seq")?);
            }
        }
        seqs.sort_unstable();
        // A record may move from one search into the other between the two.
        seqs.dedup();
        seqs.truncate(limit as usize);
        let mut due = Vec::with_capacity(seqs.len());
        for piece in pieces(&seqs) {
            let mut sql = Sql::new(
                "SELECT r.seq, r.stream, r.key, r.source_version, r.operation, r.event_time, r.attributes, \
                 r.idempotency_key, r.state, r.attempts, r.attempts_at_reset, r.release, r.outputs, \
                 p.payload, p.before_payload FROM records AS r \
                 JOIN payloads AS p ON p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq WHERE r.tenant = ",
            );
            sql.bind(tenant.as_str())
                .push(" AND r.flow = ")
                .bind(flow.as_str())
                .push(" AND r.state IN ('queued', 'retrying', 'unknown') AND r.seq IN ")
                .list(piece.iter().copied());
            for row in sql.query()?.fetch_all(self.reader()).await? {
                due.push(due_record(&row)?);
            }
        }
        due.sort_unstable_by_key(|record| record.seq);
        Ok(due)
    }

    /// When the next record that was tried before is due, if none is in its way; it may be in the past. Records that were
    /// never tried are due at any time and do not count.
    ///
    /// # Errors
    /// The database fails.
    pub async fn next_due_at(&self, tenant: &Name, flow: &Name) -> Result<Option<i64>, StoreError> {
        let row = sqlx::query("SELECT spec FROM flows WHERE tenant = $1 AND name = $2")
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .fetch_optional(self.reader())
            .await?;
        let Some(row) = row else { return Ok(None) };
        let spec: FlowSpec = row.json("spec")?;
        let row = earliest(tenant, flow, spec.delivery.on_quarantine)
            .query()?
            .fetch_optional(self.reader())
            .await?;
        row.map(|row| row.int("next_attempt_at")).transpose()
    }
}
