//! The words of the command line.

mod explain;
mod quarantine;
mod reconcile;
mod replay;
mod secret;
mod upstream;
mod webhook;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use stecker_model::{Name, Period, RecordId, RecordState};

pub(crate) use explain::Explain;
pub(crate) use quarantine::{Decision, Edit, Quarantine, Selection};
pub(crate) use reconcile::{Reconcile, ReconcileCommand, StartReconcile};
pub(crate) use replay::{Replay, StartReplay, Storage, StorageCommand};
pub(crate) use secret::{Secret, SetSecret};
pub(crate) use upstream::Upstream;
pub(crate) use webhook::Webhook;

/// Move records between commerce systems, through plugins that run in a sandbox.
#[derive(Debug, Parser)]
#[command(
    name = "stecker",
    version,
    propagate_version = true,
    disable_help_subcommand = true,
    after_help = "Examples:
  stecker apply -f setup.toml         make the connections and flows of a file
  stecker flow run orders-to-erp      read and deliver now, with progress
  stecker serve                       do so for as long as this runs
  stecker doctor                      see whether all is well

Commands work in the data folder by themselves, or have a server do it: the one that --server names, or the one that runs
in the data folder. Exit codes: 0 done, 1 failed, 2 not understood."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of every command")]
pub(crate) struct Globals {
    /// The data folder: database, token, cache [default: ~/.local/share/stecker, or below $XDG_DATA_HOME]
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        env = "STECKER_DATA",
        hide_env_values = true
    )]
    pub(crate) data: Option<PathBuf>,
    /// The database, for commands that work in the data folder: sqlite:FILE or postgres://… [default: a file in the data folder]
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STECKER_DATABASE",
        hide_env_values = true
    )]
    pub(crate) database: Option<String>,
    /// The master key of the vault: a file with one key a line, the current one first. STECKER_MASTER_KEY takes the text itself
    /// [default: `master-key` in the data folder, made when it is needed]
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "STECKER_MASTER_KEY_FILE",
        hide_env_values = true
    )]
    pub(crate) master_key_file: Option<PathBuf>,
    /// Have this server do it, such as http://127.0.0.1:7420
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "STECKER_SERVER",
        hide_env_values = true
    )]
    pub(crate) server: Option<String>,
    /// The server's token, as in the file `token` of its data folder
    #[arg(
        long,
        global = true,
        value_name = "TOKEN",
        env = "STECKER_TOKEN",
        hide_env_values = true
    )]
    pub(crate) token: Option<String>,
    /// Whose connections and flows
    #[arg(
        long,
        global = true,
        value_name = "NAME",
        env = "STECKER_TENANT",
        hide_env_values = true,
        default_value = "default"
    )]
    pub(crate) tenant: Name,
    /// Answer with JSON, one value, on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Colours; `auto` uses them on a terminal unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_name = "WHEN",
        default_value = "auto",
        hide_possible_values = true
    )]
    pub(crate) color: Color,
    /// Log more, to standard error; -vv still more. RUST_LOG chooses by module
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How the log is written: text or json
    #[arg(
        long,
        global = true,
        value_name = "FORMAT",
        default_value = "text",
        hide_possible_values = true
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    Auto,
    Always,
    Never,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make connections and flows as a file says, all or nothing
    #[command(after_help = "Examples:
  stecker apply -f setup.toml
  stecker apply -f setup.toml --dry-run       the same as `stecker plan`

Plugins that the file names by path (relative to the file) are added as releases. What the file does not name stays as it
is. `stecker schema setup` prints the file's JSON Schema, for editors.")]
    Apply(Apply),
    /// Show what `apply` would change
    #[command(after_help = "Examples:
  stecker plan -f setup.toml
  stecker plan -f setup.toml --json

