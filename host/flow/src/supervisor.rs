//! Keeps the set of running flows equal to the set of active flows that belong to this host, and hears what other hosts say.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, atomic::Ordering},
    time::{Duration, Instant},
};

use stecker_model::Name;
use stecker_store::{Backend, FlowRow, StoreError, Told};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    engine::{FlowKey, Inner, lease_unit},
    fail_point, placement,
    reader::IDLE_LOOK,
    runner,
};

/// The longest that a flow rests after the store failed it.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// For how long the same hosts have to be alive before flows go home: a restart should not move everything twice.
const SETTLED: Duration = Duration::from_secs(5);
/// Flows whose leases are taken by one statement.
const TAKEN_UP: usize = 256;
/// Flows that go home at once.
const HANDED_OVER: usize = 20;
/// After the connection for hearing failed.
const AGAIN: Duration = Duration::from_secs(1);

/// A flow that runs here.
struct Running {
    generation: i64,
    stop: CancellationToken,
}

/// What there is to run, as it was last looked at.
#[derive(Default)]
struct Known {
    /// Which state of the flows this is.
    version: Option<i64>,
    active: HashMap<FlowKey, FlowRow>,
    /// The hosts that are alive, and since when just these.
    nodes: Vec<String>,
    same_since: Option<Instant>,
    sign_of_life: Option<Instant>,
}

impl Known {
    /// Reads the flows again if they changed.
    async fn look(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let version = inner.store.flows_version().await?;
        if self.version != Some(version) {
            let flows = inner.store.all_flows().await?;
            self.active = flows
                .into_iter()
                .filter(|(_, row)| row.paused.is_none())
                .map(|(tenant, row)| ((tenant, row.spec.name.clone()), row))
                .collect();
            inner.supplies.upstreams.applied().await?;
            // What changed between the two looks has another number, and is looked at again.
            self.version = Some(version);
        }
        if inner.store.backend() == Backend::Postgres {
            self.meet(inner).await?;
        }
        Ok(())
    }

    /// Gives a sign of life, and sees who else does.
    async fn meet(&mut self, inner: &Inner) -> Result<(), StoreError> {
        let ttl = inner.keeper.ttl();
        let is_told = inner.nodes_changed.swap(false, Ordering::Relaxed);
        if !is_told && self.sign_of_life.is_some_and(|at| at.elapsed() < ttl / 3) {
            return Ok(());
        }
        let nodes = inner
            .store
            .live_nodes(&inner.options.node, inner.keeper.ttl_ms())
            .await?;
        self.sign_of_life = Some(Instant::now());
        if nodes != self.nodes {
            tracing::info!(hosts = nodes.join(", "), "the hosts on this database");
            self.nodes = nodes;
            self.same_since = Some(Instant::now());
        }
        Ok(())
    }

    fn is_at_home(&self, node: &str, key: &FlowKey) -> bool {
        placement::home(&self.nodes, key.0.as_str(), key.1.as_str()).is_none_or(|home| home == node)
    }

    fn is_settled(&self) -> bool {
        self.same_since.is_some_and(|since| since.elapsed() >= SETTLED)
    }
}

/// The flows of this node and their tasks.
#[derive(Default)]
struct Tasks {
    running: HashMap<FlowKey, Running>,
    set: JoinSet<runner::Ended>,
    keys: HashMap<tokio::task::Id, FlowKey>,
    /// Flows that the store failed, with how often in a row, and when they are taken up again.
    failed: HashMap<FlowKey, (u32, Instant)>,
}

impl Tasks {
    /// The next task that ends, with its flow; how it ended is `None` if it panicked.
    async fn next_ended(&mut self) -> Option<(FlowKey, Option<runner::Ended>)> {
        let (id, ended) = match self.set.join_next_with_id().await? {
            Ok((id, ended)) => (id, Some(ended)),
            Err(error) => {
                tracing::error!(%error, "a flow broke off");
                (error.id(), None)
            }
        };
        self.keys.remove(&id).map(|key| (key, ended))
    }

