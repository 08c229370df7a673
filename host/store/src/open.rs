//! Opening a database: look before touching, bring the schema up to date in one transaction, then make the pools.
//!
//! SQLite allows one writer at a time, and a writer that has to wait for another one inside its transaction gets an error
//! instead of a turn. So there is one connection for writing, handed out in order, and every write begins with `BEGIN
//! IMMEDIATE`; readers have connections of their own and see the last commit (WAL). `synchronous = FULL` makes a commit
//! survive a loss of power, not only of the process: what is acknowledged upstream must not come back unknown.

use std::{path::Path, sync::Arc, time::Duration};

use sqlx::{
    AnyConnection, AnyPool, AssertSqlSafe, ConnectOptions, Connection,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::{MigrateError, Migrator},
};

use crate::{Backend, Inner, Store, StoreError, StoreOptions, patience, sql::Columns};

const MIGRATIONS_TABLE: &str = "stecker_migrations";
/// Any number that no other program uses for its advisory locks in the same database: "stecker" in ASCII.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(32497629873530226)";

/// Two types that the schema needs and Postgres does not have. A domain that is there already, or is being made by another
/// node at this moment, is fine.
const POSTGRES_TYPES: &str = r#"
DO $$ BEGIN
  IF to_regtype('c_text') IS NULL THEN CREATE DOMAIN c_text AS TEXT COLLATE "C"; END IF;
  IF to_regtype('blob') IS NULL THEN CREATE DOMAIN blob AS BYTEA; END IF;
END $$
"#;

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name(MIGRATIONS_TABLE);
    // Own locks instead (BEGIN IMMEDIATE, an advisory lock), held by the transaction around all migrations.
    migrator.set_locking(false);
    migrator
}

impl Store {
    /// Opens a database and brings its schema up to date.
    ///
    /// `url` is `sqlite:` and the path of a file, which is made if it is not there, or `postgres://user@host/database`, where
    /// the database has to exist.
    ///
    /// # Errors
    /// A URL of another kind, an unreachable database, one that is no database or not of this program, one that a newer
    /// version has migrated, no room. The existing content is untouched in all these cases.
    pub async fn open(url: &str, options: StoreOptions) -> Result<Self, StoreError> {
        sqlx::any::install_default_drivers();
        let (backend, connect) = parse(url)?;
        let migrator = migrator();
        let schema_version = prepare(backend, &connect, &migrator).await?;
        let (writer, reader) = match backend {
            Backend::Sqlite => sqlite_pools(&connect, options).await?,
            Backend::Postgres => {
                let pool = patience::postgres_pool(options.max_connections)
                    .connect_with(connect)
                    .await?;
                (pool.clone(), pool)
            }
        };
        let places = match backend {
            // One writes, and one stands ready.
            Backend::Sqlite => 2,
            // The rest is for reading and for what belongs to no tenant.
            Backend::Postgres => {
                usize::try_from(options.max_connections - options.max_connections / 4).unwrap_or(1)
            }
        };
        tracing::info!(?backend, schema_version, "store opened");
        Ok(Self {
            inner: Arc::new(Inner {
                writer,
                reader,
                backend,
                schema_version,
                server: (backend == Backend::Postgres).then(|| url.to_owned().into()),
                turns: crate::turns::Turns::new(places),
                slot: std::sync::atomic::AtomicI64::new(0),
                vault: std::sync::OnceLock::new(),
            }),
        })
    }
}

fn bad_url(reason: impl Into<String>) -> StoreError {
    StoreError::BadUrl {
        reason: reason.into(),
    }
}

fn parse(url: &str) -> Result<(Backend, AnyConnectOptions), StoreError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let (backend, url) = match scheme {
        "sqlite" => {
            if url.contains(":memory:") || url.contains("mode=memory") {
                return Err(bad_url(
                    "a database in memory loses everything at the end of the process",
                ));
            }
            let mark = if url.contains('?') { '&' } else { '?' };
            let url = if url.contains("mode=") {
                url.to_owned()
            } else {
                format!("{url}{mark}mode=rwc")
            };
            (Backend::Sqlite, url)
        }
        "postgres" | "postgresql" => (Backend::Postgres, url.to_owned()),
        // The URL itself is not repeated, because it may hold a password.
        other => {
            return Err(bad_url(format!(
                "`{other}` is not a kind of database that is supported"
            )));
        }
    };
    let options: AnyConnectOptions = url.parse()?;
    Ok((backend, options.disable_statement_logging()))
}

/// Looks at the database with a single connection, and migrates it if that is right.
async fn prepare(
    backend: Backend,
    connect: &AnyConnectOptions,
    migrator: &Migrator,
) -> Result<i64, StoreError> {
    let mut connection = AnyConnection::connect_with(connect).await?;
    let outcome = check_and_migrate(backend, &mut connection, migrator).await;
    match &outcome {
        Ok(_) => connection.close().await?,
        // The first error is the one to tell.
        Err(_) => drop(connection.close().await),
    }
    outcome
}

