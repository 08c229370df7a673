//! The words of `stecker upstream`.

use clap::Subcommand;
use stecker_model::Name;

#[derive(Debug, Subcommand)]
pub(crate) enum Upstream {
    /// List upstream accounts: what their systems still take, and which of their hosts are down
    #[command(
        after_help = "Examples:\n  stecker upstream list\n  stecker upstream list --json\n\nA connection is an account of its own unless it names one (`[connection.upstream] account = \"shopify-main\"`)."
    )]
    List,
    /// Show an upstream account
    #[command(
        after_help = "Examples:\n  stecker upstream show erp\n  stecker upstream show erp --json\n\nWhat was learned and who waited is what the node that answers knows; holds and breakers are the same on every node."
    )]
    Show {
        /// The account: the one that connections name, or the connection's own name
        account: Name,
    },
    /// Forget a hold or an open breaker; flows go on at once
    #[command(after_help = "Examples:
  stecker upstream close erp --reason 'the ERP is back'

They go on by themselves when the time has come. This is for a person who knows better: whatever still holds comes back with
the next answers.")]
    Close {
        /// The account
        account: Name,
        /// Why; kept in the audit trail
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}
