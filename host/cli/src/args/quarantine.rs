//! The words of `stecker quarantine`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use stecker_model::{Name, RecordId};

use super::moment;

#[derive(Debug, Subcommand)]
pub(crate) enum Quarantine {
    /// List causes by code, with how many records each has
    #[command(
        after_help = "Examples:\n  stecker quarantine list\n  stecker quarantine list --flow orders-to-erp --json"
    )]
    List {
        /// Of this flow
        #[arg(long, value_name = "NAME")]
        flow: Option<Name>,
    },
    /// Group stuck records by cause: in quarantine, tried again, or looked up
    #[command(after_help = "Examples:
  stecker quarantine groups
  stecker quarantine groups --flow orders-to-erp --json

Messages that differ only in numbers, ids and quoted values are one cause. The id of a group stays the same; `retry` and
`discard` take it as --group.")]
    Groups {
        /// Of this flow
        #[arg(long, value_name = "NAME")]
        flow: Option<Name>,
    },
    /// Correct the payload of a record, and try it again
    #[command(after_help = "Examples:
  stecker quarantine edit orders-to-erp/1042 --reason 'wrong SKU, told by Ada'
  stecker quarantine edit orders-to-erp/1042 --payload corrected.json --reason 'wrong SKU'
  jq '.lines[0].sku = \"MUG-BLU\"' order.json | stecker quarantine edit orders-to-erp/1042 --payload - --reason 'wrong SKU'

Without --payload it opens $VISUAL or $EDITOR. What was there before is kept beside it (`stecker records show`), and the
idempotency key stays, so that the destination books it once.")]
    Edit(Edit),
    /// Try records again
    #[command(after_help = "Examples:
  stecker quarantine retry orders-to-erp/1042 orders-to-erp/1043
  stecker quarantine retry --group 3f1c0d9a5b7e --dry-run
  stecker quarantine retry --flow orders-to-erp --code unknown-product --yes
  stecker quarantine retry --flow orders-to-erp --since 2h --until 2026-11-27T10:00Z

What goes into quarantine after the command began is not met. It can be interrupted and repeated.")]
    Retry(Decision),
    /// Give records up
    #[command(after_help = "Examples:
  stecker quarantine discard orders-to-erp/1042 --reason 'test order'
  stecker quarantine discard --group 3f1c0d9a5b7e --reason 'test orders' --yes")]
    Discard {
        #[command(flatten)]
        decision: Decision,
        /// Why; kept with the records
        #[arg(long, value_name = "TEXT")]
        reason: String,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Edit {
    /// The record: flow and number
    pub(crate) id: RecordId,
    /// The new payload, a JSON text; `-` reads it from standard input
    #[arg(long, value_name = "FILE")]
    pub(crate) payload: Option<PathBuf>,
    /// Why; kept with the record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    /// Leave it in quarantine
    #[arg(long)]
    pub(crate) no_retry: bool,
}

/// Which records, and how sure one is.
#[derive(Debug, Args)]
pub(crate) struct Decision {
    #[command(flatten)]
    pub(crate) selection: Selection,
    /// Only show how many it would meet, and some of them
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Do not ask; needed where nobody can be asked
    #[arg(long, short)]
    pub(crate) yes: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct Selection {
    /// These records
    #[arg(value_name = "ID", conflicts_with_all = ["flow", "group", "code", "key", "since", "until"])]
    pub(crate) ids: Vec<RecordId>,
    /// Of this flow
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<Name>,
    /// With this cause, as `stecker quarantine groups` names it
    #[arg(long, value_name = "ID")]
    pub(crate) group: Option<String>,
    /// With this code
    #[arg(long, value_name = "CODE")]
    pub(crate) code: Option<String>,
    /// Of exactly this key
    #[arg(long)]
    pub(crate) key: Option<String>,
    /// In quarantine since then or later: a moment (RFC 3339) or a period ago, such as 2h
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) since: Option<i64>,
    /// In quarantine since then or earlier
    #[arg(long, value_name = "TIME", value_parser = moment)]
    pub(crate) until: Option<i64>,
}
