//! The words of `stecker replay` and `stecker storage`.

use clap::{Args, Subcommand};
use stecker_model::{Name, RecordState};

use super::{moment, record_state};

#[derive(Debug, Subcommand)]
pub(crate) enum Replay {
    /// Send records of a flow again, or see what that would change
    #[command(after_help = "Examples:
  stecker replay start orders-to-erp --since 2026-11-27T08:00Z --until 2026-11-27T10:00Z --dry-run
  stecker replay start orders-to-erp --since 2h --reason 'ERP restored from its backup' --rate 20
  stecker replay start orders-to-erp --key ORD-1042 --reason 'booked into the wrong year'
  stecker replay start orders-to-erp --from-seq 1 --to-seq 500 --only-state dropped --reason 'filter corrected'

They go the usual way: through the transforms as they are now, with the idempotency keys that they always had, in order. The
set is what the ledger holds at this moment. Records of which a newer state is there are left out and counted, because they
would overwrite it; --all-versions sends them too. --dry-run asks the destination what it has, and writes nothing.")]
    Start(StartReplay),
    /// List replays, the newest first
    #[command(
        after_help = "Examples:\n  stecker replay list\n  stecker replay list --flow orders-to-erp --json"
    )]
    List {
        /// Of this flow
        #[arg(long, value_name = "NAME")]
        flow: Option<Name>,
    },
    /// Show a replay and how far it is
    #[command(
        after_help = "Examples:\n  stecker replay show replay-3f1c0d9a\n  stecker replay show replay-3f1c0d9a --wait"
    )]
    Show {
        /// The replay
        name: Name,
        /// Wait until it is over, with progress; needs a server
        #[arg(long)]
        wait: bool,
    },
    /// Queue nothing more until resumed
    #[command(after_help = "Examples:\n  stecker replay pause replay-3f1c0d9a")]
    Pause {
        /// The replay
        name: Name,
    },
    /// Go on where it was
    #[command(after_help = "Examples:\n  stecker replay resume replay-3f1c0d9a")]
    Resume {
        /// The replay
        name: Name,
    },
    /// End it for good; what was queued before goes its way
    #[command(after_help = "Examples:\n  stecker replay abort replay-3f1c0d9a")]
    Abort {
        /// The replay
        name: Name,
    },
}

#[derive(Debug, Args)]
pub(crate) struct StartReplay {
    /// The flow
    pub(crate) flow: Name,
    #[command(flatten)]
    pub(crate) range: Range,
    /// In this state: delivered, dropped or discarded; may be given several times [default: delivered]
    #[arg(long, value_name = "STATE", value_parser = record_state)]
    pub(crate) only_state: Vec<RecordState>,
    /// Also records of which a newer state of the same thing is there
    #[arg(long)]
    pub(crate) all_versions: bool,
    /// Why; kept with the job and the records
    #[arg(long, value_name = "TEXT", required_unless_present = "dry_run")]
    pub(crate) reason: Option<String>,
    /// Its name [default: one is made]
    #[arg(long)]
    pub(crate) name: Option<Name>,
    /// At most this many a second: 20 or 20/s, up to 10000 [default: 100]
    #[arg(long, value_name = "N/s", value_parser = rate)]
    pub(crate) rate: Option<u32>,
    /// Only show what would be sent, and what that would change at the destination
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// With --dry-run: look at this many records at most
    #[arg(long, value_name = "N", default_value_t = 1_000, requires = "dry_run", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) limit: u64,
    /// With --dry-run: only count, without asking the destination
    #[arg(long, requires = "dry_run")]
    pub(crate) no_compare: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Range {
    /// Accepted then or later: a moment (RFC 3339) or a period ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<i64>,
    /// Accepted before then
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<i64>,
    /// Of exactly this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// With this number or a higher one
    #[arg(long, value_name = "N")]
    pub(crate) from_seq: Option<i64>,
    /// With this number or a lower one
    #[arg(long, value_name = "N")]
    pub(crate) to_seq: Option<i64>,
}

fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    number
        .parse()
        .ok()
        .filter(|rate| (1..=10_000).contains(rate))
        .ok_or_else(|| "give 1 to 10000 records a second, such as 20/s".to_owned())
}

#[derive(Debug, Args)]
pub(crate) struct Storage {
    #[command(subcommand)]
    pub(crate) command: Option<StorageCommand>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Give space that holds nothing back to the file system
    #[command(after_help = "Examples:
  stecker storage vacuum --dry-run
  stecker storage vacuum
  stecker storage vacuum --full --yes

SQLite gives free pages back piece by piece while everything goes on; --full writes the file anew, and nothing else is written
meanwhile. PostgreSQL does VACUUM, and with --full VACUUM FULL, which locks each table.")]
    Vacuum {
        /// Only say what it would come to
        #[arg(long)]
        dry_run: bool,
        /// Write everything anew; others wait meanwhile, and there has to be room for a copy
        #[arg(long)]
        full: bool,
        /// Do not ask before --full; needed where nobody can be asked
        #[arg(long, short)]
        yes: bool,
    },
}
