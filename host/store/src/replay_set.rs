//! Which records a replay is about: the selection walked in bounded pieces along an index, and written down, so that what happens to
//! records afterwards changes nothing about the set.

use stecker_model::{
    Name, RecordState,
    api::{ReplayCursor, ReplayEvent, ReplaySelection},
};

use sqlx::any::AnyRow;

use crate::{
    Store, StoreError,
    due::parse_state,
    replays::set_state,
    sql::{Columns, Sql, pieces, readable, to_i64, to_json},
};

/// Records that one transaction looks at.
const PIECE: u32 = 2_000;

/// A record that was passed on the walk.
struct Passed {
    cursor: ReplayCursor,
    matches: bool,
}

/// The next records of a selection, whatever their state: that is judged afterwards, so that a walk past many that do not match is a
/// bounded piece too. Which index serves it:
///
/// - with a key, `records_by_key` (tenant, key, flow, seq);
/// - with numbers, the primary key (tenant, flow, seq);
/// - with times, `records_by_time` (tenant, flow, accepted_at, seq).
fn walk(tenant: &Name, selection: &ReplaySelection, after: ReplayCursor, limit: u32) -> Sql {
    let mut sql = Sql::new("SELECT seq, accepted_at, state FROM records WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND flow = ")
        .bind(selection.flow.as_str());
    if let Some(key) = &selection.key {
        sql.push(" AND key = ").bind(readable(key).into_owned());
    }
    let by_number = selection.key.is_some() || selection.from_seq.is_some() || selection.to_seq.is_some();
    if by_number {
        let first = selection.from_seq.unwrap_or(1).max(after.seq.saturating_add(1));
        let last = selection.to_seq.map_or(after.up_to, |to| to.min(after.up_to));
        sql.push(" AND seq >= ")
            .bind(first)
            .push(" AND seq <= ")
            .bind(last)
            .push(" ORDER BY seq LIMIT ");
    } else {
        if after.seq > 0 {
            sql.push(" AND (accepted_at, seq) > (")
                .bind(after.accepted_at)
                .push(", ")
                .bind(after.seq)
                .push(")");
        } else if let Some(since) = selection.since {
            sql.push(" AND accepted_at >= ").bind(since);
        }
        if let Some(until) = selection.until {
            sql.push(" AND accepted_at < ").bind(until);
        }
        sql.push(" ORDER BY accepted_at, seq LIMIT ");
    }
    sql.bind(i64::from(limit));
    sql
}

fn passed(row: &AnyRow, selection: &ReplaySelection, up_to: i64) -> Result<Passed, StoreError> {
    let seq = row.int("seq")?;
    let accepted_at = row.int("accepted_at")?;
    let state: RecordState = parse_state(&row.text("state")?)?;
    let matches = seq <= up_to
        && selection.states().contains(&state)
        && selection.since.is_none_or(|since| accepted_at >= since)
        && selection.until.is_none_or(|until| accepted_at < until);
    Ok(Passed {
        cursor: ReplayCursor {
            seq,
            accepted_at,
            up_to,
        },
        matches,
    })
}

impl Store {
    /// The next records of a selection, without a job: their numbers, and where to go on; none at the end. At most `limit` records are
    /// looked at. Without `after` it begins, and what is accepted from then on does not belong to it.
    ///
    /// # Errors
    /// The flow is unknown, or the database fails.
    pub async fn replay_candidates(
        &self,
        tenant: &Name,
        selection: &ReplaySelection,
        after: Option<ReplayCursor>,
        limit: u32,
    ) -> Result<(Vec<i64>, Option<ReplayCursor>), StoreError> {
        let after = match after {
            Some(after) => after,
            None => {
                let row = sqlx::query("SELECT next_seq FROM readers WHERE tenant = $1 AND flow = $2")
                    .bind(tenant.as_str())
                    .bind(selection.flow.as_str())
                    .fetch_optional(self.reader())
                    .await?
                    .ok_or_else(|| StoreError::not_found("flow", &selection.flow))?;
                ReplayCursor {
                    up_to: row.int("next_seq")? - 1,
                    ..ReplayCursor::default()
                }
            }
        };
        let rows = walk(tenant, selection, after, limit)
            .query()?
            .fetch_all(self.reader())
            .await?;
        let mut seqs = Vec::new();
        let mut last = after;
        for row in &rows {
            let passed = passed(row, selection, after.up_to)?;
            last = passed.cursor;
            if passed.matches {
                seqs.push(passed.cursor.seq);
            }
        }
        let more = rows.len() >= limit as usize;
        Ok((seqs, more.then_some(last)))
    }

