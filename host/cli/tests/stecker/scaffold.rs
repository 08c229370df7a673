//! `plugin new`: what it writes compiles, and its tests pass.

use std::{path::Path, process::Command};

use crate::run;

#[test]
fn nothing_is_written_over() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("shop")).unwrap();
    std::fs::write(dir.path().join("shop/notes.txt"), "mine").unwrap();
    let ran = run(dir.path(), &["plugin", "new", "acme/shop", "--kind", "source"]).expect(1);
    assert!(
        ran.stderr.contains("not empty") && ran.stderr.contains("--path"),
        "{}",
        ran.stderr
    );
    let ran = run(
        dir.path(),
        &[
            "plugin",
            "new",
            "acme/shop",
            "--kind",
            "source",
            "--path",
            "new",
            "--sdk-path",
            "shop",
        ],
    )
    .expect(1);
    assert!(ran.stderr.contains("is not the SDK"), "{}", ran.stderr);
    assert!(!dir.path().join("new").exists());
}

#[test]
fn without_an_sdk_near_by_the_version_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(
        dir.path(),
        &["plugin", "new", "acme/shop", "--kind", "source", "--json"],
    )
    .expect(0)
    .json();
    assert_eq!(made["files"].as_array().unwrap().len(), 5);
    let manifest = std::fs::read_to_string(dir.path().join("shop/Cargo.toml")).unwrap();
    assert!(manifest.contains("stecker-sdk = \"0.1.0\""), "{manifest}");
}

/// One workspace of the three, so that the SDK is compiled once.
#[test]
fn new_plugins_of_every_kind_pass_their_own_tests() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let sdk = std::fs::canonicalize(root.join("plugin-sdk/rust")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for kind in ["source", "destination", "transform"] {
        let name = format!("acme/my-{kind}");
        let words = [
            "plugin",
            "new",
            &name,
            "--kind",
            kind,
            "--path",
            kind,
            "--sdk-path",
            sdk.to_str().unwrap(),
        ];
        run(dir.path(), &words).expect(0);
        let manifest = dir.path().join(kind).join("Cargo.toml");
        let text = std::fs::read_to_string(&manifest).unwrap();
        let member = text.split("# Components are sent around").next().unwrap();
        std::fs::write(&manifest, member).unwrap();
    }
    let workspace = "[workspace]\nresolver = \"3\"\nmembers = [\"source\", \"destination\", \"transform\"]\n";
    std::fs::write(dir.path().join("Cargo.toml"), workspace).unwrap();
    // The versions that this project uses are there already; nothing has to be fetched.
    std::fs::copy(root.join("Cargo.lock"), dir.path().join("Cargo.lock")).unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["test", "--quiet", "--workspace", "--offline"])
        .current_dir(dir.path());
    cargo.env(
        "CARGO_TARGET_DIR",
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("scaffold"),
    );
    let output = cargo.output().unwrap();
    let text = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(output.status.success(), "{text}");
    assert!(!text.contains("warning"), "{text}");
}
