//! How two systems are compared without moving what they hold: points, digests and sums, as the contract's role `reconcile` defines them.
//!
//! Everything here is arithmetic on texts, the same on both sides of the comparison and in the SDK; `wit/1.0.0/reconcile.vectors.json`
//! keeps them equal.

mod canonical;

pub use canonical::canonical_json;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// SHA-256 of something, or a sum of such, big-endian.
pub type Fingerprint = [u8; 32];

/// Which keys: those whose points begin with certain bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyRange {
    // In this order, so that ranges of one size sort by where they begin.
    bits: u32,
    prefix: u32,
}

impl KeyRange {
    /// Every key.
    pub const ALL: Self = Self { bits: 0, prefix: 0 };

    /// How many bits are fixed, 0 to 32.
    #[must_use]
    pub const fn bits(self) -> u32 {
        self.bits
    }

    /// The fixed bits, as a number below 2^bits.
    #[must_use]
    pub const fn prefix(self) -> u32 {
        self.prefix
    }

    /// Whether a point is in it.
    #[must_use]
    pub fn contains(self, point: u32) -> bool {
        u64::from(point) >> (32 - self.bits) == u64::from(self.prefix)
    }

    /// Its first and its last point.
    #[must_use]
    pub fn bounds(self) -> (u32, u32) {
        let free = 32 - self.bits;
        let first = u32::try_from(u64::from(self.prefix) << free).unwrap_or(u32::MAX);
        let last = first | u32::try_from((1_u64 << free) - 1).unwrap_or(u32::MAX);
        (first, last)
    }

    /// How often it can be halved: 32 less its bits.
    #[must_use]
    pub const fn depth_left(self) -> u32 {
        32 - self.bits
    }

    /// Divided into 2^split equal parts, ascending; into as many as there are points if that is less.
    pub fn parts(self, split: u32) -> impl Iterator<Item = Self> {
        let split = split.min(self.depth_left());
        let first = u64::from(self.prefix) << split;
        (0..1_u64 << split).map(move |part| Self {
            bits: self.bits + split,
            prefix: u32::try_from(first + part).unwrap_or(u32::MAX),
        })
    }
}

/// Where a key lies: the first four bytes of its SHA-256.
#[must_use]
pub fn point(key: &str) -> u32 {
    let [a, b, c, d, ..] = sha256(key.as_bytes());
    u32::from_be_bytes([a, b, c, d])
}

/// What a thing looks like, for comparing: SHA-256 of the canonical JSON of the compared fields (JSON Pointers), or of all of it.
#[must_use]
pub fn digest_of(payload: &Value, fields: &[String]) -> Fingerprint {
    let text = if fields.is_empty() {
        canonical_json(payload)
    } else {
        let values = fields
            .iter()
            .map(|field| payload.pointer(field).cloned().unwrap_or(Value::Null))
            .collect();
        canonical_json(&Value::Array(values))
    };
    sha256(text.as_bytes())
}

/// What one thing adds to a sum.
#[must_use]
pub fn element(key: &str, digest: &Fingerprint) -> Fingerprint {
    let mut hash = Sha256::new();
    hash.update(sha256(key.as_bytes()));
    hash.update(digest);
    hash.finalize().into()
}

/// Things as far as a comparison by sums can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Bucket {
    /// How many.
    pub count: u64,
    /// Their sum modulo 2^256.
    pub sum: Fingerprint,
}

impl Bucket {
    /// Takes one more thing in, as often as it is there.
    pub fn add(&mut self, key: &str, digest: &Fingerprint, copies: u32) {
        let element = element(key, digest);
        for _ in 0..copies {
            self.count = self.count.saturating_add(1);
            self.sum = sum(&self.sum, &element);
        }
    }
}

fn sum(a: &Fingerprint, b: &Fingerprint) -> Fingerprint {
    let mut out = [0; 32];
    let mut carry = 0_u16;
    for (out, (a, b)) in out.iter_mut().rev().zip(a.iter().rev().zip(b.iter().rev())) {
        let total = u16::from(*a) + u16::from(*b) + carry;
        let [high, low] = total.to_be_bytes();
        *out = low;
        carry = u16::from(high);
    }
    out
}

fn sha256(bytes: &[u8]) -> Fingerprint {
    Sha256::digest(bytes).into()
}

/// What a destination is asked about its things.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The stream.
    pub stream: String,
    /// JSON Pointers of what is compared; empty: everything.
    pub fields: Vec<String>,
    /// 1 to 256, none inside another, ascending.
    pub ranges: Vec<KeyRange>,
}

