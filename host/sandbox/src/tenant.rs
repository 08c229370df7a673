//! What a tenant may use in all, over all of its connections: memory, calls at the same time; and what it has used.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
};

use serde::Serialize;
use stecker_model::{CallUsage, Name, TenantLimits};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::cpu::{Party, TenantId};

/// What a tenant uses now, and what it has used since its first session was bound (or since it last had none).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct TenantUsage {
    /// Bytes of all memories and tables of its instances now, warm ones that wait included.
    pub memory_bytes: u64,
    /// Calls that run now.
    pub running: u32,
    /// Calls that ended.
    pub calls: u64,
    /// Microseconds that threads were busy with its calls.
    pub cpu_us: u64,
    /// Ticks of the engine that fired while its guests computed.
    pub epoch_ticks: u64,
    /// Requests sent.
    pub http_requests: u64,
}

/// One tenant in one sandbox.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    memory: AtomicUsize,
    memory_limit: AtomicUsize,
    weight: AtomicU32,
    calls: Mutex<Calls>,
    used: Mutex<TenantUsage>,
    running: AtomicU64,
}

/// Permits cannot be taken away from a semaphore that has handed them out, so a new limit is a new semaphore: for a moment, calls of
/// both may run.
#[derive(Debug)]
struct Calls {
    limit: u32,
    permits: Arc<Semaphore>,
}

impl Calls {
    fn new(limit: u32) -> Self {
        Self {
            limit,
            permits: Arc::new(Semaphore::new(
                usize::try_from(limit).unwrap_or(usize::MAX).max(1),
            )),
        }
    }
}

fn bytes_of(mib: u32) -> usize {
    usize::try_from(u64::from(mib) << 20).unwrap_or(usize::MAX)
}

impl Tenant {
    fn new(id: TenantId, limits: &TenantLimits) -> Self {
        Self {
            id,
            memory: AtomicUsize::new(0),
            memory_limit: AtomicUsize::new(bytes_of(limits.memory_mib)),
            weight: AtomicU32::new(limits.weight),
            calls: Mutex::new(Calls::new(limits.calls)),
            used: Mutex::default(),
            running: AtomicU64::new(0),
        }
    }

    /// The newest binding's limits count, for calls that begin from now on.
    fn set_limits(&self, limits: &TenantLimits) {
        self.memory_limit
            .store(bytes_of(limits.memory_mib), Ordering::Relaxed);
        self.weight.store(limits.weight, Ordering::Relaxed);
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.limit != limits.calls {
            *calls = Calls::new(limits.calls);
        }
    }

    /// Itself, among those who want to compute.
    pub(crate) fn party(&self) -> Party {
        Party {
            id: self.id,
            weight: self.weight.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn memory_limit(&self) -> usize {
        self.memory_limit.load(Ordering::Relaxed)
    }

    /// Whether there was room for so many bytes more. They are the caller's to give back.
    pub(crate) fn take_memory(&self, bytes: usize) -> bool {
        let limit = self.memory_limit();
        self.memory
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                used.checked_add(bytes).filter(|used| *used <= limit)
            })
            .is_ok()
    }

    pub(crate) fn give_memory_back(&self, bytes: usize) {
        self.memory.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Waits for its turn among the tenant's own calls. None if the sandbox is being torn down.
    pub(crate) async fn admit(self: &Arc<Self>) -> Option<Admitted> {
        let permits = {
            let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&calls.permits)
        };
        let permit = permits.acquire_owned().await.ok()?;
        self.running.fetch_add(1, Ordering::Relaxed);
        Some(Admitted {
            tenant: Arc::clone(self),
            _permit: permit,
        })
    }

    pub(crate) fn book(&self, usage: &CallUsage) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.calls += 1;
        used.cpu_us += usage.cpu_us;
        used.epoch_ticks += usage.epoch_ticks;
        used.http_requests += u64::from(usage.http_requests);
    }

    fn usage(&self) -> TenantUsage {
        let used = *self.used.lock().unwrap_or_else(PoisonError::into_inner);
        TenantUsage {
            memory_bytes: u64::try_from(self.memory.load(Ordering::Relaxed)).unwrap_or(u64::MAX),
            running: u32::try_from(self.running.load(Ordering::Relaxed)).unwrap_or(u32::MAX),
            ..used
        }
    }
}

/// One of the tenant's calls, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Admitted {
    tenant: Arc<Tenant>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.tenant.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The tenants that have sessions.
#[derive(Debug, Default)]
pub(crate) struct Tenants(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    next: TenantId,
    by_name: HashMap<Name, Weak<Tenant>>,
}

impl Tenants {
    pub(crate) fn get(&self, name: &Name, limits: &TenantLimits) -> Arc<Tenant> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(tenant) = known.by_name.get(name).and_then(Weak::upgrade) {
            tenant.set_limits(limits);
            return tenant;
        }
        known.by_name.retain(|_, tenant| tenant.strong_count() > 0);
        let tenant = Arc::new(Tenant::new(known.next, limits));
        known.next += 1;
        known.by_name.insert(name.clone(), Arc::downgrade(&tenant));
        tenant
    }

    /// A tenant that has no name and is nobody's.
    pub(crate) fn apart(&self, limits: &TenantLimits) -> Arc<Tenant> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let id = known.next;
        known.next += 1;
        Arc::new(Tenant::new(id, limits))
    }

    pub(crate) fn usage(&self, name: &Name) -> Option<TenantUsage> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tenant = known.by_name.get(name)?.upgrade()?;
        Some(tenant.usage())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(memory_mib: u32, calls: u32) -> TenantLimits {
        TenantLimits {
            memory_mib,
            calls,
            ..TenantLimits::default()
        }
    }

    #[test]
    fn memory_is_one_account_for_all_sessions() {
        let tenants = Tenants::default();
        let (a, b): (Name, Name) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (one, two, other) = (
            tenants.get(&a, &limits(1, 1)),
            tenants.get(&a, &limits(1, 1)),
            tenants.get(&b, &limits(1, 1)),
        );
        assert!(one.take_memory(1 << 19) && two.take_memory(1 << 19));
        assert!(!two.take_memory(1), "the first session's memory counts");
        assert!(other.take_memory(1 << 20), "another tenant's does not");
        one.give_memory_back(1 << 19);
        assert!(two.take_memory(1));
    }

    #[tokio::test]
    async fn a_new_limit_counts_from_the_next_call_on() {
        let tenants = Tenants::default();
        let name: Name = "a".parse().unwrap();
        let tenant = tenants.get(&name, &limits(1, 1));
        let first = tenant.admit().await.unwrap();
        assert!(futures_util::FutureExt::now_or_never(tenant.admit()).is_none());
        tenants.get(&name, &limits(1, 2));
        let second = futures_util::FutureExt::now_or_never(tenant.admit());
        assert!(second.is_some());
        assert_eq!(tenants.usage(&name).unwrap().running, 2);
        drop((first, second));
        assert_eq!(tenants.usage(&name).unwrap().running, 0);
    }

    #[test]
    fn a_tenant_without_sessions_is_forgotten() {
        let tenants = Tenants::default();
        let name: Name = "a".parse().unwrap();
        drop(tenants.get(&name, &limits(1, 1)));
        assert_eq!(tenants.usage(&name), None);
    }
}
