//! One call: admission, an instance, the bounds around it, and what became of it.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use futures_util::{FutureExt as _, future::BoxFuture};
use stecker_model::{CallUsage, PluginError, Priority};
use wasmtime::{Store, Trap, UpdateDeadline, WasmBacktrace, component::ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtxView, WasiHttpView};

use crate::{
    binding::Binding,
    capability::{
        log::{LogRate, LogSink},
        wasi,
        wasi_http::WasiHttp,
    },
    contract,
    cpu::Paced,
    detached::Detached,
    egress::{
        Egress,
        scrub::{Scrubbed, Scrubber},
        wire::Answers,
    },
    engine::MAX_MEMORY,
    error::{BindError, CallError},
    instance::{Live, Warm, WarmPlace},
    memory::{MemoryLimiter, Refusal},
    meter::Meter,
    release::{Release, ReleaseInner},
    tape::{CallOptions, TimeOfDay},
    tenant::Tenant,
};

/// A call's result and what it used. The use is known however the call ended.
#[derive(Debug, Clone)]
pub struct Called<T> {
    /// What the plugin returned, or why it did not.
    pub result: Result<T, CallError>,
    /// What it used.
    pub usage: CallUsage,
}

impl<T> Called<T> {
    pub(crate) fn failed(error: CallError) -> Self {
        Self {
            result: Err(error),
            usage: CallUsage::default(),
        }
    }

    pub(crate) fn and_then<U>(self, f: impl FnOnce(T) -> Result<U, CallError>) -> Called<U> {
        Called {
            result: self.result.and_then(f),
            usage: self.usage,
        }
    }
}

/// A binding, made ready for one release.
pub(crate) struct Bound {
    pub(crate) binding: Binding,
    pub(crate) egress: Egress,
    /// Knows the secrets of this session.
    pub(crate) scrubber: Arc<Scrubber>,
    /// Whether there is storage at all, and who says no otherwise.
    pub(crate) storage: crate::capability::storage::Access,
    /// The same for blobs.
    pub(crate) blobs: crate::blob::room::Access,
    /// The credentials of kind `hmac-secret`, and how each is read as a key.
    pub(crate) hmac_secrets: std::collections::BTreeMap<String, stecker_registry::manifest::KeyEncoding>,
    pub(crate) memory_limit: usize,
    pub(crate) deadline: Duration,
    pub(crate) tenant: Arc<Tenant>,
    pub(crate) log_rate: Arc<LogRate>,
}

impl Bound {
    pub(crate) fn new(
        release: &Release,
        mut binding: Binding,
        tenant: Arc<Tenant>,
        answers: Option<Arc<dyn Answers>>,
    ) -> Result<Self, BindError> {
        let manifest = &release.inspection().manifest;
        let config: serde_json::Value =
            serde_json::from_str(&binding.config).map_err(|error| BindError::Config {
                message: error.to_string(),
            })?;
        if !config.is_object() {
            return Err(BindError::Config {
                message: "it is another kind of JSON value".to_owned(),
            });
        }
        let mib = binding
            .limits
            .memory_mib
            .min(manifest.limits.memory_mib.unwrap_or(u32::MAX));
        let memory_limit = usize::try_from(u64::from(mib) << 20).unwrap_or(usize::MAX);
        if !(1 << 20..=MAX_MEMORY).contains(&memory_limit) {
            return Err(BindError::Limits {
                message: format!("`memory-mib` is {mib}; it has to be 1 to {}", MAX_MEMORY >> 20),
            });
        }
        let wish = manifest
            .limits
            .deadline_ms
            .map_or(Duration::MAX, Duration::from_millis);
        let deadline = binding.limits.deadline.duration().min(wish);
        if deadline.is_zero() || deadline > Duration::from_secs(24 * 60 * 60) {
            return Err(BindError::Limits {
                message: "`deadline` has to be 1ms to 1d".to_owned(),
            });
        }
        binding.storage = Arc::new(Detached(binding.storage));
        binding.credentials = Arc::new(Detached(binding.credentials));
        let scrubber = Arc::new(Scrubber::default());
        binding.observer = Arc::new(Scrubbed {
            observer: binding.observer,
            scrubber: Arc::clone(&scrubber),
        });
        if !(1..=1 << 20).contains(&binding.tenant_limits.memory_mib)
            || !(1..=4_096).contains(&binding.tenant_limits.calls)
        {
            return Err(BindError::Limits {
                message: "of the tenant, `memory-mib` has to be 1 to 1,048,576 and `calls` 1 to 4,096"
                    .to_owned(),
            });
        }
        let network = &release.inner().sandbox.network;
        let egress = match answers {
            Some(answers) => Egress::answered(manifest, &config, &binding, network, answers),
            None => Egress::new(manifest, &config, &binding, network),
        }?;
        Ok(Self {
            scrubber,
            egress,
            storage: crate::capability::storage::Access::of(
                manifest,
                &binding.grants,
                binding.tenant_limits.ceiling.as_ref(),
            ),
            blobs: crate::blob::room::Access::of(
                manifest,
                &binding.grants,
                binding.tenant_limits.ceiling.as_ref(),
            ),
            hmac_secrets: crate::capability::crypto::secrets_of(manifest),
            binding,
            memory_limit,
            deadline,
            tenant,
            log_rate: Arc::default(),
        })
    }
}

