//! `cargo xtask leak`: whether the sandbox gives back what it takes.

use std::process::Command;

use anyhow::Result;
use clap::Args;

use crate::{
    cargo::{cargo, run, run_aloud, say},
    root, target,
};

/// Load, swap and unload releases a thousand times and make a hundred thousand instances: resident memory has to stay
///
/// Fails if it grows by more than 5 % after warming up.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask leak\n  cargo xtask leak --json\n  cargo xtask leak -- --cycles 100 --instances 10000"
)]
pub(crate) struct Leak {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Options of the measurement itself; `-- --help` lists them
    #[arg(last = true)]
    options: Vec<String>,
}

impl Leak {
    pub(crate) fn run(&self) -> Result<()> {
        say("building the sandbox");
        // The whole workspace, because a part of it would be another set of features, and so another engine to compile.
        run(cargo(&root()).args(["build", "--quiet", "--workspace", "--bin", "leak"]))?;
        let mut command = Command::new(target().join("debug/leak"));
        command.current_dir(root());
        if self.json {
            command.arg("--json");
        }
        run_aloud(command.args(&self.options))
    }
}
