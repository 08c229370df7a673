//! The engine: which flows this node runs, and the few things that people and systems ask of it directly.

mod records;
mod releases;
mod rollouts;
mod shadow;
mod upstreams;

use std::{
    collections::{BTreeMap, HashMap},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError, atomic::AtomicBool},
    time::Duration,
};

use stecker_model::{
    Authorization, FlowSpec, Name, RawRequest, Reply, Setup, StreamInfo,
    api::{CheckReport, Circuit, Fault, FlowStatus, ReconcileRun},
};
use stecker_sandbox::Sandbox;
use stecker_store::{BlobFolder, FlowRow, Lease, Store, StoreError};
use tokio::{
    sync::{Notify, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    Clock, FlowError, Marks, Outgoing, Retention, SystemClock, circuit,
    context::FlowContext,
    depth::Depths,
    fail_point,
    gate::Gate,
    guard,
    keeper::Keeper,
    releases::Releases,
    retention, rollout, runner,
    sessions::{Sessions, Supplies},
    status, supervisor,
    trust::Trust,
    upstream::Accounts,
    validate, webhook,
};

/// How an engine behaves.
#[derive(Clone)]
pub struct EngineOptions {
    /// This node's name in leases. The same name takes its leases back at once after a restart, so no two processes that run at
    /// the same time may share one.
    pub node: String,
    /// How long a lease lasts without renewal, so how long a dead node's flows wait. Renewed at a third of it.
    pub lease_ttl: Duration,
    /// How often the engine looks for changes that nobody told it of. A look reads one row.
    pub poll: Duration,
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// How long things are kept that nobody will ask for again.
    pub retention: Retention,
    /// Where blobs are kept, in a folder that belongs to this process or, on one file system, to all that share the database. None: there
    /// are no blobs.
    pub blobs: Option<PathBuf>,
    /// Who knows which releases were yanked and are deprecated. None: nobody.
    pub marks: Option<Arc<dyn Marks>>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self {
            node: "local".to_owned(),
            lease_ttl: Duration::from_secs(6),
            poll: Duration::from_millis(500),
            clock: Arc::new(SystemClock),
            retention: Retention::default(),
            blobs: None,
            marks: None,
        }
    }
}

/// Runs flows. Cheap to clone; all clones are the same engine.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub(crate) store: Store,
    trust: Arc<Trust>,
    pub(crate) releases: Arc<Releases>,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) supplies: Supplies,
    gate: Gate,
    depths: Arc<Depths>,
    outgoing: Outgoing,
    pub(crate) options: EngineOptions,
    pub(crate) stop: CancellationToken,
    pub(crate) changed: Notify,
    /// Words may have been lost.
    pub(crate) look_now: Notify,
    supervisor: Mutex<Option<JoinHandle<()>>>,
    /// The flows that run here, so that webhooks and run requests reach them at once.
    pub(crate) running: Mutex<HashMap<FlowKey, Arc<FlowContext>>>,
    pub(crate) keeper: Arc<Keeper>,
    /// Another host said that one came or went.
    pub(crate) nodes_changed: AtomicBool,
    /// The turn to compare a flow's two ends.
    comparing: Arc<Semaphore>,
    /// The turn to try another release: each trial holds a copy of a connection's storage.
    trying: Semaphore,
    /// Flows stopped because the store has no room, and what it said.
    pub(crate) no_room: Mutex<Option<String>>,
}

pub(crate) type FlowKey = (Name, Name);

pub(crate) fn lease_unit(flow: &Name) -> String {
    format!("flow/{flow}")
}

