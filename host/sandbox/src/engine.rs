//! The engine: one per process, with a pool of instances and a clock tick that interrupts guests.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::{compiler::Compiler, error::SandboxError};

/// How a sandbox is set up.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Where compiled plugins are kept between starts. It is made if it is not there, for this user only. None: every start compiles
    /// anew (seconds for a large plugin).
    pub cache_dir: Option<PathBuf>,
    /// Bytes that compiled plugins may take in `cache_dir`; beyond, those that were used longest ago go.
    pub cache_bytes: u64,
    /// Calls that run at the same time, 1 to 4,096; more wait their turn. Each reserves 8 GiB of address space (not of memory). Half as many
    /// again can lie warm between calls.
    pub max_instances: u32,
    /// How often guests are interrupted to let others run and to look at the clock, 1 ms to 1 s. Also the unit of
    /// [`CallUsage::epoch_ticks`](stecker_model::CallUsage).
    pub tick: Duration,
    /// Bytes of a component. Above, it is not even looked at.
    pub max_component_bytes: usize,
    /// The name servers that the hosts of requests are looked up with, and nothing else (no hosts file, no search domains). Empty: the
    /// operating system's way.
    pub dns: Vec<SocketAddr>,
    /// Where plugins are compiled.
    pub compiler: Compiler,
    /// Guests that compute at the same time before tenants have to share, at least 1. None: as many as there are processors.
    pub cpu_slots: Option<u32>,
}

impl Default for SandboxOptions {
    fn default() -> Self {
        Self {
            cache_dir: None,
            cache_bytes: 4 << 30,
            max_instances: 64,
            tick: Duration::from_millis(10),
            max_component_bytes: stecker_registry::InspectLimits::default().max_bytes,
            dns: Vec::new(),
            compiler: Compiler::default(),
            cpu_slots: None,
        }
    }
}

/// The most memory that a connection can be given ([`Limits::memory_mib`](stecker_model::Limits)).
pub(crate) const MAX_MEMORY: usize = 1 << 30;
/// Wasm frames. Deep recursion over JSON needs some; 512 KiB is wasmtime's default and enough for every toolchain's runtime.
const WASM_STACK: usize = 512 << 10;
/// The stack that a call runs on: wasm frames, and what host functions called from them need.
const FIBER_STACK: usize = 2 << 20;
/// Known toolchains use one memory; two leaves room for a composed plugin.
pub(crate) const MEMORIES_PER_COMPONENT: u32 = 2;
/// A Python plugin is dozens of modules that share a memory. These slots are bookkeeping only.
const MODULES_PER_COMPONENT: u32 = 64;
pub(crate) const TABLES_PER_COMPONENT: u32 = 16;

impl SandboxOptions {
    pub(crate) fn check(&self) -> Result<(), SandboxError> {
        let wrong = |option, message: &str| {
            Err(SandboxError::Option {
                option,
                message: message.to_owned(),
            })
        };
        if !(1..=4_096).contains(&self.max_instances) {
            return wrong("max_instances", "it has to be 1 to 4,096");
        }
        if !(Duration::from_millis(1)..=Duration::from_secs(1)).contains(&self.tick) {
            return wrong("tick", "it has to be 1 ms to 1 s");
        }
        Ok(())
    }

    /// Instances that may lie warm, beyond those that run.
    pub(crate) fn warm_instances(&self) -> u32 {
        self.max_instances.div_ceil(2)
    }

    fn pool(&self) -> PoolingAllocationConfig {
        let instances = self.max_instances.saturating_add(self.warm_instances());
        let mut pool = PoolingAllocationConfig::new();
        pool
            // The semaphores in front let in so many calls and warm instances, and the caps per component make sure that the pool then has
            // room for all of them: running out of slots is not a way to fail.
            .total_component_instances(instances)
            .total_stacks(instances)
            .total_gc_heaps(instances)
            .max_memories_per_component(MEMORIES_PER_COMPONENT)
            .total_memories(instances.saturating_mul(MEMORIES_PER_COMPONENT))
            .max_core_instances_per_component(MODULES_PER_COMPONENT)
            .total_core_instances(instances.saturating_mul(MODULES_PER_COMPONENT))
            .max_tables_per_component(TABLES_PER_COMPONENT)
            .total_tables(instances.saturating_mul(TABLES_PER_COMPONENT))
            // Composed modules may define several of each.
            .max_memories_per_module(MEMORIES_PER_COMPONENT)
            .max_tables_per_module(TABLES_PER_COMPONENT)
            // A JavaScript engine's function table has some 10,000 elements; the default of 20,000 was too close for comfort.
            .table_elements(50_000)
            // Bookkeeping of a module with very many functions (Python) goes beyond the default of 1 MiB.
            .max_core_instance_size(4 << 20)
            .max_component_instance_size(4 << 20)
            // The most that any connection can be given; what this one may have is the limiter's to say.
            .max_memory_size(MAX_MEMORY)
            // Zeroing the first part of a slot costs less than giving it back to the kernel and faulting it in again: for a batch of a
            // thousand records a quarter of the call.
            .linear_memory_keep_resident(kept_resident(instances))
            .table_keep_resident(16 << 10)
            // Where the kernel can tell which pages were written (Linux 6.7), only those are reset.
            .pagemap_scan(Enabled::Auto)
            .max_unused_warm_slots(instances);
        pool
    }

    pub(crate) fn engine(&self) -> Result<Engine, SandboxError> {
        let failed = |message: String| SandboxError::Engine {
            instances: self.max_instances,
            message,
        };
        let mut config = config();
        config.allocation_strategy(InstanceAllocationStrategy::Pooling(self.pool()));
        let engine = Engine::new(&config).map_err(|error| failed(format!("{error:#}")))?;
        let weak = engine.weak();
        let tick = self.tick;
        std::thread::Builder::new()
            .name("sandbox-epoch".to_owned())
            .spawn(move || run_clock(&weak, tick))
            .map_err(|error| failed(format!("its clock thread did not start: {error}")))?;
        Ok(engine)
    }
}

/// Bytes of a memory that stay with its slot for the next instance. What all slots may keep together is bounded.
fn kept_resident(slots: u32) -> usize {
    const OF_ALL: usize = 384 << 20;
    let slots = usize::try_from(slots).unwrap_or(usize::MAX).max(1);
    (OF_ALL / slots).clamp(256 << 10, 4 << 20)
}

/// Everything that compiled code depends on: the same for the engine that runs it and for one that only compiles it.
fn config() -> Config {
    let mut config = Config::new();
    config
        // A fresh instance maps the initial memory instead of copying it.
        .memory_init_cow(true)
        .epoch_interruption(true)
        // No guest of this contract is async; with support for it a call costs twice as much.
        .concurrency_support(false)
        .max_wasm_stack(WASM_STACK)
        .async_stack_size(FIBER_STACK)
        // Names are enough in a backtrace. The default lets an environment variable decide about parsing a stranger's DWARF.
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .wasm_backtrace_max_frames(std::num::NonZeroUsize::new(64))
        // A transform has to give the same answer on every machine, because it is replayed.
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .parallel_compilation(true);
    config
}

/// An engine for a process that compiles and never runs anything: without the pool's address space, and without a clock.
pub(crate) fn for_compiling() -> Result<Engine, String> {
    Engine::new(&config()).map_err(|error| format!("{error:#}"))
}

/// Ends with the engine, which lives as long as a sandbox or a release of it.
fn run_clock(engine: &EngineWeak, tick: Duration) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        std::thread::sleep(tick);
    }
}
