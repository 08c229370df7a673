//! What should be at the destination, in memory for as long as one comparison takes. Pure.

use std::collections::{HashMap, HashSet};

use stecker_model::{Bucket, Fingerprint, KeyRange, point};

/// The most things that one comparison holds, some 100 bytes each.
pub(crate) const MOST_THINGS: usize = 1_000_000;

/// A thing that should be there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thing {
    point: u32,
    pub(crate) key: Box<str>,
    pub(crate) digest: Fingerprint,
    pub(crate) origin: Origin,
}

/// What brings it there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A record of the ledger.
    Ledger(i64),
    /// A state of a thing at the source, which the ledger may or may not know.
    Source { key: Box<str>, version: Box<str> },
}

/// Collects what should be there.
#[derive(Debug, Default)]
pub(crate) struct Collecting {
    things: HashMap<Box<str>, (Fingerprint, Origin)>,
    gone: HashMap<Box<str>, i64>,
    untold: HashSet<Box<str>>,
}

impl Collecting {
    /// This should be there. Said twice of a key, the later word counts.
    pub(crate) fn thing(&mut self, key: &str, digest: Fingerprint, origin: Origin) {
        self.gone.remove(key);
        self.things.insert(key.into(), (digest, origin));
    }

    /// This was deleted, by this record.
    pub(crate) fn gone(&mut self, key: &str, seq: i64) {
        self.things.remove(key);
        self.gone.insert(key.into(), seq);
    }

    /// Of this nothing can be said at the moment.
    pub(crate) fn untold(&mut self, key: &str) {
        self.untold.insert(key.into());
    }

    pub(crate) fn is_full(&self) -> bool {
        self.things.len() + self.gone.len() + self.untold.len() > MOST_THINGS
    }

    pub(crate) fn done(self) -> Expected {
        let Self { things, gone, untold } = self;
        let mut things: Vec<Thing> = things
            .into_iter()
            .filter(|(key, _)| !untold.contains(key))
            .map(|(key, (digest, origin))| Thing {
                point: point(&key),
                key,
                digest,
                origin,
            })
            .collect();
        things.sort_unstable_by(|a, b| (a.point, &a.key).cmp(&(b.point, &b.key)));
        Expected { things, gone, untold }
    }
}

/// What should be there, by where its keys lie.
#[derive(Debug, Default)]
pub(crate) struct Expected {
    things: Vec<Thing>,
    gone: HashMap<Box<str>, i64>,
    untold: HashSet<Box<str>>,
}

impl Expected {
    pub(crate) fn things(&self) -> &[Thing] {
        &self.things
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Thing> {
        let place = (point(key), key);
        self.things
            .binary_search_by(|thing| (thing.point, &*thing.key).cmp(&place))
            .ok()
            .and_then(|at| self.things.get(at))
    }

    /// The record that deleted it.
    pub(crate) fn gone(&self, key: &str) -> Option<i64> {
        self.gone.get(key).copied()
    }

    /// Whether nothing can be said of it at the moment.
    pub(crate) fn is_untold(&self, key: &str) -> bool {
        self.untold.contains(key)
    }

    pub(crate) fn within(&self, range: KeyRange) -> &[Thing] {
        let (first, last) = range.bounds();
        let from = self.things.partition_point(|thing| thing.point < first);
        let to = self.things.partition_point(|thing| thing.point <= last);
        self.things.get(from..to).unwrap_or_default()
    }

    pub(crate) fn bucket(&self, range: KeyRange) -> Bucket {
        let mut bucket = Bucket::default();
        for thing in self.within(range) {
            bucket.add(&thing.key, &thing.digest, 1);
        }
        bucket
    }
}
