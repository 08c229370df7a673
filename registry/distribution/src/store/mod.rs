//! The registry's metadata: who has which blob, manifests, tags, releases, uploads, and every object that lies where blobs are kept.
//!
//! A call is a transaction. Changes run beside each other; the two that decide that something is *not* needed (marking garbage,
//! deleting a manifest) run alone, so that nothing can begin to need it in between: SQLite has one writer anyway, on Postgres the
//! others hold a shared advisory lock and these an exclusive one. No clock takes part in that.

mod collecting;
mod marks;
mod open;
mod publishing;
mod reading;
mod uploads;

use sqlx::{Any, AnyConnection, AnyPool, Row, any::AnyRow};

pub(crate) use self::{
    collecting::{Condemned, Cutoffs},
    publishing::{Deleted, NewManifest, Published},
    reading::{StoredBlob, StoredManifest},
    uploads::{Finish, Finished, Upload},
};
use crate::error::RegistryError;

/// Any numbers that no other program uses for its advisory locks in the same database: "oci" and a digit in ASCII.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(1868786993)";
const SHARED_LOCK: &str = "SELECT pg_advisory_xact_lock_shared(1868786994)";
const EXCLUSIVE_LOCK: &str = "SELECT pg_advisory_xact_lock(1868786994)";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Backend {
    Sqlite,
    Postgres,
}

impl Backend {
    fn begin(self) -> &'static str {
        match self {
            Self::Sqlite => "BEGIN IMMEDIATE",
            Self::Postgres => "BEGIN",
        }
    }
}

/// The database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    writer: AnyPool,
    reader: AnyPool,
    backend: Backend,
}

type Tx = sqlx::Transaction<'static, Any>;

impl Store {
    /// For changes that only add needs.
    async fn change(&self) -> Result<Tx, RegistryError> {
        self.begin(SHARED_LOCK).await
    }

    /// For changes that rest on nobody needing something.
    async fn change_alone(&self) -> Result<Tx, RegistryError> {
        self.begin(EXCLUSIVE_LOCK).await
    }

    async fn begin(&self, lock: &'static str) -> Result<Tx, RegistryError> {
        let mut tx = self.writer.begin_with(self.backend.begin()).await?;
        if self.backend == Backend::Postgres {
            sqlx::query(lock).execute(&mut *tx).await?;
        }
        Ok(tx)
    }
}

/// Reading columns.
trait Columns {
    fn text(&self, column: &str) -> Result<String, RegistryError>;
    fn maybe_text(&self, column: &str) -> Result<Option<String>, RegistryError>;
    fn int(&self, column: &str) -> Result<i64, RegistryError>;
    fn maybe_int(&self, column: &str) -> Result<Option<i64>, RegistryError>;
    /// A number that cannot be negative.
    fn count(&self, column: &str) -> Result<u64, RegistryError>;
    /// A validated text, such as a digest.
    fn parsed<T>(&self, column: &str) -> Result<T, RegistryError>
    where
        T: std::str::FromStr<Err: std::error::Error>;
}

impl Columns for AnyRow {
    fn text(&self, column: &str) -> Result<String, RegistryError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_text(&self, column: &str) -> Result<Option<String>, RegistryError> {
        Ok(self.try_get(column)?)
    }

    fn int(&self, column: &str) -> Result<i64, RegistryError> {
        Ok(self.try_get(column)?)
    }

    fn maybe_int(&self, column: &str) -> Result<Option<i64>, RegistryError> {
        Ok(self.try_get(column)?)
    }

    fn count(&self, column: &str) -> Result<u64, RegistryError> {
        u64::try_from(self.int(column)?).map_err(|error| damaged(column, &error))
    }

    fn parsed<T>(&self, column: &str) -> Result<T, RegistryError>
    where
        T: std::str::FromStr<Err: std::error::Error>,
    {
        self.text(column)?
            .parse()
            .map_err(|error: T::Err| damaged(column, &error))
    }
}

fn damaged(column: &str, error: &dyn std::error::Error) -> RegistryError {
    RegistryError::Damaged {
        what: format!("column {column}: {error}"),
    }
}

/// Sizes are below 2^63 as long as there are not that many bytes in the world.
fn to_i64(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What is not to be kept any more.
async fn condemn(connection: &mut AnyConnection, object: &str, now: i64) -> Result<(), RegistryError> {
    sqlx::query(
        "UPDATE oci_objects SET state = 'condemned', at = $2 WHERE object = $1 AND state <> 'damaged'",
    )
    .bind(object.to_owned())
    .bind(now)
    .execute(connection)
    .await?;
    Ok(())
}
