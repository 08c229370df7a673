//! Builds the guests of this crate. They are no plugins: they have a contract of their own and no manifest.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use stecker_build::{GuestToolchain, TARGET};
use wit_component::ComponentEncoder;

/// Builds the guest in the folder `guests/<name>`, whose package is `<name>-guest`, and returns the component. Progress goes to the callback,
/// what the compiler says to standard error.
///
/// # Errors
/// If there is no toolchain for guests, or the guest does not build.
pub fn build(name: &str, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target_dir: PathBuf = here.join("../../target/guest");
    let toolchain = GuestToolchain::find_or_make(progress)?;
    progress(&format!("building the guest {name} with {}", toolchain.version));
    let status = toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(here.join("guests").join(name))
        .env("CARGO_TARGET_DIR", &target_dir)
        .stdout(std::io::stderr())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "the guest {name} did not build");
    let module = target_dir
        .join(TARGET)
        .join("release")
        .join(format!("{}_guest.wasm", name.replace('-', "_")));
    let module = fs::read(&module).with_context(|| format!("{} cannot be read", module.display()))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("{name} cannot be made a component"))
}
