//! Another release, tried on recorded calls, by the real binary: what it would do differently is found, what it does the same is not, and nobody
//! hears of the trial.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

mod guests;
mod scene;

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use stecker_registry::{Manifest, embed_manifest, inspect};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job};
use stecker_simulators::{Config, Faults, Simulators};

use guests::{ELSEWHERE, IN_CENTS, LINES, ONE_MISSING, RENAMED, SAME, Writer};
use scene::Scene;

/// Kind, place and count of every difference.
fn differences(report: &Value) -> Vec<(&str, &str, u64)> {
    let all = report["differences"].as_array().unwrap().iter();
    all.map(|one| {
        let text = |name: &str| one[name].as_str().unwrap();
        (text("kind"), text("place"), one["count"].as_u64().unwrap())
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_release_would_do_differently_is_found_and_nobody_hears_of_it() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let scene = Scene::set_up(artifacts).await;
    let (ok, report) = scene.shadow(SAME, &[]);
    assert!(
        !ok && report["verdict"] == "unknown",
        "nothing is recorded: {report}"
    );

    scene.told(&["tape", "start", "shop", "--for", "1h", "--calls", "2"]);
    for _ in 0..3 {
        scene.told(&["flow", "run", "lines"]);
    }
    let list: Value = serde_json::from_str(&scene.told(&["tape", "list", "shop", "--json"])).unwrap();
    assert_eq!(
        list["tapes"].as_array().unwrap().len(),
        2,
        "it stops by itself: {list}"
    );
    assert!(list["taping"].is_null());

    let asked = scene.system.requests();
    let lines = u64::try_from(LINES).unwrap();
    for (variant, expected) in [
        (SAME, vec![]),
        (
            RENAMED,
            vec![
                ("changed-field", "/gross", 2 * lines),
                ("changed-field", "/total", 2 * lines),
            ],
        ),
        (IN_CENTS, vec![("changed-field", "/total", 2 * lines)]),
        (ONE_MISSING, vec![("missing-record", "record", 2)]),
        (
            ELSEWHERE,
            vec![("request", "GET /other", 2), ("error", "ok → transient", 2)],
        ),
    ] {
        let (ok, report) = scene.shadow(variant, &[]);
        let mut found = differences(&report);
        let mut expected = expected;
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected, "{}: {report:#}", variant.version);
        assert_eq!(ok, expected.is_empty(), "{report}");
        assert_eq!(report["compared"], 2, "{report}");
        assert_eq!(report["noise"], json!([]));
    }
    let (ok, report) = scene.shadow(RENAMED, &["--ignore", "/total", "--ignore", "/gross"]);
    assert!(ok, "{report}");
    let (ok, text, _) = scene.stecker(&["shadow", "shop", "--release", "tests/lines@~1.3"]);
    assert!(
        !ok && text.contains("a record is missing") && text.contains("0500"),
        "{text}"
    );
    assert_eq!(scene.system.requests(), asked, "a trial reaches nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_release_would_write_differently_is_found_and_not_written() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let scene = Scene::set_up(artifacts).await;
    scene.told(&["tape", "start", "erp"]);
    scene.told(&["flow", "run", "lines"]);
    let asked = scene.system.requests();
    for (variant, expected) in [
        (Writer::SAME, vec![]),
        (
            Writer::IN_CENTS,
            vec![
                ("error", "ok → transient", 1),
                ("request", "POST /orders body /total", 1),
                ("unsent-request", "POST /orders", 1),
            ],
        ),
        (
            Writer::ELSEWHERE,
            vec![
                ("error", "ok → transient", 1),
                ("request", "POST /sales", 1),
                ("unsent-request", "POST /orders", 1),
            ],
        ),
    ] {
        let (ok, report) = scene.shadow_writer(variant);
        let mut found = differences(&report);
        found.sort_unstable();
        assert_eq!(found, expected, "{}: {report:#}", variant.version);
        assert_eq!((ok, &report["compared"]), (expected.is_empty(), &json!(1)));
    }
    assert_eq!(scene.system.requests(), asked, "a trial reaches nobody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_on_a_tape_and_nothing_of_it_can_be_read_in_the_database() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let scene = Scene::set_up(artifacts).await;
    scene.told(&["tape", "start", "shop"]);
    scene.told(&["flow", "run", "lines"]);
    // What cannot be kept does not keep anybody from working.
    let file = scene.data().join("master-key");
    let master = fs::read(&file).unwrap();
    fs::write(&file, "no key at all").unwrap();
    let (ok, _, err) = scene.stecker(&["flow", "run", "lines"]);
    assert!(ok && err.contains("is not kept"), "{err}");
    fs::write(&file, master).unwrap();
    scene.told(&["tape", "stop", "shop"]);
    scene.told(&["flow", "run", "lines"]);
    let fixtures = scene.folder.path().join("fixtures");
    scene.told(&["tape", "export", "shop", "--to", fixtures.to_str().unwrap()]);
    let files: Vec<_> = fs::read_dir(&fixtures)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    let [file] = &files[..] else {
        panic!("one call was recorded: {files:?}");
    };
    let text = fs::read_to_string(file).unwrap();
    let tape: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&tape["form"], &tape["call"]["function"]),
        (&json!(1), &json!("read"))
    );
    let exchange = &tape["exchanges"][0];
    assert_eq!(exchange["credential"], "api", "by its name: {exchange}");
    let answer = &exchange["answer"]["answered"];
    assert!(
        answer["body"]["text"]
            .as_str()
            .unwrap()
            .contains("\"id\":\"0999\"")
    );
    assert!(text.contains("x-asked-with") && text.contains("[redacted]"));
    assert!(
        !text.contains(&scene.key),
        "the system told the key, and it is taken out"
    );

    let row = tape_row(&scene.data()).await;
    for secret in [scene.key.as_str(), "\"id\":\"0999\"", "x-asked-with"] {
        assert!(!String::from_utf8_lossy(&row).contains(secret), "{secret}");
    }
    for file in ["stecker.sqlite", "stecker.sqlite-wal"] {
        let bytes = fs::read(scene.data().join(file)).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&bytes).contains(&scene.key), "{file}");
    }
    scene.told(&["tape", "clear", "shop"]);
    let list: Value = serde_json::from_str(&scene.told(&["tape", "list", "shop", "--json"])).unwrap();
    assert_eq!(list["tapes"], json!([]));
}

