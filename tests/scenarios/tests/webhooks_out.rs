//! Webhooks that go out: whatever the receiver does, and whenever the host is killed, every event arrives, under one id.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    process::Command,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse as _, Response},
    routing::post,
};
use serde_json::Value;
use stecker_model::{
    RecordState,
    api::{DeliveryState, WebhookDelivery, WebhookInfo, WebhookSecret},
};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, Progress};
use stecker_sdk::{
    RawRequest, crypto,
    signature::{self, Check},
    testing::TestHost,
};
use stecker_simulators::{Config, Faults, Running, Simulators};
use tempfile::TempDir;
use tokio::sync::watch;

const PATIENCE: Duration = Duration::from_secs(120);

/// How a receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// 204.
    Well,
    /// 503 with `Retry-After: 1`.
    Overloaded,
    /// 410.
    Gone,
    /// Not at all, until it behaves otherwise.
    Hanging,
}

/// A call as the receiver got it, and what it answered.
#[derive(Debug, Clone)]
struct Call {
    id: String,
    headers: Vec<(String, String)>,
    body: String,
    status: u16,
}

#[derive(Clone)]
struct Receiver {
    url: String,
    host: String,
    manner: watch::Sender<Manner>,
    calls: Arc<Mutex<Vec<Call>>>,
    begun: Arc<Mutex<Vec<String>>>,
}

impl Receiver {
    async fn start(manner: Manner) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let receiver = Self {
            url: format!("http://{host}/hook"),
            host,
            manner: watch::Sender::new(manner),
            calls: Arc::default(),
            begun: Arc::default(),
        };
        let router = Router::new()
            .route("/hook", post(take))
            .with_state(receiver.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        receiver
    }

    fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    fn begun(&self) -> Vec<String> {
        self.begun.lock().unwrap().clone()
    }

    /// The bodies of what was answered with a 2xx, by id.
    fn answered(&self) -> BTreeMap<String, Value> {
        let well = self.calls().into_iter().filter(|call| call.status == 204);
        well.map(|call| (call.id, serde_json::from_str(&call.body).unwrap()))
            .collect()
    }
}

async fn take(State(receiver): State<Receiver>, headers: HeaderMap, body: String) -> Response {
    let headers: Vec<(String, String)> = headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned()))
        .collect();
    let id = headers
        .iter()
        .find(|(name, _)| name == "webhook-id")
        .unwrap()
        .1
        .clone();
    receiver.begun.lock().unwrap().push(id.clone());
    let mut manner = receiver.manner.subscribe();
    let manner = *manner
        .wait_for(|manner| *manner != Manner::Hanging)
        .await
        .unwrap();
    let response = match manner {
        Manner::Well | Manner::Hanging => StatusCode::NO_CONTENT.into_response(),
        Manner::Overloaded => (StatusCode::SERVICE_UNAVAILABLE, [("retry-after", "1")]).into_response(),
        Manner::Gone => StatusCode::GONE.into_response(),
    };
    receiver.calls.lock().unwrap().push(Call {
        id,
        headers,
        body,
        status: response.status().as_u16(),
    });
    response
}

struct Scene {
    systems: Running,
    host: Host,
    folder: TempDir,
    job: Job,
}

impl Scene {
    /// A shop with some orders and an ERP; the flows are made by [`Scene::go`], when there is somebody to be told.
    async fn set_up(orders: usize, receivers: &[&Receiver]) -> Option<Self> {
        Self::set_up_on(HostOptions::default(), orders, receivers).await
    }

    async fn set_up_on(options: HostOptions, orders: usize, receivers: &[&Receiver]) -> Option<Self> {
        let artifacts = Artifacts::or_skip()?;
        let systems = Simulators::start(Config {
            orders,
            faults: Faults::off(),
            ..Config::default()
        })
        .await
        .unwrap();
        let folder = tempfile::tempdir().unwrap();
        let host = Host::start(&artifacts, &folder.path().join("data"), options)
            .await
            .unwrap();
        let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
        let limits: String = receivers
            .iter()
            .map(|receiver| {
                format!(
                    "[[receivers]]\nhost = \"{}\"\nschemes = [\"http\"]\n",
                    receiver.host
                )
            })
            .collect();
        let file = folder.path().join("limits.toml");
        fs::write(&file, limits).unwrap();
        host.cli(["tenant", "limit", file.to_str().unwrap()]).unwrap();
        Some(Self {
            systems,
            host,
            folder,
            job,
        })
    }

    fn go(&self) {
        self.job.apply(&self.host).unwrap();
    }

    fn add(&self, name: &str, receiver: &Receiver) -> String {
        let made = self
            .host
            .cli(["webhook", "add", name, &receiver.url, "--json"])
            .unwrap();
        let made: WebhookSecret = serde_json::from_str(&made).unwrap();
        made.secret.expose().to_owned()
    }

    async fn deliveries(&self, name: &str) -> Vec<WebhookDelivery> {
        let path = format!("/api/v1/webhooks/{name}/deliveries?limit=1000");
        self.host.get(&path).await.unwrap()
    }

