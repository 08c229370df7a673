//! Memory of one instance, summed over all memories and tables of its store (the engine's own limiter looks at each memory alone, and a
//! component may have several), and of a tenant, summed over its instances.

use std::sync::{
    Arc,
    atomic::{AtomicU8, AtomicU64, Ordering},
};

use wasmtime::ResourceLimiter;

use crate::{meter::Meter, tenant::Tenant};

/// What a table element takes in wasmtime.
const TABLE_ELEMENT: usize = size_of::<usize>();

/// What was seen; outlives the store, so that it can be reported after a time-out.
#[derive(Debug, Default)]
pub(crate) struct MemoryMeter {
    peak: AtomicU64,
    refused: AtomicU8,
}

/// Whose room was used up when the guest was refused more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The instance's own.
    Instance,
    /// The tenant's, by all of its instances together.
    Tenant,
}

impl MemoryMeter {
    pub(crate) fn peak(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }

    /// Whether the guest was ever refused more, and why the last time.
    pub(crate) fn refused(&self) -> Option<Refusal> {
        match self.refused.load(Ordering::Relaxed) {
            0 => None,
            1 => Some(Refusal::Instance),
            _ => Some(Refusal::Tenant),
        }
    }

    fn refuse(&self, why: Refusal) {
        let code = match why {
            Refusal::Instance => 1,
            Refusal::Tenant => 2,
        };
        self.refused.store(code, Ordering::Relaxed);
    }

    fn saw(&self, used: usize) {
        self.peak
            .fetch_max(u64::try_from(used).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

#[derive(Debug)]
pub(crate) struct MemoryLimiter {
    limit: usize,
    used: usize,
    /// The growth that was allowed last, to be taken back if the engine could not do it.
    pending: usize,
    meter: Arc<Meter>,
    tenant: Arc<Tenant>,
}

impl MemoryLimiter {
    pub(crate) fn new(limit: usize, tenant: Arc<Tenant>, meter: Arc<Meter>) -> Self {
        Self {
            limit,
            used: 0,
            pending: 0,
            meter,
            tenant,
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used
    }

    /// What is grown from now on belongs to another call.
    pub(crate) fn report_to(&mut self, meter: Arc<Meter>) {
        meter.memory.saw(self.used);
        self.meter = meter;
    }

    fn grow(&mut self, by: usize, maximum_allows: bool) -> bool {
        self.pending = 0;
        let Some(used) = self.used.checked_add(by).filter(|used| *used <= self.limit) else {
            self.meter.memory.refuse(Refusal::Instance);
            return false;
        };
        // A growth beyond the type's own maximum fails anyway, and says nothing about this limit.
        if !maximum_allows {
            return false;
        }
        if !self.tenant.take_memory(by) {
            self.meter.memory.refuse(Refusal::Tenant);
            return false;
        }
        self.used = used;
        self.pending = by;
        self.meter.memory.saw(used);
        true
    }

    fn take_back(&mut self) {
        let bytes = std::mem::take(&mut self.pending);
        self.used -= bytes;
        self.tenant.give_memory_back(bytes);
    }
}

impl Drop for MemoryLimiter {
    /// The store is going, and with it every memory of it.
    fn drop(&mut self) {
        self.tenant.give_memory_back(self.used);
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
    use stecker_model::TenantLimits;

    use super::*;
    use crate::tenant::Tenants;

    fn limiter(limit: usize, meter: &Arc<Meter>) -> MemoryLimiter {
        let tenant = Tenants::default().get(&"a".parse().unwrap(), &TenantLimits::default());
        MemoryLimiter::new(limit, tenant, Arc::clone(meter))
    }

    #[test]
    fn memories_and_tables_count_together() {
        let meter = Arc::new(Meter::default());
        let mut limiter = limiter(1_000, &meter);
        assert!(limiter.memory_growing(0, 600, None).unwrap());
        assert!(limiter.table_growing(0, 10, None).unwrap());
        assert_eq!(meter.memory.peak(), 680);
        assert!(
            !limiter.memory_growing(0, 400, None).unwrap(),
            "a second memory does not get a limit of its own"
        );
        assert_eq!(meter.memory.refused(), Some(Refusal::Instance));
    }

    #[test]
    fn a_growth_that_the_engine_could_not_do_is_taken_back() {
        let meter = Arc::new(Meter::default());
        let mut limiter = limiter(1_000, &meter);
        assert!(limiter.memory_growing(0, 900, None).unwrap());
        limiter.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(limiter.memory_growing(0, 900, None).unwrap());
        assert_eq!(meter.memory.refused(), None);
    }

    #[test]
    fn the_own_maximum_of_a_memory_is_not_ours_to_report() {
        let meter = Arc::new(Meter::default());
        let mut limiter = limiter(1_000, &meter);
        assert!(!limiter.memory_growing(0, 200, Some(100)).unwrap());
        assert_eq!(meter.memory.refused(), None);
    }

    #[test]
    fn a_tenant_has_one_account_for_all_of_its_instances() {
        let limits = TenantLimits {
            memory_mib: 1,
            ..TenantLimits::default()
        };
        let tenant = Tenants::default().get(&"a".parse().unwrap(), &limits);
        let meter = Arc::new(Meter::default());
        let instance = || MemoryLimiter::new(1 << 20, Arc::clone(&tenant), Arc::clone(&meter));
        let (mut one, mut two) = (instance(), instance());
        assert!(one.memory_growing(0, 900_000, None).unwrap());
        assert!(!two.memory_growing(0, 900_000, None).unwrap());
        assert_eq!(meter.memory.refused(), Some(Refusal::Tenant));
        drop(one);
        assert!(
            two.memory_growing(0, 900_000, None).unwrap(),
            "what is dropped gives its memory back"
        );
        two.memory_grow_failed(wasmtime::Error::msg("no")).unwrap();
        assert!(instance().memory_growing(0, 900_000, None).unwrap());
    }
}
