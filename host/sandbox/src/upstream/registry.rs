//! The accounts of a sandbox: who waits, what is told to whoever counts for all processes, and what that one says.

use std::{
    collections::HashMap,
    fmt,
    future::Future,
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use reqwest::header::HeaderMap;
use stecker_model::{
    ErrorCode, Name, PluginError, Priority, Slice, UpstreamBudget,
    api::{Breaker, BreakerState, UpstreamHold},
    take_slice,
};
use tokio::{sync::Notify, time::Instant};
use url::Url;

use super::{
    account::{Account, Look, Turn, UpstreamView, Waiting},
    headers,
};

/// A request that waited until so shortly before the end does not begin: it would be cut off half-way, and may have been acted on.
const LEAST: Duration = Duration::from_millis(10);
/// How long a request that is not the first in line waits before it looks by itself.
const LOOK: Duration = Duration::from_secs(1);

/// Milliseconds since 1970, as all processes count them.
fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

type Key = (Name, Name);

#[derive(Default)]
struct Inner {
    /// By tenant and name.
    accounts: Mutex<HashMap<Name, HashMap<Name, Arc<Shared>>>>,
    connections: Mutex<HashMap<Key, Assigned>>,
    keeper: OnceLock<Arc<dyn UpstreamKeeper>>,
}

#[derive(Clone)]
struct Assigned {
    account: Name,
    shared: Arc<Shared>,
}

/// One account.
struct Shared {
    tenant: Name,
    name: Name,
    account: Mutex<Account>,
    changed: Notify,
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
        Way {
            upstreams: self.clone(),
            key: (tenant.clone(), connection.clone()),
        }
    }

    fn assigned(&self, key: &Key) -> Option<Assigned> {
        lock(&self.inner.connections).get(key).cloned()
    }

    fn tell(&self, shared: &Shared) {
        let has_news = lock(&shared.account).has_news();
        shared.changed.notify_waiters();
        if let Some(keeper) = self.inner.keeper.get().filter(|_| has_news) {
            keeper.changed(&shared.tenant, &shared.name);
        }
    }

    /// Asks for tokens in a task of its own, which waits for nobody's turn to compute and is not cut off with the call that began it.
    fn fetch(&self, shared: &Arc<Shared>, budget: UpstreamBudget, wanted: u32) {
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

/// The way of one connection's requests to its upstream.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    upstreams: Upstreams,
    key: Key,
}

/// A request that may go. It has to be told how that ended; dropped before, the request counts as not sent.
#[derive(Debug)]
#[must_use]
pub(crate) struct Pass(Option<Going>);

struct Going {
    upstreams: Upstreams,
    shared: Arc<Shared>,
    host: String,
    /// Whether it counts for the budget.
    counts: bool,
    /// When it was sent, once it was; and by when it has to be answered.
    sent: Option<Instant>,
    deadline: Instant,
}

impl fmt::Debug for Going {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Going")
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

/// Gives up the place in line.
struct Place<'a> {
    shared: &'a Shared,
    waiting: Option<Waiting>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting {
            lock(&self.shared.account).leave(waiting);
            self.shared.changed.notify_waiters();
        }
    }
}

