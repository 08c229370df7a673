//! How much room everything takes, and giving it back. Numbers of flows are kept by the transactions that change them; nothing here
//! reads a ledger.

use sqlx::AssertSqlSafe;
use stecker_model::{
    Name, RecordState,
    api::{DatabaseSize, FlowStorage, KindStorage, TenantStorage, Vacuumed},
};

use crate::{
    Backend, Store, StoreError,
    counters::{ATTEMPTS, PAYLOAD_BYTES, PAYLOADS, PAYLOADS_REMOVED, REMOVED},
    sql::Columns,
};

/// Pages that SQLite gives back at once, some 4 MiB: others write in between.
const PAGES: i64 = 1_000;
/// SQLite's word for a file that can be made smaller piece by piece (<https://sqlite.org/pragma.html#pragma_auto_vacuum>).
const INCREMENTAL: i64 = 2;
/// The tables that grow and shrink, for Postgres.
const TABLES: &str =
    "records, queue, payloads, attempts, edits, payload_digests, replay_items, webhooks, kv, tapes, counters";

impl Store {
    /// The size of the database as a whole.
    ///
    /// # Errors
    /// The database fails.
    pub async fn database_size(&self) -> Result<DatabaseSize, StoreError> {
        match self.backend() {
            Backend::Sqlite => {
                let size = self.pragma("page_size").await?;
                let pages = self.pragma("page_count").await?;
                let free = self.pragma("freelist_count").await?;
                Ok(DatabaseSize {
                    kind: "sqlite".to_owned(),
                    bytes: (pages * size).unsigned_abs(),
                    free_bytes: Some((free * size).unsigned_abs()),
                })
            }
            Backend::Postgres => {
                let row = sqlx::query("SELECT pg_database_size(current_database()) AS bytes")
                    .fetch_one(self.reader())
                    .await?;
                Ok(DatabaseSize {
                    kind: "postgres".to_owned(),
                    bytes: row.count("bytes")?,
                    free_bytes: None,
                })
            }
        }
    }

    /// One number that SQLite tells of itself.
    async fn pragma(&self, name: &'static str) -> Result<i64, StoreError> {
        let row = sqlx::query(AssertSqlSafe(format!("SELECT {name} AS n FROM pragma_{name}")))
            .fetch_one(self.reader())
            .await?;
        row.int("n")
    }

    /// What a tenant has in the database, by flow and kind.
    ///
    /// # Errors
    /// The database fails.
    pub async fn tenant_storage(&self, tenant: &Name) -> Result<TenantStorage, StoreError> {
        let mut flows = Vec::new();
        for row in self.flows(tenant).await? {
            let flow = row.spec.name;
            let numbers = self.numbers(tenant, &flow).await?;
            let of = |what: &str| numbers.get(what).copied().unwrap_or(0);
            let sum = |states: &dyn Fn(RecordState) -> bool| {
                RecordState::ALL
                    .into_iter()
                    .filter(|state| states(*state))
                    .map(|state| of(state.as_str()))
                    .sum::<u64>()
            };
            flows.push(FlowStorage {
                records: sum(&|_| true),
                waiting: sum(&|state| state.is_open() || state == RecordState::Quarantined),
                payloads: of(PAYLOADS),
                payload_bytes: of(PAYLOAD_BYTES),
                payloads_removed: of(PAYLOADS_REMOVED),
                attempts: of(ATTEMPTS),
                records_removed: of(REMOVED),
                flow,
            });
        }
        Ok(TenantStorage {
            tenant: tenant.clone(),
            flows,
            other: self.other_storage(tenant).await?,
        })
    }

    async fn other_storage(&self, tenant: &Name) -> Result<Vec<KindStorage>, StoreError> {
        // Each counts along a primary key; bytes only where they stand in the row.
        const KINDS: [(&str, &str, bool); 5] = [
            (
                "releases",
                "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(size), 0) AS BIGINT) AS bytes FROM releases WHERE tenant = $1",
                true,
            ),
            (
                "guest-storage",
                "SELECT CAST(COALESCE(SUM(keys), 0) AS BIGINT) AS n, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes \
                 FROM kv_usage WHERE tenant = $1",
                true,
            ),
            (
                "tapes",
                "SELECT COUNT(*) AS n, CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes FROM tapes WHERE tenant = $1",
                true,
            ),
            (
                "webhooks",
                "SELECT COUNT(*) AS n FROM webhooks WHERE tenant = $1",
                false,
            ),
            (
                "audit",
                "SELECT COUNT(*) AS n FROM audit WHERE tenant = $1",
                false,
            ),
        ];
        let mut other = Vec::with_capacity(KINDS.len());
        for (kind, sql, has_bytes) in KINDS {
            let row = sqlx::query(sql)
                .bind(tenant.as_str())
                .fetch_one(self.reader())
                .await?;
            other.push(KindStorage {
                kind: kind.to_owned(),
                rows: row.count("n")?,
                bytes: if has_bytes {
                    Some(row.count("bytes")?)
                } else {
                    None
                },
            });
        }
        Ok(other)
    }

