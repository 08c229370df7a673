//! Help, completion, schemas.

use crate::run;

/// Every command, as it is called.
const COMMANDS: &[&[&str]] = &[
    &["apply"],
    &["plan"],
    &["connection", "list"],
    &["connection", "show"],
    &["connection", "check"],
    &["connection", "discover"],
    &["connection", "open-circuit"],
    &["connection", "close-circuit"],
    &["flow", "list"],
    &["flow", "run"],
    &["flow", "status"],
    &["flow", "pause"],
    &["flow", "resume"],
    &["records", "list"],
    &["records", "show"],
    &["explain"],
    &["quarantine", "list"],
    &["quarantine", "groups"],
    &["quarantine", "edit"],
    &["quarantine", "retry"],
    &["quarantine", "discard"],
    &["reconcile"],
    &["reconcile", "list"],
    &["reconcile", "show"],
    &["reconcile", "abort"],
    &["replay", "start"],
    &["replay", "list"],
    &["replay", "show"],
    &["replay", "pause"],
    &["replay", "resume"],
    &["replay", "abort"],
    &["storage"],
    &["storage", "vacuum"],
    &["secret", "list"],
    &["secret", "set"],
    &["secret", "remove"],
    &["secret", "authorize"],
    &["secret", "rotate-keys"],
    &["webhook", "list"],
    &["webhook", "add"],
    &["webhook", "show"],
    &["webhook", "enable"],
    &["webhook", "disable"],
    &["webhook", "remove"],
    &["webhook", "rotate-secret"],
    &["webhook", "test"],
    &["webhook", "deliveries"],
    &["upstream", "list"],
    &["upstream", "show"],
    &["upstream", "close"],
    &["denials", "list"],
    &["denials", "show"],
    &["denials", "clear"],
    &["tenant", "list"],
    &["tenant", "show"],
    &["tenant", "limit"],
    &["release", "list"],
    &["release", "add"],
    &["plugin", "new"],
    &["plugin", "build"],
    &["plugin", "inspect"],
    &["plugin", "publish"],
    &["plugin", "pull"],
    &["plugin", "versions"],
    &["plugin", "search"],
    &["plugin", "info"],
    &["plugin", "yank"],
    &["plugin", "unyank"],
    &["plugin", "deprecate"],
    &["plugin", "undeprecate"],
    &["serve"],
    &["doctor"],
    &["schema"],
    &["completion"],
];

#[test]
fn every_command_has_help_with_examples() {
    let dir = tempfile::tempdir().unwrap();
    for words in COMMANDS {
        let ran = run(dir.path(), &[*words, &["--help"]].concat()).expect(0);
        let example = format!("  stecker {}", words.join(" "));
        assert!(
            ran.stdout.contains("Examples:\n") && ran.stdout.contains(&example),
            "{words:?}: {}",
            ran.stdout
        );
        assert!(!ran.stdout.contains('\u{1b}'), "no colours in a pipe");
    }
    assert!(
        run(dir.path(), &["--help"])
            .expect(0)
            .stdout
            .contains("Exit codes")
    );
    assert!(!dir.path().join("data").exists(), "help touches nothing");
}

#[test]
fn completions_know_the_commands() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish"] {
        let ran = run(dir.path(), &["completion", shell]).expect(0);
        assert!(
            ran.stdout.contains("quarantine") && ran.stdout.contains("dry-run"),
            "{shell}"
        );
    }
    run(dir.path(), &["completion", "no-shell"]).expect(2);
}

#[test]
fn schemas_are_json_and_describe_what_they_say() {
    let dir = tempfile::tempdir().unwrap();
    let schema = |what: &str| run(dir.path(), &["schema", what]).expect(0).json();
    let setup = schema("setup");
    assert_eq!(setup["$schema"], "https://json-schema.org/draft/2020-12/schema");
    assert!(setup["properties"]["connection"].is_object() && setup["properties"]["flow"].is_object());
    assert!(schema("manifest")["properties"]["capabilities"].is_object());
    assert!(schema("openapi")["paths"]["/api/v1/flows"].is_object());
}

#[test]
fn what_is_not_understood_is_exit_code_2() {
    let dir = tempfile::tempdir().unwrap();
    for words in [
        &["flows"][..],
        &[],
        &["flow", "status", "Not A Name"],
        &["records", "list", "--state", "lost"],
        &["records", "list", "--limit", "0"],
        &["records", "show", "orders"],
        &["quarantine", "retry"],
        &["quarantine", "discard", "orders/1"],
        &["quarantine", "retry", "--code", "x"],
        &["quarantine", "retry", "--flow", "orders"],
        &["quarantine", "retry", "orders/1", "--flow", "orders", "--yes"],
        &["quarantine", "discard", "--group", "3f1c0d9a5b7e", "--yes"],
        &["quarantine", "edit", "orders/1"],
        &["replay", "start", "orders"],
        &["replay", "start", "orders", "--since", "1h"],
        &[
            "replay",
            "start",
            "orders",
            "--since",
            "yesterday",
            "--reason",
            "x",
        ],
        &[
            "replay", "start", "orders", "--key", "a", "--reason", "x", "--rate", "0",
        ],
        &[
            "replay",
            "start",
            "orders",
            "--key",
            "a",
            "--reason",
            "x",
            "--no-compare",
        ],
        &["storage", "vacuum", "--full"],
        &["upstream", "close", "erp"],
        &["serve", "--listen", "somewhere"],
        &["plugin", "new", "shop", "--kind", "source"],
        &["plugin", "yank", "acme/shop", "--reason", "x"],
        &["plugin", "yank", "acme/shop@1.4.0"],
        &["plugin", "unyank", "acme/shop@1.4"],
        &[
            "plugin",
            "deprecate",
            "acme/shop@1.4.0",
            "--message",
            "x",
            "--deadline",
            "soon",
        ],
        &["--server", "http://127.0.0.1:1", "flow", "list"],
        &["--server", "http://127.0.0.1:1", "serve"],
    ] {
        let ran = run(dir.path(), words).expect(2);
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{words:?}");
    }
    assert!(!dir.path().join("data").exists(), "nothing was touched");
}
