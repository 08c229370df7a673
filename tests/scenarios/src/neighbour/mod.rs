//! Two tenants of one host: one has a steady flow, the other does everything that a plugin can do to starve its neighbours. The first one's
//! records have to keep arriving, nearly as fast as when it is alone.
//!
//! Everything is real: the binary as a process of its own with its embedded database, the connectors of the demo for the steady flow, and for
//! the other tenant the denial suite's probe, which does whatever its configuration says.

mod abuse;
mod probe;
mod steady;
mod upstream;

use std::{collections::BTreeMap, path::Path, time::Duration};

use anyhow::Result;
use serde::Serialize;
use stecker_simulators::{Config, Simulators};

pub use self::probe::build as build_probe;
use self::{abuse::Abuser, steady::Steady};
use crate::{Artifacts, Host, HostOptions};

/// How long, and how much.
#[derive(Debug, Clone, Copy)]
pub struct NeighbourOptions {
    /// Without the other tenant.
    pub quiet: Duration,
    /// With it.
    pub noisy: Duration,
    /// Records of the steady flow.
    pub per_second: u32,
    /// Calls at the same time for each abuse.
    pub concurrency: usize,
}

/// What came out. Times are from when a record was offered to the host until the destination had booked it.
#[derive(Debug, Clone, Serialize)]
pub struct NeighbourAccount {
    /// Milliseconds; half of the records were faster.
    pub quiet_p50_ms: f64,
    /// Milliseconds; 99 of 100 records were faster.
    pub quiet_p99_ms: f64,
    /// As `quiet_p50_ms`, beside the other tenant.
    pub noisy_p50_ms: f64,
    /// As `quiet_p99_ms`, beside the other tenant.
    pub noisy_p99_ms: f64,
    /// `noisy_p99_ms` ÷ `quiet_p99_ms`.
    pub ratio: f64,
    /// Records that were offered, in both phases.
    pub offered: usize,
    /// Records that the host did not accept, although they were offered as often as a shop would.
    pub refused: usize,
    /// Records that it accepted and the destination never got.
    pub lost: usize,
    /// Calls of each abuse that ended, however they did.
    pub abuses: BTreeMap<String, u64>,
    /// How those calls ended, with how many.
    pub ends: BTreeMap<String, u64>,
}

/// Runs both phases on a host of their own, with its data in `folder`.
///
/// # Errors
/// The host or the systems cannot be started or steered. A starved neighbour is no error but a figure.
pub async fn neighbour(
    artifacts: &Artifacts,
    probe: &[u8],
    folder: &Path,
    options: NeighbourOptions,
    progress: &dyn Fn(&str),
) -> Result<NeighbourAccount> {
    let systems = Simulators::start(Config {
        orders: 0,
        ..Config::default()
    })
    .await?;
    let host = Host::start(artifacts, &folder.join("data"), HostOptions::default()).await?;
    let steady = Steady::set_up(
        &host,
        &systems,
        artifacts,
        &folder.join("steady"),
        options.per_second,
    )?;
    let abuser = Abuser::set_up(&host, probe, &folder.join("noisy")).await?;

    progress("warming up");
    steady.run(Duration::from_secs(5)).await?;
    progress(&format!("alone, for {} s", options.quiet.as_secs()));
    let quiet = steady.run(options.quiet).await?;
    progress(&format!(
        "beside everything at once, for {} s",
        options.noisy.as_secs()
    ));
    let raging = abuser.rage(&host, options.concurrency);
    let noisy = steady.run(options.noisy).await?;
    let (abuses, ends) = raging.stop().await;

    let account = NeighbourAccount {
        quiet_p50_ms: quiet.percentile(50),
        quiet_p99_ms: quiet.percentile(99),
        noisy_p50_ms: noisy.percentile(50),
        noisy_p99_ms: noisy.percentile(99),
        ratio: noisy.percentile(99) / quiet.percentile(99),
        offered: quiet.offered + noisy.offered,
        refused: quiet.refused + noisy.refused,
        lost: quiet.lost + noisy.lost,
        abuses,
        ends,
    };
    host.stop().await?;
    systems.stop().await;
    Ok(account)
}
