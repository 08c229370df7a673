//! The accounts of a sandbox: which connection uses which, what is told to whoever counts for all processes, and what that one says.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use stecker_model::{
    Name, Slice, UpstreamBudget,
    api::{Breaker, UpstreamHold},
    take_slice,
};
use tokio::sync::Notify;

use super::{
    account::{Account, Look, UpstreamView},
    way::Way,
};

/// Milliseconds since 1970, as all processes count them.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whoever counts for all processes that use the same accounts. Without one, a sandbox counts for itself.
#[async_trait]
pub trait UpstreamKeeper: Send + Sync {
    /// Takes up to `wanted` tokens out of an account's budget.
    ///
    /// # Errors
    /// Why there is no answer, for the log; the request waits and asks again.
    async fn take(
        &self,
        tenant: &Name,
        account: &Name,
        budget: UpstreamBudget,
        wanted: u32,
    ) -> Result<Slice, String>;

    /// A hold or a breaker is another than before: [`Upstreams::news`] has it. Called on async threads: it must not block.
    fn changed(&self, tenant: &Name, account: &Name);
}

/// What is kept of an account for all processes.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KeptUpstream {
    /// Until when nothing is sent.
    pub hold: Option<UpstreamHold>,
    /// The hosts whose breakers are not closed; as news, also those that were closed.
    pub hosts: Vec<(String, Breaker)>,
}

pub(super) type Key = (Name, Name);

#[derive(Default)]
struct Inner {
    /// By tenant and name.
    accounts: Mutex<HashMap<Name, HashMap<Name, Arc<Shared>>>>,
    connections: Mutex<HashMap<Key, Assigned>>,
    keeper: OnceLock<Arc<dyn UpstreamKeeper>>,
}

#[derive(Clone)]
pub(super) struct Assigned {
    pub(super) account: Name,
    pub(super) shared: Arc<Shared>,
}

/// One account.
pub(super) struct Shared {
    tenant: Name,
    name: Name,
    pub(super) account: Mutex<Account>,
    pub(super) changed: Notify,
    /// Where nobody counts for all: from when on the bucket is full, in microseconds.
    full_at: Mutex<i64>,
}

/// The upstream accounts of a sandbox. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct Upstreams {
    inner: Arc<Inner>,
}

impl fmt::Debug for Upstreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Upstreams").finish_non_exhaustive()
    }
}

impl Upstreams {
    /// Has somebody count for all processes. Only the first one is taken.
    pub fn set_keeper(&self, keeper: Arc<dyn UpstreamKeeper>) {
        if self.inner.keeper.set(keeper).is_err() {
            tracing::warn!("upstream accounts have a keeper already");
        }
    }

    /// Says which account a connection uses, and what that may send by configuration. From then on its requests are counted and its
    /// hosts watched.
    pub fn assign(&self, tenant: &Name, connection: &Name, account: &Name, budget: Option<UpstreamBudget>) {
        let shared = self.shared(tenant, account);
        lock(&shared.account).set_budget(budget);
        shared.changed.notify_waiters();
        let assigned = Assigned {
            account: account.clone(),
            shared,
        };
        lock(&self.inner.connections).insert((tenant.clone(), connection.clone()), assigned);
    }

    /// The account of a connection, if it was assigned.
    #[must_use]
    pub fn account_of(&self, tenant: &Name, connection: &Name) -> Option<Name> {
        let key = (tenant.clone(), connection.clone());
        self.assigned(&key).map(|assigned| assigned.account)
    }

    /// Whether nothing of a tenant is held or down.
    #[must_use]
    pub fn is_quiet(&self, tenant: &Name) -> bool {
        let now = now_ms();
        let accounts = lock(&self.inner.accounts);
        let mut of_tenant = accounts.get(tenant).into_iter().flat_map(HashMap::values);
        of_tenant.all(|shared| lock(&shared.account).is_quiet(now))
    }

    /// The accounts that were assigned or heard of, with their tenants.
    #[must_use]
    pub fn accounts(&self) -> Vec<(Name, Name)> {
        let accounts = lock(&self.inner.accounts);
        let of_tenants = accounts
            .iter()
            .flat_map(|(tenant, accounts)| accounts.keys().map(|account| (tenant.clone(), account.clone())));
        of_tenants.collect()
    }

    /// Sets what an account may send by configuration, if it is known here.
    pub fn set_budget(&self, tenant: &Name, account: &Name, budget: Option<UpstreamBudget>) {
        if let Some(shared) = self.known(tenant, account) {
            lock(&shared.account).set_budget(budget);
            shared.changed.notify_waiters();
        }
    }

