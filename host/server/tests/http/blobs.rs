//! Blobs of connections lie in the data folder, and only of those that were granted some.

use std::{fs, path::Path};

use serde_json::json;
use stecker_model::{Name, Setup};
use stecker_server::Operations as _;

use crate::Running;

/// A plugin that tries every import, as it was published with contract 1.1.0.
fn plugin() -> Vec<u8> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/corpus/1.1.0/all-roles.wasm");
    fs::read(corpus).unwrap()
}

#[tokio::test]
async fn what_a_connection_puts_there_lies_in_the_data_folder() {
    let running = Running::start().await;
    let operations = running.operations();
    let release = operations.add_release(plugin()).await.unwrap();
    let setup = |grants: serde_json::Value| -> Setup {
        let connection = json!({
            "name": "files",
            "plugin": { "digest": release.digest },
            "config": { "url": "http://127.0.0.1:1/" },
            "grants": grants,
        });
        serde_json::from_value(json!({ "connection": [connection] })).unwrap()
    };
    let connection: Name = "files".parse().unwrap();
    let probe = async || {
        let report = operations.check(&connection).await.unwrap();
        let probe = report.probes.into_iter().find(|probe| probe.name == "blobs");
        probe.unwrap()
    };

    assert!(operations.apply(&setup(json!({}))).await.unwrap().applied);
    let denied = probe().await;
    assert!(
        !denied.ok && denied.message.contains("[connection.grants.blobs]"),
        "{}",
        denied.message
    );
    assert!(!running.dir.path().join("blobs").exists());

    let granted = setup(json!({ "blobs": { "max-bytes": 100_000 } }));
    assert!(operations.apply(&granted).await.unwrap().applied);
    let kept = probe().await;
    assert!(kept.ok, "{}", kept.message);
    assert_eq!(kept.message, "6 blob");
    let content = running.dir.path().join("blobs/default/content");
    let digest = stecker_registry::component::digest(b"a blob");
    let (first, rest) = digest.hex().split_at(2);
    assert_eq!(fs::read(content.join(first).join(rest)).unwrap(), b"a blob");
}
