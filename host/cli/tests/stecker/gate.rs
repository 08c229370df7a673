//! `stecker plugin check`: what the gate says, for people and for programs. What it finds is tested where it is found.

use std::fs;

use crate::run;

#[test]
fn a_file_that_is_no_plugin_is_refused_with_its_code_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("shop.wasm"), "#!/bin/sh\n").unwrap();
    let ran = run(dir.path(), &["plugin", "check", "shop.wasm"]).expect(1);
    for part in [
        "not-wasm",
        "23 21 2f 62",
        "→ Give the .wasm file",
        "refused, for one reason",
    ] {
        assert!(ran.stdout.contains(part), "`{part}` is not in: {}", ran.stdout);
    }
    let report = run(
        dir.path(),
        &["plugin", "check", "shop.wasm", "--json", "--stage", "install"],
    )
    .expect(1)
    .json();
    assert_eq!(report["passes"], false);
    assert_eq!(report["stage"], "install");
    assert_eq!(report["findings"][0]["code"], "not-wasm");
    assert_eq!(report["findings"][0]["severity"], "refusal");
    assert!(!dir.path().join("data").exists(), "a look leaves nothing behind");
}

#[test]
fn what_cannot_be_read_is_told_before_anything_is_examined() {
    let dir = tempfile::tempdir().unwrap();
    let missing = run(dir.path(), &["plugin", "check", "missing.wasm"]).expect(1);
    assert!(missing.stderr.contains("missing.wasm"), "{}", missing.stderr);
    fs::write(dir.path().join("shop.wasm"), "").unwrap();
    for (config, says) in [("{", "is not JSON"), ("[]", "is not a JSON object")] {
        fs::write(dir.path().join("config.json"), config).unwrap();
        let words = ["plugin", "check", "shop.wasm", "--config", "config.json"];
        let ran = run(dir.path(), &words).expect(1);
        assert!(
            ran.stderr.contains("config.json") && ran.stderr.contains(says),
            "{}",
            ran.stderr
        );
    }
    run(
        dir.path(),
        &["plugin", "check", "shop.wasm", "--stage", "somewhere"],
    )
    .expect(2);
}