    /// How it stands with an account, for a connection that wants to begin something; `unit` is who asks, as in [`Upstreams::tried`].
    #[must_use]
    pub fn look(&self, tenant: &Name, account: &Name, connection: &Name, unit: &str) -> Look {
        self.known(tenant, account).map_or(Look::Clear, |shared| {
            lock(&shared.account).look(connection, unit, now_ms())
        })
    }

    /// A host is tried by this unit of a connection from now on: `breaker` is half-open, and only requests of that connection go, one at a
    /// time.
    pub fn tried(
        &self,
        (tenant, account): (&Name, &Name),
        host: &str,
        breaker: Breaker,
        connection: &Name,
        unit: &str,
    ) {
        let shared = self.shared(tenant, account);
        lock(&shared.account).tried(host, breaker, connection, unit);
        shared.changed.notify_waiters();
    }

    /// Takes over what is kept for all processes. What this one has not told yet stays.
    pub fn learn(&self, tenant: &Name, account: &Name, kept: KeptUpstream) {
        let shared = self.shared(tenant, account);
        lock(&shared.account).learn(kept.hold, kept.hosts);
        shared.changed.notify_waiters();
    }

    /// What changed here since it was last asked.
    #[must_use]
    pub fn news(&self, tenant: &Name, account: &Name) -> KeptUpstream {
        self.known(tenant, account)
            .map_or_else(KeptUpstream::default, |shared| {
                let (hold, hosts) = lock(&shared.account).news(now_ms());
                KeptUpstream { hold, hosts }
            })
    }

    /// Forgets holds, what was learned, and that hosts are down.
    pub fn forget(&self, tenant: &Name, account: &Name) {
        if let Some(shared) = self.known(tenant, account) {
            lock(&shared.account).forget();
            shared.changed.notify_waiters();
        }
    }

    /// What this process knows of an account.
    #[must_use]
    pub fn view(&self, tenant: &Name, account: &Name) -> UpstreamView {
        self.known(tenant, account)
            .map_or_else(UpstreamView::default, |shared| {
                lock(&shared.account).view(now_ms())
            })
    }

    fn known(&self, tenant: &Name, account: &Name) -> Option<Arc<Shared>> {
        lock(&self.inner.accounts).get(tenant)?.get(account).cloned()
    }

    fn shared(&self, tenant: &Name, account: &Name) -> Arc<Shared> {
        let mut accounts = lock(&self.inner.accounts);
        let of_tenant = accounts.entry(tenant.clone()).or_default();
        let shared = of_tenant.entry(account.clone()).or_insert_with(|| {
            Arc::new(Shared {
                tenant: tenant.clone(),
                name: account.clone(),
                account: Mutex::default(),
                changed: Notify::new(),
                full_at: Mutex::default(),
            })
        });
        Arc::clone(shared)
    }

    /// The way of one connection's requests.
    pub(crate) fn way(&self, tenant: &Name, connection: &Name) -> Way {
        Way::new(self.clone(), (tenant.clone(), connection.clone()))
    }

    pub(super) fn assigned(&self, key: &Key) -> Option<Assigned> {
        lock(&self.inner.connections).get(key).cloned()
    }

    pub(super) fn tell(&self, shared: &Shared) {
        let has_news = lock(&shared.account).has_news();
        shared.changed.notify_waiters();
        if let Some(keeper) = self.inner.keeper.get().filter(|_| has_news) {
            keeper.changed(&shared.tenant, &shared.name);
        }
    }

    /// Asks for tokens in a task of its own, which waits for nobody's turn to compute and is not cut off with the call that began it.
    pub(super) fn fetch(&self, shared: &Arc<Shared>, budget: UpstreamBudget, wanted: u32) {
        let (keeper, shared) = (self.inner.keeper.get().cloned(), Arc::clone(shared));
        let asked = Arc::clone(&shared);
        let asking = tokio::spawn(async move {
            match keeper {
                Some(keeper) => keeper.take(&asked.tenant, &asked.name, budget, wanted).await,
                None => Ok(asked.take_alone(&budget, wanted)),
            }
        });
        tokio::spawn(async move {
            // A panic of the embedder's must not keep everybody waiting.
            let taken = asking.await.unwrap_or_else(|broken| Err(broken.to_string()));
            let slice = taken.map_err(|error| {
                tracing::warn!(tenant = %shared.tenant, account = %shared.name, error, "no tokens could be taken for an upstream; tried again");
            });
            lock(&shared.account).filled(slice.ok(), now_ms());
            shared.changed.notify_waiters();
        });
    }
}

impl Shared {
    fn take_alone(&self, budget: &UpstreamBudget, wanted: u32) -> Slice {
        let mut full_at = lock(&self.full_at);
        let (slice, after) = take_slice(budget, *full_at, now_ms().saturating_mul(1_000), wanted);
        *full_at = after;
        slice
    }
}
