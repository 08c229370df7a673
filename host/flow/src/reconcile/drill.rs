//! From sums to keys: which buckets are asked for, which are listed, and what that says. Pure: whoever drives it does the calls.
//!
//! One call sums everything up in 256 buckets. A bucket that differs is divided by 256 again while it is large, and listed once it is
//! small; so the calls grow with the differences, and the depth with the logarithm of the data. What a plugin lists has to agree with what it
//! summed up; since things change while they are compared, it is asked again before it is called a liar.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use stecker_model::{Bucket, KeyRange, ListedKey, api::DifferenceKind, point};

use super::expected::{Expected, Thing};

/// A bucket is divided into 2 to the power of this.
const SPLIT: u32 = 8;
/// Buckets in one call at most.
const BUCKETS: usize = 4_096;
/// Ranges in one call of a list at most.
const RANGES: usize = 256;
/// Things of both sides together, up to which a bucket is listed.
const LISTED: u64 = 128;
/// How often sums and list of a bucket may contradict each other.
const ROUNDS: u32 = 3;
/// What a list may have more than the sums before it counted, for things that came in between.
const SLACK: u64 = 1_000;
/// Things that a destination may list in one comparison.
pub(crate) const MOST_LISTED: u64 = 2_000_000;

/// What is to be asked next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Sums of these ranges, each divided; then [`Drill::summed`].
    Digest { ranges: Vec<KeyRange>, split: u32 },
    /// Every key of these ranges; then [`Drill::page`] for each page and [`Drill::listed`].
    List { ranges: Vec<KeyRange> },
    /// Nothing.
    Done,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) kind: DifferenceKind,
    pub(crate) key: String,
    pub(crate) external_id: Option<String>,
}

/// The plugin contradicts itself or does not end; with the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Contradiction(pub(crate) String);

/// A range that differs, and what the destination said of it when it was summed up.
#[derive(Debug, Clone, Copy)]
struct Claim {
    range: KeyRange,
    sums: Option<Bucket>,
}

/// A list in progress.
#[derive(Debug, Default)]
struct Pages {
    claims: Vec<Claim>,
    buckets: BTreeMap<KeyRange, Bucket>,
    /// Ranges with keys that are there more than once: their sums are of things that a list does not show.
    doubled: BTreeSet<KeyRange>,
    seen: HashSet<String>,
    found: Vec<Found>,
}

/// The state of a comparison.
#[derive(Debug)]
pub(crate) struct Drill<'e> {
    expected: &'e Expected,
    to_divide: Vec<KeyRange>,
    to_list: Vec<Claim>,
    to_sum_again: Vec<KeyRange>,
    contradictions: BTreeMap<KeyRange, u32>,
    pages: Pages,
    listed: u64,
    found: Vec<Found>,
    equal: u64,
}

impl<'e> Drill<'e> {
    /// Begins with sums of everything.
    pub(crate) fn by_sums(expected: &'e Expected) -> Self {
        Self {
            expected,
            to_divide: vec![KeyRange::ALL],
            to_list: Vec::new(),
            to_sum_again: Vec::new(),
            contradictions: BTreeMap::new(),
            pages: Pages::default(),
            listed: 0,
            found: Vec::new(),
            equal: 0,
        }
    }

    /// For a destination that cannot sum up: lists everything.
    pub(crate) fn by_list(expected: &'e Expected) -> Self {
        let claim = Claim {
            range: KeyRange::ALL,
            sums: None,
        };
        Self {
            to_divide: Vec::new(),
            to_list: vec![claim],
            ..Self::by_sums(expected)
        }
    }

    /// What is not as it should be, and how many things are.
    pub(crate) fn into_found(self) -> (Vec<Found>, u64) {
        (self.found, self.equal)
    }

    /// What to ask next.
    pub(crate) fn next(&mut self) -> Step {
        if !self.to_sum_again.is_empty() {
            let mut ranges = take(&mut self.to_sum_again, RANGES);
            ranges.sort_unstable_by_key(|range| range.bounds());
            return Step::Digest { ranges, split: 0 };
        }
        if let Some(next) = self.to_divide.last() {
            let (bits, split) = (next.bits(), SPLIT.min(next.depth_left()));
            let most = (BUCKETS >> split).min(RANGES);
            // All of one depth, so that one number divides them.
            let mut ranges = Vec::new();
            self.to_divide.retain(|range| {
                let taken = range.bits() == bits && ranges.len() < most;
                if taken {
                    ranges.push(*range);
                }
                !taken
            });
            ranges.sort_unstable_by_key(|range| range.bounds());
            return Step::Digest { ranges, split };
        }
        let mut claims = take(&mut self.to_list, RANGES);
        if claims.is_empty() {
            return Step::Done;
        }
        claims.sort_unstable_by_key(|claim| claim.range.bounds());
        let ranges = claims.iter().map(|claim| claim.range).collect();
        self.pages = Pages {
            claims,
            ..Pages::default()
        };
        Step::List { ranges }
    }

