//! How one input becomes another.

use rand::{Rng as _, rngs::StdRng};

/// Numbers at which lengths and counts go wrong, as bytes in both orders and as LEB128.
const EDGES: [&[u8]; 10] = [
    &[0],
    &[0x7f],
    &[0x80],
    &[0xff],
    &[0xff, 0xff],
    &[0, 0, 0, 0x80],
    &[0xff, 0xff, 0xff, 0x7f],
    &[0xff, 0xff, 0xff, 0xff],
    &[0xff, 0xff, 0xff, 0xff, 0x0f],
    &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01],
];

pub(crate) struct Mutator {
    pub(crate) dictionary: &'static [&'static str],
    pub(crate) max_len: usize,
}

impl Mutator {
    /// One to eight changes at random places.
    pub(crate) fn mutate(&self, base: &[u8], other: &[u8], random: &mut StdRng) -> Vec<u8> {
        let mut bytes = base.to_vec();
        for _ in 0..random.random_range(1..=8) {
            self.change(&mut bytes, other, random);
        }
        bytes.truncate(self.max_len);
        bytes
    }

    fn change(&self, bytes: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
        let at = random.random_range(0..=bytes.len());
        let some = at..(at + random.random_range(0..=16)).min(bytes.len());
        match random.random_range(0..9) {
            0 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= 1 << random.random_range(0..8);
                }
            }
            1 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.random();
                }
            }
            2 => bytes.insert(at, random.random()),
            3 => drop(bytes.drain(some)),
            4 => {
                let copy: Vec<u8> = bytes.get(some).unwrap_or_default().to_vec();
                let to = random.random_range(0..=bytes.len());
                bytes.splice(to..to, copy);
            }
            5 => {
                if let Some(word) = pick(self.dictionary, random) {
                    bytes.splice(at..at, word.bytes());
                }
            }
            6 => {
                if let Some(word) = pick(self.dictionary, random) {
                    bytes.splice(some, word.bytes());
                }
            }
            7 => {
                if let Some(edge) = pick(&EDGES, random) {
                    bytes.splice(some, edge.iter().copied());
                }
            }
            _ => {
                let from = random.random_range(0..=other.len());
                let to = (from + random.random_range(0..=64)).min(other.len());
                bytes.splice(some, other.get(from..to).unwrap_or_default().iter().copied());
            }
        }
    }
}

fn pick<T: Copy>(all: &[T], random: &mut StdRng) -> Option<T> {
    if all.is_empty() {
        return None;
    }
    all.get(random.random_range(0..all.len())).copied()
}
