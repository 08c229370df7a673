//! Running cargo as a step of a task.

use std::{path::Path, process::Command};

use anyhow::{Context, Result, ensure};

/// Says what comes next, on standard error, so that standard output stays free for results.
#[expect(
    clippy::print_stderr,
    reason = "the steps of a task are told to whoever watches it"
)]
pub(crate) fn say(what: &str) {
    eprintln!("==> {what}");
}

/// The cargo that runs this task.
pub(crate) fn cargo(folder: &Path) -> Command {
    program(
        std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
        folder,
    )
}

/// A program that works on a package as if nobody had started it from within another.
pub(crate) fn program(program: impl AsRef<std::ffi::OsStr>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir(folder);
    // Cargo tells a program that it runs which package that is; a cargo below it must not take this for its own.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") || text == "OUT_DIR" {
            command.env_remove(&name);
        }
    }
    command
}

/// Runs a command to its end. What it prints goes to standard error: standard output is for the task's own result.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    run_aloud(command.stdout(std::io::stderr()))
}

/// Runs a command whose output is the task's result.
pub(crate) fn run_aloud(command: &mut Command) -> Result<()> {
    let arguments: Vec<_> = command.get_args().map(std::ffi::OsStr::to_string_lossy).collect();
    let shown = format!(
        "`{} {}`",
        Path::new(command.get_program())
            .file_name()
            .unwrap_or_default()
            .display(),
        arguments.join(" ")
    );
    let status = command
        .status()
        .with_context(|| format!("{shown} cannot be started"))?;
    ensure!(status.success(), "{shown} failed with {status}");
    Ok(())
}
