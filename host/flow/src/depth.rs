//! How much of a tenant waits over all of its flows, so that what comes in can be held back before the queue has no end. Looked at once a
//! second and tenant: the number is for a bound that may be exceeded by what comes in within a second.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use stecker_model::Name;
use stecker_store::{Store, StoreError};

const GOOD_FOR: Duration = Duration::from_secs(1);
/// Beyond that many tenants, those that were not asked about lately are forgotten.
const REMEMBERED: usize = 4_096;

/// A tenant of which too much waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooDeep {
    pub(crate) waiting: u64,
    pub(crate) max_waiting: u32,
}

/// What was seen of each tenant.
#[derive(Debug, Default)]
pub(crate) struct Depths(Mutex<HashMap<Name, (Instant, Option<TooDeep>)>>);

impl Depths {
    /// Whether more may come in for a tenant, and if not, why.
    ///
    /// # Errors
    /// The store fails.
    pub(crate) async fn of(&self, store: &Store, tenant: &Name) -> Result<Option<TooDeep>, StoreError> {
        if let Some(seen) = self.seen(tenant, Instant::now()) {
            return Ok(seen);
        }
        let (waiting, limits) = store.tenant_waiting(tenant).await?;
        let max_waiting = limits.max_waiting;
        let too_deep = (waiting >= u64::from(max_waiting)).then_some(TooDeep { waiting, max_waiting });
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if known.len() >= REMEMBERED {
            known.retain(|_, (at, _)| now.saturating_duration_since(*at) < GOOD_FOR);
        }
        known.insert(tenant.clone(), (now, too_deep));
        Ok(too_deep)
    }

    fn seen(&self, tenant: &Name, now: Instant) -> Option<Option<TooDeep>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, seen) = known.get(tenant)?;
        (now.saturating_duration_since(*at) < GOOD_FOR).then_some(*seen)
    }
}
