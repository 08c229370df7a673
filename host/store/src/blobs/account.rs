//! What the blobs of one connection come to: those that are there, and what is being written.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{BlobFault, Places, content_in, entries, look};

/// What a blob counts at least: the file system's own unit, and so a bound on how many tiny ones there can be.
const LEAST: u64 = 4_096;

/// The account of one connection.
#[derive(Debug, Default)]
pub(super) struct Account(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// Bytes by digest; none: not counted yet.
    held: Option<HashMap<String, u64>>,
    /// What all that is being written has taken so far.
    reserved: u64,
}

impl Sums {
    fn total(&self) -> u64 {
        let held = self.held.iter().flat_map(HashMap::values);
        held.fold(self.reserved, |sum, bytes| sum.saturating_add(*bytes))
    }
}

/// What somebody who is writing has taken; given back when it is dropped.
#[derive(Debug)]
pub(super) struct Reservation {
    account: Arc<Account>,
    /// Bytes written.
    size: u64,
    /// Of them, or of [`LEAST`].
    taken: u64,
}

impl Account {
    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn count_anew(&self) {
        self.sums().held = None;
    }

    /// Counts what is there, if that was not done yet. Reads a folder, so it is for threads that may wait.
    pub(super) fn count(&self, places: &Places) -> Result<(), BlobFault> {
        if self.sums().held.is_some() {
            return Ok(());
        }
        let mut held = HashMap::new();
        for file in entries(&places.held)? {
            let hex = file
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            // What is gone does not count any more.
            if let Some((_, bytes)) = look(&content_in(&places.content, &hex))? {
                held.insert(hex, bytes.max(LEAST));
            }
        }
        // What was finished in the meantime is in both, with the same number.
        let mut sums = self.sums();
        let known = sums.held.get_or_insert_default();
        known.extend(held);
        Ok(())
    }
}

impl Reservation {
    pub(super) fn new(account: &Arc<Account>) -> Self {
        Self {
            account: Arc::clone(account),
            size: 0,
            taken: 0,
        }
    }

    /// Takes room for so many bytes more.
    pub(super) fn take(&mut self, bytes: u64, max: u64) -> Result<(), BlobFault> {
        let size = self.size.saturating_add(bytes);
        let more = size.max(LEAST).saturating_sub(self.taken);
        let mut sums = self.account.sums();
        let needed = sums.total().saturating_add(more);
        if needed > max {
            return Err(BlobFault::Quota { needed, max });
        }
        sums.reserved = sums.reserved.saturating_add(more);
        drop(sums);
        (self.size, self.taken) = (size, self.taken.saturating_add(more));
        Ok(())
    }

    /// It is there now, and counts once.
    pub(super) fn keep(self, hex: &str) {
        let mut sums = self.account.sums();
        if let Some(held) = &mut sums.held {
            held.insert(hex.to_owned(), self.taken);
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut sums = self.account.sums();
        sums.reserved = sums.reserved.saturating_sub(self.taken);
    }
}