impl Engine {
    /// An engine that does nothing by itself yet.
    #[must_use]
    pub fn new(store: Store, sandbox: Sandbox, options: EngineOptions) -> Self {
        let outgoing = Outgoing::new(
            store.clone(),
            sandbox.poster(),
            Arc::clone(&options.clock),
            options.node.clone(),
        );
        let upstreams = Accounts::new(store.clone(), sandbox.upstreams(), Arc::clone(&options.clock));
        let trust = Arc::new(Trust::new(store.clone(), Arc::clone(&options.clock)));
        let releases = Arc::new(Releases::new(store.clone(), sandbox, Arc::clone(&trust)));
        let supplies = Supplies {
            store: store.clone(),
            books: Arc::default(),
            clock: Arc::clone(&options.clock),
            upstreams,
            blobs: options.blobs.clone().map(BlobFolder::new),
        };
        let sessions = Arc::new(Sessions::new(supplies.clone(), Arc::clone(&releases)));
        let keeper = Arc::new(Keeper::new(options.node.clone(), options.lease_ttl));
        Self {
            inner: Arc::new(Inner {
                store,
                trust,
                releases,
                sessions,
                supplies,
                gate: Gate::default(),
                depths: Arc::default(),
                outgoing,
                options,
                stop: CancellationToken::new(),
                changed: Notify::new(),
                look_now: Notify::new(),
                supervisor: Mutex::default(),
                running: Mutex::default(),
                keeper,
                nodes_changed: AtomicBool::new(false),
                comparing: Arc::new(Semaphore::new(1)),
                trying: Semaphore::new(1),
                no_room: Mutex::default(),
            }),
        }
    }

    /// Takes up every active flow that no other node has, now and from now on.
    pub fn start(&self) {
        let mut supervisor = self
            .inner
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if supervisor.is_none() {
            let inner = Arc::clone(&self.inner);
            *supervisor = Some(tokio::spawn(async move {
                // Beside each other: a connector that hangs over a stored webhook must not keep pauses and take-overs waiting.
                tokio::join!(
                    supervisor::supervise(Arc::clone(&inner)),
                    supervisor::hear(Arc::clone(&inner)),
                    supervisor::look_for_work(Arc::clone(&inner)),
                    settle_stored_webhooks(Arc::clone(&inner)),
                    inner.supplies.books.keep(&inner.store, &inner.stop),
                    inner.outgoing.clone().run(inner.options.poll, &inner.stop),
                    rollout::run(Arc::clone(&inner)),
                    retention::keep(
                        &inner.store,
                        &inner.options.clock,
                        &inner.options.retention,
                        inner.supplies.blobs.as_ref(),
                        &inner.stop
                    )
                );
            }));
        }
    }

