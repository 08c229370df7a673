//! Moving a connection to another release while orders come in: nothing is lost or doubled, whatever becomes of the release, and whoever is killed.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount};
use stecker_simulators::{Config, Faults, Running, Simulators};
use stecker_test_postgres::TestPostgres;

/// A rollout, or the end of everything, that is not there by then never comes.
const PATIENCE: Duration = Duration::from_secs(120);

struct Stage {
    artifacts: Artifacts,
    host: Host,
    job: Job,
    systems: Running,
    begun: u32,
}

impl Stage {
    async fn start(artifacts: Artifacts, folder: &Path, database: Option<String>, orders: usize) -> Self {
        let systems = Simulators::start(Config {
            orders,
            faults: Faults::demo(),
            ..Config::default()
        })
        .await
        .unwrap();
        let options = HostOptions {
            database,
            lease: Some("2s".to_owned()),
            ..HostOptions::default()
        };
        let host = Host::start(&artifacts, &folder.join("data"), options)
            .await
            .unwrap();
        let job = Job::write(&folder.join("job"), &artifacts, systems.announcement()).unwrap();
        job.apply(&host).unwrap();
        systems.set_webhook_url(Some(format!("{}/hooks/default/shop", host.url())));
        for version in ["2.0.0", "3.0.0"] {
            let component = artifacts.release("demo-shop", version).unwrap();
            host.cli(["release".as_ref(), "add".as_ref(), component.as_os_str()])
                .unwrap();
        }
        Self {
            artifacts,
            host,
            job,
            systems,
            begun: 0,
        }
    }

    /// Starts one; its name.
    fn upgrade(&mut self, more: &[&str]) -> String {
        self.begun += 1;
        let name = format!("r{}", self.begun);
        let words = ["upgrade", "shop", "--reason", "a test", "--name", &name];
        self.host.cli(words.iter().chain(more)).unwrap();
        name
    }

    async fn status(&self, name: &str) -> Value {
        self.host.get(&format!("/api/v1/rollouts/{name}")).await.unwrap()
    }

    /// Orders come in until it is where it is to be.
    async fn until(&self, name: &str, states: &[&str]) -> Value {
        let begun = Instant::now();
        loop {
            let status = self.status(name).await;
            if states.contains(&status["state"].as_str().unwrap()) {
                return status;
            }
            assert!(begun.elapsed() < PATIENCE, "{status:#}");
            self.trade();
            tokio::time::sleep(Duration::from_millis(60)).await;
        }
    }

    /// An order, and a change of it.
    fn trade(&self) {
        let made = self.systems.create_orders(1);
        let ids: Vec<u64> = made.iter().map(|order| order.id).collect();
        self.systems.update_orders(&ids).unwrap();
    }

