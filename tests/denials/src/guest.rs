//! The guests: text made into components, the probe built from Rust, and what is too large to be written down.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
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

/// Builds guests, the probe only once for each version.
#[derive(Default)]
pub(crate) struct Workshop {
    /// By the version of the contract that it is built against.
    probes: Mutex<BTreeMap<Version, Arc<Vec<u8>>>>,
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
            Source::Steps(_) => Ok(embed_manifest(&self.probe(version)?, &manifest)?),
        }
    }

    fn probe(&self, version: &Version) -> Result<Arc<Vec<u8>>> {
        let mut probes = self.probes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = probes.get(version) {
            return Ok(Arc::clone(probe));
        }
        let probe = Arc::new(build_probe(version)?);
        probes.insert(version.clone(), Arc::clone(&probe));
        Ok(probe)
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

/// Without a feature, the probe is one of the first version.
fn build_probe(version: &Version) -> Result<Vec<u8>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = env::var_os("CARGO_TARGET_DIR").map_or_else(|| here.join("../../target"), PathBuf::from);
    let target = target.join("guest");
    let toolchain = GuestToolchain::find_or_make(&|_| {})?;
    let mut cargo = toolchain.cargo();
    cargo
        .args(["build", "--quiet", "--release", "--target", TARGET])
        .current_dir(here.join("guests/probe"))
        .env("CARGO_TARGET_DIR", &target);
    if contract::VERSIONS.first() != Some(version) {
        let feature = format!("v{}", version.to_string().replace('.', "-"));
        cargo.args(["--features", &feature]);
    }
    let output = cargo.output().context("cargo could not be started")?;
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