    /// Whether flows are taken up by themselves.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let supervisor = self
            .inner
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        supervisor.as_ref().is_some_and(|handle| !handle.is_finished())
    }

    /// Ends gracefully: nothing new begins, running batches finish, leases are given back.
    pub async fn shutdown(&self) {
        self.inner.stop.cancel();
        let supervisor = self
            .inner
            .supervisor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(supervisor) = supervisor
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the supervisor broke off");
        }
        if let Err(error) = self.inner.supplies.books.write(&self.inner.store).await {
            tracing::error!(%error, "the last refusals and use could not be written down");
        }
    }

    /// Writes down what plugins were refused and what they used until now, so that the store knows of it.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn write_books(&self) -> Result<(), FlowError> {
        Ok(self.inner.supplies.books.write(&self.inner.store).await?)
    }

    /// Something of a tenant changed: specifications, limits, secrets, records sent back. Its flows look now rather than some time.
    pub fn wake_tenant(&self, tenant: &Name) {
        self.inner.changed.notify_one();
        let running = self.inner.running();
        for (_, ctx) in running.iter().filter(|(key, _)| key.0 == *tenant) {
            ctx.wake();
        }
    }

    /// Something of a flow changed: a pause, a run, a comparison or a replay that is asked for.
    pub fn wake_flow(&self, tenant: &Name, flow: &Name) {
        self.inner.changed.notify_one();
        if let Some(ctx) = self.inner.running().get(&(tenant.clone(), flow.clone())) {
            ctx.wake();
        }
    }

    /// Checks a setup against the plugins it names and against what the store has.
    ///
    /// # Errors
    /// [`FlowError::Invalid`] with every fault and its place.
    pub async fn validate(&self, tenant: &Name, setup: &Setup) -> Result<(), FlowError> {
        let faults: Vec<Fault> =
            validate::setup(&self.inner.supplies, &self.inner.releases, tenant, setup).await?;
        if faults.is_empty() {
            Ok(())
        } else {
            Err(FlowError::Invalid(faults))
        }
    }

    /// Tries a connection.
    ///
    /// # Errors
    /// No such connection; a plugin that fails rather than answers.
    pub async fn check(&self, tenant: &Name, connection: &Name) -> Result<CheckReport, FlowError> {
        self.inner
            .supplies
            .upstreams
            .try_by_hand(tenant, connection)
            .await?;
        let bound = self.inner.sessions.connection(tenant, connection).await?;
        let called = bound.check().await;
        let probes = called.result?;
        Ok(CheckReport {
            ok: probes.iter().all(|probe| probe.ok),
            probes,
            usage: called.usage,
        })
    }

    /// Opens (stops) or closes the circuit of a connection by hand; `actor` and `reason` go into the audit trail.
    ///
    /// # Errors
    /// No such connection; a store that fails.
    pub async fn switch_circuit(
        &self,
        tenant: &Name,
        connection: &Name,
        open: bool,
        actor: &str,
        reason: &str,
    ) -> Result<Circuit, FlowError> {
        let at = (tenant, connection);
        let circuit = guard::by_hand(&self.inner.store, at, open, actor, reason, self.now()).await?;
        self.wake_tenant(tenant);
        Ok(circuit)
    }

    /// The circuits of a tenant's connections that crashed lately or were stopped.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn circuits(&self, tenant: &Name) -> Result<BTreeMap<Name, Circuit>, FlowError> {
        let mut circuits: BTreeMap<Name, Circuit> =
            self.inner.store.circuits(tenant).await?.into_iter().collect();
        for stored in self.inner.store.connections(tenant).await? {
            if let Some(circuit) = circuits.remove(&stored.spec.name) {
                let circuit = circuit::current(circuit, stored.generation);
                if !circuit.is_quiet() {
                    circuits.insert(stored.spec.name, circuit);
                }
            }
        }
        Ok(circuits)
    }

    /// The streams of a connection.
    ///
    /// # Errors
    /// No such connection; a plugin that fails.
    pub async fn discover(&self, tenant: &Name, connection: &Name) -> Result<Vec<StreamInfo>, FlowError> {
        let bound = self.inner.sessions.connection(tenant, connection).await?;
        Ok(bound.discover().await.result?)
    }

    /// Begins an authorization by a person (OAuth, RFC 6749, section 4.1, with PKCE) for a credential of a connection.
    ///
    /// # Errors
    /// No such connection; a credential of another kind, or one that is not set up.
    pub async fn authorize(
        &self,
        tenant: &Name,
        connection: &Name,
        credential: &Name,
        redirect_uri: &str,
    ) -> Result<Authorization, FlowError> {
        let bound = self.inner.sessions.connection(tenant, connection).await?;
        Ok(bound.session.authorize(credential, redirect_uri).await?)
    }

    /// Ends it: exchanges the code in the address that the browser was sent to for tokens, and keeps them.
    ///
    /// # Errors
    /// As [`Engine::authorize`]; an answer that does not belong to the last authorization begun, or that came too late; a server that
    /// refuses.
    pub async fn authorized(
        &self,
        tenant: &Name,
        connection: &Name,
        credential: &Name,
        callback: &str,
    ) -> Result<(), FlowError> {
        let bound = self.inner.sessions.connection(tenant, connection).await?;
        Ok(bound.session.authorized(credential, callback).await?)
    }

    /// Webhooks that go out: making, trying and sending them.
    #[must_use]
    pub fn outgoing(&self) -> &Outgoing {
        &self.inner.outgoing
    }

    /// Lets a call from a system in, before its body is read.
    ///
    /// # Errors
    /// [`FlowError::TooManyCalls`], [`FlowError::TenantFull`]; no such connection; a store that fails.
    pub async fn admit_webhook(&self, tenant: &Name, connection: &Name) -> Result<(), FlowError> {
        let inner = &self.inner;
        webhook::admit(
            &inner.store,
            (&inner.gate, &inner.depths),
            (tenant, connection),
            self.now(),
        )
        .await
    }

    /// What the store said, if it has no room and flows stopped for that. They are taken up again by themselves.
    #[must_use]
    pub fn no_room(&self) -> Option<String> {
        let no_room = self.inner.no_room.lock();
        no_room.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes a call from a system that was let in. The raw call is durable before this returns.
    ///
    /// # Errors
    /// [`FlowError::Backlog`]; no such connection; a store that fails (then the caller must not answer with a 2xx).
    pub async fn webhook(
        &self,
        tenant: &Name,
        connection: &Name,
        request: RawRequest,
    ) -> Result<Reply, FlowError> {
        let inner = &self.inner;
        let handled = webhook::handle(
            &inner.store,
            &inner.sessions,
            tenant,
            connection,
            request,
            self.now(),
        )
        .await?;
        inner.deliver_now(tenant, &handled.flows);
        Ok(handled.reply)
    }

    /// The status of a flow.
    ///
    /// # Errors
    /// No such flow; a store that fails.
    pub async fn status(&self, tenant: &Name, flow: &Name) -> Result<FlowStatus, FlowError> {
        let row = self.flow_row(tenant, flow).await?;
        Ok(self.status_of(tenant, row).await?)
    }

    async fn status_of(&self, tenant: &Name, row: FlowRow) -> Result<FlowStatus, StoreError> {
        let inner = &self.inner;
        status::of(
            &inner.store,
            &inner.supplies.upstreams,
            &inner.depths,
            tenant,
            row,
        )
        .await
    }

    /// The status of every flow of a tenant, by name.
    ///
    /// # Errors
    /// A store that fails.
    pub async fn statuses(&self, tenant: &Name) -> Result<Vec<FlowStatus>, FlowError> {
        let mut all = Vec::new();
        for row in self.inner.store.flows(tenant).await? {
            all.push(self.status_of(tenant, row).await?);
        }
        Ok(all)
    }

    /// Reads a flow's source to its end and delivers until nothing is open, in this process, telling the status as it goes.
    /// Ends early, with everything kept, when `stop` is cancelled.
    ///
    /// # Errors
    /// No such flow; a flow that is paused or runs elsewhere; a store that fails.
    pub async fn run_until_idle(
        &self,
        tenant: &Name,
        flow: &Name,
        stop: CancellationToken,
        progress: &mut (dyn FnMut(&FlowStatus) + Send),
    ) -> Result<FlowStatus, FlowError> {
        let ctx = self.take(tenant, flow, stop).await?;
        // On the heap: all that a flow does is in it.
        let mut run = Box::pin(runner::run(ctx));
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let over = CancellationToken::new();
        let running = async {
            let _over = over.clone().drop_guard();
            loop {
                tokio::select! {
                    ended = &mut run => break Ok(ended),
                    _ = ticks.tick() => match self.status(tenant, flow).await {
                        Ok(status) => progress(&status),
                        Err(error) => break Err(error),
                    },
                }
            }
        };
        let (ended, ()) = tokio::join!(running, self.inner.supplies.books.keep(&self.inner.store, &over));
        let ended = ended?;
        if let runner::Ended::Store(error) = ended {
            return Err(error.into());
        }
        let status = self.status(tenant, flow).await?;
        progress(&status);
        Ok(status)
    }

    /// Does a comparison that was asked for and delivers what it repaired, in this process, telling how far it is as it goes. Ends early, to be
    /// begun anew, when `stop` is cancelled.
    ///
    /// # Errors
    /// No such comparison; a flow that is paused or runs elsewhere; a store that fails.
    pub async fn reconcile_until_done(
        &self,
        tenant: &Name,
        id: &str,
        stop: CancellationToken,
        progress: &mut (dyn FnMut(&ReconcileRun) + Send),
    ) -> Result<ReconcileRun, FlowError> {
        let run = self.reconcile_run(tenant, id).await?;
        let ctx = self.take(tenant, &run.flow, stop).await?;
        let mut work = std::pin::pin!(runner::compare(ctx, id));
        let mut ticks = tokio::time::interval(Duration::from_millis(200));
        let over = CancellationToken::new();
        let working = async {
            let _over = over.clone().drop_guard();
            loop {
                tokio::select! {
                    ended = &mut work => break Ok(ended),
                    _ = ticks.tick() => match self.reconcile_run(tenant, id).await {
                        Ok(run) => progress(&run),
                        Err(error) => break Err(error),
                    },
                }
            }
        };
        let (ended, ()) = tokio::join!(working, self.inner.supplies.books.keep(&self.inner.store, &over));
        if let runner::Ended::Store(error) = ended? {
            return Err(error.into());
        }
        self.reconcile_run(tenant, id).await
    }

    async fn reconcile_run(&self, tenant: &Name, id: &str) -> Result<ReconcileRun, FlowError> {
        let run = self.inner.store.reconcile(tenant, id).await?;
        run.ok_or_else(|| FlowError::not_found("comparison", &id))
    }

    /// The lease of a flow, for work that is done once and in this process.
    async fn take(
        &self,
        tenant: &Name,
        flow: &Name,
        stop: CancellationToken,
    ) -> Result<Arc<FlowContext>, FlowError> {
        let row = self.flow_row(tenant, flow).await?;
        let busy = |by: String| FlowError::Busy {
            what: format!("flow {flow}"),
            by,
        };
        if let Some(pause) = &row.paused {
            return Err(busy(format!(
                "it is paused ({}); resume it first with `stecker flow resume {flow}`",
                pause.reason
            )));
        }
        let lease = self.inner.lease(tenant, row, stop, true).await?;
        lease.ok_or_else(|| {
            busy("another node holds its lease; ask that one, or wait until the lease runs out".to_owned())
        })
    }

    async fn flow_row(&self, tenant: &Name, flow: &Name) -> Result<FlowRow, FlowError> {
        self.inner
            .store
            .flow(tenant, flow)
            .await?
            .ok_or_else(|| FlowError::not_found("flow", flow))
    }

    /// Another hand on the same engine.
    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self {
            inner: Arc::clone(inner),
        }
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.store
    }

    pub(crate) fn now(&self) -> i64 {
        self.inner.options.clock.now_ms()
    }
}

