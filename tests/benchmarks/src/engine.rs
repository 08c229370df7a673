//! wasmtime, set up as `stecker-sandbox` does, but for guests that are no plugins: pooled instances, epochs, one fresh store for each call.

use std::{thread, time::Duration};

use wasmtime::{
    Config, Enabled, Engine, EngineWeak, InstanceAllocationStrategy, PoolingAllocationConfig,
    ResourceLimiter, Store, UpdateDeadline, WasmBacktraceDetails,
};

/// What one call may take.
const MEMORY: usize = 1 << 30;
const TICK: Duration = Duration::from_millis(10);
/// Few, because only one call runs at a time and each takes address space.
const INSTANCES: u32 = 4;

/// An engine with the sandbox's settings and a clock that ticks as long as it lives, for one call at a time.
///
/// # Errors
/// If the address space for the pool is not to be had.
pub fn engine() -> wasmtime::Result<Engine> {
    engine_for(INSTANCES)
}

/// As [`engine`], for that many instances at the same time.
///
/// # Errors
/// As there.
pub fn engine_for(instances: u32) -> wasmtime::Result<Engine> {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_stacks(instances)
        .total_memories(instances)
        .total_core_instances(instances * 8)
        .total_tables(instances * 8)
        .table_elements(50_000)
        .max_memory_size(MEMORY)
        .linear_memory_keep_resident(4 << 20)
        .table_keep_resident(16 << 10)
        .pagemap_scan(Enabled::Auto)
        .max_unused_warm_slots(instances);
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .memory_init_cow(true)
        .epoch_interruption(true)
        .concurrency_support(false)
        .max_wasm_stack(512 << 10)
        .async_stack_size(2 << 20)
        .wasm_backtrace_details(WasmBacktraceDetails::Disable)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true);
    let engine = Engine::new(&config)?;
    let weak = engine.weak();
    thread::Builder::new().spawn(move || tick(&weak))?;
    Ok(engine)
}

fn tick(engine: &EngineWeak) {
    while let Some(engine) = engine.upgrade() {
        engine.increment_epoch();
        drop(engine);
        thread::sleep(TICK);
    }
}

/// The memory that a guest has, as the engine was asked for it. It never gets less during a call, so this is also the peak.
#[derive(Debug, Default)]
pub struct MemoryMeter {
    /// Bytes, whole pages of 64 KiB.
    pub bytes: usize,
}

impl ResourceLimiter for MemoryMeter {
    fn memory_growing(&mut self, now: usize, then: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        self.bytes += then.saturating_sub(now);
        Ok(self.bytes <= MEMORY)
    }

    fn table_growing(&mut self, _: usize, _: usize, _: Option<usize>) -> wasmtime::Result<bool> {
        Ok(true)
    }
}

/// A store for one call, bounded as in the sandbox.
#[must_use]
pub fn store(engine: &Engine) -> Store<MemoryMeter> {
    let mut store = Store::new(engine, MemoryMeter::default());
    store.limiter(|meter| meter);
    store.set_hostcall_fuel(MEMORY);
    store.set_epoch_deadline(1);
    store.epoch_deadline_callback(|_| Ok(UpdateDeadline::YieldCustom(1, Box::pin(tokio::task::yield_now()))));
    store
}
