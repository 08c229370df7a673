//! The other records of a flow: what is stuck beside one, for which causes, and what went through meanwhile.

use stecker_model::{Name, RecordId, RecordState, api::Reason};

use crate::{
    Store, StoreError,
    causes::reason_of,
    due::parse_state,
    sql::{Columns, to_i64},
};

/// Records that are counted of one cause; beyond, there are "more".
const COUNTED: i64 = 10_000;
/// Keys that are shown of a cause.
const SAMPLES: i64 = 5;

/// Stuck records of one cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StuckCause {
    /// Names the cause, as [`stecker_model::api::CauseGroup::id`].
    pub id: String,
    /// The flow.
    pub flow: Name,
    /// The reason of the oldest of them.
    pub reason: Reason,
    /// How many, counted to 10,000.
    pub count: u64,
    /// Whether there are more than were counted.
    pub or_more: bool,
    /// Since when the oldest of the ones that are shown has been so.
    pub since: i64,
    /// Keys of the oldest ones.
    pub keys: Vec<String>,
}

/// What became of a record of a flow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// The record.
    pub id: RecordId,
    /// Its key.
    pub key: String,
    /// Where it stands.
    pub state: RecordState,
    /// Since when.
    pub at: i64,
    /// The code of its reason.
    pub code: Option<String>,
}

impl Store {
    /// The causes for which records of a flow are stuck, at most `limit`. Goes from cause to cause through their index and reads a handful
    /// of records of each.
    ///
    /// # Errors
    /// The database fails.
    pub async fn stuck_causes(
        &self,
        tenant: &Name,
        flow: &Name,
        limit: u32,
    ) -> Result<Vec<StuckCause>, StoreError> {
        let mut found = Vec::new();
        let mut after = String::new();
        while found.len() < limit as usize {
            let row = sqlx::query(
                "SELECT cause FROM queue WHERE cause IS NOT NULL AND tenant = $1 AND flow = $2 AND cause > $3 \
                 ORDER BY cause LIMIT 1",
            )
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .bind(&*after)
            .fetch_optional(self.reader())
            .await?;
            let Some(row) = row else { break };
            after = row.text("cause")?;
            // All of it may have moved on since.
            if let Some(cause) = self.stuck_cause(tenant, flow, &after).await? {
                found.push(cause);
            }
        }
        Ok(found)
    }

    /// Records of a flow that are stuck for one cause; none if there are none.
    ///
    /// # Errors
    /// The database fails.
    pub async fn stuck_cause(
        &self,
        tenant: &Name,
        flow: &Name,
        cause: &str,
    ) -> Result<Option<StuckCause>, StoreError> {
        let rows = sqlx::query(
            "SELECT r.key, r.reason, r.reason_code, r.updated_at FROM queue AS q \
             JOIN records AS r ON r.tenant = q.tenant AND r.flow = q.flow AND r.seq = q.seq \
             WHERE q.cause IS NOT NULL AND q.tenant = $1 AND q.flow = $2 AND q.cause = $3 ORDER BY q.seq LIMIT $4",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(cause)
        .bind(SAMPLES)
        .fetch_all(self.reader())
        .await?;
        let Some(first) = rows.first() else {
            return Ok(None);
        };
        let count = sqlx::query(
            "SELECT COUNT(*) AS records FROM (SELECT 1 AS one FROM queue \
             WHERE cause IS NOT NULL AND tenant = $1 AND flow = $2 AND cause = $3 LIMIT $4) AS counted",
        )
        .bind(tenant.as_str())
        .bind(flow.as_str())
        .bind(cause)
        .bind(COUNTED + 1)
        .fetch_one(self.reader())
        .await?
        .int("records")?;
        let mut since = first.int("updated_at")?;
        let mut keys: Vec<String> = Vec::with_capacity(rows.len());
        for row in &rows {
            since = since.min(row.int("updated_at")?);
            let key = row.text("key")?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        Ok(Some(StuckCause {
            id: cause.to_owned(),
            flow: flow.clone(),
            reason: reason_of(first)?,
            count: count.clamp(1, COUNTED).unsigned_abs(),
            or_more: count > COUNTED,
            since,
            keys,
        }))
    }

    /// What became of a flow's newest records, and of those right before a number, at most `limit` of each, by number.
    ///
    /// # Errors
    /// The database fails.
    pub async fn settled_around(
        &self,
        tenant: &Name,
        flow: &Name,
        seq: i64,
        limit: u32,
    ) -> Result<Vec<Settled>, StoreError> {
        let mut found: Vec<Settled> = Vec::new();
        for before in [seq, i64::MAX] {
            let rows = sqlx::query(
                "SELECT seq, key, state, updated_at, reason_code FROM records \
                 WHERE tenant = $1 AND flow = $2 AND seq < $3 ORDER BY seq DESC LIMIT $4",
            )
            .bind(tenant.as_str())
            .bind(flow.as_str())
            .bind(before)
            .bind(to_i64(limit))
            .fetch_all(self.reader())
            .await?;
            for row in rows {
                let seq = row.int("seq")?;
                if found.iter().any(|known| known.id.seq == seq) {
                    continue;
                }
                found.push(Settled {
                    id: RecordId {
                        flow: flow.clone(),
                        seq,
                    },
                    key: row.text("key")?,
                    state: parse_state(&row.text("state")?)?,
                    at: row.int("updated_at")?,
                    code: row.maybe_text("reason_code")?,
                });
            }
        }
        found.sort_by_key(|settled| settled.id.seq);
        Ok(found)
    }
}