/// A thing of the destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedKey {
    /// Its key, 1 to 512 bytes.
    pub key: String,
    /// What it looks like.
    pub digest: Fingerprint,
    /// How many there are with this key, at least 1.
    pub copies: u32,
    /// Its id there.
    pub external_id: Option<String>,
    /// The state it was written with, where the system keeps that.
    pub source_version: Option<String>,
}

/// Some things of the destination and where the list goes on.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Listing {
    /// In the system's own order, no key twice.
    pub entries: Vec<ListedKey>,
    /// Where the next page begins; none at the end.
    pub next: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_divide_the_points_without_gaps() {
        assert!(KeyRange::ALL.contains(0) && KeyRange::ALL.contains(u32::MAX));
        let parts: Vec<_> = KeyRange::ALL.parts(8).collect();
        assert_eq!(parts.len(), 256);
        for point in [0, 1, 0x00ff_ffff, 0x0100_0000, 0x7fff_ffff, u32::MAX] {
            assert_eq!(parts.iter().filter(|part| part.contains(point)).count(), 1);
        }
        let last = parts.last().unwrap();
        assert_eq!(last.parts(4).last().unwrap().bounds(), (0xfff0_0000, u32::MAX));
        assert_eq!(last.parts(4).next().unwrap().bounds().0, last.bounds().0);
        let single = KeyRange { bits: 32, prefix: 7 };
        assert_eq!(single.depth_left(), 0);
        assert!(single.contains(7) && !single.contains(8));
        assert_eq!(
            single.parts(3).collect::<Vec<_>>(),
            [single],
            "nothing is left to divide"
        );
    }

    #[test]
    fn a_sum_knows_no_order_but_does_know_copies() {
        let one = digest_of(&serde_json::json!({"a": 1}), &[]);
        let two = digest_of(&serde_json::json!({"a": 2}), &[]);
        let of = |things: &[(&str, &Fingerprint, u32)]| {
            let mut bucket = Bucket::default();
            for (key, digest, copies) in things {
                bucket.add(key, digest, *copies);
            }
            bucket
        };
        assert_eq!(
            of(&[("x", &one, 1), ("y", &two, 1)]),
            of(&[("y", &two, 1), ("x", &one, 1)])
        );
        assert_ne!(
            of(&[("x", &one, 1), ("y", &two, 1)]),
            of(&[("x", &two, 1), ("y", &one, 1)])
        );
        assert_ne!(of(&[("x", &one, 2)]).sum, [0; 32], "as it would be with XOR");
        assert_eq!(
            sum(&[255; 32], &{
                let mut one = [0; 32];
                one[31] = 1;
                one
            }),
            [0; 32]
        );
    }

    #[test]
    fn only_the_compared_fields_count() {
        let fields = ["/total".to_owned(), "/lines/0/sku".to_owned()];
        let a = serde_json::json!({"total": "9.90", "lines": [{"sku": "A"}], "seen": 1});
        let b = serde_json::json!({"seen": 2, "lines": [{"sku": "A", "note": ""}], "total": "9.90"});
        assert_eq!(digest_of(&a, &fields), digest_of(&b, &fields));
        assert_ne!(digest_of(&a, &[]), digest_of(&b, &[]));
        let none = serde_json::json!({});
        assert_eq!(
            digest_of(&none, &fields),
            sha256(b"[null,null]"),
            "what is not there is null"
        );
    }

    #[test]
    fn the_published_vectors_hold() {
        let text = include_str!("../../../../wit/1.0.0/reconcile.vectors.json");
        let vectors: Value = serde_json::from_str(text).unwrap();
        let mut whole = Bucket::default();
        for vector in vectors["things"].as_array().unwrap() {
            let key = vector["key"].as_str().unwrap();
            let fields: Vec<String> = serde_json::from_value(vector["fields"].clone()).unwrap();
            let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
            let digest = digest_of(&vector["payload"], &fields);
            assert_eq!(u64::from(point(key)), vector["point"].as_u64().unwrap(), "{key}");
            assert_eq!(hex(&digest), vector["digest"].as_str().unwrap(), "{key}");
            assert_eq!(
                hex(&element(key, &digest)),
                vector["element"].as_str().unwrap(),
                "{key}"
            );
            whole.add(key, &digest, 1);
            assert_eq!(hex(&whole.sum), vector["sum-so-far"].as_str().unwrap(), "{key}");
        }
    }
}
