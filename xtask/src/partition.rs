//! `cargo xtask partition`: cuts hosts off again and again and looks whether anything is lost or doubled.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use stecker_scenarios::partition::{PartitionAccount, PartitionOptions, partition};
use stecker_test_postgres::TestPostgres;

use crate::{cargo::say, crash, demo::fresh_folder, plugins};

/// Cut wires between two hosts, their Postgres and the systems while they work, and count what was lost or doubled
///
/// The job of the demo runs with faults on. What is cut: a host and the database, in one direction or both, for a while or for good; a commit
/// or its answer; both hosts; the destination or its answers. Fails unless every order arrived once, in order, to the cent, and each host can
/// work alone afterwards.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask partition --json              some five minutes\n  cargo xtask partition --cuts 100 --seed 12\n  sudo -E cargo xtask partition --namespaces"
)]
pub(crate) struct Partition {
    /// How often something is cut
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    cuts: u32,
    /// Decides data, faults, cuts and their lengths; a new one each time unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// Orders at the beginning; more come from changes
    #[arg(long, default_value_t = 400)]
    orders: usize,
    /// Give each host a network of its own, with real links to be cut; takes root and iproute2
    #[arg(long)]
    namespaces: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Partition {
    pub(crate) fn run(&self) -> Result<()> {
        let artifacts = plugins::artifacts()?;
        let postgres = TestPostgres::start()?;
        let seed = self.seed.unwrap_or_else(crash::seed);
        let options = PartitionOptions {
            cuts: self.cuts,
            seed,
            database: postgres.url().to_owned(),
            orders: self.orders,
            namespaces: self.namespaces,
        };
        say(&format!("cutting, with seed {seed}"));
        let folder = fresh_folder("partition")?;
        let bar = ProgressBar::new(u64::from(self.cuts));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let progress = |cut: u32, _: &str| bar.set_position(u64::from(cut));
        let account = runtime.block_on(partition(&artifacts, &folder, options, &progress));
        bar.finish_and_clear();
        let account = match account {
            Ok(account) => account,
            Err(error) => bail!(
                "{error:#} (seed {seed}; logs and data are in {})",
                folder.display()
            ),
        };
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&account)?)?;
        } else {
            show(&account, &mut out)?;
        }
        Ok(())
    }
}

fn show(account: &PartitionAccount, out: &mut impl io::Write) -> io::Result<()> {
    let job = &account.job;
    writeln!(
        out,
        "{} cuts in {:.0} s; right again after {:.1} s",
        account.cuts, account.cutting_seconds, account.recovering_seconds
    )?;
    for (kind, cuts) in &account.kinds {
        writeln!(out, "  {cuts:>6} {kind}")?;
    }
    writeln!(
        out,
        "taken over {} times, within {:.1} s at the longest; {} flows fenced; {} commits met; ready again within {:.1} s at the longest",
        account.takeovers,
        account.longest_takeover_ms as f64 / 1e3,
        account.fenced,
        account.commits_met,
        account.longest_recovery_ms as f64 / 1e3,
    )?;
    writeln!(
        out,
        "accepted {}, delivered {}, quarantined {}, lost {}, duplicated {}, out of order {} (seed {})",
        account.accepted,
        job.delivered,
        job.quarantined,
        job.lost,
        job.duplicated,
        job.out_of_order,
        account.seed
    )
}
