//! What an operator gets wrong is refused by name, with the reason and the next step, and leaves nothing behind.
//!
//! All through the real binary on the embedded default, with the real plugins.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use stecker_scenarios::Artifacts;
use tempfile::TempDir;

struct Bench {
    artifacts: Artifacts,
    folder: TempDir,
}

struct Answer {
    ok: bool,
    out: String,
    err: String,
}

impl Bench {
    fn new() -> Option<Self> {
        Some(Self {
            artifacts: Artifacts::or_skip()?,
            folder: tempfile::tempdir().unwrap(),
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn stecker(&self, arguments: &[&str]) -> Answer {
        let output = Command::new(&self.artifacts.stecker)
            .args(arguments)
            .env("STECKER_DATA", self.path("data"))
            .env("SHOP_KEY", "generated-for-this-test")
            .env("SHOP_SECRET", "generated-for-this-test")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        Answer {
            ok: output.status.success(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Applies a setup that has to be refused, with all of these words; nothing of it is there afterwards.
    fn refused(&self, setup: &str, words: &[&str]) {
        let file = self.path("setup.toml");
        fs::write(&file, setup).unwrap();
        let answer = self.stecker(&["apply", "-f", file.to_str().unwrap()]);
        let said = format!("{}{}", answer.out, answer.err);
        assert!(!answer.ok, "it was not refused:\n{setup}\n{said}");
        for word in words {
            assert!(said.contains(word), "`{word}` is not said:\n{said}");
        }
        assert!(!said.contains("panicked"), "{said}");
        for list in ["connection", "flow"] {
            let left = self.stecker(&[list, "list", "--json"]);
            assert!(left.ok, "{}", left.err);
            assert_eq!(left.out.trim(), "[]", "something was left of a refused setup");
        }
    }

    fn component(&self, name: &str, bytes: impl AsRef<[u8]>) -> String {
        let path = self.path(name);
        fs::write(&path, bytes).unwrap();
        path.display().to_string()
    }
}

fn connection(plugin: &str, config: &str) -> String {
    format!(
        r#"
[[connection]]
name = "shop"
plugin = {{ path = {plugin:?} }}
config = {config}
grants.http = [{{ host = "127.0.0.1:9", schemes = ["http"] }}]
credentials.api = {{ secret = {{ env = "SHOP_KEY" }} }}
credentials.webhook = {{ secret = {{ env = "SHOP_SECRET" }} }}
"#
    )
}

fn good_config() -> &'static str {
    r#"{ base_url = "http://127.0.0.1:9" }"#
}

fn flow(stream: &str, transform: &str) -> String {
    format!(
        r#"
[[flow]]
name = "orders"
source = {{ connection = "shop", stream = {stream:?} }}
destination = {{ connection = "shop", stream = "stock" }}
{transform}
"#
    )
}

fn display(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn what_is_no_plugin_is_refused_by_what_it_is() {
    let Some(bench) = Bench::new() else { return };
    let good = fs::read(bench.artifacts.plugin("demo-shop").unwrap()).unwrap();
    let wat = |text: &str| wat::parse_str(text).unwrap();
    let cases: [(&str, Vec<u8>, &[&str]); 6] = [
        ("readme.wasm", b"# Not a plugin".to_vec(), &["not", "WebAssembly"]),
        ("module.wasm", wat("(module)"), &["module", "component"]),
        ("half.wasm", good[..good.len() / 2].to_vec(), &["cut off"]),
        ("plain.wasm", wat("(component)"), &["stecker:plugin/meta"]),
        (
            "spy.wasm",
            wat(r#"(component (import "acme:spy/files@1.0.0" (instance)))"#),
            &["acme:spy/files@1.0.0"],
        ),
        (
            "later.wasm",
            wat(r#"(component (instance $m) (export "stecker:plugin/meta@2.0.0" (instance $m)))"#),
            &["2.0.0", "1.0.0"],
        ),
    ];
    for (name, bytes, words) in cases {
        let path = bench.component(name, bytes);
        let words: Vec<&str> = words.iter().copied().chain([name]).collect();
        bench.refused(&connection(&path, good_config()), &words);
    }
    let missing = display(&bench.path("nowhere.wasm"));
    bench.refused(&connection(&missing, good_config()), &["nowhere.wasm"]);
}

#[test]
fn a_configuration_is_held_against_the_plugins_schema() {
    let Some(bench) = Bench::new() else { return };
    let shop = display(&bench.artifacts.plugin("demo-shop").unwrap());
    bench.refused(
        &connection(&shop, "{ base_url = 5 }"),
        &["connection shop", "base_url", "string"],
    );
    bench.refused(
        &connection(&shop, "{}"),
        &["connection shop", "base_url", "required"],
    );
    let grant =
        connection(&shop, good_config()).replace("127.0.0.1:9\", schemes", "127.0.0.1:9/api\", schemes");
    bench.refused(&grant, &["connection shop", "grant", "127.0.0.1:9/api", "port"]);
    let unknown = connection(&shop, good_config()).replace("credentials.api", "credentials.apo");
    bench.refused(&unknown, &["credentials.api", "credentials.apo"]);
}

#[test]
fn a_stream_that_is_not_there_is_answered_with_those_that_are() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    bench.refused(
        &format!("{shop}{}", flow("ordres", "")),
        &["flow orders", "ordres", "orders", "products"],
    );
    let nobody = flow("orders", "").replace(r#""shop""#, r#""shoop""#);
    bench.refused(&format!("{shop}{nobody}"), &["shoop", "no connection"]);
}

#[test]
fn a_program_that_does_not_parse_is_located() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    let jq = bench.artifacts.plugin("jq").unwrap();
    let transform = format!(
        "[[flow.transform]]\nplugin = {{ path = {:?} }}\nconfig = {{ program = \"{{sku: .sku,\\n  quantity: }}\" }}",
        display(&jq)
    );
    bench.refused(
        &format!("{shop}{}", flow("orders", &transform)),
        &["transform[0].config", "line 2"],
    );
    let not_a_transform = transform.replace(
        &display(&jq),
        &display(&bench.artifacts.plugin("demo-erp").unwrap()),
    );
    bench.refused(
        &format!("{shop}{}", flow("orders", &not_a_transform)),
        &["transform[0].plugin", "transform"],
    );
}

#[test]
fn values_out_of_bounds_are_named_with_the_bounds() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    let with = |more: &str| format!("{shop}{}{more}", flow("orders", ""));
    bench.refused(
        &with("delivery = { batch = 0 }"),
        &["delivery.batch", "1 to 1000"],
    );
    bench.refused(
        &with("trigger = { cron = \"every day\" }"),
        &["trigger.cron", "every day", "five fields"],
    );
    bench.refused(&with("trigger = { every = \"5\" }"), &["5s"]);
    bench.refused(&with("trigger = { evry = \"5s\" }"), &["evry"]);
}

#[test]
fn a_system_that_cannot_be_reached_is_a_failed_probe() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    let file = bench.path("setup.toml");
    fs::write(&file, shop).unwrap();
    let applied = bench.stecker(&["apply", "-f", file.to_str().unwrap()]);
    assert!(applied.ok, "{}", applied.err);
    let checked = bench.stecker(&["connection", "check", "shop", "--json"]);
    assert!(!checked.ok, "a failed probe is a failed check");
    let report: serde_json::Value = serde_json::from_str(&checked.out).unwrap();
    assert_eq!(report["ok"], false);
    assert!(
        checked.out.contains("127.0.0.1:9") && checked.out.contains("hint"),
        "{}",
        checked.out
    );
}

#[test]
fn a_run_whose_source_cannot_be_reached_ends_and_says_what_to_do() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    let file = bench.path("setup.toml");
    let quick = "retry = { base = \"1ms\", cap = \"5ms\" }";
    fs::write(&file, format!("{shop}{}{quick}", flow("orders", ""))).unwrap();
    let applied = bench.stecker(&["apply", "-f", file.to_str().unwrap()]);
    assert!(applied.ok, "{}", applied.err);
    let ran = bench.stecker(&["flow", "run", "orders"]);
    assert!(!ran.ok, "{}", ran.out);
    for word in ["127.0.0.1:9", "cannot be read", "stecker connection check shop"] {
        assert!(ran.err.contains(word), "`{word}` is not said:\n{}", ran.err);
    }
}

#[test]
fn a_webhook_flow_without_the_signing_secret_is_refused() {
    let Some(bench) = Bench::new() else { return };
    let shop = connection(
        &display(&bench.artifacts.plugin("demo-shop").unwrap()),
        good_config(),
    );
    let deaf = shop
        .lines()
        .filter(|line| !line.starts_with("credentials.webhook"))
        .collect::<Vec<_>>()
        .join("\n");
    let setup = format!("{deaf}\n{}trigger = {{ webhook = true }}", flow("orders", ""));
    bench.refused(&setup, &["webhook", "[connection.credentials.webhook]"]);
}

/// The disk is a real one that is really full: a small file system of its own, in a namespace of its own.
#[test]
fn a_full_disk_is_named_and_leaves_nothing_half_written() {
    let Some(bench) = Bench::new() else { return };
    let jq = display(&bench.artifacts.plugin("jq").unwrap());
    let data = bench.path("data");
    fs::create_dir_all(&data).unwrap();
    let script = r#"
        mount -t tmpfs -o size=2m tmpfs "$STECKER_DATA" || exit 77
        "$STECKER" release add "$JQ" && exit 1
        "$STECKER" release list --json || exit 2
        "$STECKER" doctor >/dev/null 2>&1
        exit 0
    "#;
    let output = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", script])
        .env("STECKER", &bench.artifacts.stecker)
        .env("STECKER_DATA", &data)
        .env("JQ", jq)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) if output.status.code() != Some(77) => output,
        _ => {
            eprintln!("skipped: this machine lets nobody mount a small file system (unshare --user --mount)");
            return;
        }
    };
    let (out, err) = (
        String::from_utf8(output.stdout).unwrap(),
        String::from_utf8(output.stderr).unwrap(),
    );
    assert_eq!(output.status.code(), Some(0), "{out}{err}");
    assert!(
        err.contains("full") || err.contains("no room") || err.contains("No space"),
        "{err}"
    );
    assert!(!err.contains("panicked"), "{err}");
    assert_eq!(out.trim(), "[]", "half a release was kept: {out}{err}");
}

#[test]
fn a_database_of_another_kind_is_left_alone() {
    let Some(bench) = Bench::new() else { return };
    fs::create_dir_all(bench.path("data")).unwrap();
    let database = bench.path("data/stecker.sqlite");
    fs::write(
        &database,
        "a letter to my grandmother, kept in a file of an unlucky name ".repeat(100),
    )
    .unwrap();
    let before = fs::read(&database).unwrap();
    let answer = bench.stecker(&["flow", "list"]);
    assert!(!answer.ok);
    assert!(answer.err.contains("stecker.sqlite"), "{}", answer.err);
    assert_eq!(fs::read(&database).unwrap(), before, "the file was touched");
}
