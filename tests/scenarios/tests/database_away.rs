//! A database that goes away in the middle of the work and comes back: whoever calls is told so, nothing is lost or doubled, and nobody
//! has to help.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Faults, Running, Simulators};
use stecker_test_postgres::TestPostgres;

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(20);
/// Vendors give up after 5 to 30 seconds.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

struct Scene {
    systems: Running,
    host: Host,
    job: Job,
    client: reqwest::Client,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_crashes_and_comes_back_costs_nothing() {
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    // A server of its own, because it is ended.
    let server = tokio::task::spawn_blocking(TestPostgres::start_to_crash)
        .await
        .unwrap()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let systems = Simulators::start(Config {
        orders: 400,
        faults: Faults::demo(),
        ..Config::default()
    })
    .await
    .unwrap();
    let options = HostOptions {
        database: Some(server.url().to_owned()),
        ..HostOptions::default()
    };
    let host = Host::start(&artifacts, &folder.path().join("data"), options)
        .await
        .unwrap();
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    job.apply(&host).unwrap();
    let scene = Scene {
        systems,
        host,
        job,
        client: reqwest::Client::builder().no_proxy().build().unwrap(),
    };
    assert_eq!(scene.call_webhook().await, 204, "while all is well");

    for crash in 0..3 {
        scene
            .until(|progress| progress.orders_in(RecordState::Sending) > 0)
            .await;
        server.crash().unwrap();
        assert_eq!(
            scene.call_webhook().await,
            503,
            "nobody is told that a call was kept when it was not"
        );
        let (status, body) = scene.ready().await;
        assert_eq!(status, 503);
        assert!(body.contains("the database does not answer"), "{body}");
        scene.systems.create_orders(20);
        server.start_again().unwrap();
        scene.until_ready().await;
        assert_eq!(scene.call_webhook().await, 204, "after crash {crash}");
    }

    let progress = scene.until_done().await;
    assert!(progress.orders_in(RecordState::Delivered) >= 400, "{progress:?}");
    scene.host.stop().await.unwrap();
    scene.systems.stop().await;
}

impl Scene {
    /// A genuine call about something of no interest; its status.
    async fn call_webhook(&self) -> u16 {
        static NUMBER: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let id = format!("e-database-{number}");
        let body = format!(r#"{{"event_id":"{id}","type":"shop.renamed"}}"#);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let now = now.to_string();
        let secret = &self.systems.announcement().webhook_secret;
        let signature = stecker_simulators::signature(secret, &now, body.as_bytes());
        let begun = Instant::now();
        let answer = self
            .client
            .post(format!("{}/hooks/default/shop", self.host.url()))
            .header("x-shop-event-id", id)
            .header("x-shop-timestamp", &now)
            .header("x-shop-signature", signature)
            .body(body)
            .send()
            .await
            .unwrap();
        assert!(
            begun.elapsed() < ANSWER_WITHIN,
            "the sender has given up meanwhile: {:?}",
            begun.elapsed()
        );
        answer.status().as_u16()
    }

    async fn ready(&self) -> (u16, String) {
        let url = format!("{}/readyz", self.host.url());
        let answer = self.client.get(url).send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    }

    async fn until_ready(&self) {
        let begun = Instant::now();
        loop {
            let (status, body) = self.ready().await;
            if status == 200 {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{body}; {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn until(&self, holds: impl Fn(&Progress) -> bool) {
        let begun = Instant::now();
        loop {
            let progress = Progress::of(&self.host).await.unwrap();
            if holds(&progress) {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{progress:?}; {}", self.log());
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn until_done(&self) -> Progress {
        let begun = Instant::now();
        loop {
            let progress = self.job.progress(&self.host).await.unwrap();
            let account = JobAccount::of(&progress, &self.systems.account());
            if progress.idle && account.holds().is_ok() {
                return progress;
            }
            assert!(
                begun.elapsed() < PATIENCE,
                "{:?}; {progress:?}; {}",
                account.holds(),
                self.log()
            );
            tokio::time::sleep(LOOK).await;
        }
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.host.data().join("host.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }
}
