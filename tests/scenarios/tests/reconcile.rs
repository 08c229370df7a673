//! The ERP is damaged behind everybody's back: a comparison finds exactly that, repairs it, and doubles nothing. On both databases, through a
//! server and without one, and over a kill.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Damage, Faults, Running, Simulators};
use stecker_test_postgres::TestPostgres;
use tempfile::TempDir;

const ORDERS: usize = 500;

struct Scene {
    artifacts: Artifacts,
    systems: Running,
    host: Host,
    job: Job,
    _folder: TempDir,
    _server: Option<TestPostgres>,
}

impl Scene {
    /// Every order delivered or in quarantine.
    async fn set_up(orders: usize, faults: Faults, on_postgres: bool) -> Option<Self> {
        let artifacts = Artifacts::or_skip()?;
        let server = if on_postgres {
            if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
                eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
                return None;
            }
            let start = tokio::task::spawn_blocking(TestPostgres::start);
            Some(start.await.unwrap().unwrap())
        } else {
            None
        };
        let options = HostOptions {
            database: server.as_ref().map(|server| server.url().to_owned()),
            ..HostOptions::default()
        };
        let config = Config {
            orders,
            faults,
            ..Config::default()
        };
        let systems = Simulators::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&artifacts, &folder.path().join("data"), options)
            .await
            .unwrap();
        let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
        job.apply(&host).unwrap();
        let scene = Self {
            artifacts,
            systems,
            host,
            job,
            _folder: folder,
            _server: server,
        };
        scene
            .until(
                "every order is delivered or in quarantine",
                |progress, systems| progress.idle && systems.account().verdict().missing.is_empty(),
            )
            .await;
        Some(scene)
    }

    async fn until(&self, what: &str, holds: impl Fn(&Progress, &Running) -> bool) -> Progress {
        for _ in 0..900 {
            let progress = Progress::of(&self.host).await.unwrap();
            if holds(&progress, &self.systems) {
                return progress;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "it never came to this: {what}; {:?}, {:?}",
            Progress::of(&self.host).await,
            self.systems.account().verdict()
        );
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self
            .host
            .cli(arguments.iter().copied().chain(["--json"]))
            .unwrap();
        serde_json::from_str(&said).unwrap()
    }

    /// 10 sales deleted, 7 changed, 3 entered by hand.
    fn damage(&self) -> Damage {
        let booked: Vec<String> = self.systems.account().erp.bookings.into_keys().collect();
        let damage = Damage {
            lose: booked.iter().step_by(40).take(10).cloned().collect(),
            distort: booked.iter().skip(3).step_by(50).take(7).cloned().collect(),
            invent: (1..=3).map(|n| format!("BY-HAND-{n}")).collect(),
        };
        assert_eq!(self.systems.damage(&damage), 20);
        damage
    }
}

/// Keys by kind of difference.
fn found(detail: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for one in detail["differences"].as_array().unwrap() {
        let text = |field: &str| one[field].as_str().unwrap().to_owned();
        assert!(found.entry(text("kind")).or_default().insert(text("key")));
    }
    found
}

fn expected(damage: &Damage) -> BTreeMap<String, BTreeSet<String>> {
    [
        ("missing", &damage.lose),
        ("different", &damage.distort),
        ("extra", &damage.invent),
    ]
    .map(|(kind, keys)| (kind.to_owned(), keys.iter().cloned().collect()))
    .into()
}

fn count(detail: &Value, what: &str) -> u64 {
    detail["run"]["report"]["counts"][what].as_u64().unwrap()
}

