//! `cargo xtask bench`: the measurements that decisions rest on.

use anyhow::Result;
use clap::{Args, Subcommand};

use crate::{
    cargo::{cargo, run_aloud},
    root,
};

/// Measure what decisions rest on
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench encoding                              all cases, as a Markdown table\n  \
                        cargo xtask bench encoding --json -- --records 1000     what is behind `--` goes to the measurement"
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

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        let (program, measurement) = match &self.question {
            Question::Encoding(measurement) => ("record-encoding", measurement),
        };
        let mut command = cargo(&root());
        command.args(["run", "--quiet", "-p", "stecker-benchmarks", "--bin", program]);
        if measurement.release {
            command.arg("--release");
        }
        command.arg("--");
        if measurement.json {
            command.arg("--json");
        }
        run_aloud(command.args(&measurement.options))
    }
}
