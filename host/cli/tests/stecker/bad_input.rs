//! Each bad input gets an error that names the thing, the reason and the next step, and leaves nothing behind.

use std::{fs, path::Path};

use serde_json::Value;

use crate::run;

/// `apply` fails; what it says on standard error.
#[track_caller]
fn refused(dir: &Path, file: &str, text: &str) -> String {
    fs::write(dir.join(file), text).unwrap();
    let ran = run(dir, &["apply", "-f", file]).expect(1);
    assert_eq!(ran.stdout, "");
    assert!(!dir.join("data").exists(), "the host was not even opened");
    ran.stderr
}

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "`{part}` is not in: {text}");
    }
}

#[test]
fn a_file_of_another_kind_or_none_at_all() {
    let dir = tempfile::tempdir().unwrap();
    says(
        &refused(dir.path(), "setup.yaml", "flow: []"),
        &["setup.yaml", ".toml or a .json", "stecker schema setup"],
    );
    let ran = run(dir.path(), &["apply", "-f", "missing.toml"]).expect(1);
    says(&ran.stderr, &["missing.toml", "No such file"]);
}

#[test]
fn a_file_that_does_not_parse_is_told_with_line_and_column() {
    let dir = tempfile::tempdir().unwrap();
    let broken = "[[connection]]\nname = \"shop\nplugin = { path = \"a.wasm\" }\n";
    says(
        &refused(dir.path(), "setup.toml", broken),
        &["setup.toml:2:", "string"],
    );
    says(
        &refused(dir.path(), "setup.json", "{\n  \"flow\": [\n    {,}\n  ]\n}"),
        &["setup.json:3:6", "key must be a string"],
    );
}

#[test]
fn an_unknown_key_is_told_with_its_place_and_the_known_ones() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "[[flow]]\nname = \"a\"\nsauce = { connection = \"shop\", stream = \"orders\" }\n";
    says(
        &refused(dir.path(), "setup.toml", toml),
        &[
            "setup.toml:3:1",
            "unknown field `sauce`",
            "`source`",
            "stecker schema setup",
        ],
    );
    let json = r#"{ "flow": [{ "name": "a", "sauce": 1 }] }"#;
    says(
        &refused(dir.path(), "setup.json", json),
        &["setup.json:1:", "unknown field `sauce`"],
    );
}

#[test]
fn values_out_of_bounds_are_all_told_with_the_line_of_their_flow() {
    let dir = tempfile::tempdir().unwrap();
    let toml = "[[flow]]\nname = \"a\"\nsource = { connection = \"s\", stream = \"x\" }\n\
                destination = { connection = \"d\", stream = \"x\" }\ndelivery = { batch = 0, lanes = 99 }\n";
    let text = refused(dir.path(), "setup.toml", toml);
    says(
        &text,
        &[
            "2 faults",
            "setup.toml:2: flow a, delivery.batch",
            "use 1 to 1000",
            "delivery.lanes",
            "use 1 to 32",
        ],
    );
    let bad_name = "[[flow]]\nname = \"Not A Name\"\n";
    says(
        &refused(dir.path(), "setup.toml", bad_name),
        &["setup.toml:2:8", "lower-case letters"],
    );
    let bad_period = toml.replace(
        "delivery = { batch = 0, lanes = 99 }",
        "trigger = { every = \"soon\" }",
    );
    says(
        &refused(dir.path(), "setup.toml", &bad_period),
        &["setup.toml:5:", "`soon` is not a period", "500ms, 5s"],
    );
}

fn connection(path: &str) -> String {
    format!("[[connection]]\nname = \"shop\"\nplugin = {{ path = \"{path}\" }}\n")
}

#[test]
fn a_plugin_file_that_is_missing_or_no_component() {
    let dir = tempfile::tempdir().unwrap();
    let at = "setup.toml:2: connection shop, plugin";
    says(
        &refused(dir.path(), "setup.toml", &connection("shop.wasm")),
        &[at, "shop.wasm cannot be read", "relative to the setup file"],
    );
    for (bytes, reason) in [
        (&b"PK\x03\x04"[..], "this is not WebAssembly"),
        (b"", "it is empty"),
        (b"\0asm\x01\0\0\0", "not a component"),
        (b"\0asm\x0d\0\x01\0\x07\xff", "cut off"),
    ] {
        fs::write(dir.path().join("shop.wasm"), bytes).unwrap();
        says(
            &refused(dir.path(), "setup.toml", &connection("shop.wasm")),
            &[at, "shop.wasm", reason],
        );
    }
}