async fn what_was_damaged_is_found_and_repaired(on_postgres: bool) {
    let Some(scene) = Scene::set_up(ORDERS, Faults::off(), on_postgres).await else {
        return;
    };
    let clean = scene.json(&["reconcile", "orders-to-erp"]);
    assert_eq!(found(&clean), BTreeMap::new(), "{clean}");
    let delivered = count(&clean, "expected");
    assert_eq!(count(&clean, "equal"), delivered);
    let rejected = scene.systems.announcement().must_be_rejected as u64;
    assert_eq!(
        count(&clean, "pending"),
        rejected,
        "those in quarantine are not compared"
    );
    assert_eq!(clean["run"]["report"]["method"], "digest");
    let damage = scene.damage();

    // Only told: nothing changes.
    let told = scene.json(&["reconcile", "orders-to-erp"]);
    assert_eq!(found(&told), expected(&damage), "{told}");
    assert_eq!(count(&told, "equal"), delivered - 17);
    let changed = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["kind"] == "different")
        .unwrap();
    assert_eq!(changed["fields"][0]["path"], "/currency", "{changed}");
    assert_eq!(changed["fields"][0]["found"], "\"XTS\"", "{changed}");
    assert_eq!(scene.systems.account().verdict().missing.len(), 10);
    let calls = &told["run"]["report"]["calls"];
    assert!(calls["list"].as_u64().unwrap() <= 3, "{calls}");

    let repair = ["reconcile", "orders-to-erp", "--repair", "missing,different"];
    let repaired = scene.json(&repair);
    assert_eq!(found(&repaired), expected(&damage));
    assert_eq!(repaired["run"]["report"]["repaired"], 17, "{repaired}");
    let progress = scene
        .until("all 17 are back", |progress, systems| {
            let verdict = systems.account().verdict();
            progress.idle && verdict.missing.is_empty() && verdict.amount_mismatches.is_empty()
        })
        .await;
    let verdict = scene.systems.account().verdict();
    assert_eq!(verdict.duplicated, Vec::<String>::new());
    assert_eq!(verdict.invented, damage.invent);
    assert_eq!(progress.orders_in(RecordState::Delivered), delivered);

    let again = scene.json(&["reconcile", "orders-to-erp", "--repair", "missing,different"]);
    let only_extra = BTreeMap::from([("extra".to_owned(), damage.invent.iter().cloned().collect())]);
    assert_eq!(found(&again), only_extra, "{again}");
    assert_eq!(again["run"]["report"]["repaired"], 0);

    // Against the source itself it is the same.
    let full = scene.json(&["reconcile", "orders-to-erp", "--full"]);
    assert_eq!(found(&full), only_extra, "{full}");

    // What nobody here knows is deleted only on request, and not where transforms hide what it came from.
    let deleted = scene.json(&["reconcile", "orders-to-erp", "--repair", "extra-delete"]);
    assert_eq!(deleted["run"]["report"]["repaired"], 0, "{deleted}");
    let why = deleted["differences"][0]["repair"].as_str().unwrap();
    assert!(why.contains("transforms"), "{why}");

    // The shop neither sums up nor lists its stock: it is looked up.
    let stock = scene.json(&["reconcile", "stock-to-shop"]);
    assert_eq!(stock["run"]["report"]["method"], "lookup", "{stock}");
    assert_eq!(count(&stock, "equal"), count(&stock, "expected"), "{stock}");
    assert!(count(&stock, "equal") > 0, "{stock}");

    let list = scene.json(&["reconcile", "list", "orders-to-erp"]);
    assert_eq!(list.as_array().unwrap().len(), 6);
    let id = list[3]["id"].as_str().unwrap();
    let shown = scene.host.cli(["reconcile", "show", id]).unwrap();
    assert!(shown.contains("missing") && shown.contains("queued"), "{shown}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

/// Killed while it compares and repairs, slowly: begun anew, and nothing is doubled by that. While the two systems misbehave.
async fn a_kill_changes_nothing(on_postgres: bool) {
    let Some(mut scene) = Scene::set_up(200, Faults::demo(), on_postgres).await else {
        return;
    };
    let damage = scene.damage_some(10);
    let asked = [
        "reconcile",
        "orders-to-erp",
        "--repair",
        "missing,different",
        "--rate",
        "2",
        "--no-wait",
    ];
    let id = scene.json(&asked)["id"].as_str().unwrap().to_owned();
    for _ in 0..600 {
        let detail = scene.json(&["reconcile", "show", &id]);
        if detail["run"]["report"]["repaired"].as_u64().unwrap() > 0 {
            break;
        }
        assert_ne!(detail["run"]["state"], "failed", "{detail}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    scene.host.kill().unwrap();
    scene.host.start_again().await.unwrap();
    let mut detail = Value::Null;
    for _ in 0..900 {
        detail = scene.json(&["reconcile", "show", &id]);
        if !matches!(detail["run"]["state"].as_str(), Some("requested" | "running")) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(detail["run"]["state"], "done", "{detail}");
    assert_eq!(detail["run"]["starts"], 2, "{detail}");
    let progress = scene
        .until("everything is as it was", |progress, systems| {
            let verdict = systems.account().verdict();
            progress.idle
                && verdict.missing.is_empty()
                && verdict.amount_mismatches.is_empty()
                && verdict.stock_is_right()
        })
        .await;
    JobAccount::of(&progress, &scene.systems.account())
        .holds()
        .unwrap();
    assert!(!damage.lose.is_empty());
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

impl Scene {
    fn damage_some(&self, each: usize) -> Damage {
        let booked: Vec<String> = self.systems.account().erp.bookings.into_keys().collect();
        let damage = Damage {
            lose: booked.iter().take(each).cloned().collect(),
            distort: booked.iter().rev().take(each).cloned().collect(),
            invent: Vec::new(),
        };
        assert_eq!(self.systems.damage(&damage), 2 * each);
        damage
    }

    /// A command in the data folder, while no server runs there.
    fn here(&self, arguments: &[&str]) -> Value {
        let output = Command::new(&self.artifacts.stecker)
            .args(arguments)
            .arg("--json")
            .env("STECKER_DATA", self.host.data())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

/// The same without a server: the command compares, repairs and delivers by itself. And an event that was lost is found at the source.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_server_the_command_does_it_all() {
    let Some(mut scene) = Scene::set_up(100, Faults::off(), false).await else {
        return;
    };
    scene.host.terminate().await.unwrap();
    let damage = scene.damage_some(5);
    let repaired = scene.here(&["reconcile", "orders-to-erp", "--repair", "missing,different"]);
    assert_eq!(repaired["run"]["report"]["repaired"], 10, "{repaired}");
    assert_eq!(damage.lose.len(), 5);
    let verdict = scene.systems.account().verdict();
    assert!(verdict.missing.is_empty() && verdict.amount_mismatches.is_empty());
    assert!(verdict.duplicated.is_empty(), "{verdict:?}");

    // Orders that the ledger never heard of are missing only against the source.
    scene.systems.create_orders(4);
    let ledger = scene.here(&["reconcile", "orders-to-erp"]);
    assert_eq!(found(&ledger), BTreeMap::new(), "{ledger}");
    let full = scene.here(&["reconcile", "orders-to-erp", "--full", "--repair", "missing"]);
    assert_eq!(count(&full, "missing"), 4, "{full}");
    assert_eq!(full["run"]["report"]["repaired"], 4, "{full}");
    let verdict = scene.systems.account().verdict();
    assert!(
        verdict.missing.is_empty() && verdict.duplicated.is_empty(),
        "{verdict:?}"
    );
    scene.systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_is_found_and_repaired_on_sqlite() {
    what_was_damaged_is_found_and_repaired(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_damaged_is_found_and_repaired_on_postgres() {
    what_was_damaged_is_found_and_repaired(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_changes_nothing_on_sqlite() {
    a_kill_changes_nothing(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_changes_nothing_on_postgres() {
    a_kill_changes_nothing(true).await;
}

/// A person ends a repair that takes too long: what is queued is delivered, the rest stays as it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_person_ends_a_repair() {
    let Some(scene) = Scene::set_up(60, Faults::off(), false).await else {
        return;
    };
    scene.damage_some(10);
    let slowly = [
        "reconcile",
        "orders-to-erp",
        "--repair",
        "missing,different",
        "--rate",
        "1",
        "--no-wait",
    ];
    let id = scene.json(&slowly)["id"].as_str().unwrap().to_owned();
    for _ in 0..600 {
        let detail = scene.json(&["reconcile", "show", &id]);
        if detail["run"]["report"]["repaired"].as_u64().unwrap() > 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let ended = scene.json(&["reconcile", "abort", &id]);
    assert_eq!(ended["state"], "aborted", "{ended}");
    // The next one begins at once, and finds what is left.
    let left = scene.json(&["reconcile", "orders-to-erp"]);
    let wrong = count(&left, "missing") + count(&left, "different");
    assert!((1..20).contains(&wrong), "{left}");
    scene.json(&["reconcile", "orders-to-erp", "--repair", "missing,different"]);
    scene
        .until("everything is as it was", |progress, systems| {
            let verdict = systems.account().verdict();
            progress.idle && verdict.missing.is_empty() && verdict.amount_mismatches.is_empty()
        })
        .await;
    assert_eq!(scene.systems.account().verdict().duplicated, Vec::<String>::new());
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

/// By a schedule, at the node that runs the flow, and nobody asks.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schedule_repairs_by_itself() {
    let Some(scene) = Scene::set_up(60, Faults::off(), false).await else {
        return;
    };
    scene.damage_some(5);
    let setup = fs::read_to_string(scene.job.setup()).unwrap();
    let scheduled =
        "[flow.reconcile]\nevery = \"1h\"\nrepair = [\"missing\", \"different\"]\n\n[[flow.transform]]";
    fs::write(
        scene.job.setup(),
        setup.replacen("[[flow.transform]]", scheduled, 1),
    )
    .unwrap();
    scene.job.apply(&scene.host).unwrap();
    scene
        .until("the damage is repaired", |progress, systems| {
            let verdict = systems.account().verdict();
            progress.idle && verdict.missing.is_empty() && verdict.amount_mismatches.is_empty()
        })
        .await;
    assert_eq!(scene.systems.account().verdict().duplicated, Vec::<String>::new());
    let list = scene.json(&["reconcile", "list", "orders-to-erp"]);
    assert_eq!(
        list.as_array().unwrap().len(),
        1,
        "the next one is due in an hour: {list}"
    );
    assert_eq!(list[0]["requested-by"], "schedule");
    assert_eq!(list[0]["report"]["repaired"], 10, "{list}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

/// An ERP whose list goes round in a circle, the same hundred sales on every page.
fn circular_erp() -> String {
    let sales: Vec<Value> = (0..100)
        .map(|n| {
            serde_json::json!({
                "id": format!("SALE-{n}"), "reference": format!("R-{n:03}"), "version": 1, "idempotency_keys": [],
                "customer": {"name": "Ada Lind", "email": "ada@example.com"}, "currency": "EUR", "total": "1.00", "lines": [],
            })
        })
        .collect();
    let page = serde_json::json!({ "sales_orders": sales, "next": "R-099" }).to_string();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let page = page.clone();
            thread::spawn(move || answer_all(stream, &page));
        }
    });
    url
}

/// The list to whoever asks for it, 503 to everybody else.
fn answer_all(mut stream: TcpStream, page: &str) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    loop {
        let mut first = String::new();
        let mut length = 0;
        if reader.read_line(&mut first).is_err() || first.is_empty() {
            return;
        }
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).is_err() || line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or(0);
            }
        }
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let (status, body) = if first.starts_with("GET /v2/sales-orders/list") {
            ("200 OK", page)
        } else {
            ("503 Service Unavailable", "{}")
        };
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        if stream.write_all(head.as_bytes()).is_err() || stream.write_all(body.as_bytes()).is_err() {
            return;
        }
    }
}

/// It ends, with an error that says what is wrong, and repairs nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_goes_round_in_a_circle_ends_in_an_error() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let systems = Simulators::start(Config {
        orders: 5,
        ..Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut announced = systems.announcement().clone();
    announced.erp_url = circular_erp();
    let job = Job::write(&folder.path().join("job"), &artifacts, &announced).unwrap();
    let data = folder.path().join("data");
    let run = |arguments: &[&str]| {
        Command::new(&artifacts.stecker)
            .args(arguments)
            .arg("--json")
            .env("STECKER_DATA", &data)
            .stdin(Stdio::null())
            .output()
            .unwrap()
    };
    let setup = job.setup().display().to_string();
    assert!(run(&["apply", "-f", &setup]).status.success());
    let ran = run(&[
        "reconcile",
        "orders-to-erp",
        "--repair",
        "missing,different,extra-delete",
    ]);
    assert_eq!(ran.status.code(), Some(1));
    let detail: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!(detail["run"]["state"], "failed", "{detail}");
    let why = detail["run"]["report"]["error"]["message"].as_str().unwrap();
    assert!(why.contains("the key `R-000` twice"), "{why}");
    assert_eq!(detail["run"]["report"]["repaired"], 0);
    assert_eq!(detail["differences"], serde_json::json!([]));
    systems.stop().await;
}
