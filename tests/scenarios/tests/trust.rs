//! A tenant that asks for signatures, while orders flow: what is not signed stops, what is signed goes on, and what is revoked stops again.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

use std::{fs, path::Path};

use serde_json::{Value, json};
use stecker_scenarios::{Artifacts, Host, Scene};
use stecker_simulators::Faults;
use stecker_trust::{Algorithm, Bundle, ReleaseSubject, SecretKey};

const PLUGINS: [&str; 3] = ["demo-shop", "demo-erp", "jq"];

struct Keys {
    operator: SecretKey,
    author: SecretKey,
}

impl Keys {
    fn new() -> Self {
        Self {
            operator: SecretKey::generate(Algorithm::Ed25519).unwrap(),
            author: SecretKey::generate(Algorithm::Ed25519).unwrap(),
        }
    }

    /// Signs a trust root with the command line, as an operator does, and has the tenant take it.
    fn take(&self, host: &Host, folder: &Path, version: u64, revoked: &Value) -> String {
        let key = |name: &str, key: &SecretKey| json!({ "name": name, "key": key.public(), "valid-from": "2026-01-01T00:00:00Z" });
        let document = json!({
            "tenant": "default", "version": version, "issued": "2026-01-01T00:00:00Z",
            "keys": [key("operator", &self.operator), key("author", &self.author)],
            "root": { "keys": ["operator"], "threshold": 1 },
            "releases": [{ "names": ["stecker/*"], "keys": ["author"], "threshold": 1 }],
            "revoked-releases": revoked,
        });
        let (plain, signed, pem) = (
            folder.join(format!("root-{version}.json")),
            folder.join(format!("signed-{version}.json")),
            folder.join("operator.pem"),
        );
        fs::write(&plain, document.to_string()).unwrap();
        fs::write(&pem, self.operator.to_pem().unwrap().as_str()).unwrap();
        let path = |path: &Path| path.display().to_string();
        host.cli([
            "trust",
            "new",
            &path(&plain),
            "--key",
            &path(&pem),
            "--output",
            &path(&signed),
        ])
        .unwrap();
        host.cli(["trust", "take", &path(&signed)]).unwrap()
    }

    fn sign(&self, host: &Host, folder: &Path, component: &Path) -> String {
        let inspection = stecker_registry::inspect(&fs::read(component).unwrap()).unwrap();
        let manifest = inspection.manifest.to_canonical_json();
        let subject = ReleaseSubject {
            name: inspection.manifest.name.clone(),
            version: inspection.manifest.version.clone(),
            component: inspection.digest,
            manifest: stecker_registry::component::digest(manifest.as_bytes()),
            image: None,
        };
        let bundle = folder.join("bundle.json");
        let now = "2026-06-01T00:00:00Z".parse().unwrap();
        fs::write(&bundle, Bundle::sign(&subject, &self.author, now).to_json()).unwrap();
        host.cli([
            "trust",
            "sign",
            &component.display().to_string(),
            &bundle.display().to_string(),
        ])
        .unwrap()
    }
}

/// `loads` and `code` of every release, by plugin.
fn loaded(host: &Host) -> Vec<(String, bool, Value)> {
    let shown: Value = serde_json::from_str(&host.cli(["trust", "show", "--json"]).unwrap()).unwrap();
    let releases = shown["releases"].as_array().unwrap();
    releases
        .iter()
        .map(|release| {
            (
                release["name"].as_str().unwrap().to_owned(),
                release["loads"].as_bool().unwrap(),
                release["code"].clone(),
            )
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_what_is_signed_and_not_revoked_is_loaded() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let scene = Scene::by_webhook(&artifacts, Faults::off(), |setup| setup)
        .await
        .unwrap();
    scene.systems.set_webhook_url(Some(scene.url()));
    let booked = |orders: usize| {
        move |_: &_, systems: &stecker_simulators::Running| systems.account().verdict().booked >= orders
    };
    scene.systems.create_orders(3);
    scene.until("three orders are booked", booked(3)).await.unwrap();

    let keys = Keys::new();
    let folder = scene.folder.path().to_owned();
    keys.take(&scene.host, &folder, 1, &json!([]));
    assert!(
        loaded(&scene.host)
            .iter()
            .all(|(_, loads, code)| !loads && code == "not-signed"),
        "{:?}",
        loaded(&scene.host)
    );
    // Nobody restarted anything; the running connections ask with their next call.
    scene.systems.create_orders(2);
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(
            scene.systems.account().verdict().booked,
            3,
            "nothing that is not signed delivers"
        );
    }
    for plugin in PLUGINS {
        let component = artifacts.plugin(plugin).unwrap();
        keys.sign(&scene.host, &folder, &component);
    }
    assert!(
        loaded(&scene.host).iter().all(|(_, loads, _)| *loads),
        "{:?}",
        loaded(&scene.host)
    );
    scene
        .until("all five orders are booked", booked(5))
        .await
        .unwrap();

    // What a release is taken back for stops it, signed or not.
    let erp = artifacts.plugin("demo-erp").unwrap();
    let digest = stecker_registry::inspect(&fs::read(erp).unwrap()).unwrap().digest;
    let revoked =
        json!([{ "digest": digest, "since": "2026-06-02T00:00:00Z", "reason": "it sends totals in cents" }]);
    keys.take(&scene.host, &folder, 2, &revoked);
    let stopped: Vec<_> = loaded(&scene.host)
        .into_iter()
        .filter(|(_, loads, _)| !loads)
        .collect();
    assert_eq!(
        stopped,
        [("stecker/demo-erp".to_owned(), false, json!("release-revoked"))]
    );
    scene.systems.create_orders(1);
    for _ in 0..20 {
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
        assert_eq!(
            scene.systems.account().verdict().booked,
            5,
            "what is revoked delivers nothing"
        );
    }
}
