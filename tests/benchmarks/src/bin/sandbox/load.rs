//! From the bytes of a component to something that can be called: by compiling, and from what was compiled before.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use stecker_benchmarks::{
    engine,
    measure::{Effort, Spread, Turn, take_turns},
};
use stecker_sandbox::{Sandbox, SandboxOptions};
use tokio::runtime::Runtime;
use wasmtime::component::Component;

use crate::{
    bare::{Bare, said},
    case::Work,
    extism::Extism,
};

#[derive(Serialize)]
pub(crate) struct Load {
    pub(crate) component_bytes: usize,
    pub(crate) rounds: usize,
    pub(crate) contestants: Vec<Loading>,
}

#[derive(Serialize)]
pub(crate) struct Loading {
    pub(crate) name: &'static str,
    pub(crate) milliseconds: Spread,
}

/// Each time with a sandbox of its own, so that nothing is left over from the time before.
pub(crate) fn measure(
    runtime: &Runtime,
    component: &[u8],
    rounds: usize,
    mut extism: Option<&mut Extism>,
) -> Result<Load> {
    let cache = tempfile::tempdir()?;
    runtime.block_on(load(component, Some(cache.path())))?;
    let engine = engine::engine().map_err(said)?;
    let compiled = Component::from_binary(&engine, component)
        .and_then(|component| component.serialize())
        .map_err(said)?;

    let mut stecker_compiles = |calls| {
        repeat(calls, || {
            let (took, from_cache) = runtime.block_on(load(component, None))?;
            ensure!(!from_cache, "a sandbox without a cache has loaded from one");
            Ok(took)
        })
    };
    let mut stecker_loads = |calls| {
        repeat(calls, || {
            let (took, from_cache) = runtime.block_on(load(component, Some(cache.path())))?;
            ensure!(from_cache, "the sandbox has compiled what is in its cache");
            Ok(took)
        })
    };
    let mut bare_compiles = |calls| {
        repeat(calls, || {
            let start = Instant::now();
            let component = Component::from_binary(&engine, component).map_err(said)?;
            Bare::of(engine.clone(), &component, Work::Echo.config(None))?;
            Ok(start.elapsed())
        })
    };
    let mut bare_loads = |calls| {
        repeat(calls, || {
            let start = Instant::now();
            // SAFETY: the bytes are what this process has serialized just before, with the same engine.
            let component = unsafe { Component::deserialize(&engine, &compiled) }.map_err(said)?;
            Bare::of(engine.clone(), &component, Work::Echo.config(None))?;
            Ok(start.elapsed())
        })
    };
    let with_extism = extism.is_some();
    let mut extism_compiles = |calls| -> Result<Duration> {
        let extism = extism.as_mut().context("Extism does not take part")?;
        extism.compile(calls)
    };
    let mut turns: Vec<&mut Turn<'_, anyhow::Error>> = vec![
        &mut stecker_compiles,
        &mut stecker_loads,
        &mut bare_compiles,
        &mut bare_loads,
    ];
    let mut names = vec![
        "stecker: compile",
        "stecker: from the AOT cache",
        "wasmtime: compile",
        "wasmtime: deserialize",
    ];
    if with_extism {
        turns.push(&mut extism_compiles);
        names.push("extism: compile");
    }
    let effort = Effort {
        turn: Duration::ZERO,
        total: Duration::ZERO,
        min_rounds: rounds,
    };
    let times = take_turns(&mut turns, effort)?;
    let contestants = names.into_iter().zip(&times).map(|(name, times)| {
        let Spread { min, median, max } = times.spread();
        Loading {
            name,
            milliseconds: Spread {
                min: min / 1e3,
                median: median / 1e3,
                max: max / 1e3,
            },
        }
    });
    Ok(Load {
        component_bytes: component.len(),
        rounds,
        contestants: contestants.collect(),
    })
}

fn repeat(calls: u32, mut one: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    (0..calls).map(|_| one()).sum()
}

async fn load(component: &[u8], cache: Option<&std::path::Path>) -> Result<(Duration, bool)> {
    let sandbox = Sandbox::new(SandboxOptions {
        cache_dir: cache.map(std::path::Path::to_owned),
        max_instances: 4,
        ..SandboxOptions::default()
    })?;
    let component = component.to_owned();
    let start = Instant::now();
    let release = sandbox.load(component).await?;
    Ok((start.elapsed(), release.from_cache()))
}
