//! Plugins by name and range: which release a connection gets, what moves by itself and what does not, what is behind, and what ends by a day.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

use std::{fs, path::Path};

use serde_json::{Value, json};
use stecker_registry::{Manifest, embed_manifest, inspect};
use stecker_scenarios::{Artifacts, Host, HostOptions};

/// Another release of a plugin: the same code under another version, with the day at which its system's API ends.
fn release(component: &[u8], version: &str, sunset: &str, folder: &Path) -> String {
    let inspection = inspect(component).unwrap();
    let mut manifest = serde_json::to_value(&inspection.manifest).unwrap();
    manifest["version"] = json!(version);
    manifest["upstream"] = json!([{ "system": "Demo ERP", "api-version": version, "sunset": sunset }]);
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let path = folder.join(format!("erp-{version}.wasm"));
    fs::write(&path, embed_manifest(component, &manifest).unwrap()).unwrap();
    path.display().to_string()
}

fn digest(path: &str) -> String {
    inspect(&fs::read(path).unwrap()).unwrap().digest.to_string()
}

fn answer(host: &Host, words: &[&str]) -> Value {
    let text = host.cli(words.iter().copied().chain(["--json"])).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The digest that the connection runs.
fn runs(host: &Host) -> String {
    let shown = answer(host, &["connection", "show", "erp"]);
    shown["spec"]["plugin"]["digest"].as_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_and_a_policy_decide_and_the_lock_file_remembers() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let component = fs::read(artifacts.plugin("demo-erp").unwrap()).unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let setup = folder.path().join("setup.toml");
    let write = |plugin: &str| {
        fs::write(
            &setup,
            format!(
                "[[connection]]\nname = \"erp\"\nplugin = {plugin}\nconfig = {{ base_url = \"http://127.0.0.1:9\" }}\n\
                 credentials.api = {{ username = \"api\", secret = {{ env = \"ERP_PASSWORD\" }} }}\n"
            ),
        )
        .unwrap();
    };
    let path = setup.display().to_string();
    write(r#"{ name = "stecker/demo-erp", version = "1.2", upgrade = "patch" }"#);
    let refused = host.cli(["apply", "-f", &path]).unwrap_err().to_string();
    assert!(
        refused.contains("the host has no release of stecker/demo-erp"),
        "{refused}"
    );

    let add = |version: &str, sunset: &str| {
        let file = release(&component, version, sunset, folder.path());
        host.cli(["release", "add", &file]).unwrap();
        digest(&file)
    };
    let first = add("1.2.0", "2027-03-31");
    let too_new = add("2.0.0", "none");
    host.cli(["apply", "-f", &path]).unwrap();
    assert_eq!(runs(&host), first, "2.0.0 is not within the range");

    // A fix is taken with the next `apply`; a minor version waits for a person.
    let fix = add("1.2.1", "2027-03-31");
    let minor = add("1.3.0", "none");
    let behind = answer(&host, &["outdated"]);
    assert_eq!(behind[0]["user"], "connection/erp", "{behind}");
    assert_eq!(
        (&behind[0]["from"], &behind[0]["automatic"], &behind[0]["newest"]),
        (&json!("1.2.0"), &json!("1.2.1"), &json!("2.0.0")),
        "{behind}"
    );
    host.cli(["apply", "-f", &path]).unwrap();
    assert_eq!(runs(&host), fix);

    let risks = answer(&host, &["at-risk", "--by", "2027-04-01"]);
    assert_eq!(risks[0]["on"], "2027-03-31", "{risks}");
    assert_eq!(risks[0]["kind"], "sunset");
    assert!(
        risks[0]["move-to"].is_string() && risks[0]["in-the-way"][0].is_string(),
        "{risks}"
    );
    assert_eq!(
        answer(&host, &["at-risk", "--by", "2027-03-30"]),
        json!([]),
        "the day before"
    );

    // The lock holds what was chosen, whatever comes.
    host.cli(["lock", "-f", &path]).unwrap();
    let lock = fs::read_to_string(folder.path().join("setup.lock")).unwrap();
    assert!(lock.contains(&fix), "{lock}");
    add("1.2.2", "none");
    host.cli(["apply", "-f", &path]).unwrap();
    assert_eq!(runs(&host), fix, "1.2.2 is a fix, but the lock says otherwise");
    host.cli(["lock", "-f", &path]).unwrap();
    assert_eq!(
        fs::read_to_string(folder.path().join("setup.lock")).unwrap(),
        lock
    );

    // A setup that the lock does not fit is refused; written anew, it fits.
    write(r#"{ name = "stecker/demo-erp", version = "=1.3.0" }"#);
    let refused = host.cli(["apply", "-f", &path]).unwrap_err().to_string();
    assert!(refused.contains("is not within `=1.3.0`"), "{refused}");
    assert_eq!(runs(&host), fix, "nothing was changed");
    host.cli(["lock", "-f", &path, "--update"]).unwrap();
    host.cli(["apply", "-f", &path]).unwrap();
    assert_eq!(runs(&host), minor);
    assert_ne!(minor, too_new);
    host.stop().await.unwrap();
}