    /// Gives space that holds nothing back to the file system, or says what that would come to.
    ///
    /// SQLite: free pages go from the end of the file, piece by piece; `full` writes the file anew, and nobody else writes meanwhile.
    /// Postgres: `VACUUM`, beside everything else; `full` is `VACUUM FULL`, which locks each table while it writes it anew.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] where only `full` helps; no room for the copy that `full` makes; the database fails.
    pub async fn vacuum(&self, full: bool, dry_run: bool) -> Result<Vacuumed, StoreError> {
        match self.backend() {
            Backend::Sqlite => self.vacuum_sqlite(full, dry_run).await,
            Backend::Postgres => self.vacuum_postgres(full, dry_run).await,
        }
    }

    async fn vacuum_sqlite(&self, full: bool, dry_run: bool) -> Result<Vacuumed, StoreError> {
        let before = self.database_size().await?;
        let piecewise = self.pragma("auto_vacuum").await? == INCREMENTAL;
        let how = match (full, piecewise) {
            (true, _) => {
                "the file is written anew; nobody else writes meanwhile, and there has to be room for a second copy"
            }
            (false, true) => {
                "free pages are taken off the end of the file, piece by piece, while everything goes on"
            }
            (false, false) => {
                "this file can only be made smaller by writing it anew, once; later it goes piece by piece"
            }
        };
        let free = before.free_bytes.unwrap_or_default();
        let mut done = Vacuumed {
            done: false,
            before_bytes: before.bytes,
            after_bytes: Some(before.bytes.saturating_sub(free)),
            how: how.to_owned(),
        };
        if dry_run {
            return Ok(done);
        }
        if full {
            // One connection for both: the first says what the second makes of the file.
            sqlx::raw_sql("PRAGMA auto_vacuum = INCREMENTAL; VACUUM;")
                .execute(&self.inner.writer)
                .await?;
        } else if piecewise {
            self.give_back_pages().await?;
        } else {
            return Err(StoreError::conflict(format!("{how}: ask for a full vacuum")));
        }
        // What is in the log comes into the file, so that it has the size that is told.
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
            .fetch_all(&self.inner.writer)
            .await?;
        done.done = true;
        done.after_bytes = Some(self.database_size().await?.bytes);
        Ok(done)
    }

    async fn give_back_pages(&self) -> Result<(), StoreError> {
        loop {
            let before = self.pragma("freelist_count").await?;
            if before == 0 {
                return Ok(());
            }
            // Each row that is fetched gives a page back.
            sqlx::query(AssertSqlSafe(format!("PRAGMA incremental_vacuum({PAGES})")))
                .fetch_all(&self.inner.writer)
                .await?;
            if self.pragma("freelist_count").await? >= before {
                return Ok(());
            }
        }
    }

    async fn vacuum_postgres(&self, full: bool, dry_run: bool) -> Result<Vacuumed, StoreError> {
        let before = self.database_size().await?;
        let (statement, how) = if full {
            (
                format!("VACUUM (FULL, ANALYZE) {TABLES}"),
                "each table is written anew and locked meanwhile, and there has to be room for a copy of the largest",
            )
        } else {
            (
                format!("VACUUM (ANALYZE) {TABLES}"),
                "what was removed makes room within the tables, and at their ends goes back to the file system; everything goes on",
            )
        };
        let mut done = Vacuumed {
            done: false,
            before_bytes: before.bytes,
            after_bytes: None,
            how: how.to_owned(),
        };
        if dry_run {
            return Ok(done);
        }
        sqlx::raw_sql(AssertSqlSafe(statement))
            .execute(&self.inner.writer)
            .await?;
        done.done = true;
        done.after_bytes = Some(self.database_size().await?.bytes);
        Ok(done)
    }
}
