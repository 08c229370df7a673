//! The words of `stecker denials`.

use clap::Subcommand;
use stecker_model::{Name, Period};

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