/// What host functions see of the call that they serve.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) bound: Arc<Bound>,
    pub(crate) meter: Arc<Meter>,
    pub(crate) log: Arc<LogSink>,
    /// Of the call's requests.
    pub(crate) priority: Priority,
    pub(crate) options: CallOptions,
    pub(crate) time: Arc<TimeOfDay>,
    /// What the guest's monotonic clocks count from: when its instance began, which may have been for an earlier call. They never go back.
    pub(crate) clock_start: Instant,
    deadline: Instant,
}

/// What belongs to the store of one call. WASI's part cannot be shared between threads, so host functions that wait only see the
/// [`Caller`].
pub(crate) struct CallState {
    pub(crate) caller: Caller,
    memory: MemoryLimiter,
    /// Made at its first use: most plugins use no WASI.
    wasi: Option<WasiCtx>,
    /// The same, but of one call only. Before the table, so that it is dropped first.
    wasi_http: Option<WasiHttp>,
    table: ResourceTable,
}

impl CallState {
    fn new(caller: Caller) -> Self {
        let bound = &caller.bound;
        let memory = MemoryLimiter::new(
            bound.memory_limit,
            Arc::clone(&bound.tenant),
            Arc::clone(&caller.meter),
        );
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        Self {
            memory,
            wasi: None,
            wasi_http: None,
            table,
            caller,
        }
    }

    /// Whether the guest has given back every handle.
    pub(crate) fn holds_nothing(&self) -> bool {
        self.table.is_empty()
    }

    /// Bytes over all memories and tables.
    pub(crate) fn memory_used(&self) -> usize {
        self.memory.used()
    }
}

impl Caller {
    /// Host functions that wait use this: epochs do not pass while one does.
    pub(crate) fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }
}

impl WasiView for CallState {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView {
            ctx: self.wasi.get_or_insert_with(|| wasi::context(&self.caller)),
            table: &mut self.table,
        }
    }
}

impl WasiHttpView for CallState {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        self.wasi_http
            .get_or_insert_with(|| WasiHttp::new(self.caller.clone()))
            .view(&mut self.table)
    }
}

/// Raised by host functions that waited until the call's time was over.
#[derive(Debug, thiserror::Error)]
#[error("the time of the call is over")]
pub(crate) struct DeadlinePassed;

/// Handles that a guest may hold at once (streams, pollables).
const MAX_RESOURCES: usize = 1_024;
/// What the guest hands to the host in one go, in bytes of the host's own types. A full batch needs a few times its payload.
const MIN_HOSTCALL_FUEL: usize = 64 << 20;

pub(crate) type GuestResult<'a, T> = BoxFuture<'a, wasmtime::Result<Result<T, PluginError>>>;

