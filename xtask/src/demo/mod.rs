//! `cargo xtask demo`: the main job, from nothing to the account.

mod real;
mod second_act;
mod show;
mod simulated;

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use stecker_scenarios::Artifacts;

use crate::{
    cargo::{cargo, run, say},
    plugins, root, target,
};

/// Orders of a shop into an ERP and stock back, through sandboxed connectors, with faults on purpose
///
/// Builds what is needed, starts two systems and a host on loopback, and shows the work as it happens. At the end stands the account, held
/// against what the systems themselves say. The host stays up to be played with until Ctrl-C.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask demo                   live progress; stays up\n  cargo xtask demo --once --json     one JSON object, then the end\n  \
                  cargo xtask demo --real            the same with Vendure and Tryton, installed once into the user's cache\n  \
                  cargo xtask demo --orders 10000"
)]
pub(crate) struct Demo {
    /// End after the job instead of staying up
    #[arg(long)]
    once: bool,
    /// Print one JSON object instead of the account for people
    #[arg(long)]
    json: bool,
    /// Use the shop Vendure and the ERP Tryton instead of the simulated ones (needs npm and python3)
    #[arg(long)]
    real: bool,
    /// How many orders the simulated shop opens with
    #[arg(long, conflicts_with = "real", default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    orders: u32,
    /// Decides data and faults of the simulated systems
    #[arg(long, conflicts_with = "real", default_value_t = 7)]
    seed: u64,
    /// Let the simulated systems work without a fault
    #[arg(long, conflicts_with = "real")]
    no_faults: bool,
}

/// The account of a demo.
#[derive(Debug, Clone, Serialize)]
struct Account {
    read: u64,
    delivered: u64,
    retried: u64,
    quarantined: u64,
    lost: u64,
    duplicated: u64,
    seconds: f64,
    /// Why records are in quarantine, with how many.
    quarantine: Vec<Cause>,
    /// The second act: what the shop's connector was moved to while orders came in.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    rollouts: Vec<Moved>,
    /// Articles whose stock is the same at both ends.
    stock_synced: u64,
    /// Orders whose sale has the same total at the other end; only asked of real systems.
    #[serde(skip_serializing_if = "Option::is_none")]
    equal_to_the_cent: Option<u64>,
    /// What is not as it should be; empty if all is well.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<String>,
}

/// A rollout, as it ended.
#[derive(Debug, Clone, Serialize)]
struct Moved {
    to: String,
    result: String,
    /// From the command to its end.
    seconds: f64,
    /// What the host says that happened.
    story: Vec<String>,
}

#[derive(Debug, Clone, Serialize)]
struct Cause {
    code: String,
    message: String,
    count: u64,
}

impl Demo {
    pub(crate) fn run(&self) -> Result<()> {
        say("building the plugins");
        let plugins = plugins::build_into_target(if self.real {
            &["vendure", "tryton", "jq"]
        } else {
            &["demo-shop", "demo-shop-2", "demo-shop-3", "demo-erp", "jq"]
        })?;
        say("building the host (the first time this takes a while: it has a compiler and a database in it)");
        run(cargo(&root()).args(["build", "--workspace", "--bins"]))?;
        let artifacts = Artifacts {
            stecker: target().join("debug/stecker"),
            plugins,
        };
        let folder = fresh_folder(if self.real { "demo-real" } else { "demo" })?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(async {
            if self.real {
                real::run(self, &artifacts, &folder).await
            } else {
                simulated::run(self, &artifacts, &folder).await
            }
        })
    }
}

/// A folder of this run's own below the target folder. What an earlier run left there goes.
pub(crate) fn fresh_folder(name: &str) -> Result<PathBuf> {
    let folder = target().join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be emptied", folder.display()));
        }
        _ => {}
    }
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

/// Shows the account; stays up until Ctrl-C unless `--once`. An account that does not add up is an error.
async fn finish(demo: &Demo, account: &Account, data: &Path, stecker: &Path) -> Result<()> {
    if demo.json {
        show::json(account)?;
    } else {
        show::account(account);
    }
    if !demo.once {
        show::what_next(data, stecker);
        tokio::signal::ctrl_c().await?;
    }
    anyhow::ensure!(
        account.faults.is_empty(),
        "the account does not add up: {}",
        account.faults.join("; ")
    );
    Ok(())
}
