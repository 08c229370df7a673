//! `cargo xtask plugins`: builds the first-party plugins.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use stecker_build::{BuildRequest, BuiltPlugin, GuestToolchain, build_plugins};

use stecker_scenarios::Artifacts;

use crate::{
    cargo::{cargo, run, say},
    root, target,
};

/// Build the first-party plugins into target/plugins
///
/// Finds a Rust toolchain for wasm32-unknown-unknown, or makes one: by rustup, or, where that cannot be reached, from Debian's packages
/// in the user's cache (the first time about two minutes and 140 MB).
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask plugins                  build all\n  cargo xtask plugins stecker/jq       build one\n  \
                        cargo xtask plugins --json | jq -r '.[].path'"
)]
pub(crate) struct Plugins {
    /// Which ones, by plugin name or Cargo package; none: all
    names: Vec<String>,
    /// Print one JSON array: name, version, path, digest, size, roles
    #[arg(long)]
    json: bool,
    /// Build quickly and without optimisation
    #[arg(long)]
    debug: bool,
}

/// The simulated job's plugins and the host, built for tests of the whole.
pub(crate) fn artifacts() -> Result<Artifacts> {
    say("building the plugins");
    let plugins = build_into_target(&["demo-shop", "demo-erp", "jq"])?;
    say("building the host");
    // The whole workspace, because a part of it would be another set of features, and so another engine to compile.
    run(cargo(&root()).args(["build", "--quiet", "--workspace", "--bins"]))?;
    Ok(Artifacts {
        stecker: target().join("debug/stecker"),
        plugins,
    })
}

impl Plugins {
    pub(crate) fn run(&self) -> Result<()> {
        let built = build(&self.names, !self.debug)?;
        let mut out = io::stdout().lock();
        if self.json {
            let list: Vec<_> = built.iter().map(as_json).collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&list)?)?;
            return Ok(());
        }
        for plugin in &built {
            let roles: Vec<&str> = plugin.inspection.roles.iter().map(|role| role.as_str()).collect();
            let kb = plugin.inspection.size.div_ceil(1_000);
            let (name, version) = (&plugin.name, &plugin.inspection.manifest.version);
            writeln!(
                out,
                "{name} {version}  {kb} KB  {}  {}",
                roles.join(", "),
                plugin.path.display()
            )?;
        }
        Ok(())
    }
}

/// Builds the named first-party plugins, or all; the folder that they are in then.
pub(crate) fn build_into_target(names: &[&str]) -> Result<PathBuf> {
    let names: Vec<String> = names.iter().copied().map(str::to_owned).collect();
    build(&names, true)?;
    Ok(target().join("plugins"))
}

/// Builds the named first-party plugins, or all; progress goes to standard error.
pub(crate) fn build(names: &[String], release: bool) -> Result<Vec<BuiltPlugin>> {
    let color = io::stderr().is_terminal();
    let bar = spinner();
    let progress = |step: &str| show(&bar, step);
    let toolchain = GuestToolchain::find_or_make(&progress)?;
    let request = BuildRequest {
        workspace_dir: root().join("plugins"),
        plugins: names.to_vec(),
        release,
        target_dir: Some(target().join("guest")),
        out_dir: Some(target().join("plugins")),
        color,
    };
    let built = build_plugins(&toolchain, &request, &progress);
    bar.finish_and_clear();
    Ok(built?)
}

fn spinner() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed} {wide_msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// One moving line on a terminal; elsewhere, as in the log of a build machine, a line for every step.
fn show(bar: &ProgressBar, step: &str) {
    let is_message = step.contains('\n');
    if !bar.is_hidden() && !is_message {
        bar.set_message(step.to_owned());
    } else {
        // A terminal that is gone is no reason to stop the build.
        bar.suspend(|| writeln!(io::stderr(), "{step}").ok());
    }
}

fn as_json(plugin: &BuiltPlugin) -> serde_json::Value {
    json!({
        "name": plugin.name,
        "version": plugin.inspection.manifest.version,
        "path": plugin.path,
        "digest": plugin.inspection.digest,
        "size": plugin.inspection.size,
        "roles": plugin.inspection.roles,
    })
}
