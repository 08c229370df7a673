//! The words of `stecker connection`.

use clap::Subcommand;
use stecker_model::Name;

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
