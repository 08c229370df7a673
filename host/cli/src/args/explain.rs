//! The words of `stecker explain`.

use clap::Args;
use stecker_model::Name;

#[derive(Debug, Args)]
pub(crate) struct Explain {
    /// A record's key, its id at a destination, or the beginning or end of one: `1042` finds `SO-001042`
    #[arg(value_name = "KEY")]
    pub(crate) key: String,
    /// Only what this flow did with it
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<Name>,
    /// Every event by itself, and all evidence
    #[arg(long)]
    pub(crate) full: bool,
}
