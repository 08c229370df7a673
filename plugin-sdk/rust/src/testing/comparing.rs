//! Asking a plugin what its system holds, as the host does.

use super::Harness;
use crate::bindings::reconcile;
use crate::export::Adapter;
use crate::{Bucket, Entry, Question, Reconcile, Result};

impl<P: Reconcile> Harness<P> {
    /// Lists what there is, to the end.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If it breaks the contract: more entries than asked for, a key twice or outside of the ranges, digests that are none, a cursor that
    /// stands still, or a hundred pages without an entry.
    pub fn list_keys(&self, question: &Question, limit: u32) -> Result<Vec<Entry>> {
        use reconcile::exports::stecker::plugin::reconcile::Guest;
        let mut entries: Vec<Entry> = Vec::new();
        let mut after = None;
        let mut empty = 0;
        loop {
            let page = <Adapter<P> as Guest>::list_keys(
                self.config().to_owned(),
                question.clone(),
                after.clone(),
                limit,
            )?;
            let most = usize::try_from(limit).unwrap_or(usize::MAX);
            assert!(
                page.entries.len() <= most,
                "{} entries, {most} were asked for",
                page.entries.len()
            );
            empty = if page.entries.is_empty() { empty + 1 } else { 0 };
            assert!(empty < 100, "a hundred pages without an entry");
            for entry in page.entries {
                let key = &entry.key;
                assert!(
                    entries.iter().all(|other| other.key != *key),
                    "the key `{key}` is there twice; give it once, with its copies"
                );
                assert!(question.asks_for(key), "the key `{key}` was not asked for");
                assert!(
                    entry.digest.len() == 32 && entry.copies > 0,
                    "the entry of the key `{key}` has no digest of 32 bytes, or no copies"
                );
                entries.push(entry);
            }
            if page.next.is_none() {
                return Ok(entries);
            }
            assert_ne!(page.next, after, "the cursor does not move on");
            after = page.next;
        }
    }

    /// Sums up what there is.
    ///
    /// # Errors
    /// What the plugin says.
    ///
    /// # Panics
    /// If there is not one bucket of 32 bytes for each part.
    pub fn digest(&self, question: &Question, split: u32) -> Result<Vec<Bucket>> {
        use reconcile::exports::stecker::plugin::reconcile::Guest;
        let buckets = <Adapter<P> as Guest>::digest(self.config().to_owned(), question.clone(), split)?;
        assert_eq!(
            buckets.len(),
            question.ranges.len() << split,
            "one bucket for each part of each range"
        );
        assert!(
            buckets.iter().all(|bucket| bucket.sum.len() == 32),
            "a sum has 32 bytes"
        );
        Ok(buckets)
    }
}
