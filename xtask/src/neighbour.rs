//! `cargo xtask neighbour`: whether a hostile tenant can starve another.

use std::{
    io::{self, Write as _},
    time::Duration,
};

use anyhow::{Result, ensure};
use clap::Args;
use stecker_scenarios::neighbour::{NeighbourAccount, NeighbourOptions, build_probe, neighbour};

use crate::{cargo::say, demo::fresh_folder, plugins, target};

/// How much slower a tenant's steady flow gets while another tenant does all that a plugin can do to starve it
///
/// First the steady flow alone, then beside the other tenant, whose connections compute for ever, take memory, trap, flood logs, storage and
/// denials, and read bodies that never end, all at once and again and again. Fails if a record is lost.
#[derive(Args)]
#[command(after_help = "Examples:\n  cargo xtask neighbour\n  cargo xtask neighbour --json --seconds 20")]
pub(crate) struct Neighbour {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// How long the other tenant goes on; the steady flow alone is measured for half of it
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(2..=3_600))]
    seconds: u64,
    /// Records of the steady flow
    #[arg(long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    per_second: u32,
    /// Calls at the same time for each abuse; there are fourteen
    #[arg(long, default_value_t = 4)]
    concurrency: usize,
}

impl Neighbour {
    pub(crate) fn run(&self) -> Result<()> {
        let artifacts = plugins::artifacts()?;
        let probe = build_probe(&target().join("guest"), &say)?;
        let options = NeighbourOptions {
            quiet: Duration::from_secs(self.seconds) / 2,
            noisy: Duration::from_secs(self.seconds),
            per_second: self.per_second,
            concurrency: self.concurrency,
        };
        let folder = fresh_folder("neighbour")?;
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let account = runtime.block_on(neighbour(&artifacts, &probe, &folder, options, &say))?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string_pretty(&account)?)?;
        } else {
            show(&account, &mut out)?;
        }
        ensure!(account.lost == 0, "{} records are lost", account.lost);
        Ok(())
    }
}

fn show(account: &NeighbourAccount, out: &mut impl io::Write) -> io::Result<()> {
    writeln!(out, "from offered to delivered, in ms      half    99 of 100")?;
    writeln!(
        out,
        "  alone                         {:>10.1} {:>12.1}",
        account.quiet_p50_ms, account.quiet_p99_ms
    )?;
    writeln!(
        out,
        "  beside the other tenant       {:>10.1} {:>12.1}",
        account.noisy_p50_ms, account.noisy_p99_ms
    )?;
    writeln!(
        out,
        "{:.2} times as long; {} records offered, {} refused, {} lost",
        account.ratio, account.offered, account.refused, account.lost
    )?;
    writeln!(out, "what the other tenant did, and how it ended:")?;
    for (end, count) in &account.ends {
        writeln!(out, "  {count:>8}  {end}")?;
    }
    Ok(())
}
