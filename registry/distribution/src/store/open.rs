//! Opening the database: look, bring the schema up to date in one transaction, then make the pools. As the host's own store does it
//! (decision 0006), with a table of migrations of its own, so that both may live in one database.

use std::time::Duration;

use sqlx::{
    AnyConnection, AnyPool, ConnectOptions, Connection,
    any::{AnyConnectOptions, AnyPoolOptions},
    migrate::Migrator,
};

use super::{Backend, Columns, MIGRATION_LOCK, Store};
use crate::error::RegistryError;

const POSTGRES_TYPES: &str = r#"
DO $$ BEGIN
  IF to_regtype('c_text') IS NULL THEN CREATE DOMAIN c_text AS TEXT COLLATE "C"; END IF;
  IF to_regtype('blob') IS NULL THEN CREATE DOMAIN blob AS BYTEA; END IF;
END $$
"#;

fn migrator() -> Migrator {
    let mut migrator = sqlx::migrate!();
    migrator.dangerous_set_table_name("oci_migrations");
    // Own locks instead (BEGIN IMMEDIATE, an advisory lock), held by the transaction around all migrations.
    migrator.set_locking(false);
    migrator
}

impl Store {
    /// Opens `sqlite:path` (made if it is not there) or `postgres://…`, and brings its schema up to date.
    pub(crate) async fn open(url: &str, connections: u32) -> Result<Self, RegistryError> {
        sqlx::any::install_default_drivers();
        let (backend, options) = parse(url)?;
        let mut connection = AnyConnection::connect_with(&options).await?;
        let prepared = migrate(backend, &mut connection).await;
        let closed = connection.close().await;
        prepared?;
        closed?;
        let pool = |connections: u32| {
            AnyPoolOptions::new()
                .max_connections(connections.max(1))
                .acquire_timeout(Duration::from_secs(30))
        };
        let (writer, reader) = match backend {
            Backend::Postgres => {
                let pool = pool(connections).connect_with(options).await?;
                (pool.clone(), pool)
            }
            Backend::Sqlite => {
                let writer = sqlite(pool(1), false).connect_with(options.clone()).await?;
                (
                    writer,
                    sqlite(pool(connections.min(8)), true)
                        .connect_with(options)
                        .await?,
                )
            }
        };
        Ok(Self {
            writer,
            reader,
            backend,
        })
    }

    /// Waits for what is running, and lets go of the database.
    pub(crate) async fn close(&self) {
        let pools: [&AnyPool; 2] = [&self.writer, &self.reader];
        for pool in pools {
            pool.close().await;
        }
    }
}

fn sqlite(pool: AnyPoolOptions, only_reads: bool) -> AnyPoolOptions {
    // A commit survives a loss of power: what a client was told is published must not come back unknown.
    const COMMON: &str = "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                          PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8192;";
    pool.after_connect(move |connection, _| {
        Box::pin(async move {
            sqlx::raw_sql(COMMON).execute(&mut *connection).await?;
            if only_reads {
                sqlx::raw_sql("PRAGMA query_only = ON")
                    .execute(connection)
                    .await?;
            }
            Ok(())
        })
    })
    // SQLite undoes a transaction by itself after some errors (a full disk is one); the driver does not notice, and its next BEGIN
    // on this connection would fail. The ping waits for a pending ROLLBACK.
    .after_release(|connection, _| {
        Box::pin(async move {
            connection.ping().await?;
            Ok(!connection.is_in_transaction())
        })
    })
}

fn parse(url: &str) -> Result<(Backend, AnyConnectOptions), RegistryError> {
    let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
    let (backend, url) = match scheme {
        "sqlite" if url.contains(":memory:") || url.contains("mode=memory") => {
            return Err(RegistryError::BadUrl {
                reason: "a database in memory loses everything at the end of the process".to_owned(),
            });
        }
        "sqlite" if url.contains("mode=") => (Backend::Sqlite, url.to_owned()),
        "sqlite" => {
            let mark = if url.contains('?') { '&' } else { '?' };
            (Backend::Sqlite, format!("{url}{mark}mode=rwc"))
        }
        "postgres" | "postgresql" => (Backend::Postgres, url.to_owned()),
        // The URL itself is not repeated, because it may hold a password.
        other => {
            return Err(RegistryError::BadUrl {
                reason: format!("`{other}` is not a kind of database that is supported"),
            });
        }
    };
    let options: AnyConnectOptions = url.parse()?;
    Ok((backend, options.disable_statement_logging()))
}

async fn migrate(backend: Backend, connection: &mut AnyConnection) -> Result<(), RegistryError> {
    let migrator = migrator();
    let known = migrator
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0);
    if backend == Backend::Sqlite {
        sqlx::raw_sql("PRAGMA busy_timeout = 10000;")
            .execute(&mut *connection)
            .await?;
    }
    let mut tx = connection.begin_with(backend.begin()).await?;
    if backend == Backend::Postgres {
        sqlx::query(MIGRATION_LOCK).execute(&mut *tx).await?;
    }
    let found = version(backend, &mut tx).await?;
    if found > known {
        return Err(RegistryError::NewerSchema { found, known });
    }
    if found == known {
        tx.rollback().await?;
        return Ok(());
    }
    if backend == Backend::Postgres {
        sqlx::raw_sql(POSTGRES_TYPES).execute(&mut *tx).await?;
    }
    migrator.run_direct(None, &mut *tx, false).await?;
    tx.commit().await?;
    Ok(())
}

/// The schema's version; 0 if the registry was never here.
async fn version(backend: Backend, connection: &mut AnyConnection) -> Result<i64, RegistryError> {
    let there = match backend {
        Backend::Sqlite => {
            "SELECT COUNT(*) AS there FROM sqlite_master WHERE type = 'table' AND name = 'oci_migrations'"
        }
        Backend::Postgres => {
            "SELECT CASE WHEN to_regclass('oci_migrations') IS NULL THEN 0 ELSE 1 END::BIGINT AS there"
        }
    };
    let row = sqlx::query(there).fetch_one(&mut *connection).await?;
    if row.int("there")? == 0 {
        return Ok(0);
    }
    let row = sqlx::query("SELECT COALESCE(MAX(version), 0) AS version FROM oci_migrations")
        .fetch_one(&mut *connection)
        .await?;
    row.int("version")
}