    /// A store that fails is not asked again at once, and a flow that fails at the same place does not read its source in a circle.
    fn note_end(&mut self, key: FlowKey, ended: Option<&runner::Ended>) {
        self.running.remove(&key);
        if matches!(ended, Some(runner::Ended::Stopped | runner::Ended::Fenced)) {
            self.failed.remove(&key);
        } else {
            let (times, until) = self.failed.entry(key).or_insert((0, Instant::now()));
            let pause = Duration::from_secs(1 << (*times).min(6)).min(LONGEST_PAUSE);
            *times = times.saturating_add(1);
            *until = Instant::now() + pause;
        }
    }

    /// The store failed it, and it does not run again yet.
    fn is_down(&self, key: &FlowKey) -> bool {
        self.failed.contains_key(key) && !self.running.contains_key(key)
    }

    fn is_pausing(&self, key: &FlowKey) -> bool {
        self.failed
            .get(key)
            .is_some_and(|(_, until)| *until > Instant::now())
    }
}

/// Runs until the engine stops, and then until every flow has ended.
pub(crate) async fn supervise(inner: Arc<Inner>) {
    let mut tasks = Tasks::default();
    let mut known = Known::default();
    let mut said_goodbye = false;
    loop {
        if inner.stop.is_cancelled() {
            for flow in tasks.running.values() {
                flow.stop.cancel();
            }
            if !std::mem::replace(&mut said_goodbye, true) {
                // At first, so that others take each flow as soon as it is let go.
                say_goodbye(&inner).await;
            }
            if tasks.set.is_empty() {
                break;
            }
        } else {
            match adjust(&inner, &mut known, &mut tasks).await {
                Ok(()) if known.active.keys().all(|key| !tasks.is_down(key)) => inner.note_room(None),
                Ok(()) => {}
                Err(error) => {
                    tracing::error!(%error, "the flows could not be looked at; tried again");
                    inner.note_room(Some(&error));
                }
            }
        }
        let stopping = inner.stop.is_cancelled();
        tokio::select! {
            () = inner.stop.cancelled(), if !stopping => {}
            ended = tasks.next_ended(), if !tasks.set.is_empty() => if let Some((key, ended)) = ended {
                inner.running().remove(&key);
                if let Some(runner::Ended::Store(error)) = &ended {
                    inner.note_room(Some(error));
                }
                tasks.note_end(key, ended.as_ref());
            },
            () = inner.changed.notified(), if !stopping => {}
            () = tokio::time::sleep(inner.options.poll) => {}
        }
    }
}

async fn say_goodbye(inner: &Inner) {
    if inner.store.backend() == Backend::Postgres
        && let Err(error) = inner.store.forget_node(&inner.options.node).await
    {
        tracing::warn!(%error, "the other hosts could not be told that this one ends; they find out by themselves");
    }
}

async fn adjust(inner: &Arc<Inner>, known: &mut Known, tasks: &mut Tasks) -> Result<(), StoreError> {
    known.look(inner).await?;
    let node = &inner.options.node;
    let mut handed_over = 0;
    for (key, flow) in &tasks.running {
        if flow.stop.is_cancelled() {
            continue;
        }
        // Paused, gone or changed: it ends, and comes back with its new specification.
        if known
            .active
            .get(key)
            .is_none_or(|row| row.generation != flow.generation)
        {
            flow.stop.cancel();
        } else if handed_over < HANDED_OVER && known.is_settled() && !known.is_at_home(node, key) {
            tracing::info!(tenant = %key.0, flow = %key.1, "the flow goes to another host");
            flow.stop.cancel();
            handed_over += 1;
        }
    }
    let mut missing: Vec<&FlowKey> = known
        .active
        .keys()
        .filter(|key| !tasks.running.contains_key(*key) && !tasks.is_pausing(key))
        .filter(|key| known.is_at_home(node, key))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    if inner.store.backend() == Backend::Postgres {
        // One question instead of one for each flow that another host has not let go of yet.
        let now = inner.store.time_ms().await?;
        let held: HashSet<(Name, String)> =
            inner.store.held_by_others(node, now).await?.into_iter().collect();
        missing.retain(|(tenant, flow)| !held.contains(&(tenant.clone(), lease_unit(flow))));
    }
    for piece in missing.chunks(TAKEN_UP) {
        let units: HashMap<(Name, String), &FlowKey> = piece
            .iter()
            .map(|key| ((key.0.clone(), lease_unit(&key.1)), *key))
            .collect();
        let wanted: Vec<(Name, String)> = units.keys().cloned().collect();
        let (now, ttl) = (inner.store.time_ms().await?, inner.keeper.ttl_ms());
        let leases = inner.store.acquire_all(&wanted, node, now, ttl).await?;
        for lease in leases {
            fail_point::pass("lease-taken");
            let key = units.get(&(lease.tenant.clone(), lease.unit.clone()));
            let Some((key, row)) = key.and_then(|key| Some((*key, known.active.get(*key)?))) else {
                continue;
            };
            let stop = inner.stop.child_token();
            let ctx = inner.context(row.spec.clone(), lease, stop.clone(), false);
            inner.running().insert(key.clone(), Arc::clone(&ctx));
            let generation = row.generation;
            tasks.running.insert(key.clone(), Running { generation, stop });
            let task = tasks.set.spawn(runner::run(ctx));
            tasks.keys.insert(task.id(), key.clone());
        }
    }
    Ok(())
}

