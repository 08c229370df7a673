//! The words of `stecker tape` and `stecker shadow`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stecker_model::{Name, Period};

#[derive(Debug, Subcommand)]
pub(crate) enum Tape {
    /// Record the next calls of a connection; it stops by itself
    #[command(after_help = "Examples:
  stecker tape start shop
  stecker tape start shop --for 30m --calls 50

Secrets are never recorded. What systems answer is, sealed with the tenant's key; the last 500 calls or 64 MiB are kept, for 14 days.")]
    Start {
        /// The connection
        connection: Name,
        /// For this long, at most 7d
        #[arg(long = "for", value_name = "PERIOD", default_value = "1h")]
        period: Period,
        /// This many calls
        #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=500))]
        calls: u32,
    },
    /// Stop recording; what was recorded stays
    #[command(after_help = "Examples:\n  stecker tape stop shop")]
    Stop {
        /// The connection
        connection: Name,
    },
    /// List what is recorded, the newest first
    #[command(after_help = "Examples:\n  stecker tape list shop\n  stecker tape list shop --json")]
    List {
        /// The connection
        connection: Name,
    },
    /// Write recorded calls into files, as fixtures for a connector's tests
    #[command(after_help = "Examples:
  stecker tape export shop --to fixtures
  stecker tape export shop --to fixtures --tape 0199c8a4f3e07c52b7d1a3f4c5d6e7f8

One JSON file a call; docs/shadow.md describes the form. Read it before it goes into a repository: it holds what the system answered.")]
    Export {
        /// The connection
        connection: Name,
        /// Into this folder, which is made if it is not there
        #[arg(long, value_name = "FOLDER")]
        to: PathBuf,
        /// Only this one
        #[arg(long, value_name = "ID")]
        tape: Option<String>,
    },
    /// Forget what is recorded
    #[command(after_help = "Examples:\n  stecker tape clear shop")]
    Clear {
        /// The connection
        connection: Name,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Shadow {
    /// The connection whose recorded calls are played again
    pub(crate) connection: Name,
    /// The release to try: a digest, or namespace/name@range for the newest that the range takes
    #[arg(long, value_name = "DIGEST|NAME@RANGE")]
    pub(crate) release: String,
    /// A configuration that it is to have instead of the connection's, as a file with a JSON object
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// On this many of the newest calls
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=500))]
    pub(crate) calls: u32,
    /// Differences at this JSON Pointer and below do not count; `*` stands for any one name or index
    #[arg(long, value_name = "POINTER")]
    pub(crate) ignore: Vec<String>,
    /// It may take this many times the processor time
    #[arg(long, value_name = "RATIO", default_value_t = 3.0)]
    pub(crate) max_cpu_ratio: f64,
}
