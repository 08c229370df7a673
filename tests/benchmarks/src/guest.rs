//! Builds the guests of this crate.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, ensure};
use stecker_build::{BuildRequest, GuestToolchain, TARGET, build_plugins};
use wit_component::ComponentEncoder;

/// Builds the guest in the folder `guests/<name>`, whose package is `<name>-guest`, and returns the component. It is no plugin: it has a
/// contract of its own and no manifest. Progress goes to the callback, what the compiler says to standard error.
///
/// # Errors
/// If there is no toolchain for guests, or the guest does not build.
pub fn build(name: &str, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let path = module(name, progress)?;
    let module = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .with_context(|| format!("{name} cannot be made a component"))
}

/// As [`build`], but stops at the core module; where that is.
///
/// # Errors
/// As there.
pub fn module(name: &str, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let target_dir = target_dir();
    let toolchain = GuestToolchain::find_or_make(progress)?;
    progress(&format!("building the guest {name} with {}", toolchain.version));
    let status = toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(folder(name))
        .env("CARGO_TARGET_DIR", &target_dir)
        .stdout(std::io::stderr())
        .status()
        .context("cargo could not be started")?;
    ensure!(status.success(), "the guest {name} did not build");
    Ok(target_dir
        .join(TARGET)
        .join("release")
        .join(format!("{}_guest.wasm", name.replace('-', "_"))))
}

/// Builds the plugin in the folder `guests/<name>` as `stecker plugin build` would, and returns its bytes.
///
/// # Errors
/// As [`build`].
pub fn plugin(name: &str, progress: &dyn Fn(&str)) -> Result<Vec<u8>> {
    let target_dir = target_dir();
    let request = BuildRequest {
        workspace_dir: folder(name),
        out_dir: Some(target_dir.join("plugins")),
        target_dir: Some(target_dir),
        ..BuildRequest::default()
    };
    let built = build_plugins(&GuestToolchain::find_or_make(progress)?, &request, progress)?;
    let [plugin] = built.as_slice() else {
        anyhow::bail!("{name} is not one plugin");
    };
    fs::read(&plugin.path).with_context(|| format!("{} cannot be read", plugin.path.display()))
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("guests").join(name)
}

/// Apart from what is built natively, by another compiler.
fn target_dir() -> PathBuf {
    env::var_os("CARGO_TARGET_DIR")
        .map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target"),
            PathBuf::from,
        )
        .join("guest")
}
