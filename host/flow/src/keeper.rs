//! Keeps the leases of a host's flows, all of them in a few statements, however many there are.
//!
//! Flows ask one by one, each on its own time. The first that asks has all renewed that the host holds; who asks shortly afterwards gets the
//! same answer.

use std::{
    collections::{HashMap, HashSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use stecker_model::Name;
use stecker_store::{Lease, Store, StoreError};
use tokio::time::Instant;

type Unit = (Name, String);

/// The leases that this host holds.
#[derive(Debug)]
pub(crate) struct Keeper {
    node: String,
    ttl: Duration,
    held: Mutex<HashMap<Unit, i64>>,
    last: tokio::sync::Mutex<Option<Renewal>>,
}

#[derive(Debug)]
struct Renewal {
    asked: Instant,
    kept: HashSet<(Name, String, i64)>,
}

/// A lease among those that are kept, for as long as this is.
pub(crate) struct Kept<'k> {
    keeper: &'k Keeper,
    lease: &'k Lease,
}

impl Keeper {
    pub(crate) fn new(node: String, ttl: Duration) -> Self {
        Self {
            node,
            ttl,
            held: Mutex::default(),
            last: tokio::sync::Mutex::default(),
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Unit, i64>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// In milliseconds.
    pub(crate) fn ttl_ms(&self) -> i64 {
        i64::try_from(self.ttl.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn keep<'k>(&'k self, lease: &'k Lease) -> Kept<'k> {
        self.held()
            .insert((lease.tenant.clone(), lease.unit.clone()), lease.epoch);
        Kept { keeper: self, lease }
    }

    /// The moment from which the lease is good for its whole time, or nothing if somebody else has the unit.
    pub(crate) async fn renew(&self, store: &Store, lease: &Lease) -> Result<Option<Instant>, StoreError> {
        let mine = (lease.tenant.clone(), lease.unit.clone(), lease.epoch);
        let mut last = self.last.lock().await;
        let is_new =
            |renewal: &&Renewal| renewal.asked.elapsed() < self.ttl / 6 && renewal.kept.contains(&mine);
        if let Some(renewal) = last.as_ref().filter(is_new) {
            return Ok(Some(renewal.asked));
        }
        let asked = Instant::now();
        let leases: Vec<(Name, String, i64)> = self
            .held()
            .iter()
            .map(|((tenant, unit), epoch)| (tenant.clone(), unit.clone(), *epoch))
            .collect();
        let until = store.time_ms().await?.saturating_add(self.ttl_ms());
        let kept: HashSet<_> = store
            .renew_all(&self.node, &leases, until)
            .await?
            .into_iter()
            .collect();
        let is_kept = kept.contains(&mine);
        *last = Some(Renewal { asked, kept });
        Ok(is_kept.then_some(asked))
    }
}

impl Drop for Kept<'_> {
    fn drop(&mut self) {
        let unit = (self.lease.tenant.clone(), self.lease.unit.clone());
        let mut held = self.keeper.held();
        // A later lease on the same unit is somebody else's business.
        if held.get(&unit) == Some(&self.lease.epoch) {
            held.remove(&unit);
        }
    }
}
