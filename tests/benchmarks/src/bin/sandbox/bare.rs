//! The engine alone: the same component on an engine of the same settings, with nothing of what makes a sandbox: no limits of memory and time, no
//! WASI, no admission, no check of the answer. What it takes, nobody can go below.

use anyhow::{Result, anyhow};
use stecker_benchmarks::engine;
use stecker_model as model;
use wasmtime::{
    Engine, Store,
    component::{Component, InstancePre, Linker},
};

use self::waiting::{
    exports::stecker::plugin::transform::{Guest, GuestIndices, Transformed},
    stecker::plugin::types::{Operation, Record},
};

#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    single_use_lifetimes,
    clippy::all,
    reason = "generated; its documentation is that of the WIT"
)]
mod waiting {
    wasmtime::component::bindgen!({
        path: "../../wit/1.0.0",
        inline: "package stecker:bare; world bare { export stecker:plugin/transform@1.0.0; }",
        world: "stecker:bare/bare",
        exports: { default: async },
    });
}

/// The same without futures: a host that can serve nobody else while a guest waits. One switch of stacks less for each call.
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    single_use_lifetimes,
    clippy::all,
    reason = "generated; its documentation is that of the WIT"
)]
mod blocking {
    wasmtime::component::bindgen!({
        path: "../../wit/1.0.0",
        inline: "package stecker:bare; world bare { export stecker:plugin/transform@1.0.0; }",
        world: "stecker:bare/bare",
        with: { "stecker:plugin/types": crate::bare::waiting::stecker::plugin::types },
    });
}

/// Beyond any tick that will come.
const NEVER: u64 = 1 << 62;

pub(crate) struct Bare {
    engine: Engine,
    pre: InstancePre<()>,
    waiting: GuestIndices,
    blocking: blocking::exports::stecker::plugin::transform::GuestIndices,
    config: String,
}

/// An instance that stays.
pub(crate) struct Kept<G> {
    store: Store<()>,
    guest: G,
    config: String,
}

pub(crate) type KeptWaiting = Kept<Guest>;
pub(crate) type KeptBlocking = Kept<blocking::exports::stecker::plugin::transform::Guest>;

/// What the engine takes: the batch in its own types.
pub(crate) fn batch(records: &[model::Record]) -> Vec<Record> {
    records
        .iter()
        .map(|record| Record {
            stream: record.stream.clone(),
            key: record.key.clone(),
            operation: match record.operation {
                model::Operation::Upsert => Operation::Upsert,
                model::Operation::Delete => Operation::Delete,
            },
            payload: record.payload.clone(),
            before: record.before.clone(),
            event_time: record.event_time,
            source_version: record.source_version.clone(),
            attributes: record.attributes.clone(),
        })
        .collect()
}

/// The payloads of an answer.
pub(crate) fn payloads(answers: Vec<Transformed>) -> Result<Vec<String>> {
    let mut payloads = Vec::new();
    for answer in answers {
        let Transformed::Emit(records) = answer else {
            return Err(anyhow!("the engine alone: a record was not emitted"));
        };
        payloads.extend(records.into_iter().map(|record| record.payload));
    }
    Ok(payloads)
}

impl Bare {
    pub(crate) fn new(component: &[u8], config: String, instances: u32) -> Result<Self> {
        let engine = engine::engine_for(instances).map_err(said)?;
        let component = Component::from_binary(&engine, component).map_err(said)?;
        Self::of(engine, &component, config)
    }

    pub(crate) fn of(engine: Engine, component: &Component, config: String) -> Result<Self> {
        let mut linker = Linker::new(&engine);
        // Nothing that is measured calls the host.
        linker.define_unknown_imports_as_traps(component).map_err(said)?;
        let pre = linker.instantiate_pre(component).map_err(said)?;
        Ok(Self {
            waiting: GuestIndices::new(&pre).map_err(said)?,
            blocking: blocking::exports::stecker::plugin::transform::GuestIndices::new(&pre).map_err(said)?,
            engine,
            pre,
            config,
        })
    }

    fn store(&self) -> Store<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(NEVER);
        store
    }

    pub(crate) async fn keep(&self) -> Result<KeptWaiting> {
        let mut store = self.store();
        let instance = self.pre.instantiate_async(&mut store).await.map_err(said)?;
        let guest = self.waiting.load(&mut store, &instance).map_err(said)?;
        Ok(Kept {
            store,
            guest,
            config: self.config.clone(),
        })
    }

    pub(crate) fn keep_blocking(&self) -> Result<KeptBlocking> {
        let mut store = self.store();
        let instance = self.pre.instantiate(&mut store).map_err(said)?;
        let guest = self.blocking.load(&mut store, &instance).map_err(said)?;
        Ok(Kept {
            store,
            guest,
            config: self.config.clone(),
        })
    }
}

impl KeptWaiting {
    pub(crate) async fn call(&mut self, batch: Vec<Record>) -> Result<Vec<Transformed>> {
        let called = self.guest.call_apply(&mut self.store, &self.config, &batch).await;
        called.map_err(said)?.map_err(|error| anyhow!("{error:?}"))
    }
}

impl KeptBlocking {
    pub(crate) fn call(
        &mut self,
        batch: Vec<Record>,
    ) -> Result<Vec<blocking::exports::stecker::plugin::transform::Transformed>> {
        let called = self.guest.call_apply(&mut self.store, &self.config, &batch);
        // Given up within the call, as the others do.
        drop(batch);
        called.map_err(said)?.map_err(|error| anyhow!("{error:?}"))
    }
}

#[expect(clippy::needless_pass_by_value, reason = "it is given to `map_err`")]
pub(crate) fn said(error: wasmtime::Error) -> anyhow::Error {
    anyhow!("the engine alone: {error:#}")
}
