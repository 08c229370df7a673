//! Upstream accounts, as flows see them: a flow whose system asked for patience or is down does not even begin, so no record loses an attempt
//! to it; and when the time has come, one flow of all nodes tries whether the system answers again.
//!
//! What may be sent is decided in the sandbox, request by request. This is what stands between it and the store, for all nodes to go by the
//! same, and in front of readers and deliverers.

mod admission;
mod shown;

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use async_trait::async_trait;
use stecker_model::{
    ConnectionSpec, Name, Slice, UpstreamBudget,
    api::{BreakerState, UpstreamHold},
};
use stecker_sandbox::{KeptUpstream, UpstreamKeeper, Upstreams};
use stecker_store::{Store, StoreError, UpstreamRow};
use tokio::sync::OnceCell;

use crate::{Clock, FlowError};

pub(crate) use admission::{admit_batch, keeps_reader};

/// The accounts of this process.
pub(crate) struct Accounts {
    registry: Upstreams,
    store: Store,
    clock: Arc<dyn Clock>,
    /// What is read and what is written of holds and breakers goes one after the other, so that nothing read before a change undoes it.
    turn: tokio::sync::Mutex<()>,
    loaded: OnceCell<()>,
    /// Tenants with connections that share accounts or have budgets.
    budgeted: Mutex<BTreeSet<Name>>,
}

/// What the sandbox asks. It must not keep the accounts, which keep the sandbox's.
struct Keeper(Weak<Accounts>);

#[async_trait]
impl UpstreamKeeper for Keeper {
    async fn take(
        &self,
        tenant: &Name,
        account: &Name,
        budget: UpstreamBudget,
        wanted: u32,
    ) -> Result<Slice, String> {
        let accounts = self.0.upgrade().ok_or("the host is being shut down")?;
        let taken = accounts.store.take_tokens(tenant, account, &budget, wanted).await;
        taken.map_err(|error| error.to_string())
    }

    fn changed(&self, tenant: &Name, account: &Name) {
        if let Some(accounts) = self.0.upgrade() {
            let (tenant, account) = (tenant.clone(), account.clone());
            tokio::spawn(async move { accounts.write(&tenant, &account).await });
        }
    }
}

fn kept(row: UpstreamRow) -> KeptUpstream {
    KeptUpstream {
        hold: row.hold,
        hosts: row.hosts,
    }
}

impl Accounts {
    pub(crate) fn new(store: Store, registry: Upstreams, clock: Arc<dyn Clock>) -> Arc<Self> {
        let accounts = Arc::new(Self {
            registry,
            store,
            clock,
            turn: tokio::sync::Mutex::default(),
            loaded: OnceCell::new(),
            budgeted: Mutex::default(),
        });
        accounts
            .registry
            .set_keeper(Arc::new(Keeper(Arc::downgrade(&accounts))));
        accounts
    }

    /// Writes down what changed in this process.
    async fn write(&self, tenant: &Name, account: &Name) {
        let _turn = self.turn.lock().await;
        let news = self.registry.news(tenant, account);
        if news == KeptUpstream::default() {
            return;
        }
        say(tenant, account, &news);
        for pause in [50, 500, 2_000] {
            let Err(error) = self.keep(tenant, account, &news).await else {
                return;
            };
            tracing::warn!(%tenant, %account, %error, "what became of an upstream could not be written down; tried again");
            tokio::time::sleep(Duration::from_millis(pause)).await;
        }
        if let Err(error) = self.keep(tenant, account, &news).await {
            tracing::error!(%tenant, %account, %error, "what became of an upstream could not be written down; other hosts find out by themselves");
        }
    }

    async fn keep(&self, tenant: &Name, account: &Name, news: &KeptUpstream) -> Result<(), StoreError> {
        let KeptUpstream { hold, hosts } = news;
        self.store
            .keep_upstream(tenant, account, hold.as_ref(), hosts)
            .await
    }

    /// Takes over what is kept of all accounts, if that was not done yet: a restart forgets nothing.
    async fn ensure_loaded(&self) -> Result<(), StoreError> {
        self.loaded.get_or_try_init(|| self.load()).await?;
        Ok(())
    }

    /// Takes over what is kept of all accounts.
    pub(crate) async fn load(&self) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let mut known = self.registry.accounts();
        for row in self.store.upstreams().await? {
            known.retain(|(tenant, account)| *tenant != row.tenant || *account != row.account);
            let (tenant, account) = (row.tenant.clone(), row.account.clone());
            self.registry.learn(&tenant, &account, kept(row));
        }
        for (tenant, account) in known {
            self.registry.learn(&tenant, &account, KeptUpstream::default());
        }
        Ok(())
    }

    /// Takes over what is kept of one account, because another host says that it changed.
    pub(crate) async fn reload(&self, tenant: &Name, account: &Name) -> Result<(), StoreError> {
        let _turn = self.turn.lock().await;
        let row = self.store.upstream(tenant, account).await?;
        self.registry.learn(tenant, account, kept(row));
        Ok(())
    }

    /// A connection's requests count for its account from now on.
    pub(crate) async fn assign(&self, tenant: &Name, spec: &ConnectionSpec) -> Result<Name, StoreError> {
        let account = spec.upstream.account_of(&spec.name);
        let budget = self.budget_of(tenant, account).await?;
        self.registry.assign(tenant, &spec.name, account, budget);
        Ok(account.clone())
    }

    /// The least that the connections of an account say.
    async fn budget_of(&self, tenant: &Name, account: &Name) -> Result<Option<UpstreamBudget>, StoreError> {
        let connections = self.store.connections(tenant).await?;
        let specs = || connections.iter().map(|stored| &stored.spec);
        if specs().any(|spec| !spec.upstream.is_usual()) {
            let mut budgeted = self.budgeted.lock().unwrap_or_else(PoisonError::into_inner);
            budgeted.insert(tenant.clone());
        }
        let of_account = specs().filter(|spec| spec.upstream.account_of(&spec.name) == account);
        Ok(of_account
            .filter_map(|spec| spec.upstream.budget())
            .reduce(UpstreamBudget::least))
    }

    /// Specifications changed somewhere: a budget may be another one, also that of a connection which did not change itself.
    pub(crate) async fn applied(&self) -> Result<(), StoreError> {
        let budgeted = self
            .budgeted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        for (tenant, account) in self.registry.accounts() {
            if budgeted.contains(&tenant) {
                let budget = self.budget_of(&tenant, &account).await?;
                self.registry.set_budget(&tenant, &account, budget);
            }
        }
        Ok(())
    }

    /// A person says that an account is to be used again.
    pub(crate) async fn close(
        &self,
        tenant: &Name,
        account: &Name,
        actor: &str,
        reason: &str,
    ) -> Result<(), FlowError> {
        self.info(tenant, account).await?;
        let _turn = self.turn.lock().await;
        let now = self.clock.now_ms();
        self.store
            .close_upstream(tenant, account, actor, reason, now)
            .await?;
        self.registry.forget(tenant, account);
        Ok(())
    }
}

fn say(tenant: &Name, account: &Name, news: &KeptUpstream) {
    if let Some(UpstreamHold { until, reason, .. }) = &news.hold {
        tracing::warn!(%tenant, %account, until, reason, "nothing is sent to the upstream for a while");
    }
    for (host, breaker) in &news.hosts {
        if breaker.state == BreakerState::Closed {
            tracing::info!(%tenant, %account, host, "the upstream answers again");
        } else {
            tracing::warn!(%tenant, %account, host, until = breaker.until, trips = breaker.trips, reason = breaker.reason, "the upstream is down");
        }
    }
}
