//! The demo with Vendure and Tryton.

use std::path::Path;

use anyhow::{Result, bail};
use stecker_scenarios::Artifacts;

use super::Demo;

pub(super) async fn run(_: &Demo, _: &Artifacts, _: &Path) -> Result<()> {
    bail!("under construction")
}
