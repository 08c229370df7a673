//! Builds the denial suite's probe.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use stecker_build::{GuestToolchain, TARGET};
use wit_component::ComponentEncoder;

use crate::artifacts::workspace;

/// The component of `tests/denials/guests/probe`, without a manifest. What the compiler says goes to standard error.
///
/// # Errors
/// There is no toolchain for guests, or the guest does not build.
pub fn build(target_dir: &Path, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let toolchain = GuestToolchain::find_or_make(progress)?;
    progress(&format!("building the probe with {}", toolchain.version));
    let status = toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(workspace().join("tests/denials/guests/probe"))
        .env("CARGO_TARGET_DIR", target_dir)
        .stdout(std::io::stderr())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "the probe did not build");
    let module = target_dir.join(TARGET).join("release/probe.wasm");
    let module = fs::read(&module).with_context(|| format!("{} cannot be read", module.display()))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .context("the probe cannot be made a component")
}
