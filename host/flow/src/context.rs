//! What the parts of one running flow share.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use stecker_model::{FlowSpec, Name};
use stecker_store::{Lease, Store};
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::{clock::Clock, depth::Depths, keeper::Keeper, sessions::Sessions, upstream::Accounts};

/// One flow, held by this node under a lease.
pub(crate) struct FlowContext {
    pub(crate) tenant: Name,
    pub(crate) spec: FlowSpec,
    pub(crate) lease: Lease,
    pub(crate) keeper: Arc<Keeper>,
    pub(crate) store: Store,
    pub(crate) sessions: Arc<Sessions>,
    pub(crate) upstreams: Arc<Accounts>,
    pub(crate) clock: Arc<dyn Clock>,
    /// How much waits over all flows of a tenant.
    pub(crate) depths: Arc<Depths>,
    /// Nothing new is begun once this is cancelled; what runs is finished.
    pub(crate) stop: CancellationToken,
    /// A read was asked for.
    pub(crate) read_now: Notify,
    /// There may be something to deliver.
    pub(crate) deliver_now: Notify,
    /// A comparison was asked for.
    pub(crate) compare_now: Notify,
    /// One comparison at a time in this process: each holds all keys in memory.
    pub(crate) comparing: Arc<Semaphore>,
    /// There may be a replay to work on.
    pub(crate) replay_now: Notify,
    /// Deliveries went through; a reader that waits for room may go on.
    pub(crate) room: Notify,
    /// Read once to the end, deliver everything, then end.
    pub(crate) once: bool,
    /// The one read of a `once` run is over.
    pub(crate) read_over: AtomicBool,
    /// No replay is left to be queued, in a `once` run.
    pub(crate) replay_over: AtomicBool,
}

impl FlowContext {
    pub(crate) fn now(&self) -> i64 {
        self.clock.now_ms()
    }

    pub(crate) fn flow(&self) -> &Name {
        &self.spec.name
    }

    /// Whether nothing new comes in any more, in a `once` run.
    pub(crate) fn intake_is_over(&self) -> bool {
        self.read_over.load(Ordering::Acquire) && self.replay_over.load(Ordering::Acquire)
    }

    /// Anything may have changed.
    pub(crate) fn wake(&self) {
        self.read_now.notify_one();
        self.deliver_now.notify_one();
        self.compare_now.notify_one();
        self.replay_now.notify_one();
    }

    pub(crate) fn reading_is_over(&self) -> bool {
        self.read_over.load(Ordering::Acquire)
    }

    pub(crate) fn end_replaying(&self) {
        self.replay_over.store(true, Ordering::Release);
        self.deliver_now.notify_one();
    }

    pub(crate) fn end_reading(&self) {
        self.read_over.store(true, Ordering::Release);
        self.deliver_now.notify_one();
        self.replay_now.notify_one();
    }
}
