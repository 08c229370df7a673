//! An operator gets the rest back: orders that were refused for a wrong article number are grouped, corrected and booked once; a range of
//! orders is replayed while the host is killed, and nothing is doubled in the ERP's books. On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, Progress};
use stecker_simulators::{Config, Faults, ItemStatus, Running, Simulators};
use stecker_test_postgres::TestPostgres;
use tempfile::TempDir;

struct Scene {
    systems: Running,
    host: Host,
    artifacts: Artifacts,
    folder: TempDir,
    _server: Option<TestPostgres>,
}

impl Scene {
    async fn set_up(orders: usize, on_postgres: bool) -> Option<Self> {
        let artifacts = Artifacts::or_skip()?;
        let server = if on_postgres {
            if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
                eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
                return None;
            }
            let started = tokio::task::spawn_blocking(TestPostgres::start).await;
            Some(started.unwrap().unwrap())
        } else {
            None
        };
        let options = HostOptions {
            database: server.as_ref().map(|server| server.url().to_owned()),
            ..HostOptions::default()
        };
        let config = Config {
            orders,
            faults: Faults::off(),
            ..Config::default()
        };
        let systems = Simulators::start(config).await.unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&artifacts, &folder.path().join("data"), options)
            .await
            .unwrap();
        let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
        job.apply(&host).unwrap();
        Some(Self {
            systems,
            host,
            artifacts,
            folder,
            _server: server,
        })
    }

    async fn until(&self, what: &str, holds: impl Fn(&Progress) -> bool) -> Progress {
        for _ in 0..900 {
            let progress = Progress::of(&self.host).await.unwrap();
            if holds(&progress) {
                return progress;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!(
            "it never came to this: {what}; {:?}",
            Progress::of(&self.host).await
        );
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self
            .host
            .cli(arguments.iter().copied().chain(["--json"]))
            .unwrap();
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error}: {said}"))
    }

    /// A command that has to fail; what it says.
    fn refused(&self, arguments: &[&str]) -> String {
        let output = Command::new(&self.artifacts.stecker)
            .args(arguments)
            .env("STECKER_DATA", self.host.data())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        assert!(!output.status.success(), "{arguments:?} was not refused");
        String::from_utf8(output.stderr).unwrap()
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, text).unwrap();
        path
    }
}

/// An article that the ERP has, taken from an order that it booked.
fn known_sku(scene: &Scene, but: &str) -> String {
    let account = scene.systems.account();
    let known = account.erp.stock.keys().find(|sku| sku.as_str() != but);
    known.unwrap().clone()
}

