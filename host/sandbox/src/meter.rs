//! What one call uses.

use std::{
    sync::atomic::{AtomicU32, AtomicU64, Ordering},
    time::Duration,
};

use stecker_model::CallUsage;

use crate::{capability::random::RandomVolume, memory::MemoryMeter};

/// Counts what a call uses, outside of the store, because a store that is dropped half-way cannot be asked any more.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    pub(crate) memory: MemoryMeter,
    pub(crate) random: RandomVolume,
    ticks: AtomicU64,
    pub(crate) busy_ns: AtomicU64,
    http_requests: AtomicU32,
    http_bytes_in: AtomicU64,
    http_bytes: AtomicU64,
}

impl Meter {
    /// For a call whose random bytes follow from a seed, if there is one.
    pub(crate) fn seeded(seed: Option<[u8; 32]>) -> Self {
        Self {
            random: RandomVolume::seeded(seed),
            ..Self::default()
        }
    }

    /// The engine's clock went on while the guest computed.
    pub(crate) fn ticked(&self) {
        self.ticks.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn request_sent(&self) {
        self.http_requests.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn bytes_in(&self, bytes: usize) {
        self.http_bytes_in
            .fetch_add(u64::try_from(bytes).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// In either direction.
    pub(crate) fn http_bytes(&self, bytes: u64) {
        self.http_bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(crate) fn usage(&self, took: Duration) -> CallUsage {
        CallUsage {
            wall_us: u64::try_from(took.as_micros()).unwrap_or(u64::MAX),
            epoch_ticks: self.ticks.load(Ordering::Relaxed),
            peak_memory: self.memory.peak(),
            http_requests: self.http_requests.load(Ordering::Relaxed),
            http_bytes_in: self.http_bytes_in.load(Ordering::Relaxed),
            http_bytes: self.http_bytes.load(Ordering::Relaxed),
            cpu_us: self.busy_ns.load(Ordering::Relaxed) / 1_000,
        }
    }
}