/// Runs one function within the bounds of the binding, or within `at_most` if that is less; `priority` is that of its requests, `options` say whether it is
/// recorded. `place` is where a warm instance may lie and may be left.
pub(crate) async fn run<T: Send>(
    release: &Release,
    bound: &Arc<Bound>,
    place: Option<&Arc<WarmPlace>>,
    (at_most, priority, options): (Option<Duration>, Priority, &CallOptions),
    function: impl for<'a> FnOnce(&'a contract::Guest, &'a mut Live, &'a String) -> GuestResult<'a, T> + Send,
) -> Called<T> {
    let release = release.inner();
    let sandbox = &release.sandbox;
    let limit = at_most.map_or(bound.deadline, |at_most| at_most.min(bound.deadline));
    let asked = Instant::now();
    // The tenant's own turn comes first, so that one that asks for a thousand calls waits in its own line and not in everybody's.
    let mut admission = std::pin::pin!(async {
        let tenant = bound.tenant.admit().await?;
        Some((tenant, sandbox.admission.acquire().await.ok()?))
    });
    // Mostly nobody waits, and then neither a timer nor another look at the clock is needed.
    let (admission, started) = match futures_util::poll!(admission.as_mut()) {
        Poll::Ready(admitted) => (admitted, asked),
        Poll::Pending => {
            let admitted = tokio::time::timeout_at((asked + limit).into(), admission).await;
            (admitted.ok().flatten(), Instant::now())
        }
    };
    let Some(admitted) = admission else {
        return Called::failed(CallError::Busy { waited: limit });
    };
    tracing::trace!(waited = ?started - asked, connection = %bound.binding.connection, "a call is let in");
    let meter = Arc::new(Meter::seeded(options.seed()));
    let warm = place.and_then(|place| place.take());
    let log = match &warm {
        Some(warm) => Arc::clone(&warm.live.store.data().caller.log),
        None => Arc::new(LogSink::new(
            Arc::clone(&bound.binding.observer),
            Arc::clone(&bound.log_rate),
        )),
    };
    let caller = Caller {
        bound: Arc::clone(bound),
        meter: Arc::clone(&meter),
        log: Arc::clone(&log),
        priority,
        options: options.clone(),
        time: Arc::new(TimeOfDay::of(options)),
        clock_start: warm
            .as_ref()
            .map_or(started, |warm| warm.live.store.data().caller.clock_start),
        deadline: started + limit,
    };
    let body = Box::pin(async {
        let mut lived = Lived::begin(release, caller, warm, place.is_some()).await?;
        let answer = function(&release.guest, lived.live(), &bound.binding.config).await?;
        Ok((lived, answer))
    });
    let body = Paced::new(&sandbox.cpu, bound.tenant.party(), &meter.busy_ns, body);
    // Epochs stop a guest that computes, and they tell where it was. This one is for a guest that waits, so it comes a little later.
    let grace = sandbox.tick * 5;
    let until = started + limit + grace;
    let ended = AssertUnwindSafe(tokio::time::timeout_at(until.into(), body))
        .catch_unwind()
        .await;
    let over = Instant::now();
    // The observer is the embedder's code, so it may panic as well.
    let ended = match std::panic::catch_unwind(AssertUnwindSafe(|| log.finish())) {
        Ok(()) => ended,
        Err(panic) => ended.and(Err(panic)),
    };
    let result = match ended {
        Ok(Ok(Ok((lived, answer)))) => {
            if let (Lived::Warm(warm), Some(place)) = (lived, place) {
                warm.put_back(place, over.into());
            }
            answer.map_err(|error| CallError::Plugin(bound.scrubber.error(error)))
        }
        Ok(Ok(Err(error))) => Err(classify(&error, &meter, limit, bound)),
        Ok(Err(_elapsed)) => Err(CallError::Deadline {
            limit,
            backtrace: Vec::new(),
        }),
        Err(panic) => Err(CallError::Host {
            message: panic_text(&*panic),
        }),
    };
    // Not before the instance is gone or kept: its place in the pool is what was admitted.
    drop(admitted);
    let usage = meter.usage(over - started);
    bound.tenant.book(&usage);
    Called { result, usage }
}

/// The instance of a call, and whether it may outlive it.
enum Lived {
    Once(Box<Live>),
    Warm(Warm),
}