/// As it lies in the database.
async fn tape_row(data: &Path) -> Vec<u8> {
    use sqlx::{Connection as _, Row as _};
    sqlx::any::install_default_drivers();
    let url = format!("sqlite://{}", data.join("stecker.sqlite").display());
    let mut connection = sqlx::AnyConnection::connect(&url).await.unwrap();
    let row = sqlx::query("SELECT sealed FROM tapes")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    let sealed = row.get("sealed");
    connection.close().await.unwrap();
    sealed
}

/// Another release of a plugin: the same code under another version.
fn same_code(component: &Path, folder: &Path) -> PathBuf {
    let component = fs::read(component).unwrap();
    let mut manifest = serde_json::to_value(&inspect(&component).unwrap().manifest).unwrap();
    manifest["version"] = json!("9.0.0");
    let manifest: Manifest = serde_json::from_value(manifest).unwrap();
    let path = folder.join(format!("{}.wasm", manifest.name.to_string().replace('/', "-")));
    fs::write(&path, embed_manifest(&component, &manifest).unwrap()).unwrap();
    path
}

/// Reads, writes, lookups and webhooks of real connectors, in front of systems that misbehave on purpose.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_code_differs_in_nothing_over_a_hundred_calls_of_each_connection() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let systems = Simulators::start(Config {
        orders: 1_500,
        faults: Faults::demo(),
        ..Config::default()
    })
    .await
    .unwrap();
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    systems.set_webhook_url(Some(format!("{}/hooks/default/shop", host.url())));
    job.apply(&host).unwrap();
    let json = |words: &[&str]| -> Value {
        let words = words.iter().copied().chain(["--json"]);
        serde_json::from_str(&host.cli(words).unwrap()).unwrap()
    };
    let recorded = |connection: &str| {
        json(&["tape", "list", connection])["tapes"]
            .as_array()
            .unwrap()
            .len()
    };
    for connection in ["shop", "erp"] {
        json(&["tape", "start", connection, "--for", "10m", "--calls", "150"]);
    }
    let begun = Instant::now();
    let account = systems.account();
    let orders: Vec<u64> = account
        .shop
        .orders
        .values()
        .map(|order| order.id)
        .take(40)
        .collect();
    while ["shop", "erp"]
        .iter()
        .any(|connection| recorded(connection) < 100)
    {
        assert!(begun.elapsed() < Duration::from_secs(180), "nothing happens");
        systems.update_orders(&orders).unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let mut functions: Vec<String> = ["shop", "erp"]
        .iter()
        .flat_map(|connection| {
            let list = json(&["tape", "list", connection]);
            list["tapes"].as_array().unwrap().clone()
        })
        .map(|tape| tape["function"].as_str().unwrap().to_owned())
        .collect();
    functions.sort_unstable();
    functions.dedup();
    for function in ["read", "receive", "write"] {
        assert!(functions.iter().any(|one| one == function), "{functions:?}");
    }
    for (connection, plugin) in [("shop", "demo-shop"), ("erp", "demo-erp")] {
        let file = same_code(&artifacts.plugin(plugin).unwrap(), folder.path());
        host.cli(["release", "add", file.to_str().unwrap()]).unwrap();
        let release = format!("stecker/{plugin}@9");
        let report = json(&["shadow", connection, "--release", &release, "--calls", "150"]);
        assert_eq!(report["verdict"], "pass", "{report:#}");
        assert!(report["compared"].as_u64().unwrap() >= 90, "{report:#}");
        assert_eq!(report["differences"], json!([]), "{report:#}");
    }
}
