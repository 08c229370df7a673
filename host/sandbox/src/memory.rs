//! Memory of one call, summed over all memories and tables of its store: the engine's own limiter looks at each memory alone, and a
//! component may have several.

use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicU64, Ordering},
};

use wasmtime::ResourceLimiter;

/// What a table element takes in wasmtime.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// What was seen; outlives the store, so that it can be reported after a time-out.
#[derive(Debug, Default)]
pub(crate) struct MemoryMeter {
    peak: AtomicU64,
    refused: AtomicBool,
}

impl MemoryMeter {
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether the guest was ever refused more.
    pub(crate) fn refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: usize,
    used: usize,
    /// The growth that was allowed last, to be taken back if the engine could not do it.
    pending: usize,
    meter: Arc<MemoryMeter>,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: usize, meter: Arc<MemoryMeter>) -> Self {
        Self {
            limit,
            used: 0,
            pending: 0,
            meter,
        }
    }

    fn grow(&mut self, by: usize, maximum_allows: bool) -> bool {
        self.pending = 0;
        let Some(used) = self.used.checked_add(by).filter(|used| *used <= self.limit) else {
            self.meter.refused.store(true, Ordering::Relaxed);
            return false;
        };
        // A growth beyond the type's own maximum fails anyway, and says nothing about this limit.
        if !maximum_allows {
            return false;
        }
        self.used = used;
        self.pending = by;
        self.meter
            .peak
            .fetch_max(u64::try_from(used).unwrap_or(u64::MAX), Ordering::Relaxed);
        true
    }

    fn take_back(&mut self) {
        self.used -= std::mem::take(&mut self.pending);
    }
}

impl ResourceLimiter for MemoryLimiter {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        Ok(self.grow(desired.saturating_sub(current), allowed))
    }

    fn memory_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }

    fn table_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let allowed = maximum.is_none_or(|maximum| desired <= maximum);
        let bytes = desired.saturating_sub(current).saturating_mul(TABLE_ELEMENT);
        Ok(self.grow(bytes, allowed))
    }

    fn table_grow_failed(&mut self, _: wasmtime::Error) -> wasmtime::Result<()> {
        self.take_back();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memories_and_tables_count_together() {
        let meter = Arc::new(MemoryMeter::default());
        let mut limiter = MemoryLimiter::new(1_000, Arc::clone(&meter));
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert_eq!(meter.peak(), 680);
        assert!(
            !limiter.memory_growing(0, 400, None).unwrap(),
            "a second memory does not get a limit of its own"
        );
        assert!(meter.refused());
    }

    #[test]
    fn a_growth_that_the_engine_could_not_do_is_taken_back() {
        let meter = Arc::new(MemoryMeter::default());
        let mut limiter = MemoryLimiter::new(1_000, Arc::clone(&meter));
        assert!(limiter.memory_growing(0, 900, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(limiter.memory_growing(0, 900, None).unwrap());
        assert!(!meter.refused());
    }

    #[test]
    fn the_own_maximum_of_a_memory_is_not_ours_to_report() {
        let meter = Arc::new(MemoryMeter::default());
        let mut limiter = MemoryLimiter::new(1_000, Arc::clone(&meter));
        assert!(!limiter.memory_growing(0, 200, Some(100)).unwrap());
        assert!(!meter.refused());
    }
}
