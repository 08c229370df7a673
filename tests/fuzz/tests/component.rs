//! Components: what reads them never panics, and what it takes is compiled and run, or refused for a reason.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::time::Duration;

use arbitrary::Unstructured;
use semver::Version;
use stecker_fuzz::Campaign;
use stecker_registry::{InspectLimits, Manifest, inspect_with};
use stecker_sandbox::{LoadError, Sandbox, SandboxOptions};
use stecker_test_guests::Guest;
use tokio::runtime::Runtime;
use wasm_encoder::{ComponentSection as _, ComponentSectionId, RawSection};

const MANIFEST: &str =
    "name = \"tests/guest\"\nversion = \"1.0.0\"\ntitle = \"Guest\"\ncontract = \"1.0.0\"\n";

/// The plugin of a seed: the fields of a module, as text.
fn plugin(code: &[u8]) -> Vec<u8> {
    let guest = Guest {
        world: "export stecker:plugin/meta@VERSION;",
        packages: "",
        code: std::str::from_utf8(code).unwrap(),
        prelude: true,
    };
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    guest.build(&Version::new(1, 0, 0), &manifest).unwrap()
}

/// Small bounds, so that a run takes what it finds to its end.
fn limits() -> InspectLimits {
    InspectLimits {
        max_bytes: 1 << 20,
        ..InspectLimits::default()
    }
}

fn sandbox(runtime: &Runtime) -> Sandbox {
    let _entered = runtime.enter();
    Sandbox::new(SandboxOptions {
        max_instances: 2,
        tick: Duration::from_millis(1),
        ..SandboxOptions::default()
    })
    .unwrap()
}

/// Loads it as a host would, and asks it what it is. Only the plugin is ever at fault.
fn load(runtime: &Runtime, sandbox: &Sandbox, component: &[u8]) -> bool {
    let loaded = runtime.block_on(sandbox.load(component.to_vec()));
    match loaded {
        Ok(release) => {
            if let Err(error) = runtime.block_on(release.describe()) {
                let host = matches!(error, stecker_sandbox::CallError::Host { .. });
                assert!(!host, "{error}");
            }
            true
        }
        Err(error @ LoadError::Host { .. }) => panic!("{error}"),
        Err(error) => {
            assert!(!error.to_string().is_empty());
            false
        }
    }
}

/// Bytes of a plugin, changed at random. Most are refused before anything is compiled.
#[test]
fn damaged_plugins() {
    let runtime = Runtime::new().unwrap();
    let sandbox = sandbox(&runtime);
    let (mut taken, mut tried) = (0, 0);
    Campaign::new("component")
        .unwrap()
        .seeds(plugin)
        .bounds(4_000, 1 << 20)
        .run(|bytes| {
            tried += 1;
            if inspect_with(bytes, limits()).is_ok() {
                taken += u32::from(load(&runtime, &sandbox, bytes));
            }
        })
        .unwrap();
    assert!(taken > 0, "the seeds themselves are plugins");
    println!("{tried} tried, {taken} taken");
}

/// Plugins that carry a module which `wasm-smith` made out of the input: valid, and like nothing that a compiler ever wrote.
#[test]
fn plugins_with_modules_of_every_kind() {
    let runtime = Runtime::new().unwrap();
    let sandbox = sandbox(&runtime);
    let base = plugin(b"");
    let mut taken = 0;
    Campaign::new("component")
        .unwrap()
        .bounds(150, 4_096)
        .run(|bytes| {
            // A mutation alone gives too little to make a module of.
            let stretched: Vec<u8> = (0..64_u8)
                .flat_map(|i| {
                    bytes
                        .iter()
                        .map(move |byte| byte.wrapping_mul(i | 1).wrapping_add(i))
                })
                .collect();
            let config = wasm_smith::Config {
                max_memories: 2,
                multi_value_enabled: true,
                threads_enabled: false,
                ..wasm_smith::Config::default()
            };
            let Ok(module) = wasm_smith::Module::new(config, &mut Unstructured::new(&stretched)) else {
                return;
            };
            let mut component = base.clone();
            RawSection {
                id: ComponentSectionId::CoreModule.into(),
                data: &module.to_bytes(),
            }
            .append_to_component(&mut component);
            taken += u32::from(load(&runtime, &sandbox, &component));
        })
        .unwrap();
    assert!(taken > 0, "not one module was valid for this engine");
    println!("{taken} taken");
}
