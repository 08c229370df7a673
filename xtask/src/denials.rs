//! `cargo xtask denials`: the scenarios that try to break out of the sandbox.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    cargo::{cargo, run, run_aloud, say},
    root, target,
};

/// Try to break out of the sandbox, in every way that there is a scenario for
///
/// The last line says how many scenarios there were, how many failed, and how many connections reached where nothing may connect; the exit
/// code is 1 unless both are none.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask denials                     all of them, for every version of the contract\n  \
                  cargo xtask denials --filter redirect   those with `redirect` in their names\n  \
                  cargo xtask denials --json              the result as JSON\n  \
                  cargo xtask denials --list --markdown > docs/denials.md"
)]
pub(crate) struct Denials {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Only scenarios with this in their names
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Run nothing; say what there is
    #[arg(long)]
    list: bool,
    /// With --list: as the page docs/denials.md
    #[arg(long, requires = "list")]
    markdown: bool,
}

impl Denials {
    pub(crate) fn run(&self) -> Result<()> {
        say("building the host");
        // The whole workspace, because a part of it would be another set of features, and so another engine to compile.
        run(cargo(&root()).args(["build", "--quiet", "--workspace", "--bins"]))?;
        let mut suite = Command::new(target().join("debug/denials"));
        suite
            .current_dir(root())
            .arg("--cache")
            .arg(target().join("denials"));
        for (given, option) in [
            (self.json, "--json"),
            (self.list, "--list"),
            (self.markdown, "--markdown"),
        ] {
            if given {
                suite.arg(option);
            }
        }
        if let Some(filter) = &self.filter {
            suite.args(["--filter", filter]);
        }
        run_aloud(&mut suite)
    }
}
