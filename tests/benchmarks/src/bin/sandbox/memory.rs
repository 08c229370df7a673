//! What an instance keeps in memory. Each measurement is a process of its own, since a pool keeps what it once had.

use std::{path::Path, process::Command, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use clap::ValueEnum;
use futures_util::future::try_join_all;
use serde::Serialize;
use stecker_benchmarks::resident;
use stecker_model::Instances;
use tokio::runtime::Runtime;

use crate::{
    bare::{self, Bare},
    case::{Work, orders},
    extism::Extism,
    stecker::{Gate, Stecker, call},
};

/// Whose instances are counted, and in which state.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Who {
    /// Stecker's, each in the midst of a call.
    SteckerLive,
    /// Stecker's, each kept warm between calls.
    SteckerIdle,
    /// The engine's alone, each kept after a call.
    WasmtimeIdle,
}

/// As many as are there at the same time.
const INSTANCES: u32 = 32;
/// Of the record that each instance is called with.
const PAYLOAD: usize = 1_024;

#[derive(Serialize)]
pub(crate) struct Resident {
    pub(crate) instances: u32,
    pub(crate) contestants: Vec<ResidentBytes>,
}

#[derive(Serialize)]
pub(crate) struct ResidentBytes {
    pub(crate) name: &'static str,
    pub(crate) bytes_per_instance: f64,
}

/// Has every measurement made in a process of its own.
pub(crate) fn measure(component: &Path, extism: Option<Extism>) -> Result<Resident> {
    let program = std::env::current_exe()?;
    let one = |name: &'static str, who: &str| -> Result<ResidentBytes> {
        let output = Command::new(&program)
            .args(["--resident", who])
            .arg("--component")
            .arg(component)
            .output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(
            output.status.success(),
            "what {name} keeps cannot be measured: {said}"
        );
        let text = String::from_utf8(output.stdout)?;
        Ok(ResidentBytes {
            name,
            bytes_per_instance: text.trim().parse()?,
        })
    };
    let mut contestants = vec![
        one("stecker: live, in a call", "stecker-live")?,
        one("stecker: idle, kept warm", "stecker-idle")?,
        one("wasmtime: idle", "wasmtime-idle")?,
    ];
    if let Some(mut extism) = extism {
        extism.input(&orders(1, PAYLOAD).first().context("no order")?.payload)?;
        contestants.push(ResidentBytes {
            name: "extism: idle",
            bytes_per_instance: extism.resident(INSTANCES)?,
        });
    }
    Ok(Resident {
        instances: INSTANCES,
        contestants,
    })
}

/// Resident bytes of each instance, in this process.
pub(crate) fn in_this_process(runtime: &Runtime, component: &[u8], who: Who) -> Result<f64> {
    let batch = orders(1, PAYLOAD);
    let (before, after) = match who {
        Who::SteckerLive => runtime.block_on(async {
            let stecker = Stecker::new(component).await?;
            let gate = Gate::closed();
            // The first one brings in what all share.
            gate.open(1);
            call(&stecker.gated_session(&gate)?, batch.clone()).await?;
            let before = resident::bytes()?;
            let sessions: Vec<_> = (0..INSTANCES)
                .map(|_| stecker.gated_session(&gate))
                .collect::<Result<_>>()?;
            let calls = try_join_all(sessions.iter().map(|session| call(session, batch.clone())));
            let counted = async {
                // The one before them waited as well.
                gate.until_waiting(INSTANCES as usize + 1).await;
                let after = resident::bytes();
                gate.open(INSTANCES as usize);
                after
            };
            let (answers, after) = futures_util::future::join(calls, counted).await;
            answers?;
            anyhow::Ok((before, after?))
        })?,
        Who::SteckerIdle => runtime.block_on(async {
            let stecker = Arc::new(Stecker::new(component).await?);
            call(&stecker.session(Work::Echo, Instances::Fresh)?, batch.clone()).await?;
            let before = resident::bytes()?;
            let mut sessions = Vec::new();
            for _ in 0..INSTANCES {
                let session = stecker.session(Work::Echo, Instances::Warm)?;
                call(&session, batch.clone()).await?;
                sessions.push(session);
            }
            let after = resident::bytes()?;
            drop(sessions);
            anyhow::Ok((before, after))
        })?,
        Who::WasmtimeIdle => runtime.block_on(async {
            let bare = Bare::new(component, Work::Echo.config(None), INSTANCES)?;
            let batch = bare::batch(&batch);
            bare.keep().await?.call(batch.clone()).await?;
            let before = resident::bytes()?;
            let mut kept = Vec::new();
            for _ in 0..INSTANCES {
                let mut one = bare.keep().await?;
                one.call(batch.clone()).await?;
                kept.push(one);
            }
            let after = resident::bytes()?;
            drop(kept);
            anyhow::Ok((before, after))
        })?,
    };
    Ok((after as f64 - before as f64) / f64::from(INSTANCES))
}
