//! `cargo xtask lint`: the contract's rules of change; formatting, clippy and rustdoc over both workspaces, with no warning left.

use anyhow::{Result, ensure};
use clap::Args;

use crate::{
    cargo::{cargo, run, say},
    root,
};

/// The contract's rules of change; formatting, clippy and rustdoc, with no warning left
#[derive(Args)]
#[command(after_help = "Example:\n  cargo xtask lint")]
pub(crate) struct Lint {}

impl Lint {
    pub(crate) fn run() -> Result<()> {
        say("checking how the contract changed");
        let faults = stecker_contract_rules::faults(&root().join("wit"))?;
        ensure!(
            faults.is_empty(),
            "the contract in wit/ breaks its own rules:\n  {}",
            faults.join("\n  ")
        );
        for workspace in [root(), root().join("plugins")] {
            say(&format!("linting {}", workspace.display()));
            run(cargo(&workspace).args(["fmt", "--all", "--check"]))?;
            run(cargo(&workspace).args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
            run(cargo(&workspace)
                .args(["doc", "--workspace", "--no-deps"])
                .env("RUSTDOCFLAGS", "-D warnings"))?;
        }
        Ok(())
    }
}
