//! `cargo xtask …`: what is done with this repository besides compiling it. One module for each subcommand.

mod bench;
mod cargo;
mod crash;
mod demo;
mod denials;
mod leak;
mod lint;
mod neighbour;
mod partition;
mod plugins;
mod swap;
mod test;

use std::{
    env,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "What is done with this repository besides compiling it"
)]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    Demo(demo::Demo),
    Test(test::Test),
    Lint(lint::Lint),
    Bench(bench::Bench),
    Denials(denials::Denials),
    Plugins(plugins::Plugins),
    Neighbour(neighbour::Neighbour),
    Crash(crash::Crash),
    Partition(partition::Partition),
    Swap(swap::Swap),
    Leak(leak::Leak),
}

fn main() -> ExitCode {
    let result = match Cli::parse().task {
        Task::Demo(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Lint(_) => lint::Lint::run(),
        Task::Bench(task) => task.run(),
        Task::Denials(task) => task.run(),
        Task::Plugins(task) => task.run(),
        Task::Neighbour(task) => task.run(),
        Task::Crash(task) => task.run(),
        Task::Partition(task) => task.run(),
        Task::Swap(task) => task.run(),
        Task::Leak(task) => task.run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[expect(
                clippy::print_stderr,
                reason = "this is where the errors of all tasks get to the terminal"
            )]
            {
                eprintln!("error: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository, whatever folder the task is started in.
fn root() -> PathBuf {
    // Cargo says it at run time; what was compiled in is right as long as the clone was not moved.
    let manifest_dir =
        env::var_os("CARGO_MANIFEST_DIR").map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    manifest_dir.parent().map_or(manifest_dir.clone(), Path::to_owned)
}

/// Cargo's target folder.
fn target() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}
