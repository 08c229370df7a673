//! What waits for the holders of flows, over all flows of the database: what somebody may have told and nobody has heard.
//!
//! A flow that has nothing to do sleeps until it is told, so that ten thousand of them cost as much as one. Words get lost; therefore every
//! host asks this now and then, for all of its flows at once. What a question costs goes with the number of flows, never with that of records.

use stecker_model::Name;

use crate::{Store, StoreError, Told, sql::Columns};

/// One step into the queue's primary key for each flow, so that one with a million records costs as much as one with a single one. Not `EXISTS`:
/// Postgres may turn that into a join with the whole queue.
const WITH_RECORDS: &str = "SELECT f.tenant AS tenant, f.name AS flow FROM flows AS f WHERE \
    (SELECT q.seq FROM queue AS q WHERE q.tenant = f.tenant AND q.flow = f.name ORDER BY q.seq LIMIT 1) IS NOT NULL";
/// Served by `replays_at_work`.
const WITH_REPLAYS: &str = "SELECT DISTINCT tenant, flow FROM replays WHERE state = 'running'";
/// Served by `reconciles_open`.
const WITH_COMPARISONS: &str = "SELECT tenant, flow FROM reconciles WHERE state IN ('requested', 'running')";
/// Two numbers of each flow.
const WITH_RUNS: &str = "SELECT f.tenant AS tenant, f.name AS flow FROM flows AS f \
    LEFT JOIN readers AS r ON r.tenant = f.tenant AND r.flow = f.name \
    WHERE f.run_requested > COALESCE(r.runs_served, 0)";

type Word = fn(Name, Name) -> Told;

impl Store {
    /// Every flow that has something to do, whoever holds it, with what: records that are not done (also if their time has not come), replays,
    /// comparisons, runs that were asked for.
    ///
    /// # Errors
    /// The database fails.
    pub async fn waiting_flows(&self) -> Result<Vec<Told>, StoreError> {
        let questions: [(&str, Word); 4] = [
            (WITH_RECORDS, Told::Deliver),
            (WITH_REPLAYS, Told::Replay),
            (WITH_COMPARISONS, Told::Compare),
            (WITH_RUNS, Told::Read),
        ];
        let mut waiting = Vec::new();
        for (sql, word) in questions {
            for row in sqlx::query(sql).fetch_all(self.reader()).await? {
                waiting.push(word(row.parsed("tenant")?, row.parsed("flow")?));
            }
        }
        Ok(waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreOptions, sqlite_url};
    use sqlx::AssertSqlSafe;

    /// What it costs is decided by these plans.
    #[tokio::test]
    async fn the_questions_follow_indexes_of_what_is_not_done() {
        let folder = tempfile::tempdir().unwrap();
        let url = sqlite_url(&folder.path().join("store.db"));
        let store = Store::open(&url, StoreOptions::default()).await.unwrap();
        for (sql, step) in [
            (
                WITH_RECORDS,
                "SEARCH q USING COVERING INDEX sqlite_autoindex_queue_1 (tenant=? AND flow=?)",
            ),
            (WITH_REPLAYS, "SCAN replays USING COVERING INDEX replays_at_work"),
            (WITH_COMPARISONS, "SCAN reconciles USING INDEX reconciles_open"),
        ] {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}")))
                .fetch_all(store.reader())
                .await
                .unwrap();
            let plan: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(plan.iter().any(|found| found.starts_with(step)), "{plan:?}");
            assert!(
                !plan.iter().any(|found| found.contains("TEMP B-TREE")),
                "{plan:?}"
            );
        }
        store.close().await;
    }
}
