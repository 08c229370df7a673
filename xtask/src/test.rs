//! `cargo xtask test`: every test, with everything that the tests need.

use anyhow::Result;
use clap::Args;
use stecker_test_postgres::TestPostgres;

use crate::{
    cargo::{cargo, run, run_aloud, say},
    plugins, root, target,
};

/// Every test: natively, on SQLite and PostgreSQL, and across the whole with built plugins
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask test\n  cargo xtask test --real         also against real Vendure, Tryton and localstripe (installed once into the user's cache)\n  cargo xtask test --no-postgres  where no PostgreSQL can be started"
)]
pub(crate) struct Test {
    /// Also run what needs real Vendure, Tryton and localstripe (npm and python3; some minutes the first time)
    #[arg(long)]
    real: bool,
    /// Leave out what needs PostgreSQL
    #[arg(long)]
    no_postgres: bool,
}

impl Test {
    pub(crate) fn run(&self) -> Result<()> {
        say("building the plugins");
        let components = plugins::build_into_target(&[])?;
        say("building the host");
        run(cargo(&root()).args(["build", "--workspace", "--bins"]))?;

        let postgres = if self.no_postgres {
            say("without PostgreSQL, as asked: the tests that need it say that they are skipped");
            None
        } else {
            say("starting a PostgreSQL of our own");
            Some(TestPostgres::start()?)
        };
        let mut tests = cargo(&root());
        tests.args(["test", "--workspace"]);
        tests
            .env("STECKER_BIN", target().join("debug/stecker"))
            .env("STECKER_PLUGINS", &components);
        if let Some(postgres) = &postgres {
            tests.env("STECKER_TEST_POSTGRES", postgres.url());
        }
        if self.real {
            tests.env("STECKER_REAL", "1");
        }
        say("testing the host");
        run_aloud(&mut tests)?;
        say("testing the plugins, natively");
        run_aloud(cargo(&root().join("plugins")).args(["test", "--workspace"]))
    }
}
