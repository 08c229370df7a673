//! The arithmetic of comparing: what a thing looks like, where its key lies, and sums. See the contract's role `reconcile`.
//!
//! ```
//! use serde_json::json;
//! use stecker_sdk::prelude::*;
//! use stecker_sdk::reconcile::Sums;
//!
//! # let _host = stecker_sdk::testing::TestHost::new();
//! fn digest(question: &Question, split: u32) -> Result<Vec<Bucket>> {
//!     let mut sums = Sums::new(question, split)?;
//!     for (number, total) in [("SO-1", "9.90"), ("SO-2", "39.80")] {
//!         if question.asks_for(number) {
//!             sums.add(number, &question.digest_of(&json!({ "total": total }))?, 1);
//!         }
//!     }
//!     Ok(sums.done())
//! }
//!
//! let buckets = digest(&Question::everything("orders", &["/total"]), 1).unwrap();
//! assert_eq!(buckets.iter().map(|bucket| bucket.count).sum::<u64>(), 2);
//! ```

mod canonical;

use crate::crypto::{Digest, hash};
use crate::{Bucket, Entry, Error, Question, Range, Result};
use canonical::canonical_json;
use serde::Serialize;
use serde_json::Value;

/// The most buckets of one answer.
const BUCKETS: usize = 4_096;

/// Where a key lies: the first four bytes of its SHA-256, big-endian.
pub fn point(key: &str) -> u32 {
    point_of(&hash(Digest::Sha256, key.as_bytes()))
}

fn point_of(hash: &[u8]) -> u32 {
    hash.iter()
        .take(4)
        .fold(0, |point, byte| (point << 8) | u32::from(*byte))
}

impl Range {
    fn contains(&self, point: u32) -> bool {
        let bits = self.bits.min(32);
        u64::from(point) >> (32 - bits) == u64::from(self.prefix)
    }
}

impl Question {
    /// About every key of a stream, comparing these places (JSON Pointers), or everything if there are none.
    pub fn everything(stream: impl Into<String>, fields: &[&str]) -> Self {
        Self {
            stream: stream.into(),
            fields: fields.iter().map(|&field| field.to_owned()).collect(),
            ranges: vec![Range { bits: 0, prefix: 0 }],
            options: Vec::new(),
        }
    }

    /// Whether a key is in one of the ranges.
    pub fn asks_for(&self, key: &str) -> bool {
        let at = point(key);
        self.ranges.iter().any(|range| range.contains(at))
    }

    /// What a thing looks like in the compared places. The payload is what `write` would have to be given so that the thing becomes what it
    /// is now.
    ///
    /// # Errors
    /// Code `data` if it cannot be written as JSON.
    pub fn digest_of(&self, payload: &impl Serialize) -> Result<Vec<u8>> {
        let payload = serde_json::to_value(payload)?;
        let text = if self.fields.is_empty() {
            canonical_json(&payload)
        } else {
            let values = self
                .fields
                .iter()
                .map(|field| payload.pointer(field).cloned().unwrap_or(Value::Null))
                .collect();
            canonical_json(&Value::Array(values))
        };
        Ok(hash(Digest::Sha256, text.as_bytes()))
    }
}

impl Entry {
    /// A thing that is there once.
    pub fn new(key: impl Into<String>, digest: Vec<u8>) -> Self {
        Self {
            key: key.into(),
            digest,
            copies: 1,
            external_id: None,
            source_version: None,
        }
    }

    /// With its id at the destination.
    #[must_use]
    pub fn with_id(mut self, external_id: impl Into<String>) -> Self {
        self.external_id = Some(external_id.into());
        self
    }
}

/// Sums for an answer to `digest`, thing by thing, in any order.
#[derive(Debug)]
pub struct Sums {
    ranges: Vec<Range>,
    split: u32,
    buckets: Vec<Bucket>,
}

