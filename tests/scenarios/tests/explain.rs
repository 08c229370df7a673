//! "Why does this order hang?" Every cause is brought about between the simulated systems, by the real binary, and `stecker explain` names it
//! first, with what speaks for it, and with a command that helps. On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{fs, path::PathBuf, process::Command, time::Duration};

use semver::Version;
use serde_json::Value;
use stecker_registry::Manifest;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job};
use stecker_simulators::{Config, Faults, Order, Running, Simulators};
use stecker_test_guests::Guest;
use stecker_test_postgres::TestPostgres;
use tempfile::TempDir;

const ORDERS: usize = 30;

struct Scene {
    systems: Running,
    host: Host,
    artifacts: Artifacts,
    /// The setup of the job, with the ERP's password in the vault.
    setup: String,
    folder: TempDir,
    _server: Option<TestPostgres>,
}

impl Scene {
    async fn set_up(on_postgres: bool) -> Option<Self> {
        let artifacts = Artifacts::or_skip()?;
        let server = if on_postgres {
            if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
                eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
                return None;
            }
            Some(
                tokio::task::spawn_blocking(TestPostgres::start)
                    .await
                    .unwrap()
                    .unwrap(),
            )
        } else {
            None
        };
        let options = HostOptions {
            database: server.as_ref().map(|server| server.url().to_owned()),
            ..HostOptions::default()
        };
        let config = Config {
            orders: ORDERS,
            ..Config::default()
        };
        let systems = Simulators::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&artifacts, &folder.path().join("data"), options)
            .await
            .unwrap();
        let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
        let written = fs::read_to_string(job.setup()).unwrap();
        let in_vault = |line: &str| {
            if line.starts_with("credentials.api = { username") {
                "credentials.api = { secret = \"vault\" }".to_owned()
            } else {
                line.to_owned()
            }
        };
        let setup = written.lines().map(in_vault).collect::<Vec<_>>().join("\n");
        let scene = Self {
            systems,
            host,
            artifacts,
            setup,
            folder,
            _server: server,
        };
        let user = format!("--username={}", scene.systems.announcement().erp_user);
        let password = scene.file("password", &scene.systems.announcement().erp_password);
        scene.json(&["secret", "set", "erp", "api", &user, "--from-file", &password]);
        scene.apply(&scene.setup);
        Some(scene)
    }

    fn file(&self, name: &str, content: &str) -> String {
        let path: PathBuf = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path.display().to_string()
    }

    fn apply(&self, setup: &str) {
        let file = self.file("setup.toml", setup);
        self.json(&["apply", "-f", &file]);
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self
            .host
            .cli(arguments.iter().copied().chain(["--json"]))
            .unwrap();
        serde_json::from_str(&said).unwrap()
    }

    fn one_order(&self) -> String {
        self.systems
            .create_orders(1)
            .iter()
            .map(number)
            .next_back()
            .unwrap()
    }

    fn explain(&self, key: &str) -> Value {
        self.json(&["explain", key, "--flow", "orders-to-erp"])
    }

    /// Asks until the answer is as it should become.
    async fn until(&self, key: &str, what: &str, holds: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        for _ in 0..300 {
            last = self.explain(key);
            if holds(&last) {
                return last;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("`{key}` never was {what}: {last:#}");
    }

    async fn until_first_is(&self, key: &str, cause: &str) -> Value {
        self.until(key, cause, |told| told["hypotheses"][0]["cause"] == cause)
            .await
    }

    /// Runs a recommended command as it is told, with what a person would type in besides.
    fn run(&self, told: &Value, beginning: &str, more: &[&str]) {
        let commands = told["hypotheses"][0]["action"]["commands"].as_array().unwrap();
        let command = commands
            .iter()
            .filter_map(Value::as_str)
            .find(|command| command.starts_with(beginning))
            .unwrap_or_else(|| panic!("`{beginning}` is not recommended: {commands:?}"));
        let stecker = self.artifacts.stecker.display().to_string();
        let line = format!("{command} {}", more.join(" ")).replacen("stecker", &stecker, 1);
        let ran = Command::new("sh")
            .args(["-c", &line])
            .env("STECKER_DATA", self.host.data())
            .output()
            .unwrap();
        assert!(
            ran.status.success(),
            "{line}: {}",
            String::from_utf8_lossy(&ran.stderr)
        );
    }

    /// Sends a record back by the recommended command, once more if the flow had not yet taken up what was corrected.
    async fn again_until_delivered(&self, key: &str) {
        loop {
            let told = self
                .until(key, "settled", |told| {
                    matches!(
                        told["places"][0]["state"].as_str(),
                        Some("delivered" | "quarantined")
                    )
                })
                .await;
            if told["places"][0]["state"] == "delivered" {
                return;
            }
            self.run(&told, "stecker quarantine retry", &["--yes"]);
        }
    }

    async fn end(self) {
        self.host.stop().await.unwrap();
        self.systems.stop().await;
    }
}

/// The first hypothesis is this one, as sure as that, and is shown by all of these words.
#[track_caller]
fn first_is(told: &Value, cause: &str, confidence: &str, shown: &[&str]) {
    let first = &told["hypotheses"][0];
    assert_eq!(
        (&first["cause"], &first["confidence"]),
        (&cause.into(), &confidence.into()),
        "{told:#}"
    );
    let evidence = format!(
        "{} {} {}",
        first["sentence"], first["evidence"], first["action"]["sentence"]
    );
    for word in shown {
        assert!(evidence.contains(word), "`{word}` is not shown: {first:#}");
    }
    assert!(!first["evidence"].as_array().unwrap().is_empty(), "{first:#}");
}

/// The number of an order, and what jq compares it with.
fn number(order: &Order) -> String {
    order.number.clone()
}

/// An item that is not there, a wrong type, a rule, a transform that refuses or leaves out, a duplicate.
async fn the_erp_refuses(on_postgres: bool) {
    let Some(scene) = Scene::set_up(on_postgres).await else {
        return;
    };

    // The ledger's key is the shop's id; what people read off a screen is the number. The ERP does not know an item, and no flow ever carried
    // it there.
    let account = scene.systems.account();
    let (key, _) = account
        .shop
        .orders
        .iter()
        .find(|(_, order)| order.must_be_rejected)
        .unwrap();
    let key = key.clone();
    let told = scene.until_first_is(&key, "missing-dependency").await;
    first_is(
        &told,
        "missing-dependency",
        "certain",
        &["DISCONTINUED-", "no flow of this host"],
    );
    assert_eq!(
        told["hypotheses"][0]["field"]
            .as_str()
            .unwrap()
            .split('/')
            .next_back(),
        Some("sku")
    );
    let id = told["key"].as_str().unwrap().to_owned();
    assert_eq!(told["found-by"], "payload", "{told:#}");
    for (asked, found_by) in [(id.clone(), "key"), (format!("#{id}"), "part-of-key")] {
        let same = scene.explain(&asked);
        assert_eq!(
            (&same["key"], &same["found-by"]),
            (&id.as_str().into(), &found_by.into())
        );
        assert_eq!(same["hypotheses"][0]["cause"], "missing-dependency", "{same:#}");
    }
    let sku = told["hypotheses"][0]["sentence"]
        .as_str()
        .unwrap()
        .split('`')
        .nth(1)
        .unwrap()
        .to_owned();
    scene.systems.learn_item(&sku);
    scene.run(&told, "stecker quarantine retry", &["--yes"]);
    let told = scene.until_first_is(&key, "delivered").await;
    // What the ERP calls it leads back to it, and the story is in order.
    let sale = told["places"][0]["external-id"].as_str().unwrap();
    let by_sale = scene.explain(sale);
    assert_eq!(
        (&by_sale["key"], &by_sale["found-by"]),
        (&id.as_str().into(), &"external-id".into())
    );
    let story = told["story"].as_array().unwrap();
    let kinds: Vec<&str> = story
        .iter()
        .map(|event| event["kind"].as_str().unwrap())
        .collect();
    let at = |kind: &str| kinds.iter().position(|one| *one == kind);
    assert!(
        at("accepted") < at("quarantined") && at("quarantined") < at("decision"),
        "{kinds:?}"
    );
    assert!(at("decision") < at("delivered"), "{kinds:?}");

    // One order each: its total a number, its total wrong, a transform's error, left out; and one as it should be.
    scene.json(&["flow", "pause", "orders-to-erp", "--reason", "a new mapping"]);
    let orders: Vec<String> = scene.systems.create_orders(5).iter().map(number).collect();
    let [shape, rule, transform, dropped, good] = orders.as_slice() else {
        panic!()
    };
    let total = format!(
        "currency, total: (if .number == {shape:?} then (.total | tonumber) elif .number == {rule:?} then \"1.00\" \
         elif .number == {transform:?} then error(\"no VAT rate for this country\") elif .number == {dropped:?} then empty else .total end),"
    );
    scene.apply(&scene.setup.replace("currency, total,", &total));
    let unread = scene.explain(good);
    first_is(&unread, "not-read", "likely", &["paused", "orders-to-erp"]);
    scene.run(&unread, "stecker flow resume", &[]);

    let told = scene.until_first_is(shape, "schema-mismatch").await;
    first_is(&told, "schema-mismatch", "certain", &["a number", "a string"]);
    assert_eq!(told["hypotheses"][0]["field"], "/total", "{told:#}");
    let told = scene
        .until(rule, "a business rule, and others went through", |told| {
            told["hypotheses"][0]["cause"] == "business-rule"
                && told["hypotheses"][0]["confidence"] == "certain"
        })
        .await;
    first_is(
        &told,
        "business-rule",
        "certain",
        &["total-mismatch", "went through since"],
    );
    assert_eq!(told["hypotheses"][0]["same-cause"]["count"], 1, "{told:#}");
    let told = scene.until_first_is(dropped, "dropped").await;
    assert!(
        told["summary"].as_str().unwrap().contains("on purpose"),
        "{told:#}"
    );
    let told = scene.until_first_is(transform, "transform-error").await;
    first_is(&told, "transform-error", "certain", &["no VAT rate"]);
    assert!(
        told["story"]
            .to_string()
            .contains("run again now, transform 1 rejected"),
        "{told:#}"
    );
    // The mapping is corrected, and the recommended command does the rest.
    scene.apply(&scene.setup);
    scene.again_until_delivered(transform).await;

    // Sent again with another content under the same idempotency key.
    let told = scene.until_first_is(good, "delivered").await;
    let id = told["key"].as_str().unwrap();
    let other = scene
        .setup
        .replace("name: .customer.name", "name: \"somebody else\"");
    assert_ne!(other, scene.setup);
    scene.apply(&other);
    scene.json(&[
        "replay",
        "start",
        "orders-to-erp",
        "--key",
        id,
        "--reason",
        "by mistake",
    ]);
    let told = scene.until_first_is(good, "duplicate").await;
    first_is(
        &told,
        "duplicate",
        "certain",
        &["idempotency", "was delivered at"],
    );
    scene.run(&told, "stecker quarantine discard", &["--yes"]);
    let told = scene.until_first_is(good, "discarded").await;
    assert!(
        told["story"].to_string().contains("given up: erp has it already"),
        "{told:#}"
    );

    // For people it fits on a screen, without colours in a pipe.
    let text = scene.host.cli(["explain", rule]).unwrap();
    assert!(text.lines().count() <= 40 && !text.contains('\u{1b}'), "{text}");
    assert!(
        text.contains("WHY business-rule, certain") && text.contains("stecker quarantine"),
        "{text}"
    );
    scene.end().await;
}

/// Credentials that were changed, a limit, an outage, a source that cannot be read.
async fn the_erp_is_away(on_postgres: bool) {
    let Some(scene) = Scene::set_up(on_postgres).await else {
        return;
    };
    let last = scene
        .systems
        .create_orders(1)
        .iter()
        .map(number)
        .next_back()
        .unwrap();
    scene.until_first_is(&last, "delivered").await;

    // Somebody changed the password.
    let wrong = scene.file("wrong", "generated-and-wrong");
    let user = format!("--username={}", scene.systems.announcement().erp_user);
    scene.json(&["secret", "set", "erp", "api", &user, "--from-file", &wrong]);
    // It counts a moment later: what a batch uses is kept for the next one.
    let mut orders: Vec<String> = Vec::new();
    while orders.is_empty() {
        let order = scene.one_order();
        let told = scene
            .until(&order, "sent", |told| {
                told["hypotheses"][0]["cause"] != "in-progress" && told["found-by"] != "nothing"
            })
            .await;
        if told["hypotheses"][0]["cause"] != "delivered" {
            orders = scene
                .systems
                .create_orders(2)
                .iter()
                .map(number)
                .chain([order])
                .collect();
        }
    }
    let told = scene
        .until(&orders[0], "stuck with the others for the credentials", |told| {
            let first = &told["hypotheses"][0];
            first["cause"] == "auth-expired" && first["same-cause"]["count"].as_u64() >= Some(3)
        })
        .await;
    first_is(
        &told,
        "auth-expired",
        "certain",
        &["401", "was set at", "it began"],
    );
    assert!(
        told["story"].to_string().contains("secret/erp/api was set"),
        "{told:#}"
    );
    let right = scene.file("right", &scene.systems.announcement().erp_password);
    scene.run(&told, "stecker secret set erp api", &["--from-file", &right]);
    for order in &orders {
        scene.until_first_is(order, "delivered").await;
    }

    // The ERP is left alone by a person while an order comes in; then it has too many requests, then none at all.
    for (faults, cause, shown) in [
        (
            Faults {
                too_many_requests: 1.0,
                max_in_a_row: u32::MAX,
                ..Faults::off()
            },
            "rate-limit",
            "429",
        ),
        (
            Faults {
                unavailable: 1.0,
                max_in_a_row: u32::MAX,
                ..Faults::off()
            },
            "upstream-down",
            "503",
        ),
    ] {
        scene.json(&[
            "connection",
            "open-circuit",
            "erp",
            "--reason",
            "the ERP is being moved",
        ]);
        let order = scene
            .systems
            .create_orders(1)
            .iter()
            .map(number)
            .next_back()
            .unwrap();
        let told = scene.until_first_is(&order, "connection-stopped").await;
        first_is(
            &told,
            "connection-stopped",
            "certain",
            &["the ERP is being moved"],
        );
        scene.systems.set_faults(faults).unwrap();
        scene.run(&told, "stecker connection close-circuit", &[]);
        // Tried and refused, or not even tried because something else met it first.
        let told = scene.until_first_is(&order, cause).await;
        first_is(&told, cause, "certain", &[shown]);
        let first = &told["hypotheses"][0];
        assert_eq!(first["same-cause"]["keys"][0], told["key"], "{told:#}");
        // An order that is not there yet: what is known is that its source cannot be read.
        let unread = scene
            .until("SO-999999", "behind a source that fails", |told| {
                told["hypotheses"][0]["cause"] == cause
            })
            .await;
        assert_eq!(unread["found-by"], "nothing", "{unread:#}");
        first_is(&unread, cause, "likely", &["cannot be read"]);
        scene.systems.set_faults(Faults::off()).unwrap();
        scene.until_first_is(&order, "delivered").await;
    }
    scene.end().await;
}

/// What is nobody's fault but ours: a grant that is missing, a plugin that crashes.
async fn it_is_our_own_fault(on_postgres: bool) {
    let Some(scene) = Scene::set_up(on_postgres).await else {
        return;
    };
    let last = scene
        .systems
        .create_orders(1)
        .iter()
        .map(number)
        .next_back()
        .unwrap();
    scene.until_first_is(&last, "delivered").await;

    // Without its grant the connector may not ask the ERP.
    let erp_host = scene
        .systems
        .announcement()
        .erp_url
        .trim_start_matches("http://")
        .to_owned();
    let closed = scene
        .setup
        .lines()
        .filter(|line| !(line.starts_with("grants.http") && line.contains(&erp_host)))
        .collect::<Vec<_>>()
        .join("\n");
    assert_ne!(closed, scene.setup);
    scene.apply(&closed);
    let order = scene
        .systems
        .create_orders(1)
        .iter()
        .map(number)
        .next_back()
        .unwrap();
    let told = scene
        .until(&order, "a denial, written down", |told| {
            let first = &told["hypotheses"][0];
            first["cause"] == "denial" && first["action"]["commands"].to_string().contains("denials show")
        })
        .await;
    first_is(
        &told,
        "denial",
        "certain",
        &["http.", &erp_host, "the grants of the connection"],
    );
    scene.run(&told, "stecker denials show", &[]);
    scene.apply(&scene.setup);
    scene.until_first_is(&order, "delivered").await;

    // A transform that crashes on every record; nothing but an empty batch goes well, with which a setup is tried.
    let guest = Guest {
        world: "export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;",
        packages: "",
        code: "(func $find_price unreachable) (func (export \"stecker:plugin/transform@1.0.0#apply\") \
               (param i32) (param i32) (param i32) (param $len i32) (result i32) \
               (if (local.get $len) (then (call $find_price))) \
               (i32.store8 (i32.const 2048) (i32.const 0)) (i32.store (i32.const 2056) (i32.const 2064)) \
               (i32.store (i32.const 2060) (i32.const 0)) (i32.const 2048))",
        prelude: true,
    };
    let manifest = "name = \"tests/broken\"\nversion = \"1.0.0\"\ntitle = \"Broken\"\ncontract = \"1.0.0\"\n";
    let component = guest
        .build(&Version::new(1, 0, 0), &Manifest::from_toml(manifest).unwrap())
        .unwrap();
    let path = scene.folder.path().join("broken.wasm");
    fs::write(&path, component).unwrap();
    let broken = scene.setup.replacen(
        "[[flow.transform]]",
        &format!("[[flow.transform]]\nplugin = {{ path = {path:?} }}\n\n[[flow.transform]]"),
        1,
    );
    scene.apply(&broken);
    let orders: Vec<String> = scene.systems.create_orders(2).iter().map(number).collect();
    let told = scene
        .until(&orders[0], "in quarantine with the other for a crash", |told| {
            let first = &told["hypotheses"][0];
            first["cause"] == "plugin-bug"
                && told["places"][0]["state"] == "quarantined"
                && first["same-cause"]["count"] == 2
        })
        .await;
    first_is(
        &told,
        "plugin-bug",
        "certain",
        &["unreachable", "it began", "its transforms"],
    );
    scene.apply(&scene.setup);
    for order in &orders {
        scene.again_until_delivered(order).await;
    }
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_erp_refuses_is_explained_on_sqlite() {
    the_erp_refuses(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_erp_refuses_is_explained_on_postgres() {
    the_erp_refuses(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_is_away_is_explained_on_sqlite() {
    the_erp_is_away(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_is_away_is_explained_on_postgres() {
    the_erp_is_away(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_faults_are_explained_on_sqlite() {
    it_is_our_own_fault(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_own_faults_are_explained_on_postgres() {
    it_is_our_own_fault(true).await;
}
