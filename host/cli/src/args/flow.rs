//! The words of `stecker flow`.

use clap::Subcommand;
use stecker_model::{Name, Period};

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
