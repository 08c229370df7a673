//! The `stecker` binary: every operation of the API, for a terminal.

mod args;
mod commands;
mod failure;
mod locking;
mod output;
mod progress;
mod scaffold;
mod setup;
mod target;

use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::{
    args::{Cli, Command, Globals, LogFormat},
    failure::{Failure, Result},
    output::Output,
};

fn main() -> ExitCode {
    // Not a command for people: how this program starts itself to compile a plugin.
    if std::env::args_os().skip(1).eq([stecker_server::COMPILE]) {
        return stecker_server::compile_as_child();
    }
    let cli = Cli::parse();
    let output = Output::new(cli.globals.json, cli.globals.color);
    log(&cli, output);
    match start(cli, output) {
        // Whoever reads the answer has seen enough, as `head` does.
        Ok(()) | Err(Failure::Unread) => ExitCode::SUCCESS,
        Err(Failure::Told) => ExitCode::FAILURE,
        Err(Failure::Problem(problem)) => {
            output.problem(&problem);
            ExitCode::FAILURE
        }
        Err(Failure::Usage(text)) => {
            output.problem(&stecker_model::api::Problem::new(
                400,
                "usage",
                "Not understood",
                text,
            ));
            ExitCode::from(2)
        }
    }
}

fn start(cli: Cli, output: Output) -> Result<()> {
    // More threads than processors: guests may keep as many busy as there are processors, and the rest is there for everything else, which
    // the operating system then lets in between.
    let processors = std::thread::available_parallelism().map_or(1, Into::into);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2 * processors + 2)
        .enable_all()
        .build()?;
    // On the heap: a guest call makes for a big future, and the main thread's stack may be small.
    runtime.block_on(Box::pin(run(cli.globals, cli.command, output)))
}

async fn run(globals: Globals, command: Command, output: Output) -> Result<()> {
    match command {
        Command::Apply(apply) => commands::apply(&globals, output, &apply.setup.file, apply.dry_run).await,
        Command::Plan(setup) => commands::apply(&globals, output, &setup.file, true).await,
        Command::Connection(command) => commands::connection(&globals, output, command).await,
        Command::Flow(command) => commands::flow(&globals, output, command).await,
        Command::Records(command) => commands::records(&globals, output, command).await,
        Command::Explain(words) => commands::explain(&globals, output, words).await,
        Command::Quarantine(command) => commands::quarantine(&globals, output, command).await,
        Command::Reconcile(command) => commands::reconcile(&globals, output, command).await,
        Command::Replay(command) => commands::replay(&globals, output, command).await,
        Command::Upgrade(words) => commands::upgrade(&globals, output, words).await,
        Command::Rollout(command) => commands::rollout(&globals, output, command).await,
        Command::Storage(command) => commands::storage(&globals, output, command).await,
        Command::Secret(command) => commands::secret(&globals, output, command).await,
        Command::Webhook(command) => commands::webhook(&globals, output, command).await,
        Command::Upstream(command) => commands::upstream(&globals, output, command).await,
        Command::Shadow(words) => commands::shadow(&globals, output, words).await,
        Command::Tape(command) => commands::tape(&globals, output, command).await,
        Command::Denials(command) => commands::denials(&globals, output, command).await,
        Command::Tenant(command) => commands::tenant(&globals, output, command).await,
        Command::Lock(words) => commands::lock(&globals, output, &words.setup.file, words.update).await,
        Command::Outdated => commands::outdated(&globals, output).await,
        Command::AtRisk(words) => commands::at_risk(&globals, output, words.by).await,
        Command::Registry(command) => commands::registry(&globals, output, command).await,
        Command::Key(command) => commands::key(output, command),
        Command::Sign(words) => commands::sign(output, words),
        Command::Trust(command) => commands::trust(&globals, output, command).await,
        Command::Release(command) => commands::release(&globals, output, command).await,
        Command::Plugin(command) => commands::plugin(&globals, output, command).await,
        Command::Serve(serve) => commands::serve(&globals, output, &serve).await,
        Command::Doctor => commands::doctor(&globals, output).await,
        Command::Schema { what } => commands::schema(output, what),
        Command::Completion { shell } => commands::completion(output, shell),
    }
}

/// Standard error, so that answers stay clean. A server tells what it does; a command only what is wrong.
fn log(cli: &Cli, output: Output) {
    let usual = match (cli.globals.verbose, &cli.command) {
        (0, Command::Serve(_) | Command::Registry(_)) => "info",
        (0, _) => "warn",
        (1, Command::Serve(_)) => "debug,hyper=info,h2=info,reqwest=info,sqlx=info",
        (1, _) => "info",
        (2, _) => "debug,hyper=info,h2=info,sqlx=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match cli.globals.log_format {
        LogFormat::Text => log.with_ansi(output.colors_errors()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
