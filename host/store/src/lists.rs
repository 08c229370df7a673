//! Looking at the ledger: lists, one record with its whole story, and quarantine by cause.

use sqlx::any::AnyRow;
use stecker_model::{
    Name, RecordId,
    api::{
        AttemptInfo, QuarantineGroup, Reason, RecordDetail, RecordFilter, RecordPage, RecordSummary,
        RemovedPayload,
    },
};

use crate::{
    Store, StoreError,
    due::{parse_operation, parse_state},
    sql::{Columns, Sql},
};

pub(crate) const SUMMARY: &str = "SELECT r.flow, r.seq, r.stream, r.key, r.source_version, r.operation, r.state, r.attempts, \
    r.accepted_at, r.updated_at, r.next_attempt_at, r.external_id, r.reason";

/// The most that one list or one overview shows.
const MOST: u32 = 1_000;

pub(crate) fn attempt_number(row: &AnyRow, column: &str) -> Result<u32, StoreError> {
    u32::try_from(row.int(column)?).map_err(|error| StoreError::corrupt(format!("column {column}"), error))
}

pub(crate) fn summary(row: &AnyRow) -> Result<RecordSummary, StoreError> {
    Ok(RecordSummary {
        id: RecordId {
            flow: row.parsed("flow")?,
            seq: row.int("seq")?,
        },
        stream: row.text("stream")?,
        key: row.text("key")?,
        source_version: row.text("source_version")?,
        operation: parse_operation(&row.text("operation")?)?,
        state: parse_state(&row.text("state")?)?,
        attempts: attempt_number(row, "attempts")?,
        accepted_at: row.int("accepted_at")?,
        updated_at: row.int("updated_at")?,
        next_attempt_at: row.maybe_int("next_attempt_at")?,
        external_id: row.maybe_text("external_id")?,
        reason: row.maybe_json("reason")?,
    })
}

pub(crate) fn removed(row: &AnyRow) -> Result<Option<RemovedPayload>, StoreError> {
    let Some(removed_at) = row.maybe_int("removed_at")? else {
        return Ok(None);
    };
    Ok(Some(RemovedPayload {
        sha256: hex::encode(row.bytes("digest")?),
        size: row.count("size")?,
        removed_at,
    }))
}

impl Store {
    /// Records that match a filter, by flow and number.
    ///
    /// # Errors
    /// The database fails.
    pub async fn list_records(&self, tenant: &Name, filter: &RecordFilter) -> Result<RecordPage, StoreError> {
        let limit = filter.limit.unwrap_or(100).clamp(1, MOST);
        // A key that cannot be stored is the key of no record.
        if filter.key.as_ref().is_some_and(|key| key.contains('\0')) {
            return Ok(RecordPage {
                records: Vec::new(),
                next: None,
            });
        }
        let mut sql = Sql::new(SUMMARY);
        sql.push(" FROM records AS r WHERE r.tenant = ")
            .bind(tenant.as_str());
        if let Some(flow) = &filter.flow {
            sql.push(" AND r.flow = ").bind(flow.as_str());
        }
        if let Some(state) = filter.state {
            sql.push(" AND r.state = ").bind(state.as_str());
            if state != stecker_model::RecordState::Delivered {
                // Says to SQLite that it may use the index without the delivered ones.
                sql.push(" AND r.state <> 'delivered'");
            }
        }
        if let Some(key) = &filter.key {
            sql.push(" AND r.key = ").bind(&**key);
        }
        if let Some(reason) = &filter.reason {
            sql.push(" AND r.reason_code = ")
                .bind(crate::sql::readable(reason).into_owned());
        }
        if let Some(after) = &filter.after {
            sql.push(" AND (r.flow, r.seq) > (")
                .bind(after.flow.as_str())
                .push(", ")
                .bind(after.seq)
                .push(")");
        }
        sql.push(" ORDER BY r.flow, r.seq LIMIT ")
            .bind(i64::from(limit) + 1);
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        let more = rows.len() > limit as usize;
        let records = rows
            .iter()
            .take(limit as usize)
            .map(summary)
            .collect::<Result<Vec<_>, _>>()?;
        let next = records.last().filter(|_| more).map(|last| last.id.clone());
        Ok(RecordPage { records, next })
    }

