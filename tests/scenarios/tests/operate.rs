//! What an operator does while orders flow: pauses and resumes, decides about quarantined records, restarts the host. On both databases.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::time::Duration;

use serde_json::Value;
use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Faults, Running, Simulators};
use stecker_test_postgres::TestPostgres;
use tempfile::TempDir;

struct Scene {
    systems: Running,
    host: Host,
    job: Job,
    _folder: TempDir,
    _server: Option<TestPostgres>,
}

impl Scene {
    async fn set_up(orders: usize, faults: Faults, on_postgres: bool) -> Option<Self> {
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
        Some(Self {
            systems,
            host,
            job,
            _folder: folder,
            _server: server,
        })
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
            "it never came to this: {what}; {:?}",
            Progress::of(&self.host).await
        );
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let said = self
            .host
            .cli(arguments.iter().copied().chain(["--json"]))
            .unwrap();
        serde_json::from_str(&said).unwrap()
    }
}

async fn an_operator_decides(on_postgres: bool) {
    let Some(scene) = Scene::set_up(200, Faults::off(), on_postgres).await else {
        return;
    };
    scene.job.apply(&scene.host).unwrap();
    scene
        .until("everything delivered, one order in quarantine", |progress, _| {
            progress.idle && progress.orders_in(RecordState::Quarantined) == 1
        })
        .await;
    let groups = scene.json(&["quarantine", "list"]);
    assert!(groups.to_string().contains("unknown-item"), "{groups}");

    // Paused: what the shop gets now stays where it is.
    scene.json(&["flow", "pause", "orders-to-erp", "--reason", "stocktaking"]);
    let before = scene.systems.account().erp.bookings.len();
    scene.systems.create_orders(5);
    let status = scene.json(&["flow", "status", "orders-to-erp"]);
    assert_eq!(status["health"], "paused", "{status}");
    assert!(status.to_string().contains("stocktaking"), "{status}");
    // The other flow has read since, so time enough has passed for this one, had it been running.
    let reads = |flows: &Value| flows[1]["reads-completed"].as_u64().unwrap();
    let then = reads(&scene.json(&["flow", "list"]));
    while reads(&scene.json(&["flow", "list"])) < then + 2 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(scene.systems.account().erp.bookings.len(), before);
    scene.json(&["flow", "resume", "orders-to-erp"]);
    scene
        .until("the five new orders booked", |_, systems| {
            systems.account().erp.bookings.len() == before + 5
        })
        .await;

    // The ERP learns the article; the record is sent back and goes through.
    let account = scene.systems.account();
    let sku = groups.to_string();
    let sku = sku.split('`').nth(1).unwrap();
    assert_eq!(account.verdict().permanently_rejected.len(), 1);
    scene.systems.learn_item(sku);
    let retried = scene.json(&["quarantine", "retry", "--flow", "orders-to-erp", "--yes"]);
    assert_eq!(retried["records"], 1, "{retried}");
    let progress = scene
        .until("nothing in quarantine, nothing missing", |progress, systems| {
            let verdict = systems.account().verdict();
            progress.idle
                && progress.orders_in(RecordState::Quarantined) == 0
                && verdict.missing.is_empty()
                && verdict.stock_is_right()
        })
        .await;
    JobAccount::of(&progress, &scene.systems.account())
        .holds()
        .unwrap();
    assert_eq!(progress.orders_in(RecordState::Delivered), 205);
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

async fn a_restart_goes_on_where_it_was(on_postgres: bool) {
    let Some(mut scene) = Scene::set_up(600, Faults::demo(), on_postgres).await else {
        return;
    };
    scene.job.apply(&scene.host).unwrap();
    for share in [100, 300] {
        scene
            .until("some of the orders delivered", |progress, _| {
                progress.orders_in(RecordState::Delivered) >= share
            })
            .await;
        scene.host.terminate().await.unwrap();
        scene.host.start_again().await.unwrap();
        // Ended in order: nothing was left in the middle of being sent.
        let progress = Progress::of(&scene.host).await.unwrap();
        assert!(
            progress.orders_in(RecordState::Delivered) >= share,
            "{progress:?}"
        );
    }
    let progress = scene
        .until("everything delivered", |progress, systems| {
            progress.idle && systems.account().verdict().stock_is_right()
        })
        .await;
    JobAccount::of(&progress, &scene.systems.account())
        .holds()
        .unwrap();
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_decides_on_sqlite() {
    an_operator_decides(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_decides_on_postgres() {
    an_operator_decides(true).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_it_was_on_sqlite() {
    a_restart_goes_on_where_it_was(false).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_goes_on_where_it_was_on_postgres() {
    a_restart_goes_on_where_it_was(true).await;
}
