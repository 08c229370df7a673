//! What does the sandbox cost? One plugin, run by the sandbox, by its engine alone (which nobody can beat), as native code, and, the
//! same work as a plugin of theirs, by Extism.

mod bare;
mod case;
mod extism;
mod http;
mod load;
mod memory;
mod native;
mod report;
mod stecker;

use std::{
    fs,
    io::{self, Write as _},
    path::PathBuf,
    time::Duration,
};

use anyhow::{Context as _, Result};
use clap::Parser;
use stecker_benchmarks::{guest, machine::Machine, measure::Effort};
use tokio::runtime::Builder;

use crate::{
    case::{Calls, Mode, Work},
    extism::Extism,
    memory::Who,
    report::{Report, Versions, goals},
    stecker::Stecker,
};

/// Measure what the sandbox costs, beside its engine alone, native code, and Extism
///
/// The contestants take turns in short slices, Stecker twice; every one is given a batch of its own for each call. Compared are medians
/// of ratios within a round, and least times.
#[derive(Parser)]
struct Cli {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A second for each case instead of six: figures to look at, not to keep
    #[arg(long)]
    quick: bool,
    /// How long each case is measured
    #[arg(long, default_value_t = 6.0, conflicts_with = "quick")]
    seconds: f64,
    /// The program built of peers/extism; without it, Extism does not take part
    #[arg(long, value_name = "PROGRAM")]
    extism: Option<PathBuf>,
    /// Measure only calls, requests, load, or resident
    #[arg(long)]
    only: Option<String>,
    /// Measure what one contestant's instances keep in this process, and print bytes for each
    #[arg(long, hide = true, requires = "component")]
    resident: Option<Who>,
    /// The component, if it is built already
    #[arg(long, hide = true)]
    component: Option<PathBuf>,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let progress = |step: &str| {
        // Whoever closed standard error does not want to know.
        writeln!(io::stderr(), "{step}").ok();
    };
    let component = match &cli.component {
        Some(path) => fs::read(path).with_context(|| format!("{} cannot be read", path.display()))?,
        None => guest::plugin("sandbox", &progress)?,
    };
    let mut out = io::stdout().lock();
    if let Some(who) = cli.resident {
        return Ok(writeln!(
            out,
            "{}",
            memory::in_this_process(&runtime, &component, who)?
        )?);
    }
    let seconds = if cli.quick { 1.0 } else { cli.seconds };
    let effort = Effort {
        total: Duration::try_from_secs_f64(seconds)?,
        min_rounds: if cli.quick { 5 } else { 15 },
        ..Effort::default()
    };
    let machine = Machine::here();
    let mut peer = match &cli.extism {
        Some(program) => Some(Extism::start(program, &guest::module("extism", &progress)?)?),
        None => None,
    };
    let wanted = |what: &str| cli.only.as_deref().is_none_or(|only| only == what);
    let stecker = runtime.block_on(Stecker::new(&component))?;

    let mut calls = Vec::new();
    if wanted("calls") {
        let mut measured = Calls {
            runtime: &runtime,
            effort,
            component: &component,
            stecker: &stecker,
            extism: peer.as_mut(),
        };
        for mode in [Mode::Warm, Mode::Fresh] {
            for work in [Work::Echo, Work::Transform] {
                for (records, payload) in [(1, 1 << 10), (1, 64 << 10), (1_000, 1 << 10)] {
                    progress(&format!(
                        "measuring {} {}, {records} × {payload} B",
                        mode.name(),
                        work.name()
                    ));
                    calls.push(measured.case(mode, work, records, payload)?);
                }
            }
        }
    }
    let mut requests = Vec::new();
    if wanted("requests") {
        let url = http::serve()?;
        for case in [
            (Mode::Fresh, 1, 1 << 10),
            (Mode::Warm, 1, 1 << 10),
            (Mode::Fresh, 100, 1 << 10),
            (Mode::Warm, 1, 64 << 10),
        ] {
            progress(&format!(
                "measuring requests: {}, {} per call, {} B",
                case.0.name(),
                case.1,
                case.2
            ));
            requests.push(http::case(&runtime, effort, &stecker, &url, case)?);
        }
    }
    progress("measuring how components are loaded");
    let rounds = if cli.quick { 3 } else { 9 };
    let load = load::measure(&runtime, &component, rounds, peer.as_mut())?;
    progress("measuring what instances keep in memory");
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), &component)?;
    let versions = Versions::locked(peer.is_some());
    let report = Report {
        versions,
        machine,
        goals: goals(&calls, &requests),
        calls,
        http: requests,
        load,
        resident: memory::measure(file.path(), peer)?,
    };
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        report.print(&mut out)?;
    }
    Ok(())
}
