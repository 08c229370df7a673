//! What can go wrong with the store, told apart by what one can do about it.

use std::{error::Error as StdError, time::Duration};

use sqlx::migrate::MigrateError;

/// A source error of any kind.
pub type BoxError = Box<dyn StdError + Send + Sync + 'static>;

/// Why the store did not do what it was asked for. In every case the transaction was undone as a whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database URL cannot be used.
    #[error(
        "the database URL is not usable: {reason}; give `sqlite:/path/to/file` or `postgres://user@host/database`"
    )]
    BadUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// The database cannot be reached, or went away.
    #[error(
        "the database cannot be reached: {source}; check that it runs and that its address, file and directory exist"
    )]
    Unavailable {
        /// What the driver said.
        source: BoxError,
    },
    /// The database is there and says no.
    #[error(
        "the database refuses access: {source}; check user, password, rights and whether it is read-only"
    )]
    Access {
        /// What the driver said.
        source: BoxError,
    },
    /// No room left.
    #[error(
        "the database has no room left ({source}); nothing was written: free disk space or raise its limit"
    )]
    Full {
        /// What the driver said.
        source: BoxError,
    },
    /// Others were in the way for too long. The same call may go well a moment later.
    #[error("the database is busy with other work: {source}; try again")]
    Busy {
        /// What the driver said.
        source: BoxError,
    },
    /// Somebody else took the unit over; the caller has to stop working on it.
    #[error("the lease on {unit} (epoch {epoch}) was taken over; nothing was written")]
    Fenced {
        /// The unit of the lease.
        unit: String,
        /// The epoch that is over.
        epoch: i64,
    },
    /// The connection was moved to another release, or changed, since its plugin was called.
    #[error(
        "the connection `{connection}` was changed since its plugin was called; nothing was written, and the plugin that it has now is called"
    )]
    Superseded {
        /// Which one.
        connection: String,
    },
    /// A newer version of this program has been here.
    #[error(
        "the database has schema version {found}, this program knows up to {known}; nothing was touched: \
         use the newer program, or restore a copy of the database from before the upgrade"
    )]
    NewerSchema {
        /// The database's version.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// The file is no database, or a database of something else.
    #[error(
        "{what}; nothing was touched: give the path of a database of this program, or of a file that is not there yet"
    )]
    NotADatabase {
        /// What was found instead.
        what: String,
        /// What the driver said.
        source: Option<BoxError>,
    },
    /// The database holds something that this program never wrote.
    #[error("the database is damaged: {what}; restore it from a copy, and keep the damaged one for a look")]
    Corrupt {
        /// What was found.
        what: String,
        /// What the driver said.
        source: Option<BoxError>,
    },
    /// Bringing the schema up to date failed; it is as it was before.
    #[error("the schema could not be brought up to date, and is as it was: {source}")]
    Migration {
        /// What the migrator said.
        source: MigrateError,
    },
    /// There is no such thing.
    #[error("there is no {what} `{name}`")]
    NotFound {
        /// The kind of thing.
        what: &'static str,
        /// Its name.
        name: String,
    },
    /// The thing is not in the state that the call needs.
    #[error("{what}")]
    Conflict {
        /// Which thing and which state.
        what: String,
    },
    /// The condition of a guest's write does not hold.
    #[error("the condition does not hold: {}", match current {
        Some(version) => format!("the key is at version {version}"),
        None => "the key is not there".to_owned(),
    })]
    KvConflict {
        /// The key's version; none: it is not there.
        current: Option<u64>,
    },
    /// A guest's storage has no room for the write.
    #[error("the write needs {needed} bytes in all, {max} are granted ({used} are used now)")]
    KvQuota {
        /// Bytes used before.
        used: u64,
        /// Bytes that would have been used.
        needed: u64,
        /// Bytes granted.
        max: u64,
    },
    /// A guest's storage has too many keys for another one.
    #[error("the write needs {needed} keys in all, {max} are granted")]
    KvKeys {
        /// Keys that there would have been.
        needed: u64,
        /// Keys granted.
        max: u64,
    },
    /// A value that the store cannot hold.
    #[error("{what} cannot be stored: {reason}")]
    Unstorable {
        /// Which value.
        what: String,
        /// Why not.
        reason: String,
    },
    /// Anything else that the database said: a bug of this program until proven otherwise.
    #[error("something happened that nobody planned for: {source}; please report this")]
    Unexpected {
        /// What the driver said.
        source: BoxError,
    },
}