impl Inner {
    /// Takes the lease of a flow, if it is to be had.
    pub(crate) async fn lease(
        &self,
        tenant: &Name,
        row: FlowRow,
        stop: CancellationToken,
        once: bool,
    ) -> Result<Option<Arc<FlowContext>>, StoreError> {
        let now = self.store.time_ms().await?;
        let (unit, ttl) = (lease_unit(&row.spec.name), self.keeper.ttl_ms());
        let lease = self
            .store
            .acquire(tenant, &unit, &self.options.node, now, ttl)
            .await?;
        if lease.is_some() {
            fail_point::pass("lease-taken");
        }
        Ok(lease.map(|lease| self.context(row.spec, lease, stop, once)))
    }

    /// What the parts of a flow share that is held under this lease.
    pub(crate) fn context(
        &self,
        spec: FlowSpec,
        lease: Lease,
        stop: CancellationToken,
        once: bool,
    ) -> Arc<FlowContext> {
        Arc::new(FlowContext {
            tenant: lease.tenant.clone(),
            spec,
            lease,
            keeper: Arc::clone(&self.keeper),
            store: self.store.clone(),
            sessions: Arc::clone(&self.sessions),
            upstreams: Arc::clone(&self.supplies.upstreams),
            clock: Arc::clone(&self.options.clock),
            depths: Arc::clone(&self.depths),
            stop,
            read_now: Notify::new(),
            deliver_now: Notify::new(),
            replay_now: Notify::new(),
            room: Notify::new(),
            compare_now: Notify::new(),
            comparing: Arc::clone(&self.comparing),
            once,
            read_over: AtomicBool::new(false),
            replay_over: AtomicBool::new(false),
        })
    }

