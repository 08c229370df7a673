//! `cargo xtask bench`: the measurements that decisions rest on.

use std::path::PathBuf;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use stecker_build::GuestToolchain;

use crate::{
    cargo::{cargo, run, run_aloud, say},
    root, target,
};

/// Measure what decisions rest on
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench encoding                              all cases, as a Markdown table\n  \
                        cargo xtask bench encoding --json -- --records 1000     what is behind `--` goes to the measurement\n  \
                        cargo xtask bench sandbox --quick                       a minute or two instead of five (after the builds)"
)]
pub(crate) struct Bench {
    /// The question
    #[command(subcommand)]
    question: Question,
}

#[derive(Subcommand)]
enum Question {
    /// How records cross the component boundary: typed, packed, or as JSON Lines (decision 0001)
    Encoding(Measurement),
    /// What the sandbox costs: calls, instances, requests, loading and memory, beside wasmtime alone, native code and Extism
    Sandbox(Sandbox),
}

#[derive(Args)]
struct Measurement {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Build everything optimised, also the engine (the first time that takes long). Otherwise the engine has debug assertions
    #[arg(long)]
    release: bool,
    /// Options of the measurement itself; `-- --help` lists them
    #[arg(last = true)]
    options: Vec<String>,
}

/// Everything is built optimised, Extism with its own engine as well: the first time that takes a quarter of an hour.
#[derive(Args)]
struct Sandbox {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A second for each case instead of six: figures to look at, not to keep
    #[arg(long)]
    quick: bool,
    /// Leave Extism out, which is most of what has to be built
    #[arg(long)]
    no_extism: bool,
    /// Options of the measurement itself; `-- --help` lists them
    #[arg(last = true)]
    options: Vec<String>,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.question {
            Question::Encoding(measurement) => measurement.run("record-encoding"),
            Question::Sandbox(sandbox) => sandbox.run(),
        }
    }
}

impl Measurement {
    fn run(&self, program: &str) -> Result<()> {
        let mut command = cargo(&root());
        command.args(["run", "--quiet", "-p", "stecker-benchmarks", "--bin", program]);
        if self.release {
            command.arg("--release");
        }
        command.arg("--");
        if self.json {
            command.arg("--json");
        }
        run_aloud(command.args(&self.options))
    }
}

impl Sandbox {
    fn run(&self) -> Result<()> {
        let extism = if self.no_extism { None } else { Some(extism()?) };
        let mut command = cargo(&root());
        command.args([
            "run",
            "--quiet",
            "--release",
            "-p",
            "stecker-benchmarks",
            "--bin",
            "sandbox",
            "--",
        ]);
        if self.json {
            command.arg("--json");
        }
        if self.quick {
            command.arg("--quick");
        }
        if let Some(extism) = extism {
            command.arg("--extism").arg(extism);
        }
        say("building and measuring");
        run_aloud(command.args(&self.options))
    }
}

/// Builds the peer; its program. The engine that Extism brings asks for a newer compiler than this project; the one that builds the guests
/// may be new enough where the installed one is not.
fn extism() -> Result<PathBuf> {
    let folder = root().join("tests/benchmarks/peers/extism");
    let target = target().join("peers");
    say("building Extism and the engine that it brings");
    let build = |mut cargo: std::process::Command| {
        run(cargo
            .current_dir(&folder)
            .args(["build", "--quiet", "--release", "--locked"])
            .env("CARGO_TARGET_DIR", &target))
    };
    if let Err(installed) = build(cargo(&folder)) {
        let toolchain = GuestToolchain::find_or_make(&say)?;
        say(&format!("again, with {}", toolchain.version));
        if let Err(other) = build(toolchain.cargo()) {
            bail!(
                "Extism does not build, neither with the installed compiler ({installed:#}) nor with {} ({other:#}). \
                 Leave it out with --no-extism",
                toolchain.version
            );
        }
    }
    Ok(target.join("release/extism-peer"))
}
