//! The words of the command line.

mod check;
mod connection;
mod denials;
mod explain;
mod flow;
mod manage;
mod plugin;
mod publish;
mod quarantine;
mod reconcile;
mod records;
mod registry;
mod replay;
mod rollout;
mod secret;
mod shadow;
mod trust;
mod upstream;
mod webhook;

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use stecker_model::{Name, Period};

pub(crate) use check::{CheckPlugin, Stage};
pub(crate) use connection::Connection;
pub(crate) use denials::Denials;
pub(crate) use explain::Explain;
pub(crate) use flow::Flow;
pub(crate) use manage::{DeprecatePlugin, InfoOf, ReleaseOf, SearchPlugins, YankPlugin};
pub(crate) use plugin::{BuildPlugin, Kind, NewPlugin, Plugin, Release};
pub(crate) use publish::{AtRegistry, Key, KeyKind, PublishPlugin, PullPlugin, Sign, Versions};
pub(crate) use quarantine::{Decision, Edit, Quarantine, Selection};
pub(crate) use reconcile::{Reconcile, ReconcileCommand, StartReconcile};
pub(crate) use records::{RecordQuery, Records};
use records::{moment, record_state};
pub(crate) use registry::{Registry, ServeRegistry};
pub(crate) use replay::{Replay, StartReplay, Storage, StorageCommand};
pub(crate) use rollout::{Rollout, Upgrade};
pub(crate) use secret::{Secret, SetSecret};
pub(crate) use shadow::{Shadow, Tape};
pub(crate) use trust::Trust;
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

#[derive(Debug, Args)]
pub(crate) struct Lock {
    #[command(flatten)]
    pub(crate) setup: SetupFile,
    /// Choose anew what is locked already
    #[arg(long)]
    pub(crate) update: bool,
}

#[derive(Debug, Args)]
pub(crate) struct AtRisk {
    /// The day, such as 2027-04-01
    #[arg(long, value_name = "DATE")]
    pub(crate) by: jiff::civil::Date,
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
    /// Write down which release each plugin of a setup comes to
    #[command(after_help = "Examples:
  stecker lock -f setup.toml
  stecker lock -f setup.toml --update         move to the newest releases that the setup accepts

A setup names plugins by name and range (`plugin = { name = \"acme/shop\", version = \"1.4\", upgrade = \"minor\" }`). The lock file
beside it (setup.lock) has their digests: keep it in version control, and `stecker apply` runs the same releases everywhere.")]
    Lock(Lock),
    /// List uses of plugins that are behind, or whose release should not be used any more
    #[command(after_help = "Examples:\n  stecker outdated\n  stecker outdated --json")]
    Outdated,
    /// List uses of plugins that stop working by a day, because a vendor ends the version of its API
    #[command(
        after_help = "Examples:\n  stecker at-risk --by 2027-04-01\n  stecker at-risk --by 2027-04-01 --json"
    )]
    AtRisk(AtRisk),
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
    /// Move connections to another release while they work, watched, and back if it does worse
    #[command(after_help = "Examples:
  stecker upgrade shop --to '^2' --plan
  stecker upgrade shop --to =2.0.0 --bake 15m --reason 'v1 of the API ends in October' --wait
  stecker upgrade --all-of acme/shop --to =2.0.0 --canary 10% --reason 'v1 ends'

The release is loaded, verified and tried with the live configuration first; then connections are moved at a checkpoint, without a pause
and without a lost record, and watched. If the new release does worse than the one before, beyond chance, they go back by themselves, to
the cursor and the storage that they had, and the release is barred. docs/rollouts.md has the whole story.")]
    Upgrade(Upgrade),
    /// Rollouts: watch them, pause, approve, end
    #[command(
        subcommand,
        after_help = "Examples:
  stecker rollout list
  stecker rollout status rollout-3f1c0d9a --wait
  stecker rollout abort rollout-3f1c0d9a"
    )]
    Rollout(Rollout),
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
    /// Try another release on recorded calls of a connection, and see what it would have done differently
    #[command(after_help = "Examples:
  stecker tape start shop --for 1h
  stecker shadow shop --release acme/shop@1.5
  stecker shadow shop --release acme/shop@1.5 --ignore /updated_at --ignore /lines/*/id --calls 50

The network is closed, nothing is written, clock and random bytes are those of the recording. Exit code 0 if it does the same.")]
    Shadow(Shadow),
    /// Tapes: recorded calls of connections
    #[command(
        subcommand,
        after_help = "Examples:
  stecker tape start shop --for 1h --calls 200
  stecker tape list shop
  stecker tape export shop --to fixtures"
    )]
    Tape(Tape),
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
    /// Keys to sign releases and trust roots with
    #[command(
        subcommand,
        after_help = "Examples:
  stecker key new author.pem
  stecker key show author.pem"
    )]
    Key(Key),
    /// Sign a component
    #[command(after_help = "Examples:
  stecker sign acme-shop-1.4.0.wasm --key author.pem
  stecker sign acme-shop-1.4.0.wasm --key author.pem --output shop.sigstore.json

The signature is a Sigstore bundle over the digests of component and manifest, with name and version.")]
    Sign(Sign),
    /// A registry of plugins, for every OCI client
    #[command(
        subcommand,
        after_help = "Examples:
  stecker registry serve
  stecker registry user ci < password.txt >> users.txt"
    )]
    Registry(Registry),
    /// Trust: whose releases are loaded, and by which signatures
    #[command(
        subcommand,
        after_help = "Examples:
  stecker trust new root.toml --key operator.pem --output root.json
  stecker trust take root.json
  stecker trust show"
    )]
    Trust(Trust),
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

  [ceiling.blobs]          the same for blobs: of all, and of one
  max-bytes = 1073741824
  max-blob-bytes = 134217728

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
    /// Where blobs are kept; several hosts on one Postgres name the same folder, on a file system that they share [default: in the data folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) blobs: Option<PathBuf>,
    /// How long blobs are kept that nobody uses
    #[arg(long, value_name = "PERIOD", default_value = "90d")]
    pub(crate) keep_blobs: Period,
    /// Serve no registry of plugins beside the API, and ask none which releases were yanked
    #[arg(long)]
    pub(crate) no_registry: bool,
    /// Let whoever has no token pull from the registry
    #[arg(long, conflicts_with = "no_registry")]
    pub(crate) anonymous_pull: bool,
    /// How others reach it, through a proxy, such as `https://stecker.acme.example`; for the document by which `wkg` finds packages
    #[arg(long, value_name = "URL", value_parser = registry::authority, conflicts_with = "no_registry")]
    pub(crate) public_url: Option<String>,
}

impl Serve {
    pub(crate) fn lease(&self) -> Duration {
        self.lease.duration()
    }

    pub(crate) fn retention(&self) -> stecker_server::Retention {
        stecker_server::Retention {
            calls: self.keep_calls.duration(),
            event_ids: self.keep_event_ids.duration(),
            blobs: self.keep_blobs.duration(),
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