Plugins that the file names by path are added as releases, because configurations are checked against them; nothing else
changes.")]
    Plan(SetupFile),
    /// Connections: systems that are connected
    #[command(
        subcommand,
        after_help = "Examples:
  stecker connection list
  stecker connection check shop"
    )]
    Connection(Connection),
    /// Flows: run, watch, pause
    #[command(
        subcommand,
        after_help = "Examples:
  stecker flow list
  stecker flow run orders-to-erp
  stecker flow pause orders-to-erp --reason 'stock-taking'"
    )]
    Flow(Flow),
    /// Records: what was read and what became of it
    #[command(
        subcommand,
        after_help = "Examples:
  stecker records list --flow orders-to-erp --state retrying
  stecker records show orders-to-erp/1042"
    )]
    Records(Records),
    /// Explain why a record is where it is: its story across systems, the cause, whom else it hits, what to do
    #[command(after_help = "Examples:
  stecker explain SO-001042
  stecker explain 1042                        the end of a key or its number is enough, if only one fits
  stecker explain SALE-000042 --full          the id at a destination; every event
  stecker explain 1042 --flow orders-to-erp --json

It says how sure it is and on what evidence, and that it does not know where it does not. docs/explain.md has the causes.")]
    Explain(Explain),
    /// Quarantine: records that need a decision
    #[command(
        subcommand,
        after_help = "Examples:
  stecker quarantine groups
  stecker quarantine edit orders-to-erp/1042 --reason 'wrong SKU'
  stecker quarantine retry --group 3f1c0d9a5b7e
  stecker quarantine discard orders-to-erp/1042 --reason 'test order'"
    )]
    Quarantine(Quarantine),
    /// Compare a flow's two ends, and repair what differs
    #[command(after_help = "Examples:
  stecker reconcile orders-to-erp                                  report only
  stecker reconcile orders-to-erp --repair missing,different
  stecker reconcile orders-to-erp --full                           against the source, read again
  stecker reconcile list orders-to-erp
  stecker reconcile show 3f1c0d9a5b7e

By the ledger: was anything lost or changed at the destination after it was delivered? With --full: did everything that the
source has now arrive, whatever the ledger knows of it? What is there and not known here is deleted only with
`--repair extra-delete`.")]
    Reconcile(Reconcile),
    /// Replays: records sent again on purpose
    #[command(
        subcommand,
        after_help = "Examples:
  stecker replay start orders-to-erp --since 2h --dry-run
  stecker replay start orders-to-erp --since 2h --reason 'ERP restored from its backup'
  stecker replay list"
    )]
    Replay(Replay),
    /// Storage: how much room everything takes, and giving it back
    #[command(after_help = "Examples:
  stecker storage
  stecker storage --json
  stecker storage vacuum --dry-run")]
    Storage(Storage),
    /// Secrets: the encrypted vault that connections take theirs from
    #[command(
        subcommand,
        after_help = "Examples:
  stecker secret set shop api
  stecker secret list
  stecker secret authorize shop oauth --redirect-uri https://stecker.acme.example/oauth/callback"
    )]
    Secret(Secret),
    /// Webhooks: have events sent to others, signed
    #[command(
        subcommand,
        after_help = "Examples:
  stecker webhook add ops https://hooks.acme.example/stecker --event record.quarantined
  stecker webhook test ops
  stecker webhook deliveries ops"
    )]
    Webhook(Webhook),
    /// Upstreams: what the systems behind connections still take, and which of them are down
    #[command(
        subcommand,
        after_help = "Examples:
  stecker upstream list
  stecker upstream show erp
  stecker upstream close erp --reason 'the ERP is back'"
    )]
    Upstream(Upstream),
    /// Denials: what plugins asked for and were refused
    #[command(
        subcommand,
        after_help = "Examples:
  stecker denials list --connection shop
  stecker denials show 3f1c0d9a5b7e2468"
    )]
    Denials(Denials),
    /// Tenants: what they may have in all, and what they used today
    #[command(
        subcommand,
        after_help = "Examples:
  stecker tenant list
  stecker tenant show --tenant acme
  stecker tenant limit limits.toml --tenant acme"
    )]
    Tenant(Tenant),
    /// Releases: plugins that the host has
    #[command(
        subcommand,
        after_help = "Examples:
  stecker release list
  stecker release add target/plugins/acme-shop-1.0.0.wasm"
    )]
    Release(Release),
    /// Write, build and look at plugins
    #[command(
        subcommand,
        after_help = "Examples:
  stecker plugin new acme/shop --kind source
  stecker plugin build shop
  stecker plugin inspect shop/target/plugins/acme-shop-0.1.0.wasm"
    )]
    Plugin(Plugin),
    /// Run flows and answer requests, until SIGTERM or ctrl-c
    #[command(after_help = "Examples:
  stecker serve
  stecker serve --listen 127.0.0.1:0 --json       any free port; prints where, as JSON
  stecker serve --database postgres://stecker@db.internal/stecker
  stecker serve --dns 10.0.0.53:53 --dns 10.0.1.53:53