    /// The answer to [`Step::Digest`], a bucket for each part of each range.
    pub(crate) fn summed(&mut self, ranges: &[KeyRange], split: u32, buckets: &[Bucket]) {
        let parts = ranges.iter().flat_map(|range| range.parts(split));
        for (range, theirs) in parts.zip(buckets) {
            let ours = self.expected.bucket(range);
            if ours == *theirs {
                self.equal += ours.count;
            } else if split > 0 && range.depth_left() > 0 && ours.count.saturating_add(theirs.count) > LISTED
            {
                self.to_divide.push(range);
            } else {
                self.to_list.push(Claim {
                    range,
                    sums: Some(*theirs),
                });
            }
        }
    }

    /// A page of the answer to [`Step::List`].
    pub(crate) fn page(&mut self, entries: Vec<ListedKey>) -> Result<(), Contradiction> {
        self.listed += entries.len() as u64;
        let claimed = self.pages.claims.iter().try_fold(SLACK, |sum, claim| {
            claim.sums.map(|sums| sums.count.saturating_add(sum))
        });
        let listed = (self.pages.seen.len() + entries.len()) as u64;
        if claimed.is_some_and(|most| listed > most) {
            return Err(Contradiction(format!(
                "it lists {listed} keys where its sums counted {}",
                claimed.unwrap_or_default() - SLACK
            )));
        }
        if self.listed > MOST_LISTED {
            return Err(Contradiction(format!("it lists more than {MOST_LISTED} keys")));
        }
        for entry in entries {
            self.entry(entry)?;
        }
        Ok(())
    }

    fn entry(&mut self, entry: ListedKey) -> Result<(), Contradiction> {
        let at = point(&entry.key);
        let range = self.pages.claims.iter().find(|claim| claim.range.contains(at));
        let Some(range) = range.map(|claim| claim.range) else {
            // Checked where the plugin is called; here for whoever drives this otherwise.
            return Ok(());
        };
        if !self.pages.seen.insert(entry.key.clone()) {
            return Err(Contradiction(format!(
                "it lists the key `{}` on two pages of one list",
                entry.key.escape_debug()
            )));
        }
        let bucket = self.pages.buckets.entry(range).or_default();
        // A number of copies is a stranger's word; only whether there is more than one matters.
        bucket.add(&entry.key, &entry.digest, entry.copies.min(2));
        if entry.copies > 1 {
            self.pages.doubled.insert(range);
        }
        if self.expected.is_untold(&entry.key) {
            return Ok(());
        }
        let kind = match self.expected.get(&entry.key) {
            _ if entry.copies > 1 => DifferenceKind::Doubled,
            None => DifferenceKind::Extra,
            Some(thing) if thing.digest != entry.digest => DifferenceKind::Different,
            Some(_) => return Ok(()),
        };
        self.pages.found.push(Found {
            kind,
            key: entry.key,
            external_id: entry.external_id,
        });
        Ok(())
    }

    /// The list is at its end: what was not in it is missing.
    pub(crate) fn listed(&mut self) -> Result<(), Contradiction> {
        let Pages {
            claims,
            buckets,
            doubled,
            seen,
            found,
        } = std::mem::take(&mut self.pages);
        let mut found_in: BTreeMap<KeyRange, Vec<Found>> = BTreeMap::new();
        for one in found {
            let at = point(&one.key);
            if let Some(claim) = claims.iter().find(|claim| claim.range.contains(at)) {
                found_in.entry(claim.range).or_default().push(one);
            }
        }
        for claim in claims {
            let listed = buckets.get(&claim.range).copied().unwrap_or_default();
            let agrees = claim
                .sums
                .is_none_or(|sums| sums == listed || doubled.contains(&claim.range));
            if !agrees {
                self.contradicted(claim.range)?;
                continue;
            }
            let missing = self
                .expected
                .within(claim.range)
                .iter()
                .filter(|thing| !seen.contains(&*thing.key));
            let before = self.found.len();
            self.found.extend(missing.map(|thing: &Thing| Found {
                kind: DifferenceKind::Missing,
                key: thing.key.to_string(),
                external_id: None,
            }));
            self.found
                .extend(found_in.remove(&claim.range).unwrap_or_default());
            let wrong = self.found.get(before..).unwrap_or_default();
            let of_ours = wrong.iter().filter(|one| self.expected.get(&one.key).is_some());
            let wrong = of_ours.count() as u64;
            self.equal += (self.expected.within(claim.range).len() as u64).saturating_sub(wrong);
        }
        Ok(())
    }

    fn contradicted(&mut self, range: KeyRange) -> Result<(), Contradiction> {
        let times = self.contradictions.entry(range).or_default();
        *times += 1;
        if *times >= ROUNDS {
            return Err(Contradiction(format!(
                "its sums and its list of the same keys contradict each other, {ROUNDS} times in a row"
            )));
        }
        self.to_sum_again.push(range);
        Ok(())
    }
}

/// The last ones.
fn take<T>(from: &mut Vec<T>, most: usize) -> Vec<T> {
    from.split_off(from.len().saturating_sub(most))
}

#[cfg(test)]
#[path = "drill_tests.rs"]
mod tests;