async fn refused_orders_are_grouped_corrected_and_booked_once(on_postgres: bool) {
    // Two in 400 hold an article that the ERP does not know.
    let Some(scene) = Scene::set_up(400, on_postgres).await else {
        return;
    };
    scene
        .until("everything delivered, two orders in quarantine", |progress| {
            progress.idle && progress.orders_in(RecordState::Quarantined) == 2
        })
        .await;
    let groups = scene.json(&["quarantine", "groups", "--flow", "orders-to-erp"]);
    assert_eq!(groups.as_array().unwrap().len(), 1, "one cause: {groups}");
    let group = &groups[0];
    assert_eq!(
        (&group["count"], &group["code"]),
        (&2.into(), &"unknown-item".into())
    );
    assert_eq!(group["message"], "There is no item `…`.", "{group}");
    assert_eq!(group["path"], "/lines/*/sku", "{group}");
    let id = group["id"].as_str().unwrap();
    let record = group["samples"][0]["id"].as_str().unwrap();
    let key = group["samples"][0]["key"].as_str().unwrap();
    let sku = group["samples"][0]["message"]
        .as_str()
        .unwrap()
        .split('`')
        .nth(1)
        .unwrap();

    // What it is on its way: the transform makes a sale of the order, which would be sent under the record's own key.
    let shown = scene.json(&["records", "show", record]);
    let steps = scene.json(&["records", "show", record, "--steps"]);
    assert_eq!(steps["steps"][0]["outcome"], "emitted", "{steps}");
    assert!(
        steps["steps"][0]["plugin"]
            .as_str()
            .unwrap()
            .starts_with("stecker/jq@"),
        "{steps}"
    );
    let sent = &steps["would-send"][0];
    assert_eq!(
        (&sent["stream"], &sent["connection"]),
        (&"orders".into(), &"erp".into())
    );
    assert!(sent["payload"]["reference"].is_string(), "{steps}");
    let idempotency_key = sent["idempotency-key"].as_str().unwrap();

    // Nobody can be asked here, so a decision on many has to be meant; a dry run shows what it would meet.
    let asked = scene.refused(&["quarantine", "discard", "--group", id, "--reason", "no"]);
    assert!(asked.contains("--yes") && asked.contains("--dry-run"), "{asked}");
    let would = scene.json(&["quarantine", "retry", "--group", id, "--dry-run"]);
    assert_eq!(would["records"], 2, "{would}");

    // The payload as a text, with the article that was meant.
    let text = shown["payload"].to_string();
    assert!(text.contains(sku), "{text}");
    let broken = scene.write("broken.json", "{");
    let broken = broken.to_str().unwrap();
    let said = scene.refused(&["quarantine", "edit", record, "--payload", broken, "--reason", "x"]);
    assert!(said.contains("not JSON"), "{said}");
    let delivered = scene.json(&["records", "list", "--state", "delivered", "--limit", "1"]);
    let delivered = delivered["records"][0]["id"].as_str().unwrap();
    let said = scene.refused(&[
        "quarantine",
        "edit",
        delivered,
        "--payload",
        broken,
        "--reason",
        "x",
    ]);
    assert!(said.contains("only a record in quarantine"), "{said}");
    let corrected = scene.write("corrected.json", &text.replace(sku, &known_sku(&scene, sku)));
    let reason = "the shop sells it under its old number";
    let edited = scene.json(&[
        "quarantine",
        "edit",
        record,
        "--payload",
        corrected.to_str().unwrap(),
        "--reason",
        reason,
    ]);
    assert_eq!((&edited["changed"], &edited["edits"]), (&true.into(), &1.into()));
    assert!(
        edited["warnings"].is_null(),
        "it fits the source's schema: {edited}"
    );
    scene
        .until("the corrected order delivered", |progress| {
            progress.idle && progress.orders_in(RecordState::Quarantined) == 1
        })
        .await;

    // Once, under the key that it always had, and the story tells it all.
    let account = scene.systems.account();
    let reference = sent["payload"]["reference"].as_str().unwrap();
    let bookings = &account.erp.bookings[reference];
    assert_eq!(bookings.len(), 1, "{bookings:?}");
    assert_eq!(bookings[0].idempotency_key, idempotency_key);
    let story = scene.json(&["records", "show", record]);
    assert_eq!(story["summary"]["key"], *key);
    assert_eq!(story["edits"][0]["reason"], reason, "{story}");
    assert_eq!(
        serde_json::from_str::<Value>(story["edits"][0]["replaced"].as_str().unwrap()).unwrap(),
        shown["payload"]
    );
    assert_eq!(story["attempts"].as_array().unwrap().len(), 2, "{story}");

    // The other one is given up, with the group.
    let gone = scene.json(&[
        "quarantine",
        "discard",
        "--group",
        id,
        "--reason",
        "withdrawn",
        "--yes",
    ]);
    assert_eq!(gone["records"], 1, "{gone}");
    assert_eq!(scene.json(&["quarantine", "groups"]).as_array().unwrap().len(), 0);
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

async fn a_replay_survives_kills_and_doubles_nothing(on_postgres: bool) {
    let Some(mut scene) = Scene::set_up(300, on_postgres).await else {
        return;
    };
    let progress = scene
        .until("everything delivered", |progress| {
            progress.idle && progress.orders_in(RecordState::Delivered) >= 298
        })
        .await;
    let delivered = progress.orders_in(RecordState::Delivered);
    let before = scene.systems.account();

    // What it would change: nothing, because the ERP has just that.
    let range = ["replay", "start", "orders-to-erp", "--since", "1h"];
    let dry = scene.json(&[&range[..], &["--dry-run"]].concat());
    assert_eq!(dry["records"], delivered, "{dry}");
    assert_eq!(dry["compared"]["equal"], delivered, "{dry}");
    assert_eq!(
        scene.systems.account().erp.received.len(),
        before.erp.received.len()
    );

    let words = [
        "--reason",
        "the ERP was restored",
        "--rate",
        "100/s",
        "--name",
        "restore",
    ];
    let started = scene.json(&[&range[..], &words].concat());
    assert_eq!(
        (&started["total"], &started["state"]),
        (&delivered.into(), &"running".into())
    );
    for queued in [30, 100, 180] {
        // Not before it is at work, so that the kill hits it there.
        for _ in 0..600 {
            let job = scene.json(&["replay", "show", "restore"]);
            if job["queued"].as_u64().unwrap() >= queued {
                break;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scene.host.kill().unwrap();
        scene.host.start_again().await.unwrap();
    }
    let done = scene.json(&["replay", "show", "restore", "--wait"]);
    assert_eq!(
        (&done["state"], &done["queued"], &done["left"]),
        (&"done".into(), &delivered.into(), &0.into()),
        "{done}"
    );
    let after = scene
        .until("every replayed order delivered again", |progress| {
            progress.idle && progress.orders_in(RecordState::Delivered) == delivered
        })
        .await;
    assert_eq!(after.orders_in(RecordState::Delivered), delivered);

    // The ERP's own books: the same bookings, each order came again, and each was recognised.
    let truth = scene.systems.account();
    assert_eq!(truth.erp.bookings, before.erp.bookings);
    assert_eq!(truth.verdict().duplicated, Vec::<String>::new());
    let again = &truth.erp.received[before.erp.received.len()..];
    assert!(
        again.iter().all(|item| item.status == ItemStatus::Exists),
        "{again:?}"
    );
    // What was cut off by a kill may have come twice, or was looked up and found just as it was to be sent.
    let in_flight = 3 * 100;
    let mut references: Vec<_> = again.iter().map(|item| item.reference.as_str()).collect();
    references.sort_unstable();
    references.dedup();
    assert!(
        references.len() as u64 + in_flight >= delivered,
        "{}",
        references.len()
    );
    assert!(again.len() as u64 <= delivered + in_flight, "{}", again.len());

    // And the host's: the replay had each order sent once more, and knows how that ended.
    let all = scene.json(&[
        "records",
        "list",
        "--flow",
        "orders-to-erp",
        "--state",
        "delivered",
        "--all",
    ]);
    for record in all["records"].as_array().unwrap() {
        let story: Value = scene
            .host
            .get(&format!("/api/v1/records/{}", record["id"].as_str().unwrap()))
            .await
            .unwrap();
        assert_eq!(story["replays"].as_array().unwrap().len(), 1, "{story}");
        assert_eq!(story["replays"][0]["replay"], "restore", "{story}");
        assert_eq!(story["replays"][0]["actor"], "operator", "{story}");
        let last = story["attempts"].as_array().unwrap().last().unwrap();
        assert_eq!(last["replay"], "restore", "{story}");
        let outcome = last["outcome"].as_str().unwrap();
        assert!(["delivered", "duplicate"].contains(&outcome), "{story}");
    }
    let storage = scene.json(&["storage"]);
    assert!(storage["database"]["bytes"].as_u64().unwrap() > 0, "{storage}");
    let refused = scene.refused(&["replay", "resume", "restore"]);
    assert!(refused.contains("it is done"), "{refused}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_orders_are_grouped_corrected_and_booked_once_on_sqlite() {
    refused_orders_are_grouped_corrected_and_booked_once(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refused_orders_are_grouped_corrected_and_booked_once_on_postgres() {
    refused_orders_are_grouped_corrected_and_booked_once(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_survives_kills_and_doubles_nothing_on_sqlite() {
    a_replay_survives_kills_and_doubles_nothing(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_survives_kills_and_doubles_nothing_on_postgres() {
    a_replay_survives_kills_and_doubles_nothing(true).await;
}