impl StoreError {
    /// Whether the same call may go well later without anybody changing it.
    #[must_use]
    pub const fn passes_by_itself(&self) -> bool {
        matches!(
            self,
            Self::Busy { .. } | Self::Unavailable { .. } | Self::Full { .. }
        )
    }

    /// A caller waited that long and no longer.
    #[must_use]
    pub fn no_answer(within: Duration) -> Self {
        Self::Unavailable {
            source: format!("it did not answer within {} seconds", within.as_secs()).into(),
        }
    }

    /// An error of a caller's own that ends the caller's work just like one of the database: a bug until proven otherwise.
    #[must_use]
    pub fn internal(what: impl Into<String>) -> Self {
        Self::Unexpected {
            source: what.into().into(),
        }
    }

    pub(crate) fn not_found(what: &'static str, name: &(impl ToString + ?Sized)) -> Self {
        Self::NotFound {
            what,
            name: name.to_string(),
        }
    }

    pub(crate) fn conflict(what: impl Into<String>) -> Self {
        Self::Conflict { what: what.into() }
    }

    pub(crate) fn corrupt(what: impl Into<String>, source: impl Into<BoxError>) -> Self {
        Self::Corrupt {
            what: what.into(),
            source: Some(source.into()),
        }
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(database) => {
                let code = database.code().map(|code| code.into_owned()).unwrap_or_default();
                by_code(&code, sqlx::Error::Database(database))
            }
            sqlx::Error::Configuration(source) => Self::BadUrl {
                reason: source.to_string(),
            },
            sqlx::Error::PoolTimedOut => Self::Busy { source: error.into() },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Self::Unavailable { source: error.into() },
            sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) | sqlx::Error::AnyDriverError(_) => {
                Self::corrupt("a column does not hold what it should", error)
            }
            other => Self::Unexpected { source: other.into() },
        }
    }
}

/// SQLite has numbers, the low byte of which is the primary code (<https://sqlite.org/rescode.html>); Postgres has five
/// characters (<https://www.postgresql.org/docs/current/errcodes-appendix.html>). No Postgres code reads as a SQLite one,
/// because SQLite's have at most four digits.
fn by_code(code: &str, error: sqlx::Error) -> StoreError {
    if code.len() < 5 {
        let primary = code.parse::<u32>().map_or(0, |code| code & 0xff);
        return match primary {
            5 | 6 => StoreError::Busy { source: error.into() },
            3 | 8 | 23 => StoreError::Access { source: error.into() },
            11 => StoreError::corrupt("SQLite finds its file malformed", error),
            13 => StoreError::Full { source: error.into() },
            26 => StoreError::NotADatabase {
                what: "the file is not a SQLite database".to_owned(),
                source: Some(error.into()),
            },
            10 | 14 => StoreError::Unavailable { source: error.into() },
            _ => StoreError::Unexpected { source: error.into() },
        };
    }
    match code {
        "53100" => StoreError::Full { source: error.into() },
        "40001" | "40P01" | "55P03" | "53300" => StoreError::Busy { source: error.into() },
        "3D000" | "57P01" | "57P02" | "57P03" => StoreError::Unavailable { source: error.into() },
        "42501" | "25006" => StoreError::Access { source: error.into() },
        "XX001" | "XX002" => StoreError::corrupt("Postgres finds its files damaged", error),
        _ if code.starts_with("08") || code.starts_with("53") || code.starts_with("58") => {
            StoreError::Unavailable { source: error.into() }
        }
        _ if code.starts_with("28") => StoreError::Access { source: error.into() },
        _ => StoreError::Unexpected { source: error.into() },
    }
}
