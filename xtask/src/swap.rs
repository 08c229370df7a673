//! `cargo xtask swap`: moves a connection back and forth between two releases under load.

use std::io::{self, Write as _};

use anyhow::{Result, bail};
use clap::Args;
use indicatif::ProgressBar;
use stecker_scenarios::{
    Artifacts,
    swap::{SwapOptions, swap},
};
use stecker_test_postgres::TestPostgres;

use crate::{
    cargo::{cargo, run, say},
    crash,
    demo::fresh_folder,
    plugins, root, target,
};

/// Move a connection back and forth between two releases while orders come in, and say what that costs them
///
/// Beside it stands what stopping and starting the host costs, which is how a plugin is replaced otherwise. With --kills, the host is killed
/// meanwhile and faults are on; then only the account is of interest.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask swap --swaps 200 --json        some ten minutes\n  cargo xtask swap --swaps 100 --kills 300 --db postgres --seed 12 --json"
)]
pub(crate) struct Swap {
    /// How often it is moved
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    swaps: u32,
    /// How often the host is restarted, for comparison
    #[arg(long, default_value_t = 5)]
    restarts: u32,
    /// How often the host is killed meanwhile
    #[arg(long, default_value_t = 0)]
    kills: u32,
    /// The database
    #[arg(long, value_enum, default_value_t = crash::Database::Sqlite)]
    db: crash::Database,
    /// Decides data and moments; a new one each time unless it is given
    #[arg(long)]
    seed: Option<u64>,
    /// Use an optimised host
    #[arg(long)]
    release: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Swap {
    pub(crate) fn run(&self) -> Result<()> {
        say("building the plugins");
        let plugins = plugins::build_into_target(&["demo-shop", "demo-shop-2", "demo-erp", "jq"])?;
        say("building the host");
        let mut build = cargo(&root());
        build.args(["build", "--quiet", "--workspace", "--bins"]);
        if self.release {
            build.arg("--release");
        }
        run(&mut build)?;
        let artifacts = Artifacts {
            stecker: target().join(if self.release {
                "release/stecker"
            } else {
                "debug/stecker"
            }),
            plugins,
        };
        let postgres = match self.db {
            crash::Database::Sqlite => None,
            crash::Database::Postgres => Some(TestPostgres::start()?),
        };
        let seed = self.seed.unwrap_or_else(crash::seed);
        let options = SwapOptions {
            swaps: self.swaps,
            restarts: if self.kills > 0 { 0 } else { self.restarts },
            kills: self.kills,
            seed,
            database: postgres.as_ref().map(|postgres| postgres.url().to_owned()),
        };
        say(&format!("moving, with seed {seed}"));
        let folder = fresh_folder("swap")?;
        let bar = ProgressBar::new(u64::from(self.swaps));
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        let progress = |moved: u32| bar.set_position(u64::from(moved));
        let account = runtime.block_on(swap(&artifacts, &folder, options, &progress));
        bar.finish_and_clear();
        let account = match account {
            Ok(account) => account,
            Err(error) => bail!(
                "{error:#} (seed {seed}; logs and data are in {})",
                folder.display()
            ),
        };
        let text = if self.json {
            serde_json::to_string(&account)?
        } else {
            serde_json::to_string_pretty(&account)?
        };
        writeln!(io::stdout().lock(), "{text}")?;
        Ok(())
    }
}