API at /api/v1 (described by /api/v1/openapi.json), webhooks at /hooks/TENANT/CONNECTION, health at /healthz and /readyz,
Prometheus metrics at /metrics. The token is in the file `token` of the data folder.")]
    Serve(Serve),
    /// See whether all is well, and what to do if not
    #[command(after_help = "Examples:
  stecker doctor
  stecker doctor --json")]
    Doctor,
    /// Print a JSON Schema or the OpenAPI document
    #[command(after_help = "Examples:
  stecker schema setup > setup.schema.json
  stecker schema openapi")]
    Schema {
        /// Of what
        what: Schema,
    },
    /// Print completions for a shell
    #[command(after_help = "Examples:
  stecker completion bash > ~/.local/share/bash-completion/completions/stecker
  stecker completion zsh > ~/.zfunc/_stecker")]
    Completion {
        /// Which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, Args)]
pub(crate) struct SetupFile {
    /// A setup: TOML or JSON, by its extension
    #[arg(short, long, value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Debug, Args)]
pub(crate) struct Apply {
    #[command(flatten)]
    pub(crate) setup: SetupFile,
    /// Only show what would change
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Connection {
    /// List connections
    #[command(after_help = "Examples:\n  stecker connection list\n  stecker connection list --json")]
    List,
    /// Show a connection, and the last crash if it is not called
    #[command(
        after_help = "Examples:\n  stecker connection show shop\n  stecker connection show shop --json"
    )]
    Show {
        /// The connection
        name: Name,
    },
    /// Stop a connection: nothing of it is called until its circuit is closed
    #[command(
        after_help = "Examples:\n  stecker connection open-circuit erp --reason 'the ERP is being moved'\n\nFlows wait, records stay, webhooks are stored."
    )]
    OpenCircuit {
        /// The connection
        name: Name,
        /// Why; shown with the connection and its flows
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Have a connection called again that crashed too often or was stopped
    #[command(
        after_help = "Examples:\n  stecker connection close-circuit erp\n  stecker connection close-circuit erp --reason 'memory raised'"
    )]
    CloseCircuit {
        /// The connection
        name: Name,
        /// Why; kept in the audit trail
        #[arg(long, value_name = "TEXT", default_value = "closed by hand")]
        reason: String,
    },
    /// Try a connection; fails if a probe does
    #[command(after_help = "Examples:\n  stecker connection check shop")]
    Check {
        /// The connection
        name: Name,
    },
    /// List the streams of a connection
    #[command(
        after_help = "Examples:\n  stecker connection discover shop\n  stecker connection discover shop --json   with the schema of each"
    )]
    Discover {
        /// The connection
        name: Name,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Flow {
    /// List flows and their accounts
    #[command(after_help = "Examples:\n  stecker flow list\n  stecker flow list --json")]
    List,
    /// Read the source to its end and deliver what is due, with progress
    #[command(after_help = "Examples:
  stecker flow run orders-to-erp
  stecker flow run orders-to-erp --timeout 10m
  stecker flow run orders-to-erp --no-wait       only ask the server for it

Fails if the source cannot be read. Records that go into quarantine are part of the account, not a failure.")]
    Run {
        /// The flow
        name: Name,
        /// Give up waiting after this long; the flow goes on where it is
        #[arg(long, value_name = "PERIOD")]
        timeout: Option<Period>,
        /// Do not wait for the end; needs a server
        #[arg(long, conflicts_with = "timeout")]
        no_wait: bool,
    },
    /// Show a flow and its account
    #[command(
        after_help = "Examples:\n  stecker flow status orders-to-erp\n  stecker flow status orders-to-erp --json"
    )]
    Status {
        /// The flow
        name: Name,
    },
    /// Read and deliver nothing until resumed
    #[command(
        after_help = "Examples:\n  stecker flow pause orders-to-erp --reason 'stock-taking until noon'"
    )]
    Pause {
        /// The flow
        name: Name,
        /// Why; shown with the flow
        #[arg(long, value_name = "TEXT", default_value = "paused by hand")]
        reason: String,
    },
    /// End a pause
    #[command(after_help = "Examples:\n  stecker flow resume orders-to-erp")]
    Resume {
        /// The flow
        name: Name,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Records {
    /// List records
    #[command(after_help = "Examples:
  stecker records list --flow orders-to-erp
  stecker records list --state quarantined --all --json
  stecker records list --flow orders-to-erp --key ORD-1042")]
    List(RecordQuery),
    /// Show a record and every attempt to deliver it
    #[command(after_help = "Examples:
  stecker records show orders-to-erp/1042
  stecker records show orders-to-erp/1042 --steps

--steps runs the flow's transforms again on its payload, now, on the current releases, and shows what each makes of it and what
would be sent. Nothing is sent.")]
    Show {
        /// The record: flow and number
        id: RecordId,
        /// What each transform makes of it, and what would be sent
        #[arg(long)]
        steps: bool,
    },
}

#[derive(Debug, Args)]
pub(crate) struct RecordQuery {
    /// Of this flow
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<Name>,
    /// In this state: queued, sending, retrying, unknown, delivered, quarantined, dropped, discarded
    #[arg(long, value_name = "STATE", value_parser = record_state)]
    pub(crate) state: Option<RecordState>,
    /// Of exactly this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// With this code of the last error
    #[arg(long, value_name = "CODE")]
    pub(crate) reason: Option<String>,
    /// At most this many, 1 to 1000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    pub(crate) limit: u32,
    /// Those after this one
    #[arg(long, value_name = "ID")]
    pub(crate) after: Option<RecordId>,
    /// All of them, page after page
    #[arg(long)]
    pub(crate) all: bool,
}

/// A moment (RFC 3339; without an offset in UTC; a day is its midnight), or a period ago; milliseconds since 1970.
fn moment(text: &str) -> Result<i64, String> {
    if let Ok(period) = text.parse::<Period>() {
        let ago = i64::try_from(period.duration().as_millis()).unwrap_or(i64::MAX);
        return Ok(jiff::Timestamp::now().as_millisecond().saturating_sub(ago));
    }
    if let Ok(moment) = text.parse::<jiff::Timestamp>() {
        return Ok(moment.as_millisecond());
    }
    text.parse::<jiff::civil::DateTime>()
        .and_then(|local| local.to_zoned(jiff::tz::TimeZone::UTC))
        .map(|moment| moment.timestamp().as_millisecond())
        .map_err(|_| {
            "give a moment such as 2026-11-27T10:00:00Z, a day such as 2026-11-27, or a period ago such as 2h"
                .to_owned()
        })
}

fn record_state(text: &str) -> Result<RecordState, String> {
    RecordState::parse(text).ok_or_else(|| {
        let states = RecordState::ALL.map(RecordState::as_str);
        format!("there is no such state; the states are {}", states.join(", "))
    })
}

#[derive(Debug, Subcommand)]
pub(crate) enum Denials {
    /// List what was denied, folded by kind, the latest first
    #[command(after_help = "Examples:
  stecker denials list
  stecker denials list --connection shop --rule http.host
  stecker denials list --since 1h --json")]
    List {
        /// Of this connection
        #[arg(long, value_name = "NAME")]
        connection: Option<Name>,
        /// Of the transforms of this flow
        #[arg(long, value_name = "NAME", conflicts_with = "connection")]
        flow: Option<Name>,
        /// By this rule, such as http.host
        #[arg(long)]
        rule: Option<String>,
        /// That happened within this time
        #[arg(long, value_name = "PERIOD")]
        since: Option<Period>,
        /// At most this many kinds, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Show a denial, and the smallest grant that would allow it
    #[command(after_help = "Examples:\n  stecker denials show 3f1c0d9a5b7e2468")]
    Show {
        /// As `stecker denials list` names it
        id: String,
    },
    /// Forget denials; what is still asked for comes back
    #[command(after_help = "Examples:\n  stecker denials clear\n  stecker denials clear --connection shop")]
    Clear {
        /// Only those of this connection
        #[arg(long, value_name = "NAME")]
        connection: Option<Name>,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Tenant {
    /// List every tenant of the host, with what it used today
    #[command(after_help = "Examples:\n  stecker tenant list\n  stecker tenant list --json")]
    List,
    /// Show the tenant, and what each connection and flow used today
    #[command(after_help = "Examples:\n  stecker tenant show\n  stecker tenant show --tenant acme --json")]
    Show,
    /// Set what the tenant may have in all
    #[command(after_help = "Examples:
  stecker tenant limit limits.toml --tenant acme

The file, of which everything may be left out:

  memory-mib = 1024        over all instances of the tenant at the same time
  calls = 16               at the same time; more wait their turn

  [[ceiling.http]]         where connections may be granted requests to at most; without [ceiling]: anywhere
  host = \"*.example.com\"

  [ceiling.storage]        what each connection may be granted at most
  max-bytes = 1048576

  [[receivers]]            where webhooks may be sent besides https at public hosts
  host = \"hooks.internal\"
  schemes = [\"http\"]
  addresses = [\"10.1.2.0/24\"]

What is left out is as usual. It counts from the next call on.")]
    Limit {
        /// TOML or JSON, by its extension
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Release {
    /// List releases
    #[command(after_help = "Examples:\n  stecker release list\n  stecker release list --json")]
    List,
    /// Add a component; the same one again changes nothing
    #[command(after_help = "Examples:\n  stecker release add target/plugins/acme-shop-1.0.0.wasm")]
    Add {
        /// The component
        file: PathBuf,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Plugin {
    /// Write a new plugin that builds and has a test
    #[command(after_help = "Examples:
  stecker plugin new acme/shop --kind source
  stecker plugin new acme/ledger --kind destination --path connectors/ledger
  stecker plugin new acme/clean-up --kind transform --sdk-path ../stecker/plugin-sdk/rust")]
    New(NewPlugin),
    /// Build the plugins of a folder
    #[command(after_help = "Examples:
  stecker plugin build
  stecker plugin build plugins --only acme/shop --out dist

The first build may fetch a compiler for WebAssembly; that takes minutes once.")]
    Build(BuildPlugin),
    /// Show what a component is, asks for and says of itself
    #[command(after_help = "Examples:
  stecker plugin inspect target/plugins/acme-shop-0.1.0.wasm
  stecker plugin inspect target/plugins/acme-shop-0.1.0.wasm --json

It runs in the sandbox, without any grant, and is not added to the host.")]
    Inspect {
        /// The component
        file: PathBuf,
    },
}

#[derive(Debug, Args)]
pub(crate) struct NewPlugin {
    /// `namespace/name`
    pub(crate) name: stecker_registry::PluginName,
    /// What it does
    #[arg(long, value_name = "KIND")]
    pub(crate) kind: Kind,
    /// Where to; not there yet, or empty [default: the name, in this folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) path: Option<PathBuf>,
    /// The SDK as a folder [default: found above the new folder or this one, if it is there]
    #[arg(long, value_name = "DIR")]
    pub(crate) sdk_path: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// Reads records from a system
    Source,
    /// Writes records to a system
    Destination,
    /// Makes records into other records
    Transform,
}

#[derive(Debug, Args)]
pub(crate) struct BuildPlugin {
    /// A plugin's folder, or that of a workspace of plugins
    #[arg(default_value = ".")]
    pub(crate) dir: PathBuf,
    /// Only this one, by name or by Cargo package; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Where the components go [default: plugins, in Cargo's target folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Quick to build, large and slow; not to be published
    #[arg(long)]
    pub(crate) debug: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Address and port; port 0 takes a free one. Beyond loopback others can reach it, unencrypted
    #[arg(
        long,
        value_name = "ADDRESS",
        default_value = "127.0.0.1:7420",
        env = "STECKER_LISTEN",
        hide_env_values = true
    )]
    pub(crate) listen: SocketAddr,
    /// How long the flows of a node that died wait for another one (several nodes on one Postgres)
    #[arg(long, value_name = "PERIOD", default_value = "6s")]
    pub(crate) lease: Period,
    /// A name server that the hosts of plugins' requests are looked up with; may be given several times [default: the system's
    /// way, with its hosts file]
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) dns: Vec<SocketAddr>,
    /// How long webhook calls that came in are kept, as they came, after they were understood
    #[arg(long, value_name = "PERIOD", default_value = "7d")]
    pub(crate) keep_calls: Period,
    /// How long the ids of vendors' events are kept; one that is repeated later is taken again
    #[arg(long, value_name = "PERIOD", default_value = "30d")]
    pub(crate) keep_event_ids: Period,
}

impl Serve {
    pub(crate) fn lease(&self) -> Duration {
        self.lease.duration()
    }

    pub(crate) fn retention(&self) -> stecker_server::Retention {
        stecker_server::Retention {
            calls: self.keep_calls.duration(),
            event_ids: self.keep_event_ids.duration(),
            ..stecker_server::Retention::default()
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Schema {
    /// The file that `apply` takes
    Setup,
    /// The file plugin.toml
    Manifest,
    /// The API of `serve`
    Openapi,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words of a command line, for what a POSIX shell would make of single quotes.
    fn words(line: &str) -> Vec<String> {
        let mut words = vec![String::new()];
        let (mut within, mut escaped) = (false, false);
        for c in line.chars() {
            let word = words.last_mut().unwrap();
            match c {
                _ if escaped => {
                    word.push(c);
                    escaped = false;
                }
                '\'' => within = !within,
                '\\' if !within => escaped = true,
                ' ' if !within => words.push(String::new()),
                _ => word.push(c),
            }
        }
        words
    }

    #[test]
    fn every_command_that_people_are_told_to_run_is_one() {
        let tenant = "acme".parse().unwrap();
        for command in stecker_model::OperatorCommand::examples() {
            let line = command.line(&tenant);
            let words = words(&line);
            assert_eq!(words.get(3..), Some(&*command.words()), "{line}");
            let parsed = Cli::try_parse_from(&words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    #[test]
    fn moments_are_read_as_people_write_them() {
        for (text, millis) in [
            ("2026-11-27T10:00:00Z", 1_795_773_600_000),
            ("2026-11-27T10:00Z", 1_795_773_600_000),
            ("2026-11-27T11:00:00+01:00", 1_795_773_600_000),
            ("2026-11-27T10:00:00", 1_795_773_600_000),
            ("2026-11-27", 1_795_737_600_000),
        ] {
            assert_eq!(moment(text), Ok(millis), "{text}");
        }
        let ago = jiff::Timestamp::now().as_millisecond() - moment("2h").unwrap();
        assert!((7_200_000..7_260_000).contains(&ago), "{ago}");
        for bad in ["", "yesterday", "2026-13-01", "2"] {
            assert!(moment(bad).unwrap_err().contains("2h"), "{bad}");
        }
    }
}
