//! The words of `stecker reconcile`.

use clap::{Args, Subcommand};
use stecker_model::{Name, Period, RepairKind};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Reconcile {
    #[command(subcommand)]
    pub(crate) command: Option<ReconcileCommand>,
    #[command(flatten)]
    pub(crate) start: Option<StartReconcile>,
}

#[derive(Debug, Args)]
pub(crate) struct StartReconcile {
    /// The flow
    pub(crate) flow: Name,
    /// Read the source again from its beginning, in place of going by the ledger
    #[arg(long)]
    pub(crate) full: bool,
    /// Repair these kinds of differences: missing, different, extra-delete
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub(crate) repair: Vec<RepairKind>,
    /// Only tell; what happens without --repair
    #[arg(long, conflicts_with = "repair")]
    pub(crate) dry_run: bool,
    /// Records that are queued again in a second at most, 1 to 10000
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) rate: u32,
    /// Give up waiting after this long; a server goes on
    #[arg(long, value_name = "PERIOD")]
    pub(crate) timeout: Option<Period>,
    /// Do not wait for the end; needs a server
    #[arg(long, conflicts_with = "timeout")]
    pub(crate) no_wait: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReconcileCommand {
    /// List comparisons, the latest first
    #[command(
        after_help = "Examples:\n  stecker reconcile list\n  stecker reconcile list orders-to-erp --json"
    )]
    List {
        /// Of this flow
        flow: Option<Name>,
        /// At most this many, 1 to 1000
        #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=1_000))]
        limit: u32,
    },
    /// Show a comparison and what it found
    #[command(
        after_help = "Examples:\n  stecker reconcile show 3f1c0d9a5b7e\n  stecker reconcile show 3f1c0d9a5b7e --json"
    )]
    Show {
        /// As `stecker reconcile list` names it
        id: String,
    },
    /// End a comparison before it is over; what it queued stays queued
    #[command(after_help = "Examples:\n  stecker reconcile abort 3f1c0d9a5b7e")]
    Abort {
        /// As `stecker reconcile list` names it
        id: String,
    },
}