    /// A record with everything known of it. Its payload is null if it is not kept any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn record(&self, tenant: &Name, id: &RecordId) -> Result<Option<RecordDetail>, StoreError> {
        let mut sql = Sql::new(SUMMARY);
        sql.push(
            ", r.idempotency_key, r.release, r.attributes, p.payload, d.digest, d.size, d.removed_at FROM records AS r \
             LEFT JOIN payloads AS p ON p.tenant = r.tenant AND p.flow = r.flow AND p.seq = r.seq \
             LEFT JOIN payload_digests AS d ON d.tenant = r.tenant AND d.flow = r.flow AND d.seq = r.seq WHERE r.tenant = ",
        )
        .bind(tenant.as_str())
        .push(" AND r.flow = ")
        .bind(id.flow.as_str())
        .push(" AND r.seq = ")
        .bind(id.seq);
        let Some(row) = sql.query(self.backend())?.fetch_optional(self.reader()).await? else {
            return Ok(None);
        };
        let rows = sqlx::query(
            "SELECT attempt, started_at, finished_at, release, outcome, reason, node, request, answer FROM attempts \
             WHERE tenant = $1 AND flow = $2 AND seq = $3 ORDER BY attempt",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .fetch_all(self.reader())
        .await?;
        let replays = self.replay_marks(tenant, id).await?;
        let attempts = rows
            .iter()
            .map(|row| {
                let attempt = attempt_number(row, "attempt")?;
                Ok(AttemptInfo {
                    attempt,
                    replay: replays
                        .iter()
                        .rev()
                        .find(|mark| mark.after_attempt < attempt)
                        .map(|mark| mark.replay.clone()),
                    started_at: row.int("started_at")?,
                    finished_at: row.maybe_int("finished_at")?,
                    release: row.parsed("release")?,
                    outcome: row.maybe_text("outcome")?,
                    reason: row.maybe_json("reason")?,
                    node: row.maybe_text("node")?,
                    request: row.maybe_text("request")?,
                    answer: row.maybe_text("answer")?,
                })
            })
            .collect::<Result<Vec<_>, StoreError>>()?;
        let payload = match row.maybe_text("payload")? {
            // What a guest gave is shown even if it is not the JSON that it should be.
            Some(text) => serde_json::from_str(&text).unwrap_or(serde_json::Value::String(text)),
            None => serde_json::Value::Null,
        };
        Ok(Some(RecordDetail {
            summary: summary(&row)?,
            payload,
            payload_removed: removed(&row)?,
            edits: self.edits(tenant, id).await?,
            replays,
            idempotency_key: row.text("idempotency_key")?,
            release: row.parsed("release")?,
            attributes: row.maybe_json("attributes")?.unwrap_or_default(),
            attempts,
        }))
    }

    /// Quarantine by flow and cause, the largest group first; at most 1,000 groups.
    ///
    /// # Errors
    /// The database fails.
    pub async fn quarantine_groups(
        &self,
        tenant: &Name,
        flow: Option<&Name>,
    ) -> Result<Vec<QuarantineGroup>, StoreError> {
        let mut sql = Sql::new(
            "WITH g AS (SELECT flow, COALESCE(reason_code, '') AS code, COUNT(*) AS records, MIN(seq) AS example \
             FROM records WHERE state = 'quarantined' AND state <> 'delivered' AND tenant = ",
        );
        sql.bind(tenant.as_str());
        if let Some(flow) = flow {
            sql.push(" AND flow = ").bind(flow.as_str());
        }
        sql.push(
            " GROUP BY flow, COALESCE(reason_code, '')) SELECT g.flow, g.code, g.records, g.example, r.reason FROM g \
             JOIN records AS r ON r.flow = g.flow AND r.seq = g.example AND r.tenant = ",
        )
        .bind(tenant.as_str())
        .push(" ORDER BY g.records DESC, g.flow, g.code LIMIT ")
        .bind(i64::from(MOST));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter()
            .map(|row| {
                let flow: Name = row.parsed("flow")?;
                let code = row.text("code")?;
                let reason = row.maybe_json("reason")?.unwrap_or_else(|| Reason {
                    code,
                    message: String::new(),
                    path: None,
                });
                Ok(QuarantineGroup {
                    reason,
                    count: row.count("records")?,
                    example: RecordId {
                        flow: flow.clone(),
                        seq: row.int("example")?,
                    },
                    flow,
                })
            })
            .collect()
    }
}