impl Sums {
    /// For the ranges of a question, each in 2^`split` parts.
    ///
    /// # Errors
    /// Code `unsupported` for more than 4,096 buckets, or parts smaller than a point.
    pub fn new(question: &Question, split: u32) -> Result<Self> {
        let depth = question.ranges.iter().map(|range| range.bits).max().unwrap_or(0);
        let count = question.ranges.len().checked_shl(split).unwrap_or(usize::MAX);
        if depth.saturating_add(split) > 32 || split > 12 || count > BUCKETS {
            return Err(Error::unsupported(format!(
                "{} ranges in 2^{split} parts each are more than one answer holds",
                question.ranges.len()
            )));
        }
        let empty = Bucket {
            count: 0,
            sum: vec![0; 32],
        };
        Ok(Self {
            ranges: question.ranges.clone(),
            split,
            buckets: vec![empty; count],
        })
    }

    /// Takes a thing in, as often as it is there. One that is in none of the ranges is left out.
    pub fn add(&mut self, key: &str, digest: &[u8], copies: u32) {
        let key_hash = hash(Digest::Sha256, key.as_bytes());
        let at = point_of(&key_hash);
        let Some(index) = self.ranges.iter().position(|range| range.contains(at)) else {
            return;
        };
        let part = self.ranges.get(index).map_or(0, |range| {
            let free = 32 - range.bits;
            let within = u64::from(at) & ((1_u64 << free) - 1);
            within >> (free - self.split)
        });
        let place = (index << self.split) + usize::try_from(part).unwrap_or(usize::MAX);
        let mut both = key_hash;
        both.extend_from_slice(digest);
        let element = hash(Digest::Sha256, &both);
        if let Some(bucket) = self.buckets.get_mut(place) {
            for _ in 0..copies {
                bucket.count += 1;
                add(&mut bucket.sum, &element);
            }
        }
    }

    /// The answer.
    #[must_use]
    pub fn done(self) -> Vec<Bucket> {
        self.buckets
    }
}

/// Modulo 2^256.
fn add(sum: &mut [u8], element: &[u8]) {
    let mut carry = 0_u16;
    for (into, from) in sum.iter_mut().rev().zip(element.iter().rev()) {
        let total = u16::from(*into) + u16::from(*from) + carry;
        let [high, low] = total.to_be_bytes();
        *into = low;
        carry = u16::from(high);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestHost;

    #[test]
    fn the_published_vectors_hold() {
        let _host = TestHost::new();
        let text = include_str!("../../../../wit/1.0.0/reconcile.vectors.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let mut whole = Sums::new(&Question::everything("x", &[]), 0).unwrap();
        for vector in vectors["things"].as_array().unwrap() {
            let key = vector["key"].as_str().unwrap();
            let fields: Vec<&str> = vector["fields"]
                .as_array()
                .unwrap()
                .iter()
                .map(|field| field.as_str().unwrap())
                .collect();
            let digest = Question::everything("x", &fields)
                .digest_of(&vector["payload"])
                .unwrap();
            assert_eq!(u64::from(point(key)), vector["point"].as_u64().unwrap(), "{key}");
            assert_eq!(hex::encode(&digest), vector["digest"].as_str().unwrap(), "{key}");
            whole.add(key, &digest, 1);
            let sum = hex::encode(&whole.buckets[0].sum);
            assert_eq!(sum, vector["sum-so-far"].as_str().unwrap(), "{key}");
        }
    }

    #[test]
    fn parts_of_ranges_come_in_their_order() {
        let _host = TestHost::new();
        let whole = Question::everything("x", &[]);
        let halves = Question {
            ranges: vec![Range { bits: 1, prefix: 0 }, Range { bits: 1, prefix: 1 }],
            ..whole.clone()
        };
        let sums = |question: &Question, split| {
            let mut sums = Sums::new(question, split).unwrap();
            for n in 0..100 {
                let key = n.to_string();
                sums.add(&key, &question.digest_of(&n).unwrap(), 1);
            }
            sums.done()
        };
        assert_eq!(sums(&whole, 4), sums(&halves, 3));
        let first = sums(&whole, 1)[0].count;
        assert_eq!(
            sums(&halves, 3)[..8]
                .iter()
                .map(|bucket| bucket.count)
                .sum::<u64>(),
            first
        );
        assert!(Sums::new(&whole, 13).is_err());
    }
}
