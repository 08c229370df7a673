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
/// Where a walk is that has not begun: its beginning is not looked for yet.
pub(crate) const NOT_BEGUN: i64 = -1;

/// The next records of a selection by number, whatever their state and time: those are judged afterwards, so that a walk past many that
/// do not match is a bounded piece too. With a key it follows `records_by_key` (tenant, key, flow, seq), else the primary key.
fn walk(tenant: &Name, selection: &ReplaySelection, after: ReplayCursor, limit: u32) -> Sql {
    let mut sql = Sql::new("SELECT seq, accepted_at, state FROM records WHERE tenant = ");
    sql.bind(tenant.as_str())
        .push(" AND flow = ")
        .bind(selection.flow.as_str());
    if let Some(key) = &selection.key {
        sql.push(" AND key = ").bind(readable(key).into_owned());
    }
    sql.push(" AND seq > ")
        .bind(after.seq)
        .push(" AND seq <= ")
        .bind(after.up_to)
        .push(" ORDER BY seq LIMIT ")
        .bind(i64::from(limit));
    sql
}

/// Between which numbers a time range lies. Follows `records_by_time` through the range, once; tenant and flow stand here as they stand
/// there, or the index would not be seen.
fn within(tenant: &Name, selection: &ReplaySelection) -> Sql {
    let mut sql =
        Sql::new("SELECT MIN(seq) AS first, MAX(seq) AS last FROM records WHERE tenant || '/' || flow = ");
    sql.bind(format!("{tenant}/{}", selection.flow))
        .push(" AND accepted_at >= ")
        .bind(selection.since.unwrap_or(i64::MIN))
        .push(" AND accepted_at < ")
        .bind(selection.until.unwrap_or(i64::MAX));
    sql
}

/// A selection by nothing but times.
const fn is_by_time(selection: &ReplaySelection) -> bool {
    selection.key.is_none() && selection.from_seq.is_none() && selection.to_seq.is_none()
}

fn matches(row: &AnyRow, selection: &ReplaySelection) -> Result<bool, StoreError> {
    let accepted_at = row.int("accepted_at")?;
    let state: RecordState = parse_state(&row.text("state")?)?;
    Ok(selection.states().contains(&state)
        && selection.since.is_none_or(|since| accepted_at >= since)
        && selection.until.is_none_or(|until| accepted_at < until))
}

/// The records of a piece that match, where the next piece begins, and whether there is one.
fn taken(
    rows: &[AnyRow],
    selection: &ReplaySelection,
    after: ReplayCursor,
    limit: u32,
) -> Result<(Vec<i64>, ReplayCursor, bool), StoreError> {
    let mut found = Vec::new();
    let mut last = after;
    for row in rows {
        last.seq = row.int("seq")?;
        if matches(row, selection)? {
            found.push(last.seq);
        }
    }
    let more = rows.len() >= limit as usize && last.seq < last.up_to;
    Ok((found, last, more))
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
                self.replay_begin(tenant, selection, row.int("next_seq")? - 1)
                    .await?
            }
        };
        let rows = walk(tenant, selection, after, limit)
            .query(self.backend())?
            .fetch_all(self.reader())
            .await?;
        let (seqs, last, more) = taken(&rows, selection, after, limit)?;
        Ok((seqs, more.then_some(last)))
    }

    /// Where the walk begins and ends, with the ledger being as long as `up_to`.
    async fn replay_begin(
        &self,
        tenant: &Name,
        selection: &ReplaySelection,
        up_to: i64,
    ) -> Result<ReplayCursor, StoreError> {
        let (mut first, mut last) = (selection.from_seq.unwrap_or(1), selection.to_seq.unwrap_or(up_to));
        if is_by_time(selection) {
            let row = within(tenant, selection)
                .query(self.backend())?
                .fetch_one(self.reader())
                .await?;
            first = row.maybe_int("first")?.unwrap_or(up_to.saturating_add(1));
            last = row.maybe_int("last")?.unwrap_or(up_to);
        }
        Ok(ReplayCursor {
            seq: first.saturating_sub(1),
            up_to: last.min(up_to),
        })
    }

    /// Puts the next piece of a replay's set together; whether there is more to do. One that is not running or is complete is left alone.
    ///
    /// # Errors
    /// There is no such replay, or the database fails.
    pub async fn collect_replay(&self, tenant: &Name, name: &Name, now: i64) -> Result<bool, StoreError> {
        // The range is looked for before anything is held, because that may take a moment.
        let Some(known) = self.replay_row(tenant, name).await? else {
            return Err(StoreError::not_found("replay", name));
        };
        let begin = if known.collect_from.seq == NOT_BEGUN {
            let up_to = known.collect_from.up_to;
            Some(self.replay_begin(tenant, &known.info.selection, up_to).await?)
        } else {
            None
        };
        let mut tx = self.begin_tx().await?;
        let held = self.hold_replay(&mut tx, tenant, name).await?;
        if !held.info.collecting || held.info.state.is_over() {
            tx.rollback().await?;
            return Ok(false);
        }
        let selection = &held.info.selection;
        let from = match begin {
            Some(begin) if held.collect_from.seq == NOT_BEGUN => begin,
            _ => held.collect_from,
        };
        let rows = walk(tenant, selection, from, PIECE)
            .query(tx.backend())?
            .fetch_all(&mut *tx)
            .await?;
        let (found, last, more) = taken(&rows, selection, from, PIECE)?;
        for piece in pieces(&found) {
            let mut sql = Sql::new("INSERT INTO replay_items (tenant, replay, seq, flow) VALUES ");
            sql.rows(piece, |row, seq| {
                row.value(tenant.as_str())
                    .value(name.as_str())
                    .value(*seq)
                    .value(selection.flow.as_str());
            });
            sql.query(tx.backend())?.execute(&mut *tx).await?;
        }
        let complete = !more;
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
    use crate::{Backend, StoreOptions, sqlite_url};
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
        let by_key = "USING INDEX records_by_key (tenant=? AND key=? AND flow=? AND seq";
        let by_number = "USING INDEX sqlite_autoindex_records_1 (tenant=? AND flow=? AND seq";
        let by_time = "USING INDEX records_by_time (<expr>=? AND accepted_at";
        let of_key = ReplaySelection {
            key: Some("k".to_owned()),
            ..all.clone()
        };
        let after = ReplayCursor { seq: 5, up_to: 9 };
        for (sql, index) in [
            (walk(&tenant, &all, after, 10), by_number),
            (walk(&tenant, &of_key, after, 10), by_key),
            (within(&tenant, &all), by_time),
        ] {
            let rows = sqlx::query(AssertSqlSafe(format!(
                "EXPLAIN QUERY PLAN {}",
                sql.text(Backend::Sqlite)
            )))
            .fetch_all(store.reader())
            .await
            .unwrap();
            let plan: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{plan:?}");
            assert!(!plan.iter().any(|step| step.contains("TEMP B-TREE")), "{plan:?}");
        }
        store.close().await;
    }
}
