//! The host's randomness: from a seed in tests and shadow runs.

use crate::imports;

/// What the host gives in one call, at most.
const MOST_AT_ONCE: usize = 4_096;

/// That many random bytes.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut all = Vec::with_capacity(len);
    while all.len() < len {
        let want = u32::try_from((len - all.len()).min(MOST_AT_ONCE)).unwrap_or(u32::MAX);
        all.extend(imports::random::bytes(want));
    }
    all.truncate(len);
    all
}

/// That many random bytes, in lower-case hex: for nonces.
pub fn hex(len: usize) -> String {
    hex::encode(bytes(len))
}
