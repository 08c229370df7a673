//! The README's setup is one that works: taken from the page as it stands, with the plugins that it names.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{fs, process::Command};

use stecker_scenarios::Artifacts;

#[test]
fn the_setup_on_the_first_page_can_be_planned() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let readme = include_str!("../../../README.md");
    let setup = readme
        .split("```toml")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("setup.toml"), setup).unwrap();
    for name in ["vendure", "tryton", "jq"] {
        let built = artifacts.plugin(name).unwrap();
        fs::copy(&built, folder.path().join(built.file_name().unwrap())).unwrap();
    }
    let planned = Command::new(&artifacts.stecker)
        .args(["plan", "-f", "setup.toml", "--json"])
        .current_dir(folder.path())
        .env("STECKER_DATA", folder.path().join("data"))
        .output()
        .unwrap();
    assert!(
        planned.status.success(),
        "{}",
        String::from_utf8_lossy(&planned.stderr)
    );
    let plan: serde_json::Value = serde_json::from_slice(&planned.stdout).unwrap();
    assert_eq!(plan["changes"].as_array().unwrap().len(), 3, "{plan}");
}