    /// Puts the next piece of a replay's set together; whether there is more to do. One that is not running or is complete is left alone.
    ///
    /// # Errors
    /// There is no such replay, or the database fails.
    pub async fn collect_replay(&self, tenant: &Name, name: &Name, now: i64) -> Result<bool, StoreError> {
        let mut tx = self.begin_tx().await?;
        let held = self.hold_replay(&mut tx, tenant, name).await?;
        if !held.info.collecting || held.info.state.is_over() {
            tx.rollback().await?;
            return Ok(false);
        }
        let selection = &held.info.selection;
        let rows = walk(tenant, selection, held.collect_from, PIECE)
            .query()?
            .fetch_all(&mut *tx)
            .await?;
        let mut last = held.collect_from;
        let mut found = Vec::new();
        for row in &rows {
            let passed = passed(row, selection, held.collect_from.up_to)?;
            last = passed.cursor;
            if passed.matches {
                found.push(passed.cursor.seq);
            }
        }
        for piece in pieces(&found) {
            let mut sql = Sql::new("INSERT INTO replay_items (tenant, replay, seq, flow) VALUES ");
            sql.rows(piece, |row, seq| {
                row.value(tenant.as_str())
                    .value(name.as_str())
                    .value(*seq)
                    .value(selection.flow.as_str());
            });
            sql.query()?.execute(&mut *tx).await?;
        }
        let complete = rows.len() < PIECE as usize;
        sqlx::query(
            "UPDATE replays SET collect_from = $1, collected = $2, total = total + $3, updated_at = $4 \
             WHERE tenant = $5 AND name = $6",
        )
        .bind(to_json(&last)?)
        .bind(i64::from(complete))
        .bind(to_i64(found.len()))
        .bind(now)
        .bind(tenant.as_str())
        .bind(name.as_str())
        .execute(&mut *tx)
        .await?;
        let nothing = complete && held.info.total == 0 && found.is_empty();
        if nothing && let Ok(done) = held.info.state.after(ReplayEvent::Exhausted) {
            set_state(&mut tx, tenant, name, done, now).await?;
        }
        tx.commit().await?;
        Ok(!complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreOptions, sqlite_url};
    use sqlx::AssertSqlSafe;

    /// A ledger of a million records is not read to find a hundred.
    #[tokio::test]
    async fn every_selection_follows_an_index() {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("store.db"));
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        let tenant = Name::default_tenant();
        let all = ReplaySelection {
            flow: tenant.clone(),
            since: None,
            until: None,
            key: None,
            from_seq: None,
            to_seq: None,
            states: Vec::new(),
            all_versions: false,
        };
        let begun = ReplayCursor {
            seq: 5,
            accepted_at: 5,
            up_to: 9,
        };
        let by_time = "USING INDEX records_by_time (tenant=? AND flow=? AND ";
        let by_key = "USING INDEX records_by_key (tenant=? AND key=? AND flow=? AND seq";
        let by_number = "USING INDEX sqlite_autoindex_records_1 (tenant=? AND flow=? AND seq";
        for (selection, index) in [
            (
                ReplaySelection {
                    since: Some(1),
                    until: Some(2),
                    ..all.clone()
                },
                by_time,
            ),
            (
                ReplaySelection {
                    key: Some("k".to_owned()),
                    since: Some(1),
                    ..all.clone()
                },
                by_key,
            ),
            (
                ReplaySelection {
                    from_seq: Some(3),
                    ..all.clone()
                },
                by_number,
            ),
        ] {
            for after in [ReplayCursor::default(), begun] {
                let sql = walk(&tenant, &selection, after, 10);
                let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", sql.text())))
                    .fetch_all(store.reader())
                    .await
                    .unwrap();
                let plan: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
                assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
                assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
            }
        }
        store.close().await;
    }
}