async fn check_and_migrate(
    backend: Backend,
    connection: &mut AnyConnection,
    migrator: &Migrator,
) -> Result<i64, StoreError> {
    let known = migrator
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    if backend == Backend::Sqlite {
        // The second only counts for a file that is empty: its pages can be given back piece by piece later on.
        sqlx::raw_sql("PRAGMA busy_timeout = 10000; PRAGMA auto_vacuum = INCREMENTAL;")
            .execute(&mut *connection)
            .await?;
    }
    // A look without a lock, so that a program that is too old takes none.
    refuse_newer(version(backend, connection).await?, known)?;
    let mut tx = connection.begin_with(backend.begin()).await?;
    if backend == Backend::Postgres {
        sqlx::query(MIGRATION_LOCK).execute(&mut *tx).await?;
    }
    let found = version(backend, &mut tx).await?;
    refuse_newer(found, known)?;
    if found == known {
        tx.rollback().await?;
        return Ok(known);
    }
    if backend == Backend::Postgres {
        sqlx::raw_sql(POSTGRES_TYPES).execute(&mut *tx).await?;
    }
    migrator
        .run_direct(None, &mut *tx, false)
        .await
        .map_err(|error| match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            source => StoreError::Migration { source },
        })?;
    tx.commit().await?;
    Ok(known)
}

fn refuse_newer(found: i64, known: i64) -> Result<(), StoreError> {
    if found > known {
        return Err(StoreError::NewerSchema { found, known });
    }
    Ok(())
}

/// The schema's version; 0 for an empty database.
async fn version(backend: Backend, connection: &mut AnyConnection) -> Result<i64, StoreError> {
    let (ours, others) = match backend {
        Backend::Sqlite => {
            let row = sqlx::query(
                "SELECT COUNT(*) AS others, COALESCE(SUM(name = 'stecker_migrations'), 0) AS ours \
                 FROM sqlite_master WHERE type = 'table'",
            )
            .fetch_one(&mut *connection)
            .await?;
            (row.int("ours")?, row.int("others")?)
        }
        Backend::Postgres => {
            let row = sqlx::query(
                "SELECT CASE WHEN to_regclass('stecker_migrations') IS NULL THEN 0 ELSE 1 END::BIGINT AS ours, \
                 CASE WHEN to_regclass('records') IS NULL THEN 0 ELSE 1 END::BIGINT AS others",
            )
            .fetch_one(&mut *connection)
            .await?;
            (row.int("ours")?, row.int("others")?)
        }
    };
    if ours == 0 {
        if others > 0 {
            return Err(StoreError::NotADatabase {
                what: "the database belongs to another program: it has tables, but not this program's"
                    .to_owned(),
                source: None,
            });
        }
        return Ok(0);
    }
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM stecker_migrations")
        .fetch_one(&mut *connection)
        .await?;
    row.int("version")
}

fn pool(connections: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(connections.max(1))
        .acquire_timeout(Duration::from_secs(30))
}

async fn sqlite_pools(
    connect: &AnyConnectOptions,
    options: StoreOptions,
) -> Result<(AnyPool, AnyPool), StoreError> {
    let common = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                  PRAGMA foreign_keys = ON; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -16384;";
    let limit = options
        .max_pages
        .map_or_else(String::new, |pages| format!("PRAGMA max_page_count = {pages};"));
    let for_writing = format!("{common} {limit}");
    let for_reading = format!("{common} PRAGMA query_only = ON;");
    let with = |connections: u32, pragmas: String| {
        pool(connections)
            .after_connect(move |connection, _| {
                let pragmas = pragmas.clone();
                Box::pin(async move {
                    sqlx::raw_sql(AssertSqlSafe(pragmas)).execute(connection).await?;
                    Ok(())
                })
            })
            // SQLite undoes a transaction by itself after some errors (a full disk is one); the driver does not notice, and
            // its next BEGIN on this connection would fail. The ping waits for a pending ROLLBACK.
            .after_release(|connection, _| {
                Box::pin(async move {
                    connection.ping().await?;
                    Ok(!connection.is_in_transaction())
                })
            })
    };
    let writer = with(1, for_writing).connect_with(connect.clone()).await?;
    let reader = with(options.max_connections.min(8), for_reading)
        .connect_with(connect.clone())
        .await?;
    Ok((writer, reader))
}

/// `sqlite:` and a path, with the characters encoded that mean something in a URL.
#[must_use]
pub fn sqlite_url(path: &Path) -> String {
    let encoded = path
        .to_string_lossy()
        .replace('%', "%25")
        .replace('?', "%3F")
        .replace('#', "%23");
    format!("sqlite:{encoded}")
}
