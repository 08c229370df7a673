//! The guests: text made into components, the probe built from Rust, and what is too large to be written down.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::OnceLock,
};

use anyhow::{Context as _, Result, ensure};
use semver::Version;
use stecker_build::{GuestToolchain, TARGET};
use stecker_registry::{Manifest, contract, embed_manifest};
use stecker_test_guests::{Guest, in_version};
use wit_component::ComponentEncoder;

use crate::{
    bombs,
    scenario::{Scenario, Source},
};

/// The versions of the contract that are there to be offered.
pub(crate) fn versions() -> Result<Vec<Version>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../wit");
    let mut versions = Vec::new();
    for entry in fs::read_dir(&root).with_context(|| format!("{} cannot be read", root.display()))? {
        let name = entry?.file_name();
        if let Ok(version) = Version::parse(&name.to_string_lossy())
            && version.major == contract::OFFERED.major
            && version <= contract::OFFERED
        {
            versions.push(version);
        }
    }
    versions.sort();
    ensure!(
        !versions.is_empty(),
        "{} has no version of the contract",
        root.display()
    );
    Ok(versions)
}

/// Builds guests, the probe only once.
#[derive(Default)]
pub(crate) struct Workshop {
    probe: OnceLock<Vec<u8>>,
}

impl Workshop {
    /// The component of a scenario.
    pub(crate) fn build(
        &self,
        scenario: &Scenario,
        source: &Source,
        manifest: &toml::Table,
        version: &Version,
    ) -> Result<Vec<u8>> {
        let manifest = Manifest::from_toml(&toml::to_string(manifest)?)?;
        let text = |code: &str, packages: &str| {
            let world = world_of(code);
            let guest = Guest {
                world: &world,
                packages,
                code,
                prelude: scenario.guest.prelude,
            };
            guest.build(version, &manifest)
        };
        match source {
            Source::Module { code, packages } => text(code, packages),
            Source::Component(component) => Ok(embed_manifest(
                &wat::parse_str(in_version(component, version))?,
                &manifest,
            )?),
            Source::Generated(name) => match bombs::make(name)? {
                bombs::Bomb::Module(code) => text(&code, ""),
                bombs::Bomb::File(bytes) => Ok(bytes),
            },
            Source::Steps(_) => Ok(embed_manifest(self.probe()?, &manifest)?),
        }
    }

    fn probe(&self) -> Result<&[u8]> {
        if let Some(probe) = self.probe.get() {
            return Ok(probe);
        }
        let built = build_probe()?;
        Ok(self.probe.get_or_init(|| built))
    }
}

/// Lines such as `;; world: import stecker:plugin/http@VERSION;` in front of the code. Every guest exports `meta`; without a word about
/// other exports also `transform`.
fn world_of(code: &str) -> String {
    let items: Vec<&str> = code
        .lines()
        .filter_map(|line| line.trim().strip_prefix(";; world:"))
        .collect();
    let mut world = format!("export stecker:plugin/meta@VERSION; {}", items.join(" "));
    if !items.iter().any(|item| item.trim().starts_with("export ")) {
        world.push_str(" export stecker:plugin/transform@VERSION;");
    }
    world
}

fn build_probe() -> Result<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let target = target.join("guest");
    let toolchain = GuestToolchain::find_or_make(&|_| {})?;
    let output = toolchain
        .cargo()
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(here.join("guests/probe"))
        .env("CARGO_TARGET_DIR", &target)
        .output()
        .context("cargo could not be started")?;
    ensure!(
        output.status.success(),
        "the probe did not build:\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let path = target.join(TARGET).join("release/probe.wasm");
    let module = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    ComponentEncoder::default()
        .validate(true)
        .module(&module)
        .and_then(|encoder| encoder.encode())
        .context("the probe cannot be made a component")
}

/// The same places in every manifest, so that the hosts that a scenario talks to are asked for.
pub(crate) fn config(scenario: &Scenario, steps: Option<(&str, &str)>) -> Result<String> {
    let mut config: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for (key, value) in &scenario.config {
        config.insert(key.clone(), serde_json::to_value(value)?);
    }
    if let Some((via, steps)) = steps {
        config.insert("via".to_owned(), via.into());
        config.insert(
            "steps".to_owned(),
            serde_json::from_str(steps).context("steps.json is not JSON")?,
        );
    }
    Ok(serde_json::to_string(&config)?)
}