/// Asks now and then what waits for any flow, and tells those that run here, until the engine stops: words get lost, and flows that have
/// nothing to do do not ask by themselves.
pub(crate) async fn look_for_work(inner: Arc<Inner>) {
    loop {
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = inner.look_now.notified() => {}
            () = tokio::time::sleep(IDLE_LOOK) => {}
        }
        match inner.store.waiting_flows().await {
            Ok(waiting) => waiting.iter().for_each(|told| inner.heard(told)),
            Err(error) => tracing::warn!(%error, "what waits for flows could not be looked at; tried again"),
        }
    }
}

/// Hears what other hosts on the database tell, until the engine stops. On SQLite there are none.
pub(crate) async fn hear(inner: Arc<Inner>) {
    while !inner.stop.is_cancelled() {
        let listened = tokio::select! {
            () = inner.stop.cancelled() => return,
            listened = listen(&inner) => listened,
        };
        match listened {
            Ok(()) => return,
            Err(error) => {
                tracing::warn!(%error, "what other hosts tell cannot be heard; tried again, and looked for meanwhile");
            }
        }
        tokio::select! {
            () = inner.stop.cancelled() => return,
            () = tokio::time::sleep(AGAIN) => {}
        }
    }
}

/// Ends well where there is nobody to hear.
async fn listen(inner: &Inner) -> Result<(), StoreError> {
    let Some(mut listener) = inner.store.listen().await? else {
        return Ok(());
    };
    // What was told before.
    inner.heard(&Told::Anything);
    loop {
        inner.heard(&listener.next().await?);
    }
}

impl Inner {
    /// What a write ended with; none: nothing is kept from running. Only a store without room is remembered: whether one answers at all, it
    /// can be asked, but a full one answers, too.
    fn note_room(&self, error: Option<&StoreError>) {
        let text = match error {
            None => None,
            Some(error @ StoreError::Full { .. }) => Some(error.to_string()),
            Some(_) => return,
        };
        *self.no_room.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }

    fn heard(&self, told: &Told) {
        self.hear_of_upstreams(told);
        let running =
            |tenant: &Name, flow: &Name| self.running().get(&(tenant.clone(), flow.clone())).cloned();
        match told {
            Told::Flows => self.changed.notify_one(),
            Told::Nodes => {
                self.nodes_changed.store(true, Ordering::Relaxed);
                self.changed.notify_one();
            }
            Told::Read(tenant, flow) => {
                if let Some(ctx) = running(tenant, flow) {
                    ctx.read_now.notify_one();
                }
            }
            Told::Deliver(tenant, flow) => {
                if let Some(ctx) = running(tenant, flow) {
                    ctx.deliver_now.notify_one();
                }
            }
            Told::Replay(tenant, flow) => {
                if let Some(ctx) = running(tenant, flow) {
                    ctx.replay_now.notify_one();
                }
            }
            Told::Compare(tenant, flow) => {
                if let Some(ctx) = running(tenant, flow) {
                    ctx.compare_now.notify_one();
                }
            }
            Told::Upstream(..) => {}
            Told::Anything => {
                self.nodes_changed.store(true, Ordering::Relaxed);
                self.changed.notify_one();
                self.look_now.notify_one();
            }
        }
    }
}
