//! `cargo xtask crash`: kills hosts again and again and looks whether anything is lost or doubled.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use indicatif::ProgressBar;
use stecker_scenarios::crash::{CrashAccount, CrashOptions, crash};
use stecker_test_postgres::TestPostgres;

use crate::{cargo::say, demo::fresh_folder, plugins};

/// Kill hosts while they work, at seeded moments and at every named place of their code, and count what was lost or doubled
///
/// The job of the demo runs with faults on; on Postgres two hosts share the work and are killed in turn. Fails unless every order arrived
/// once, in order, to the cent.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask crash --kills 1000 --db sqlite --json     some 25 minutes\n  \
                  cargo xtask crash --kills 40 --db postgres --seed 12"
)]
pub(crate) struct Crash {
    /// How often a host is killed
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    kills: u32,
    /// The database
    #[arg(long, value_enum, default_value_t = Database::Sqlite)]
    db: Database,
    /// Decides data, faults, moments and places; a new one each time unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// Orders at the beginning; more come from changes
    #[arg(long, default_value_t = 400)]
    orders: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Database {
    Sqlite,
    Postgres,
}

impl Crash {
    pub(crate) fn run(&self) -> Result<()> {
        let artifacts = plugins::artifacts()?;
        let postgres = match self.db {
            Database::Sqlite => None,
            Database::Postgres => Some(TestPostgres::start()?),
        };
        let seed = self.seed.unwrap_or_else(seed);
        let options = CrashOptions {
            kills: self.kills,
            seed,
            nodes: if postgres.is_some() { 2 } else { 1 },
            database: postgres.as_ref().map(|postgres| postgres.url().to_owned()),
            orders: self.orders,
        };
        say(&format!("killing, with seed {seed}"));
        let folder = fresh_folder(match self.db {
            Database::Sqlite => "crash-sqlite",
            Database::Postgres => "crash-postgres",
        })?;
        let bar = ProgressBar::new(u64::from(self.kills));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let progress = |kill: u32| bar.set_position(u64::from(kill));
        let account = runtime.block_on(crash(&artifacts, &folder, options, &progress));
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

pub(crate) fn seed() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one("seed") % 1_000_000
}

fn show(account: &CrashAccount, out: &mut impl io::Write) -> io::Result<()> {
    let job = &account.job;
    writeln!(
        out,
        "{} kills of {} hosts in {:.0} s, {} of them at a seeded moment; right again after {:.1} s",
        account.kills,
        account.nodes,
        account.killing_seconds,
        account.at_a_moment,
        account.recovering_seconds
    )?;
    for (place, kills) in &account.at_a_place {
        writeln!(out, "  {kills:>6} at {place}")?;
    }
    for (place, kills) in &account.not_passed {
        writeln!(out, "  {kills:>6} waited in vain at {place}")?;
    }
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
