//! The words of `stecker plugin check`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

#[derive(Debug, Args)]
pub(crate) struct CheckPlugin {
    /// The component
    pub(crate) file: PathBuf,
    /// The release before it, to be compared with
    #[arg(long, value_name = "FILE")]
    pub(crate) previous: Option<PathBuf>,
    /// A configuration to run it with, as JSON [default: made from the plugin's own schema]
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// Which gate: that of a registry, or that of a host
    #[arg(long, value_name = "STAGE", default_value = "publish")]
    pub(crate) stage: Stage,
    /// Why its version comes below one that is released already
    #[arg(long, value_name = "REASON")]
    pub(crate) explain: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stage {
    /// Everything, with a run in the sandbox
    Publish,
    /// What protects a host
    Install,
}
