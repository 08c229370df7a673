//! Runs the denial suite; `cargo xtask denials` builds what it needs first.

use std::{
    io::{self, IsTerminal as _, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};

use anyhow::Result;
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use stecker_denials::{COMPILE, Outcome, Settings, compile_as_child, count, list, page, run};

/// Try to break out of the sandbox, in every way that there is a scenario for
///
/// Exit code 1 if any scenario fails or anything reaches the canary.
#[derive(Parser)]
#[command(
    name = "denials",
    after_help = "Examples:\n  denials --filter redirect    only scenarios with `redirect` in their names\n  \
                  denials --json               the result as one line of JSON; progress goes to standard error\n  \
                  denials --list --markdown    the page docs/denials.md"
)]
struct Cli {
    /// Print the result as JSON
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
    /// Repetitions of a call, at most; the churn through instances asks for 100,000
    #[arg(long, default_value_t = 100_000, value_name = "N")]
    max_times: u32,
    /// Keep compiled guests here, for the next run
    #[arg(long, value_name = "FOLDER")]
    cache: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    // Not for people: how the suite has its guests compiled, as a host has its plugins.
    if std::env::args_os().skip(1).eq([COMPILE]) {
        return Ok(compile_as_child());
    }
    let cli = Cli::parse();
    if cli.list {
        listed(&cli)?;
        return Ok(ExitCode::SUCCESS);
    }
    let settings = Settings {
        filter: cli.filter.clone(),
        max_times: cli.max_times,
        compiler: std::env::current_exe()?,
        cache: cli.cache.clone(),
    };
    let progress = Progress::new(count(&settings)?)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let report = runtime.block_on(run(&settings, &mut |outcome| progress.tell(outcome)))?;
    // What a scenario left hanging (a body that never ends) must not hold up the end.
    runtime.shutdown_timeout(Duration::from_secs(1));
    progress.bar.finish_and_clear();

    let mut out = io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string(&report)?)?;
    } else {
        for outcome in &report.failures {
            writeln!(out, "\n{}", named(outcome))?;
            for failure in &outcome.failures {
                writeln!(out, "  - {failure}")?;
            }
        }
        writeln!(
            out,
            "{} scenarios in {} runs ({} calls): {} failed, {} canary connections; {} of {} reached what they must not with the \
             protection lifted",
            report.scenarios,
            report.runs,
            report.calls,
            report.failed,
            report.canary_connections,
            report.lifted_reached,
            report.lifted
        )?;
    }
    Ok(if report.is_clean() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn listed(cli: &Cli) -> Result<()> {
    let mut out = io::stdout().lock();
    if cli.markdown {
        write!(out, "{}", page()?)?;
    } else if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&list()?)?)?;
    } else {
        for one in list()? {
            writeln!(out, "{:36} {}", one.name, one.title)?;
        }
    }
    Ok(())
}

fn named(outcome: &Outcome) -> String {
    let mut name = format!("{} (contract {}", outcome.scenario, outcome.contract);
    if !outcome.via.is_empty() {
        name.push_str(&format!(", via {}", outcome.via));
    }
    if outcome.lifted {
        name.push_str(", protection lifted");
    }
    name.push(')');
    name
}

/// One line for each run, and on a terminal a bar below them.
struct Progress {
    bar: ProgressBar,
    plain: bool,
}

impl Progress {
    fn new(scenarios: usize) -> Result<Self> {
        let plain = !io::stderr().is_terminal();
        let bar = ProgressBar::new(scenarios.try_into()?);
        bar.set_style(ProgressStyle::with_template("{bar:40} {pos}/{len} {msg}")?);
        if !plain {
            bar.enable_steady_tick(Duration::from_millis(200));
        }
        Ok(Self { bar, plain })
    }

    fn tell(&self, outcome: &Outcome) {
        let verdict = if outcome.failures.is_empty() {
            "ok    "
        } else {
            "FAILED"
        };
        let line = format!("{verdict} {:6} ms  {}", outcome.millis, named(outcome));
        self.bar.set_message(outcome.scenario.clone());
        if !outcome.lifted {
            self.bar.inc(1);
        }
        if self.plain {
            // Whoever closed standard error does not want to know.
            writeln!(io::stderr(), "{line}").ok();
        } else {
            self.bar.println(line);
        }
    }
}