/// As it is shown: with the port where that is not the scheme's own.
fn host_of(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Way {
    /// Waits for the turn of a request, at most until `deadline`.
    ///
    /// # Errors
    /// `rate-limited` if its turn does not come in time, `transient` if the host is down. Nothing was sent then, and `retry-after` says when
    /// to come back.
    pub(crate) async fn enter(
        &self,
        url: &Url,
        priority: Priority,
        deadline: Instant,
    ) -> Result<Pass, PluginError> {
        let Some(Assigned { account, shared }) = self.upstreams.assigned(&self.key) else {
            return Ok(Pass(None));
        };
        let (connection, host) = (&self.key.1, host_of(url));
        let waiting = lock(&shared.account).join(priority, now_ms());
        let mut place = Place {
            shared: &shared,
            waiting: Some(waiting),
        };
        let mut has_waited = false;
        loop {
            // Listening begins before looking, so that what changes in between is not missed.
            let mut changed = std::pin::pin!(shared.changed.notified());
            changed.as_mut().enable();
            let now = now_ms();
            let wait = {
                let mut state = lock(&shared.account);
                match state.turn(waiting, connection, &host, now) {
                    Turn::Now if !(has_waited && Instant::now() + LEAST > deadline) => {
                        state.go(waiting, connection, &host, now);
                        place.waiting = None;
                        drop(state);
                        shared.changed.notify_waiters();
                        return Ok(self.pass(Arc::clone(&shared), host, true, deadline));
                    }
                    Turn::Now => Some(now),
                    Turn::Down(breaker) => return Err(down(&host, &breaker, now)),
                    Turn::Wait(until) => until,
                    Turn::Fetch(wanted) => {
                        state.is_fetching = true;
                        if let Some(budget) = state.budget().copied() {
                            drop(state);
                            self.upstreams.fetch(&shared, budget, wanted);
                        }
                        None
                    }
                }
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let wish = wait
                .map(|until| Duration::from_millis(u64::try_from(until.saturating_sub(now)).unwrap_or(0)));
            if left < LEAST || wish.is_some_and(|wish| wish > left) {
                return Err(too_many(&account, wish));
            }
            has_waited = true;
            let nap = wish.unwrap_or(LOOK).min(left).max(Duration::from_millis(1));
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(nap) => {}
            }
        }
    }

    /// For a request that does not count for the account, such as one for a token: whether its host is asked at all.
    ///
    /// # Errors
    /// `transient` if it is down.
    pub(crate) fn ask(&self, url: &Url, deadline: Instant) -> Result<Pass, PluginError> {
        let Some(Assigned { shared, .. }) = self.upstreams.assigned(&self.key) else {
            return Ok(Pass(None));
        };
        let (connection, host, now) = (&self.key.1, host_of(url), now_ms());
        {
            let mut state = lock(&shared.account);
            state
                .may_ask(connection, &host, now)
                .map_err(|breaker| down(&host, &breaker, now))?;
            state.ask(connection, &host, now);
        }
        Ok(self.pass(shared, host, false, deadline))
    }

    fn pass(&self, shared: Arc<Shared>, host: String, counts: bool, deadline: Instant) -> Pass {
        Pass(Some(Going {
            upstreams: self.upstreams.clone(),
            shared,
            host,
            counts,
            sent: None,
            deadline,
        }))
    }
}

fn not_sent(code: ErrorCode, message: String, retry_after: Option<Duration>) -> PluginError {
    let mut error = PluginError::new(code, message).with_detail("sent", "no");
    error.retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
    error
}

fn down(host: &str, breaker: &Breaker, now: i64) -> PluginError {
    let wait = breaker.until.map_or(0, |until| until.saturating_sub(now));
    let doing = match breaker.state {
        BreakerState::HalfOpen => "it is being tried whether it answers again",
        BreakerState::Open | BreakerState::Closed => "it is left alone for a while",
    };
    let wait = Duration::from_millis(u64::try_from(wait).unwrap_or(0));
    let message = format!(
        "the upstream {host} is down ({}), and {doing}; nothing was sent",
        breaker.reason
    );
    not_sent(ErrorCode::Transient, message, Some(wait)).with_detail("cause", "upstream-down")
}

fn too_many(account: &Name, wait: Option<Duration>) -> PluginError {
    let message = format!(
        "the upstream account `{account}` takes no more requests within the time that the call has; nothing was sent. \
         `stecker upstream show {account}` tells what is left of it"
    );
    not_sent(ErrorCode::RateLimited, message, Some(wait.unwrap_or(LOOK)))
}

impl Pass {
    /// Sends, and tells how that ended.
    pub(crate) async fn through<E>(
        mut self,
        sending: impl Future<Output = Result<reqwest::Response, E>>,
        lost: impl FnOnce(&E) -> Option<String>,
    ) -> Result<reqwest::Response, E> {
        if let Some(going) = &mut self.0 {
            going.sent = Some(Instant::now());
        }
        let answer = sending.await;
        match &answer {
            Ok(response) => self.answered(response.status().as_u16(), response.headers()),
            Err(error) => match lost(error) {
                Some(reason) => self.lost(&reason),
                None => self.unsent(),
            },
        }
        answer
    }

    fn answered(&mut self, status: u16, headers: &HeaderMap) {
        let Some(going) = self.0.take() else { return };
        let now = now_ms();
        let said = headers::read(|name| headers.get(name)?.to_str().ok(), now);
        lock(&going.shared.account).answered(
            &going.host,
            (status, &said),
            going.counts,
            now,
            &mut rand::rng(),
        );
        going.upstreams.tell(&going.shared);
    }

    fn lost(&mut self, reason: &str) {
        let Some(going) = self.0.take() else { return };
        lock(&going.shared.account).lost(&going.host, reason, going.counts, now_ms(), &mut rand::rng());
        going.upstreams.tell(&going.shared);
    }

    fn unsent(&mut self) {
        let Some(going) = self.0.take() else { return };
        lock(&going.shared.account).unsent(&going.host, going.counts);
        going.shared.changed.notify_waiters();
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        // A call that is cut off while it waits for an answer ran out of its time, unless it was given up long before that.
        let is_late = self.0.as_ref().is_some_and(|going| {
            going.sent.is_some() && Instant::now() + Duration::from_millis(250) > going.deadline
        });
        if is_late {
            self.lost("no answer within the time that the call had");
        } else {
            self.unsent();
        }
    }
}
