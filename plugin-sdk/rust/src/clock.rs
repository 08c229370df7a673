//! The host's clock: coarse (1 ms), and virtual in tests and shadow runs.

use crate::imports;

/// Milliseconds since 1970-01-01T00:00:00Z.
pub fn now() -> u64 {
    imports::clock::now()
}

/// Milliseconds since an arbitrary moment; never goes back. For measuring, not for dates.
pub fn monotonic_ms() -> u64 {
    imports::clock::monotonic_ms()
}
