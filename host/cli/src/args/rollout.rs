//! The words of `stecker upgrade` and `stecker rollout`.

use clap::{Args, Subcommand};
use stecker_model::{Digest, Name, Period};

#[derive(Debug, Args)]
pub(crate) struct Upgrade {
    /// The connection
    #[arg(required_unless_present = "all_of", conflicts_with = "all_of")]
    pub(crate) connection: Option<Name>,
    /// Every connection that runs this plugin, such as acme/shop
    #[arg(long, value_name = "PLUGIN")]
    pub(crate) all_of: Option<String>,
    /// The release: a range of versions of the same plugin (=2.0.0, ^2) or a digest (sha256:…)
    #[arg(long, value_name = "RANGE|DIGEST")]
    pub(crate) to: String,
    /// Play it this many recorded calls of each connection first, without a network
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub(crate) shadow: Option<u32>,
    /// Share of the connections that is moved first [default: 10%]
    #[arg(long, value_name = "PERCENT", value_parser = percent)]
    pub(crate) canary: Option<u8>,
    /// For how long those that were moved are watched [default: 15m]
    #[arg(long, value_name = "TIME")]
    pub(crate) bake: Option<Period>,
    /// The configuration for the new release, where that is another one: a JSON file
    #[arg(long, value_name = "FILE", conflicts_with = "all_of")]
    pub(crate) config: Option<std::path::PathBuf>,
    /// Approve beforehand of what otherwise waits for that, such as wider capabilities
    #[arg(long)]
    pub(crate) approve: bool,
    /// Why; kept with the rollout
    #[arg(long, value_name = "TEXT", required_unless_present = "plan")]
    pub(crate) reason: Option<String>,
    /// Its name [default: one is made]
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// Only say what would happen
    #[arg(long, alias = "dry-run")]
    pub(crate) plan: bool,
    /// Wait until it is over, with progress; fails if it is not promoted
    #[arg(long)]
    pub(crate) wait: bool,
}

fn percent(text: &str) -> Result<u8, String> {
    let number = text.strip_suffix('%').unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|percent| (1..=100).contains(percent))
        .ok_or_else(|| "give 1% to 100%".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum Rollout {
    /// List rollouts, the newest first
    #[command(after_help = "Examples:\n  stecker rollout list\n  stecker rollout list --json")]
    List,
    /// Show a rollout and how far it is
    #[command(
        after_help = "Examples:\n  stecker rollout status shop-2\n  stecker rollout status shop-2 --wait"
    )]
    Status {
        /// The rollout
        name: Name,
        /// Wait until it is over, with progress; fails if it is not promoted
        #[arg(long)]
        wait: bool,
    },
    /// Have it wait where it is
    #[command(after_help = "Examples:\n  stecker rollout pause shop-2")]
    Pause {
        /// The rollout
        name: Name,
    },
    /// Have it go on
    #[command(after_help = "Examples:\n  stecker rollout resume shop-2")]
    Resume {
        /// The rollout
        name: Name,
    },
    /// Approve of it, or end the watching: what was moved counts as done well
    #[command(after_help = "Examples:\n  stecker rollout promote shop-2")]
    Promote {
        /// The rollout
        name: Name,
    },
    /// End it; what was moved goes back to the release before, with its cursor and storage
    #[command(after_help = "Examples:\n  stecker rollout abort shop-2")]
    Abort {
        /// The rollout
        name: Name,
    },
    /// List releases that no rollout moves to
    #[command(after_help = "Examples:\n  stecker rollout barred")]
    Barred,
    /// Have no rollout move to a release
    #[command(after_help = "Examples:\n  stecker rollout bar sha256:… --reason 'loses line items'")]
    Bar {
        /// The release
        digest: Digest,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
    /// Lift that
    #[command(after_help = "Examples:\n  stecker rollout unbar sha256:…")]
    Unbar {
        /// The release
        digest: Digest,
    },
}