#[test]
fn failures_are_problems_where_programs_read() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("setup.toml"), connection("shop.wasm")).unwrap();
    let ran = run(dir.path(), &["apply", "-f", "setup.toml", "--json"]).expect(1);
    let problem: Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(problem["type"], "/problems/invalid");
    assert!(
        problem["errors"][0]["reason"]
            .as_str()
            .unwrap()
            .contains("shop.wasm")
    );
}

#[test]
fn components_are_looked_at_before_a_host_is() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.wasm"), b"\0asm\x01\0\0\0").unwrap();
    for words in [["release", "add", "a.wasm"], ["plugin", "inspect", "a.wasm"]] {
        says(
            &run(dir.path(), &words).expect(1).stderr,
            &[
                "a.wasm: this is a core WebAssembly module",
                "stecker plugin build",
            ],
        );
    }
    says(
        &run(dir.path(), &["plugin", "inspect", "none.wasm"])
            .expect(1)
            .stderr,
        &["none.wasm", "No such file"],
    );
    says(
        &run(dir.path(), &["plugin", "build", "."]).expect(1).stderr,
        &["no Cargo.toml", "stecker plugin new"],
    );
    assert!(!dir.path().join("data").exists());
}

#[test]
fn a_digest_that_the_host_does_not_have_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let digest = format!("sha256:{}", "0".repeat(64));
    let toml = format!("\n[[connection]]\nname = \"shop\"\nplugin = {{ digest = \"{digest}\" }}\n");
    fs::write(dir.path().join("setup.toml"), toml).unwrap();
    for words in [
        &["plan", "-f", "setup.toml"][..],
        &["apply", "-f", "setup.toml"],
        &["apply", "-f", "setup.toml", "--dry-run"],
    ] {
        let ran = run(dir.path(), words).expect(1);
        says(
            &ran.stderr,
            &[
                "setup.toml:3: connection shop, plugin",
                &digest,
                "stecker release add",
            ],
        );
    }
    assert_eq!(
        run(dir.path(), &["connection", "list", "--json"])
            .expect(0)
            .json(),
        serde_json::json!([])
    );
}

#[test]
fn a_server_that_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    // Taken and given back, so that nobody listens there.
    let address = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let url = format!("http://{address}");
    let ran = run(dir.path(), &["--server", &url, "--token", "t", "flow", "list"]).expect(1);
    says(&ran.stderr, &["no server answers at", &url, "stecker serve"]);
    says(
        &run(
            dir.path(),
            &["--server", "nonsense", "--token", "t", "flow", "list"],
        )
        .expect(1)
        .stderr,
        &["`nonsense` is not the URL"],
    );
}

#[test]
fn things_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    for (words, hint) in [
        (&["flow", "run", "orders"][..], "stecker flow list"),
        (&["flow", "status", "orders"], "stecker flow list"),
        (&["flow", "pause", "orders"], "stecker flow list"),
        (&["connection", "check", "shop"], "stecker connection list"),
        (&["connection", "discover", "shop"], "stecker connection list"),
        (&["records", "show", "orders/1"], "stecker records list"),
        (&["records", "list", "--flow", "orders"], "stecker flow list"),
        (&["quarantine", "list", "--flow", "orders"], "stecker flow list"),
        (&["quarantine", "groups", "--flow", "orders"], "stecker flow list"),
        (
            &["records", "show", "orders/1", "--steps"],
            "stecker records list",
        ),
        (
            &[
                "quarantine",
                "edit",
                "orders/1",
                "--reason",
                "x",
                "--payload",
                "-",
            ],
            "stecker records list",
        ),
        (&["replay", "list", "--flow", "orders"], "stecker flow list"),
        (&["replay", "show", "again"], "stecker replay list"),
        (&["replay", "abort", "again"], "stecker replay list"),
        (
            &["replay", "start", "orders", "--since", "1h", "--reason", "x"],
            "stecker flow list",
        ),
        (
            &["replay", "start", "orders", "--since", "1h", "--dry-run"],
            "stecker flow list",
        ),
    ] {
        says(
            &run(dir.path(), words).expect(1).stderr,
            &["error: there is no", hint],
        );
    }
}
