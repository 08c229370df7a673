//! `cargo xtask bench`: the measurements that decisions rest on.

use std::{path::PathBuf, process::Command};

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use stecker_build::GuestToolchain;

use crate::{
    cargo::{cargo, program, run, run_aloud, say},
    plugins, root, target,
};

/// Measure what decisions rest on
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench encoding                              all cases, as a Markdown table\n  \
                        cargo xtask bench encoding --json -- --records 1000     what is behind `--` goes to the measurement\n  \
                        cargo xtask bench sandbox --quick                       a minute or two instead of five (after the builds)\n  \
                        cargo xtask bench delivery --json                       some 20 minutes (after the builds)\n  \
                        cargo xtask bench delivery -- --only growth --tenants 10,1000"
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
    /// Orders a second and what they take, webhooks, and many tenants: beside a loop written by hand and tools of Python
    Delivery(Delivery),
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

/// Host and measurement are built optimised; tools of Python are installed below the target folder.
#[derive(Args)]
struct Delivery {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A twentieth of everything: figures to look at, not to keep
    #[arg(long)]
    quick: bool,
    /// Orders of each contestant, over all rounds
    #[arg(long)]
    orders: Option<u64>,
    /// Options of the measurement itself; `-- --help` lists them
    #[arg(last = true)]
    options: Vec<String>,
}

impl Bench {
    pub(crate) fn run(&self) -> Result<()> {
        match &self.question {
            Question::Encoding(measurement) => measurement.run("record-encoding"),
            Question::Sandbox(sandbox) => sandbox.run(),
            Question::Delivery(delivery) => delivery.run(),
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

impl Delivery {
    fn run(&self) -> Result<()> {
        say("building the plugins");
        let plugins = plugins::build_into_target(&["jq"])?;
        say(
            "building the host and the measurement, optimised (the first time this takes a quarter of an hour)",
        );
        // The whole workspace, because a part of it would be another set of features, and so another engine to compile.
        run(cargo(&root()).args(["build", "--quiet", "--release", "--workspace", "--bins"]))?;
        let built = |name: &str| target().join("release").join(name);
        let mut command = Command::new(built("delivery"));
        command
            .current_dir(root())
            .arg("--stecker")
            .arg(built("stecker"))
            .arg("--by-hand")
            .arg(built("delivery-loop"))
            .arg("--plugins")
            .arg(plugins)
            .arg("--peers")
            .arg(target().join("peers/python"));
        if self.json {
            command.arg("--json");
        }
        if self.quick {
            command.arg("--quick");
        }
        if let Some(orders) = self.orders {
            command.args(["--orders", &orders.to_string()]);
        }
        say("measuring");
        run_aloud(command.args(&self.options))
    }
}

/// Builds the peer; its program. The engine that Extism brings may ask for a newer compiler than this project; then another one that is
/// installed is taken, or, on Debian and its relatives, the distribution's own.
fn extism() -> Result<PathBuf> {
    let folder = root().join("tests/benchmarks/peers/extism");
    let target = target().join("peers");
    let build = |mut cargo: Command| {
        run(cargo
            .current_dir(&folder)
            .args(["build", "--quiet", "--release", "--locked"])
            .env("CARGO_TARGET_DIR", &target))
    };
    let mut tried = String::new();
    say("building Extism and the engine that it brings");
    let mut attempt = |name: &str, cargo: Command| match build(cargo) {
        Ok(()) => true,
        Err(error) => {
            tried.push_str(&format!("\n  {name}: {error:#}"));
            false
        }
    };
    let mut built = attempt("the installed compiler", cargo(&folder));
    for name in toolchains() {
        if !built {
            say(&format!("again, with the toolchain {name}"));
            let mut rustup = program("rustup", &folder);
            // What chose the toolchain that runs now would choose the same one again.
            rustup
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO")
                .env_remove("RUSTC");
            rustup.args(["run", &name, "cargo"]);
            built = attempt(&name, rustup);
        }
    }
    if !built {
        let debian = GuestToolchain::of_debian(&say)?;
        say(&format!("again, with {}", debian.version));
        built = attempt(&debian.version, debian.cargo());
    }
    if !built {
        bail!("Extism does not build; leave it out with --no-extism. Tried were:{tried}");
    }
    Ok(target.join("release/extism-peer"))
}

/// The toolchains that rustup has, if there is a rustup.
fn toolchains() -> Vec<String> {
    let listed = Command::new("rustup")
        .args(["toolchain", "list", "--quiet"])
        .output();
    let Ok(listed) = listed else { return Vec::new() };
    String::from_utf8_lossy(&listed.stdout)
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}
