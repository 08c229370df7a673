//! What is to be delivered now: of each key the first record that is not done, if its time has come.
//!
//! Two searches over the queue, which holds only what is not done: records that were never tried, by number, and tried ones, by
//! their time. For each candidate the queue's index of lanes answers whether an earlier record of its key is in the way.

use stecker_model::{Digest, FlowSpec, Name, OnQuarantine, Operation, Record, RecordState};

use sqlx::any::AnyRow;

use crate::{
    Store, StoreError,
    ahead::beyond,
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
    /// What [`crate::Settlement::tries`] last left; none since a person sent it again.
    pub tries: Option<String>,
    /// Why it is delivered again after it was delivered, if it is: see [`crate::Repair`].
    pub repair: Option<String>,
}

/// An earlier record of the same key that is not done. With [`OnQuarantine::Continue`], quarantine counts as done.
///
/// The lane alone stands here, though tenant and flow are part of it: so there is one index that fits, whatever a planner
/// without figures believes of the others.
pub(crate) const fn in_the_way(on_quarantine: OnQuarantine) -> &'static str {
    match on_quarantine {
        OnQuarantine::Hold => "EXISTS (SELECT 1 FROM queue AS e WHERE e.lane = q.lane AND e.seq < q.seq)",
        OnQuarantine::Continue => {
            "EXISTS (SELECT 1 FROM queue AS e WHERE e.lane = q.lane AND e.seq < q.seq AND e.state <> 'quarantined')"
        }
    }
}

/// Goes on after [`Sql::with_keys`]: whole records with their payloads.
const WHOLE: &str = "SELECT r.seq, r.stream, r.key, r.source_version, r.operation, r.event_time, r.attributes, \
    r.idempotency_key, r.state, r.attempts, r.attempts_at_reset, r.release, r.outputs, r.tries, r.repair, \
    p.payload, p.before_payload FROM v \
    JOIN records AS r ON r.tenant = v.tenant AND r.flow = v.flow AND r.seq = v.seq \
    JOIN payloads AS p ON p.tenant = v.tenant AND p.flow = v.flow AND p.seq = v.seq";

fn waiting_in(column: &str, tenant: &Name, flow: &Name, condition: &str, on_quarantine: OnQuarantine) -> Sql {
    let mut sql = Sql::new("SELECT ");
    sql.push(column)
        .push(" FROM queue AS q WHERE q.tenant = ")
        .bind(tenant.as_str())
        .push(" AND q.flow = ")
        .bind(flow.as_str())
        .push(" AND ")
        .push(condition)
        .push(" AND NOT ")
        .push(in_the_way(on_quarantine));
    sql
}

fn never_tried(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine, limit: u32) -> Sql {
    let mut sql = waiting_in("q.seq", tenant, flow, "q.state = 'queued'", on_quarantine);
    sql.push(" ORDER BY q.seq LIMIT ").bind(i64::from(limit));
    sql
}

/// SQLite sees that it may use the index by time only if the index's condition stands in the query word for word.
const TRIED: &str = "q.state IN ('retrying', 'unknown')";

fn tried(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine, now: i64, limit: u32) -> Sql {
    let mut sql = waiting_in("q.seq", tenant, flow, TRIED, on_quarantine);
    sql.push(" AND q.next_attempt_at <= ")
        .bind(now)
        .push(" ORDER BY q.next_attempt_at LIMIT ")
        .bind(i64::from(limit));
    sql
}

/// What a clock that ran ahead has planned, and nobody would wait for.
fn planned_too_far(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine, now: i64, limit: u32) -> Sql {
    let mut sql = waiting_in("q.seq", tenant, flow, TRIED, on_quarantine);
    sql.push(" AND q.next_attempt_at > ")
        .bind(beyond(now))
        .push(" ORDER BY q.next_attempt_at LIMIT ")
        .bind(i64::from(limit));
    sql
}

fn earliest(tenant: &Name, flow: &Name, on_quarantine: OnQuarantine) -> Sql {
    let mut sql = waiting_in("q.next_attempt_at", tenant, flow, TRIED, on_quarantine);
    sql.push(" ORDER BY q.next_attempt_at LIMIT 1");
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
        tries: row.maybe_text("tries")?,
        repair: row.maybe_text("repair")?,
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

pub(crate) fn record(row: &AnyRow) -> Result<Record, StoreError> {
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
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                seqs.push(row.int("seq")?);
            }
        }
        // Looked for only where there is room for it: nearly always there is none.
        if seqs.len() < limit as usize {
            let sql = planned_too_far(tenant, flow, on_quarantine, now, limit);
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                seqs.push(row.int("seq")?);
            }
        }
        seqs.sort_unstable();
        // A record may move from one search into the other between the two.
        seqs.dedup();
        seqs.truncate(limit as usize);
        let mut due = Vec::with_capacity(seqs.len());
        for piece in pieces(&seqs) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push(WHOLE)
                .push(" WHERE r.state IN ('queued', 'retrying', 'unknown')");
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                due.push(due_record(&row)?);
            }
        }
        due.sort_unstable_by_key(|record| record.seq);
        Ok(due)
    }

    /// Records by number with their payloads, whatever their state, in the shape of those that are due. What is not there is left
    /// out, and so is a record whose payload is not kept any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn whole_records(
        &self,
        tenant: &Name,
        flow: &Name,
        seqs: &[i64],
    ) -> Result<Vec<DueRecord>, StoreError> {
        let mut found = Vec::with_capacity(seqs.len());
        for piece in pieces(seqs) {
            let mut sql = Sql::with_keys(tenant, flow, piece);
            sql.push(WHOLE);
            for row in sql.query(self.backend())?.fetch_all(self.reader()).await? {
                found.push(due_record(&row)?);
            }
        }
        found.sort_unstable_by_key(|record| record.seq);
        Ok(found)
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
            .query(self.backend())?
            .fetch_optional(self.reader())
            .await?;
        row.map(|row| row.int("next_attempt_at")).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, StoreOptions, sqlite_url};
    use sqlx::AssertSqlSafe;

    /// What the growth of a ledger costs is decided by these plans.
    #[tokio::test]
    async fn the_searches_follow_their_indexes() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(
            &sqlite_url(&folder.path().join("store.db")),
            StoreOptions::default(),
        )
        .await
        .unwrap();
        let tenant = Name::default_tenant();
        let hold = OnQuarantine::Hold;
        let by_number = "SEARCH q USING INDEX sqlite_autoindex_queue_1 (tenant=? AND flow=?)";
        let by_time = "SEARCH q USING INDEX queue_by_time (tenant=? AND flow=?";
        let by_lane = "SEARCH e USING COVERING INDEX queue_by_lane (lane=? AND seq<?)";
        for (sql, search) in [
            (never_tried(&tenant, &tenant, hold, 10), by_number),
            (tried(&tenant, &tenant, hold, 1, 10), by_time),
            (planned_too_far(&tenant, &tenant, hold, 1, 10), by_time),
            (earliest(&tenant, &tenant, hold), by_time),
        ] {
            let rows = sqlx::query(AssertSqlSafe(format!(
                "EXPLAIN QUERY PLAN {}",
                sql.text(Backend::Sqlite)
            )))
            .fetch_all(store.reader())
            .await
            .unwrap();
            let plan: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(plan.iter().any(|step| step.starts_with(search)), "{plan:?}");
            assert!(plan.iter().any(|step| step == by_lane), "{plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
        }
        store.close().await;
    }
}
