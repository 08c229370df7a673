//! What can go wrong with the vault, told apart by what one can do about it.

use crate::StoreError;

/// Bytes that a secret has at least. A shorter one could not be searched for in answers without spoiling data by chance.
pub(super) const MIN_SECRET: usize = 8;
pub(super) const MAX_SECRET: usize = 16 << 10;

/// Why the vault did not do it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum VaultError {
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There are secrets, and the key to them is not there.
    #[error(
        "the database has secrets that were sealed with the master key {needed}, and there is no master key here. Give the host the key \
         file that it had before (--master-key-file); without it the secrets cannot be read, and would have to be set again"
    )]
    NoMasterKey {
        /// The id of the key.
        needed: String,
    },
    /// There are secrets, and the key is another one.
    #[error(
        "the secrets in the database were sealed with the master key {needed}, and the host was given {given}. Give it the right key file \
         (--master-key-file); hosts that share a database share the key, and a file with a new key keeps the old one on the next line until \
         `stecker secret rotate-keys` is done"
    )]
    WrongMasterKey {
        /// The id of the key.
        needed: String,
        /// The ids of the keys that are here.
        given: String,
    },
    /// The master key cannot be had.
    #[error("the master key cannot be used: {what}")]
    MasterKey {
        /// What is wrong, where, and what to do.
        what: String,
    },
    /// What is sealed does not open at this place.
    #[error(
        "{what} does not open: it was altered, or moved from somewhere else. Set the secret again; a webhook is removed and added again"
    )]
    Damaged {
        /// Which.
        what: String,
    },
    /// Too short to be looked for, or too long.
    #[error(
        "the secret has {len} bytes; it has to have {MIN_SECRET} to {MAX_SECRET}. A shorter one could not be taken out of answers and logs \
         without taking out other things that look the same; ask the system for a longer one"
    )]
    Length {
        /// Bytes.
        len: usize,
    },
}

impl From<sqlx::Error> for VaultError {
    fn from(error: sqlx::Error) -> Self {
        Self::Store(error.into())
    }
}