    async fn is_right(&self) -> JobAccount {
        let begun = Instant::now();
        loop {
            let progress = self.job.progress(&self.host).await.unwrap();
            let truth = self.systems.account();
            let account = JobAccount::of(&progress, &truth);
            if progress.idle && truth.shop.webhooks.pending == 0 && account.holds().is_ok() {
                return account;
            }
            assert!(begun.elapsed() < PATIENCE, "{account:?} {progress:?}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    async fn end(self) {
        self.host.stop().await.unwrap();
        self.systems.stop().await;
    }
}

fn story(status: &Value) -> String {
    let events = status["events"].as_array().unwrap().iter();
    events
        .map(|event| event["what"].as_str().unwrap())
        .collect::<Vec<_>>()
        .join("\n")
}

async fn there_and_back(artifacts: Artifacts, database: Option<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(artifacts, folder.path(), database, 60).await;
    stage.is_right().await;

    // The vendor's new version, tried on what the running release was answered, and then for good.
    let name = stage.upgrade(&["--to", "=2.0.0", "--bake", "2s", "--shadow", "6"]);
    let ended = stage.until(&name, &["promoted", "failed", "rolled-back"]).await;
    assert_eq!(ended["state"], "promoted", "{ended:#}");
    assert!(
        story(&ended).contains("it did what the running release does"),
        "{ended:#}"
    );
    stage.systems.end_first_version();
    stage.trade();
    stage.is_right().await;

    // A release with a fault: on recordings it does not get as far as being moved to …
    let name = stage.upgrade(&["--to", "=3.0.0", "--bake", "60s", "--shadow", "6"]);
    let ended = stage.until(&name, &["promoted", "failed", "rolled-back"]).await;
    assert_eq!(ended["state"], "failed", "{ended:#}");
    assert!(
        story(&ended).contains("/lines/*/sku") || story(&ended).contains("sku"),
        "{ended:#}"
    );

    // … and without them it goes back by itself, and is barred.
    let name = stage.upgrade(&["--to", "=3.0.0", "--bake", "60s"]);
    let ended = stage.until(&name, &["promoted", "failed", "rolled-back"]).await;
    assert_eq!(ended["state"], "rolled-back", "{ended:#}");
    assert!(story(&ended).contains("quarantine"), "{ended:#}");
    let account = stage.is_right().await;
    assert_eq!(
        (account.lost, account.duplicated, account.out_of_order),
        (0, 0, 0)
    );
    let barred: Value = stage.host.get("/api/v1/barred-releases").await.unwrap();
    let digest = barred[0]["digest"].as_str().unwrap().to_owned();
    let again = json!({ "connection": "shop", "to": "=3.0.0", "reason": "again" });
    let status = stage
        .host
        .caller("default")
        .post_json("/api/v1/rollouts", &again)
        .await
        .unwrap();
    assert_eq!(status, 409, "it is barred");
    stage.host.cli(["rollout", "unbar", &digest]).unwrap();

    // A person ends one that is being watched.
    let back = stage.upgrade(&["--to", "=3.0.0", "--bake", "10m"]);
    stage.until(&back, &["baking"]).await;
    stage.host.cli(["rollout", "pause", &back]).unwrap();
    assert_eq!(stage.status(&back).await["paused"], true);
    stage.host.cli(["rollout", "abort", &back]).unwrap();
    let ended = stage.until(&back, &["rolled-back"]).await;
    assert_eq!(ended["connections"][0]["state"], "restored", "{ended:#}");
    let account = stage.is_right().await;
    assert_eq!(
        (account.lost, account.duplicated, account.out_of_order),
        (0, 0, 0)
    );
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_moves_and_goes_back_under_load_on_sqlite() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    there_and_back(artifacts, None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_moves_and_goes_back_under_load_on_postgres() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    let server = tokio::task::spawn_blocking(TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    there_and_back(artifacts, Some(server.url().to_owned())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rollout_goes_on_where_it_was_when_its_host_is_killed() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let seed = std::env::var("STECKER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(5);
    eprintln!("seed {seed} (set STECKER_SEED for another)");
    let mut rng = StdRng::seed_from_u64(seed);
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(artifacts, folder.path(), None, 40).await;
    stage.is_right().await;
    // There and back again, and each time the host is killed at a moment of its own.
    for to in ["=2.0.0", "=0.1.0", "=2.0.0", "=3.0.0"] {
        let bake = if to == "=3.0.0" { "60s" } else { "1s" };
        let name = stage.upgrade(&["--to", to, "--bake", bake]);
        for _ in 0..3 {
            for _ in 0..rng.random_range(1..12) {
                stage.trade();
                tokio::time::sleep(Duration::from_millis(rng.random_range(5..80))).await;
            }
            stage.host.kill().unwrap();
            stage.host.start_again().await.unwrap();
            stage
                .systems
                .set_webhook_url(Some(format!("{}/hooks/default/shop", stage.host.url())));
        }
        let ended = stage.until(&name, &["promoted", "rolled-back", "failed"]).await;
        let expected = if to == "=3.0.0" { "rolled-back" } else { "promoted" };
        assert_eq!(ended["state"], expected, "{ended:#}");
    }
    let account = stage.is_right().await;
    assert_eq!(
        (account.lost, account.duplicated, account.out_of_order),
        (0, 0, 0)
    );
    assert!(stage.artifacts.stecker.is_file());
    stage.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_says_what_would_happen_and_changes_nothing() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::start(artifacts, folder.path(), None, 0).await;
    let before: Value = stage.host.get("/api/v1/connections").await.unwrap();
    let plan = stage
        .host
        .cli(["upgrade", "shop", "--to", "^2", "--plan", "--json"])
        .unwrap();
    let plan: Value = serde_json::from_str(&plan).unwrap();
    assert_eq!(plan["version"], "2.0.0");
    assert_eq!(plan["faults"], json!([]));
    assert_eq!(plan["connections"][0]["flows"].as_array().unwrap().len(), 2);
    assert_eq!(plan["upstream"], json!(["Demo shop v2"]));
    assert_eq!(
        stage.host.get::<Value>("/api/v1/connections").await.unwrap(),
        before
    );
    assert_eq!(
        stage.host.get::<Value>("/api/v1/rollouts").await.unwrap(),
        json!([])
    );
    for (words, what) in [
        (vec!["--to", "=9.0.0"], "no release of `stecker/demo-shop`"),
        (vec!["--to", "two"], "neither a digest nor a range"),
        (vec!["--to", "=0.1.0"], "does not run 0.1.0 already"),
    ] {
        let error = stage
            .host
            .cli(["upgrade", "shop", "--plan"].iter().chain(&words))
            .unwrap_err();
        assert!(format!("{error:#}").contains(what), "{error:#}");
    }
    stage.end().await;
}