    async fn info(&self, name: &str) -> WebhookInfo {
        self.host.get(&format!("/api/v1/webhooks/{name}")).await.unwrap()
    }

    async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let begun = Instant::now();
        while !holds().await {
            assert!(begun.elapsed() < PATIENCE, "it never came to this: {what}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// All work is done, and everything that is told of has been answered; how many records ended.
    async fn until_told(&self, receiver: &Receiver) -> usize {
        let mut ended = 0;
        self.until("everything is told", async || {
            let progress = Progress::of(&self.host).await.unwrap();
            let told = [
                RecordState::Delivered,
                RecordState::Quarantined,
                RecordState::Dropped,
                RecordState::Discarded,
            ];
            let count = |counts: &BTreeMap<RecordState, u64>| -> u64 {
                told.iter().filter_map(|state| counts.get(state)).sum()
            };
            ended = usize::try_from(count(&progress.orders) + count(&progress.stock)).unwrap();
            // Booked orders change the stock, so there is more to tell for a while.
            progress.idle && ended > 0 && receiver.answered().len() == ended
        })
        .await;
        ended
    }

    async fn end(self) {
        self.host.stop().await.unwrap();
        self.systems.stop().await;
        drop(self.folder);
    }
}

/// Whether a receiver that uses the SDK takes a call, at the time at which it was sent.
fn is_genuine(call: &Call, secret: &str) -> bool {
    let host = TestHost::new();
    let key = crypto::from_base64(secret.strip_prefix("whsec_").unwrap()).unwrap();
    host.secret("webhook", key);
    let sent_at = call
        .headers
        .iter()
        .find(|(name, _)| name == "webhook-timestamp")
        .map(|(_, time)| time.parse::<u64>().unwrap())
        .unwrap();
    host.set_clock(&stecker_sdk::time::rfc3339_from_millis(sent_at * 1_000));
    let request = RawRequest {
        method: "POST".to_owned(),
        path: String::new(),
        query: String::new(),
        headers: call.headers.clone(),
        body: call.body.clone().into_bytes(),
    };
    let checked = signature::standard_webhooks(&request, "webhook").unwrap();
    matches!(checked, Check::Genuine(signed) if signed.id == call.id)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_ending_is_told_and_signed_also_after_failures() {
    let receiver = Receiver::start(Manner::Overloaded).await;
    let Some(scene) = Scene::set_up(30, &[&receiver]).await else {
        return;
    };
    let secret = scene.add("ops", &receiver);
    scene.go();
    scene
        .until("some were turned away", async || receiver.calls().len() >= 3)
        .await;
    receiver.behave(Manner::Well);
    let ended = scene.until_told(&receiver).await;
    let answered = receiver.answered();
    let told: BTreeSet<(String, i64)> = answered
        .values()
        .map(|body| {
            (
                body["data"]["flow"].to_string(),
                body["data"]["seq"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(told.len(), ended, "each record once");
    let calls = receiver.calls();
    assert!(calls.iter().all(|call| is_genuine(call, &secret)));
    let mut forged = calls[0].clone();
    forged.body.push(' ');
    assert!(!is_genuine(&forged, &secret));
    // The host writes down what came of an event after the receiver has answered it.
    scene
        .until("nothing is on its way", async || {
            scene.info("ops").await.waiting == 0
        })
        .await;
    let deliveries = scene.deliveries("ops").await;
    assert!(
        deliveries
            .iter()
            .all(|delivery| delivery.state == DeliveryState::Delivered)
    );
    let turned_away = deliveries
        .iter()
        .find(|delivery| delivery.attempts.len() == 2)
        .unwrap();
    assert_eq!(turned_away.attempts[0].status, Some(503));
    let paused = turned_away.attempts[1].at - turned_away.attempts[0].at;
    assert!(paused >= 5_000, "the schedule begins with five seconds: {paused}");
    let info = scene.info("ops").await;
    assert_eq!((info.waiting, info.failing_since), (0, None));
    by_the_reference_library(&calls[0], &secret);

    // A second secret: both sign, and a receiver with either takes it.
    let rotated = scene
        .host
        .cli(["webhook", "rotate-secret", "ops", "--json"])
        .unwrap();
    let rotated: WebhookSecret = serde_json::from_str(&rotated).unwrap();
    scene.host.cli(["flow", "pause", "orders-to-erp"]).unwrap();
    let pause = || {
        let calls = receiver.calls().into_iter();
        calls.rev().find(|call| call.body.contains("flow.paused"))
    };
    scene.until("the pause is told", async || pause().is_some()).await;
    let last = pause().unwrap();
    assert!(is_genuine(&last, &secret) && is_genuine(&last, rotated.secret.expose()));
    scene.end().await;
}

/// The library that the authors of the standard publish for Python takes what the host sent.
fn by_the_reference_library(call: &Call, secret: &str) {
    let folder = tempfile::tempdir().unwrap();
    let installed = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--no-deps",
            "--disable-pip-version-check",
            "--target",
        ])
        .arg(folder.path())
        .arg("standardwebhooks==1.1.0")
        .output();
    match installed {
        Ok(output) if output.status.success() => {}
        Ok(output) => {
            return eprintln!(
                "skipped: pip cannot install standardwebhooks: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Err(error) => return eprintln!("skipped: there is no python3 with pip: {error}"),
    }
    let verify = "import sys, json\n\
                  from standardwebhooks.webhooks import Webhook\n\
                  print(json.dumps(Webhook(sys.argv[1]).verify(sys.argv[2], json.loads(sys.argv[3]))))";
    let headers: BTreeMap<_, _> = call.headers.iter().cloned().collect();
    let run = |body: &str| {
        Command::new("python3")
            .env("PYTHONPATH", folder.path())
            .args([
                "-c",
                verify,
                secret,
                body,
                &serde_json::to_string(&headers).unwrap(),
            ])
            .output()
            .unwrap()
    };
    let genuine = run(&call.body);
    assert!(
        genuine.status.success(),
        "{}",
        String::from_utf8_lossy(&genuine.stderr)
    );
    let forged = run(&format!("{} ", call.body));
    assert!(!forged.status.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_receiver_that_hangs_keeps_nobody_else_waiting() {
    let (slow, quick) = (
        Receiver::start(Manner::Hanging).await,
        Receiver::start(Manner::Well).await,
    );
    let Some(scene) = Scene::set_up(20, &[&slow, &quick]).await else {
        return;
    };
    scene.add("slow", &slow);
    scene.add("quick", &quick);
    scene.go();
    scene.until_told(&quick).await;
    assert!(slow.answered().is_empty());
    assert!(
        slow.begun().len() <= 8,
        "a bounded number at a time: {}",
        slow.begun().len()
    );
    slow.behave(Manner::Well);
    let ended = scene.until_told(&slow).await;
    assert_eq!(ended, quick.answered().len());
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gone_ends_it_at_once_and_a_person_begins_it_again_with_nothing_lost() {
    let receiver = Receiver::start(Manner::Gone).await;
    let Some(scene) = Scene::set_up(10, &[&receiver]).await else {
        return;
    };
    scene.add("ops", &receiver);
    scene.go();
    scene
        .until("it is disabled", async || !scene.info("ops").await.enabled)
        .await;
    let reason = scene.info("ops").await.disabled.unwrap().reason;
    assert!(reason.contains("410"), "{reason}");
    let waiting: BTreeSet<String> = scene
        .deliveries("ops")
        .await
        .into_iter()
        .filter(|delivery| delivery.state == DeliveryState::Waiting)
        .map(|delivery| delivery.id)
        .collect();
    assert!(!waiting.is_empty());
    receiver.behave(Manner::Well);
    scene.host.cli(["webhook", "enable", "ops"]).unwrap();
    scene
        .until("what waited has arrived", async || {
            let answered: BTreeSet<String> = receiver.answered().into_keys().collect();
            waiting.is_subset(&answered)
        })
        .await;
    scene.end().await;
}

async fn killed_again_and_again(database: Option<String>) {
    let receiver = Receiver::start(Manner::Hanging).await;
    let options = HostOptions {
        database,
        ..HostOptions::default()
    };
    let Some(mut scene) = Scene::set_up_on(options, 40, &[&receiver]).await else {
        return;
    };
    scene.add("ops", &receiver);
    scene.go();
    // In the middle of the first attempts: they were taken by a node that will never tell what came of them.
    scene
        .until("events are on their way", async || !receiver.begun().is_empty())
        .await;
    scene.host.kill().unwrap();
    let under_way = receiver.begun();
    scene.host.start_again().await.unwrap();
    receiver.behave(Manner::Well);
    // And some more, in full run.
    for _ in 0..4 {
        let before = receiver.answered().len();
        scene
            .until("it goes on", async || {
                receiver.answered().len() > before || Progress::of(&scene.host).await.unwrap().idle
            })
            .await;
        scene.host.kill().unwrap();
        scene.host.start_again().await.unwrap();
    }
    let ended = scene.until_told(&receiver).await;
    scene
        .until("nothing is on its way", async || {
            scene
                .deliveries("ops")
                .await
                .iter()
                .all(|delivery| delivery.state == DeliveryState::Delivered)
        })
        .await;
    let answered = receiver.answered();
    assert!(
        under_way.iter().all(|id| answered.contains_key(id)),
        "what was under way came again under its id"
    );
    let told: BTreeSet<(String, i64)> = answered
        .values()
        .map(|body| {
            (
                body["data"]["flow"].to_string(),
                body["data"]["seq"].as_i64().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        (told.len(), answered.len()),
        (ended, ended),
        "one id for each ending, and none is missing"
    );
    scene.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_event_and_changes_no_id_on_sqlite() {
    killed_again_and_again(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_loses_no_event_and_changes_no_id_on_postgres() {
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    // A server of its own, because two hosts must not share a database.
    let server = tokio::task::spawn_blocking(stecker_test_postgres::TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    killed_again_and_again(Some(server.url().to_owned())).await;
}