impl Lived {
    async fn begin(
        release: &ReleaseInner,
        caller: Caller,
        warm: Option<Warm>,
        keep: bool,
    ) -> wasmtime::Result<Self> {
        if let Some(mut warm) = warm {
            begin_call(&mut warm.live.store, caller);
            return Ok(Self::Warm(warm));
        }
        let sandbox = &release.sandbox;
        let mut store = Store::new(&sandbox.engine, CallState::new(caller));
        bound_store(&mut store);
        let live = Box::new(release.guest.instantiate(store).await?);
        if !keep {
            return Ok(Self::Once(live));
        }
        Ok(match Warm::new(live, &sandbox.warm_room) {
            Ok(warm) => Self::Warm(warm),
            Err(live) => Self::Once(live),
        })
    }

    fn live(&mut self) -> &mut Live {
        match self {
            Self::Once(live) => live,
            Self::Warm(warm) => &mut warm.live,
        }
    }
}

/// A store that served another call before.
fn begin_call(store: &mut Store<CallState>, caller: Caller) {
    let state = store.data_mut();
    state.memory.report_to(Arc::clone(&caller.meter));
    state.caller = caller;
    state.wasi = None;
    state.wasi_http = None;
    store.set_epoch_deadline(1);
}

fn bound_store(store: &mut Store<CallState>) {
    let memory_limit = store.data().caller.bound.memory_limit;
    store.limiter(|state| &mut state.memory);
    store.set_hostcall_fuel(memory_limit.max(MIN_HOSTCALL_FUEL));
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|state| {
        let caller = &state.data().caller;
        caller.meter.ticked();
        Ok(if Instant::now() >= caller.deadline {
            UpdateDeadline::Interrupt
        } else {
            UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))
        })
    });
}

fn classify(error: &wasmtime::Error, meter: &Meter, limit: Duration, bound: &Bound) -> CallError {
    let backtrace = backtrace_of(error);
    let trap = error.downcast_ref::<Trap>();
    match trap {
        Some(Trap::Interrupt) => return CallError::Deadline { limit, backtrace },
        Some(Trap::StackOverflow) => return CallError::StackOverflow { backtrace },
        _ => {}
    }
    if error.downcast_ref::<DeadlinePassed>().is_some() {
        return CallError::Deadline { limit, backtrace };
    }
    // Runtimes abort in their own ways when an allocation fails, so what came after the refusal is put down to it.
    let bytes = |limit: usize| u64::try_from(limit).unwrap_or(u64::MAX);
    match meter.memory.refused() {
        Some(Refusal::Instance) => {
            return CallError::OutOfMemory {
                limit_bytes: bytes(bound.memory_limit),
                backtrace,
            };
        }
        Some(Refusal::Tenant) => {
            return CallError::TenantOutOfMemory {
                limit_bytes: bytes(bound.tenant.memory_limit()),
            };
        }
        None => {}
    }
    if let Some(wasmtime_wasi::I32Exit(status)) = error.downcast_ref() {
        return CallError::Trap {
            message: format!("it ended its own process with status {status}"),
            backtrace,
        };
    }
    let message = match trap {
        Some(trap) => trap.to_string(),
        // The first link of the chain is the backtrace, which has its own place.
        None => error
            .chain()
            .map(ToString::to_string)
            .filter(|text| !text.starts_with("error while executing at wasm backtrace"))
            .collect::<Vec<_>>()
            .join(": "),
    };
    CallError::Trap { message, backtrace }
}

fn backtrace_of(error: &wasmtime::Error) -> Vec<String> {
    let Some(backtrace) = error.downcast_ref::<WasmBacktrace>() else {
        return Vec::new();
    };
    let frames = backtrace.frames().iter();
    frames
        .map(|frame| {
            let module = frame.module().name().unwrap_or("<module>");
            match frame.func_name() {
                Some(name) => format!("{module}!{:#}", rustc_demangle::demangle(name)),
                None => format!("{module}!<function {}>", frame.func_index()),
            }
        })
        .collect()
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned());
    tracing::error!(panic = text, "host code panicked during a call to a plugin");
    format!("its own code panicked: {text}")
}
