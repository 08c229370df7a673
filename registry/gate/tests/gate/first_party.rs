//! The plugins of this repository, as they are built: each passes.

use std::{env, fs, path::PathBuf};

use serde_json::json;
use stecker_gate::{Check, CheckOutcome, GatePolicy, Previous, Severity};
use stecker_registry::{embed_manifest, inspect};

use crate::support::{codes, quick, report};

const PLUGINS: [&str; 6] = ["demo-shop", "demo-erp", "stripe", "tryton", "vendure", "jq"];

fn component(name: &str) -> Option<Vec<u8>> {
    let folder = env::var_os("STECKER_PLUGINS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/plugins"),
        PathBuf::from,
    );
    let path = folder.join(format!("stecker-{name}-0.1.0.wasm"));
    match fs::read(&path) {
        Ok(bytes) => Some(bytes),
        Err(error) if env::var_os("STECKER_PLUGINS").is_some() => panic!("{}: {error}", path.display()),
        Err(_) => {
            eprintln!("skipped: {} is not there; run `cargo xtask test`", path.display());
            None
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_passes_both_gates() {
    for name in PLUGINS {
        let Some(component) = component(name) else { return };
        let mut policy = GatePolicy::publish();
        if let Some(run) = policy.conformance.as_mut().filter(|_| name == "jq") {
            run.config = Some(json!({ "program": "{ id, total }" }));
        }
        let published = report(&component, None, &policy).await;
        assert_eq!(codes(&published, Severity::Refusal), [], "{name}: {published:#?}");
        assert_eq!(codes(&published, Severity::Warning), [], "{name}: {published:#?}");
        let run = published.conformance.unwrap();
        assert!(run.calls > 0 && run.left_out.is_empty(), "{name}: {run:?}");
        if name != "jq" {
            assert!(run.requests > 10, "{name}: {run:?}");
            for check in [
                Check::AuthTold,
                Check::RateTold,
                Check::TransientTold,
                Check::ProbesHonest,
            ] {
                assert_eq!(run.outcome(check), Some(CheckOutcome::Passed), "{name}: {check}");
            }
        }
        let installed = report(&component, None, &GatePolicy::install()).await;
        assert_eq!(installed.findings, [], "{name}");
    }
}

/// What real toolchains write is compared with itself: nothing that is the same may look different.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_one_can_follow_itself() {
    for name in PLUGINS {
        let Some(component) = component(name) else { return };
        let mut manifest = inspect(&component).unwrap().manifest;
        let released = [manifest.version.clone()];
        manifest.version.patch += 1;
        let next = embed_manifest(&component, &manifest).unwrap();
        let previous = Previous {
            component: Some(&component),
            released: &released,
        };
        let report = report(&next, Some(previous), &quick()).await;
        assert_eq!(report.findings, [], "{name}");
        assert!(report.compared_with.is_some(), "{name}");
    }
}
