//! Plugins built against each version of the contract and kept as bytes, as plugins out there are: nobody builds those again for a new host.
//!
//! A plugin is made once, when its version is published (`make-corpus VERSION`), from `tests/corpus/guest`. It is not made again: what is tested is
//! that these very bytes go on running.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use semver::Version;
use stecker_build::{GuestToolchain, TARGET};
use stecker_registry::{Manifest, embed_manifest, inspect};
use wit_component::ComponentEncoder;

/// Where the corpus lies.
#[must_use]
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../corpus")
}

/// Every plugin built against a version: its file's name and its bytes.
///
/// # Errors
/// There is none, or one cannot be read.
pub fn plugins(version: &Version) -> Result<Vec<(String, Vec<u8>)>> {
    let folder = folder().join(version.to_string());
    let mut plugins = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
        let path = entry?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            plugins.push((name, fs::read(&path)?));
        }
    }
    ensure!(!plugins.is_empty(), "{} has no plugin", folder.display());
    plugins.sort();
    Ok(plugins)
}

/// The manifest of the corpus' plugin. Blobs came with 1.1.0.
fn manifest(version: &Version) -> Result<Manifest> {
    let mut text = format!(
        r#"
name = "corpus/all-roles"
version = "1.0.0"
title = "Every role of the contract"
contract = "{version}"

[[capabilities.http]]
schemes = ["http"]
hosts = ["{{config:/url}}", "{{config:/other}}"]
methods = ["GET", "POST"]
purpose = "tries the imports"

[capabilities.storage]
max-bytes = 10000

[credentials.signing]
kind = "hmac-secret"
description = "A key to sign with"
"#
    );
    if *version >= Version::new(1, 1, 0) {
        text.push_str("\n[capabilities.blobs]\nmax-bytes = 1073741824\n");
    }
    Ok(Manifest::from_toml(&text)?)
}

/// Builds the plugin against a version and puts it into the corpus. Where it lies afterwards.
///
/// # Errors
/// There is one already; no toolchain; the guest has no feature for the version.
pub fn make(version: &Version, progress: &dyn Fn(&str)) -> Result<PathBuf> {
    let place = folder().join(version.to_string()).join("all-roles.wasm");
    ensure!(
        !place.exists(),
        "{} is there already. What was published is not made again: the test is that these very bytes go on running",
        place.display()
    );
    let toolchain = GuestToolchain::find_or_make(progress)?;
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| folder().join("../../target"), PathBuf::from);
    let target = target.join("guest");
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(folder().join("guest"))
        .env("CARGO_TARGET_DIR", &target);
    if *version != Version::new(1, 0, 0) {
        cargo
            .arg("--features")
            .arg(format!("v{}", version.to_string().replace('.', "-")));
    }
    let output = cargo.output().context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "the guest did not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let module = fs::read(target.join(TARGET).join("release/corpus.wasm"))?;
    let component = ComponentEncoder::default()
        .validate(true)
        .module(&module)?
        .encode()?;
    let bytes = embed_manifest(&component, &manifest(version)?)?;
    inspect(&bytes)?;
    fs::create_dir_all(place.parent().unwrap_or(&place))?;
    fs::write(&place, bytes).with_context(|| format!("{} cannot be written", place.display()))?;
    Ok(place)
}