    pub(crate) fn running(&self) -> MutexGuard<'_, HashMap<FlowKey, Arc<FlowContext>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn deliver_now(&self, tenant: &Name, flows: &[Name]) {
        let running = self.running();
        for flow in flows {
            if let Some(ctx) = running.get(&(tenant.clone(), flow.clone())) {
                ctx.deliver_now.notify_one();
            }
        }
    }
}

/// Settles calls that were stored and never settled, because the process was killed or the connector failed.
async fn settle_stored_webhooks(inner: Arc<Inner>) {
    while !inner.stop.is_cancelled() {
        let now = inner.options.clock.now_ms();
        let calls = inner
            .store
            .unsettled_webhooks(now, 100)
            .await
            .unwrap_or_else(|error| {
                tracing::error!(%error, "stored webhooks could not be looked at; tried again");
                Vec::new()
            });
        for call in calls {
            let (tenant, id) = (call.tenant, call.id);
            let settled = webhook::settle(
                &inner.store,
                &inner.sessions,
                &tenant,
                &call.connection,
                id,
                call.request,
                now,
            );
            tokio::select! {
                // It stays stored; settling is one transaction.
                () = inner.stop.cancelled() => return,
                handled = settled => match handled {
                    Ok(handled) => inner.deliver_now(&tenant, &handled.flows),
                    Err(error) => tracing::error!(%tenant, id, %error, "a stored webhook could not be settled; tried again"),
                }
            }
        }
        tokio::select! {
            () = inner.stop.cancelled() => {}
            () = tokio::time::sleep(inner.options.poll) => {}
        }
    }
}
