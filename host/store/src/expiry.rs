//! Forgetting what has been there long enough, a bounded number of rows at a time, so that nobody waits long for the database and a host that
//! was off for a month does not begin with one giant transaction.

use crate::{Store, StoreError};

/// What can be forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forget {
    /// Calls that came in, by when they were settled. Calls that are not settled are never forgotten.
    SettledCalls,
    /// Vendors' event ids, by when they were seen: an event that a vendor repeats later than this would be taken again.
    VendorEvents,
    /// Events that were delivered to webhooks or given up, by when.
    SettledEvents,
    /// Events that could not be sent, because their webhook is disabled or gone, by when they happened.
    WaitingEvents,
    /// Recorded calls, by when they were made.
    Tapes,
}

impl Forget {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::SettledCalls,
        Self::VendorEvents,
        Self::SettledEvents,
        Self::WaitingEvents,
        Self::Tapes,
    ];

    /// `$1`: from before then; `$2`: at most so many. The conditions of the indexes stand in them word for word, or SQLite does not see that
    /// it may use them.
    const fn statement(self) -> &'static str {
        match self {
            Self::SettledCalls => {
                "DELETE FROM webhooks WHERE (tenant, id) IN (SELECT tenant, id FROM webhooks \
                 WHERE state <> 'received' AND settled_at < $1 ORDER BY settled_at LIMIT $2)"
            }
            Self::VendorEvents => {
                "DELETE FROM webhook_events WHERE (tenant, connection, id) IN (SELECT tenant, connection, id FROM webhook_events \
                 WHERE seen_at < $1 ORDER BY seen_at LIMIT $2)"
            }
            Self::SettledEvents => {
                "DELETE FROM outbox WHERE (tenant, id) IN (SELECT tenant, id FROM outbox \
                 WHERE state <> 'waiting' AND settled_at < $1 ORDER BY settled_at LIMIT $2)"
            }
            Self::WaitingEvents => {
                "DELETE FROM outbox WHERE (tenant, id) IN (SELECT tenant, id FROM outbox \
                 WHERE state = 'waiting' AND created_at < $1 ORDER BY created_at LIMIT $2)"
            }
            Self::Tapes => {
                "DELETE FROM tapes WHERE (tenant, connection, id) IN (SELECT tenant, connection, id FROM tapes \
                 WHERE at < $1 ORDER BY at LIMIT $2)"
            }
        }
    }
}

impl Store {
    /// Forgets up to `limit` of what is from before `before` (milliseconds since 1970), the oldest first; how many there were.
    ///
    /// # Errors
    /// The database fails.
    pub async fn forget(&self, what: Forget, before: i64, limit: u32) -> Result<u64, StoreError> {
        let mut tx = self.begin_tx().await?;
        let gone = sqlx::query(what.statement())
            .bind(before)
            .bind(i64::from(limit))
            .execute(&mut *tx)
            .await?;
        tx.commit().await?;
        Ok(gone.rows_affected())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{StoreOptions, sql::Columns as _, sqlite_url};
    use sqlx::AssertSqlSafe;

    /// It runs all day beside the work: it must not look at what stays.
    #[tokio::test]
    async fn only_what_goes_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(
            &sqlite_url(&folder.path().join("store.db")),
            StoreOptions::default(),
        )
        .await
        .unwrap();
        for (what, index) in Forget::ALL.into_iter().zip([
            "webhooks_settled_by_age (settled_at<?",
            "webhook_events_by_age (seen_at<?",
            "outbox_settled_by_age (settled_at<?",
            "outbox_waiting_by_age (created_at<?",
            "tapes_by_age (at<?",
        ]) {
            let rows = sqlx::query(AssertSqlSafe(format!("EXPLAIN QUERY PLAN {}", what.statement())))
                .fetch_all(store.reader())
                .await
                .unwrap();
            let plan: Vec<_> = rows.iter().map(|row| row.text("detail").unwrap()).collect();
            assert!(plan.iter().any(|step| step.contains(index)), "{what:?}: {plan:?}");
            assert!(
                !plan.iter().any(|step| step.contains("TEMP B-TREE")),
                "{what:?}: {plan:?}"
            );
        }
        store.close().await;
    }
}
