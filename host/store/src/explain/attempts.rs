//! The attempts of a record from both ends: of ten thousand, the first say how it began and the last how it is now.

use sqlx::any::AnyRow;
use stecker_model::{
    Name, RecordId,
    api::{AttemptInfo, EditInfo, RemovedPayload, ReplayMark},
};

use crate::{
    Store, StoreError,
    lists::{attempt_number, removed},
    sql::{Columns, Sql},
};

impl Store {
    /// The first and the last attempts of a record, at most so many of each, oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn attempts_from_both_ends(
        &self,
        tenant: &Name,
        id: &RecordId,
        first: u32,
        last: u32,
    ) -> Result<Vec<AttemptInfo>, StoreError> {
        let mut found = self.some_attempts(tenant, id, " ORDER BY attempt", first).await?;
        let known = found.last().map_or(0, |attempt| attempt.attempt);
        let mut rest = self
            .some_attempts(tenant, id, " ORDER BY attempt DESC", last)
            .await?;
        rest.reverse();
        rest.retain(|attempt| attempt.attempt > known);
        found.append(&mut rest);
        Ok(found)
    }

    async fn some_attempts(
        &self,
        tenant: &Name,
        id: &RecordId,
        order: &str,
        limit: u32,
    ) -> Result<Vec<AttemptInfo>, StoreError> {
        let mut sql = Sql::new(
            "SELECT attempt, started_at, finished_at, release, outcome, reason, node, request, answer FROM attempts \
             WHERE tenant = ",
        );
        sql.bind(tenant.as_str())
            .push(" AND flow = ")
            .bind(id.flow.as_str())
            .push(" AND seq = ")
            .bind(id.seq)
            .push(order)
            .push(" LIMIT ")
            .bind(i64::from(limit));
        let rows = sql.query(self.backend())?.fetch_all(self.reader()).await?;
        rows.iter().map(attempt).collect()
    }

    /// The edits of a record, without the payloads, and the replays that sent it again, both oldest first.
    ///
    /// # Errors
    /// The database fails.
    pub async fn edits_and_replays(
        &self,
        tenant: &Name,
        id: &RecordId,
    ) -> Result<(Vec<EditInfo>, Vec<ReplayMark>), StoreError> {
        let mut edits = self.edits(tenant, id).await?;
        for edit in &mut edits {
            edit.replaced = None;
        }
        Ok((edits, self.replay_marks(tenant, id).await?))
    }

    /// What is left of a record's payload, if it is not kept any more.
    ///
    /// # Errors
    /// The database fails.
    pub async fn removed_payload(
        &self,
        tenant: &Name,
        id: &RecordId,
    ) -> Result<Option<RemovedPayload>, StoreError> {
        let row = sqlx::query(
            "SELECT digest, size, removed_at FROM payload_digests WHERE tenant = $1 AND flow = $2 AND seq = $3",
        )
        .bind(tenant.as_str())
        .bind(id.flow.as_str())
        .bind(id.seq)
        .fetch_optional(self.reader())
        .await?;
        row.as_ref().map_or(Ok(None), removed)
    }
}

fn attempt(row: &AnyRow) -> Result<AttemptInfo, StoreError> {
    Ok(AttemptInfo {
        attempt: attempt_number(row, "attempt")?,
        replay: None,
        started_at: row.int("started_at")?,
        finished_at: row.maybe_int("finished_at")?,
        release: row.parsed("release")?,
        outcome: row.maybe_text("outcome")?,
        reason: row.maybe_json("reason")?,
        node: row.maybe_text("node")?,
        request: row.maybe_text("request")?,
        answer: row.maybe_text("answer")?,
    })
}
