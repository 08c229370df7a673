//! Upstreams that are down, or that ask for patience: no record pays for it, flows go on by themselves, and what is urgent goes first.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use stecker_model::RecordState;
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Faults, Simulators};
use stecker_test_postgres::TestPostgres;

const PATIENCE: Duration = Duration::from_secs(90);

fn json(host: &Host, arguments: &[&str]) -> Value {
    let said = host.cli(arguments.iter().copied().chain(["--json"])).unwrap();
    serde_json::from_str(&said).unwrap()
}

async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Some(seen) = look().await {
            return seen;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("it never came to this: {what}");
}

/// A server of the tests' own, unless there is none.
async fn postgres() -> Option<TestPostgres> {
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return None;
    }
    let started = tokio::task::spawn_blocking(TestPostgres::start).await;
    Some(started.unwrap().unwrap())
}

/// The ERP answers every write with 503 for a while: flows stop asking, and no record is tried again and again meanwhile.
async fn an_erp_that_is_down_costs_no_record_its_attempts(database: Option<String>) {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let outage = Faults {
        unavailable: 1.0,
        max_in_a_row: u32::MAX,
        ..Faults::off()
    };
    let config = Config {
        orders: 2_000,
        ..Config::default()
    };
    let systems = Simulators::start(config).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = HostOptions {
        database,
        ..HostOptions::default()
    };
    let mut host = Host::start(&artifacts, &folder.path().join("data"), options)
        .await
        .unwrap();
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    // So few attempts that an outage would use them up at once; a few hundred milliseconds of pauses in between.
    let setup = fs::read_to_string(job.setup()).unwrap();
    fs::write(
        job.setup(),
        setup.replace("max-attempts = 20", "max-attempts = 8"),
    )
    .unwrap();
    job.apply(&host).unwrap();
    until("some orders arrived", async || {
        let progress = Progress::of(&host).await.unwrap();
        (progress.orders_in(RecordState::Delivered) > 0).then_some(())
    })
    .await;
    systems.set_faults(outage).unwrap();
    systems.create_orders(200);

    let status = until("the flow waits for its upstream", async || {
        let status = json(&host, &["flow", "status", "orders-to-erp"]);
        let message = status["upstream"]["message"].as_str().unwrap_or_default();
        message.contains("is down since").then_some(status)
    })
    .await;
    assert_eq!(status["health"], "waiting", "{status}");
    // Longer than eight attempts would have taken, and past several trials.
    until("the ERP was tried several times", async || {
        let shown = json(&host, &["upstream", "show", "erp"]);
        let trips = shown["hosts"].as_array().unwrap().iter();
        trips
            .filter_map(|host| host["breaker"]["trips"].as_u64())
            .any(|trips| trips >= 4)
            .then_some(())
    })
    .await;
    let metrics = host.text("/metrics").await.unwrap();
    assert!(metrics.contains("stecker_upstream_breaker_state{"), "{metrics}");
    let progress = Progress::of(&host).await.unwrap();
    assert_eq!(progress.orders_in(RecordState::Quarantined), 0);
    let waiting = progress.orders_in(RecordState::Queued) + progress.orders_in(RecordState::Retrying);
    assert!(waiting > 0, "the outage came too late: {progress:?}");
    let tried = json(
        &host,
        &["records", "list", "--state", "retrying", "--limit", "1000"],
    );
    let attempts = tried["records"]
        .as_array()
        .unwrap()
        .iter()
        .map(|record| record["attempts"].as_u64().unwrap());
    assert!(attempts.max().is_none_or(|attempts| attempts <= 6), "{tried}");
    // A restart does not forget it.
    host.terminate().await.unwrap();
    host.start_again().await.unwrap();
    let shown = json(&host, &["upstream", "show", "erp"]);
    let is_down = |host: &Value| host["breaker"]["state"] != "closed";
    assert!(shown["hosts"].as_array().unwrap().iter().any(is_down), "{shown}");

    systems.set_faults(Faults::off()).unwrap();
    until("everything is delivered by itself", async || {
        let progress = Progress::of(&host).await.unwrap();
        let all = progress.idle && progress.orders.values().sum::<u64>() >= 2_200;
        let account = JobAccount::of(&progress, &systems.account());
        // The stock that the last bookings left is read a little later.
        (all && account.holds().is_ok()).then_some(())
    })
    .await;
    // Those that the ERP never takes are refused; nothing else is in quarantine.
    let groups = json(&host, &["quarantine", "groups"]);
    let codes: Vec<&Value> = groups
        .as_array()
        .unwrap()
        .iter()
        .map(|group| &group["code"])
        .collect();
    assert!(codes.iter().all(|code| *code == "unknown-item"), "{groups}");
    host.stop().await.unwrap();
    systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_is_down_costs_no_record_its_attempts_on_sqlite() {
    an_erp_that_is_down_costs_no_record_its_attempts(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_erp_that_is_down_costs_no_record_its_attempts_on_postgres() {
    let Some(server) = postgres().await else {
        return;
    };
    an_erp_that_is_down_costs_no_record_its_attempts(Some(server.url().to_owned())).await;
}

/// A shop of which every listing has its one order, and which notes when it was asked for what.
#[derive(Clone, Default)]
struct Shop {
    asked: Arc<Mutex<Vec<(Instant, String)>>>,
    /// Answer so many requests with 429 and this Retry-After, in seconds.
    refuses: Arc<AtomicU32>,
    url: String,
}

const RETRY_AFTER: u64 = 2;

impl Shop {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shop = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let serving = shop.clone();
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(stream));
            }
        });
        shop
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut seen = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(read) = stream.read(&mut buffer) {
            seen.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if read == 0 {
                return;
            }
            if !seen.ends_with(b"\r\n\r\n") {
                continue;
            }
            let head = String::from_utf8_lossy(&seen).into_owned();
            let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
            seen.clear();
            let refused = self
                .refuses
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1))
                .is_ok();
            self.asked.lock().unwrap().push((Instant::now(), path.clone()));
            let answer = if refused {
                format!(
                    "HTTP/1.1 429 Too Many Requests\r\nretry-after: {RETRY_AFTER}\r\ncontent-length: 0\r\n\r\n"
                )
            } else {
                let body = if path.contains("/products") {
                    r#"{"products":[]}"#
                } else {
                    r#"{"orders":[]}"#
                };
                format!(
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                )
            };
            if stream.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn asked(&self) -> Vec<(Instant, String)> {
        self.asked.lock().unwrap().clone()
    }

    fn asked_for(&self, stream: &str) -> usize {
        self.asked()
            .iter()
            .filter(|(_, path)| path.contains(stream))
            .count()
    }
}

struct Flow {
    name: &'static str,
    connection: &'static str,
    stream: &'static str,
    priority: &'static str,
}

/// Flows that read from the shop again and again, over two connections of one account.
fn setup(
    artifacts: &Artifacts,
    folder: &std::path::Path,
    shop: &Shop,
    upstream: &str,
    flows: &[Flow],
) -> String {
    let secret = folder.join("secret");
    fs::write(&secret, "anything").unwrap();
    let plugin = artifacts.plugin("demo-shop").unwrap();
    let mut text = String::new();
    for name in ["one", "two", "nowhere"] {
        text += &format!(
            "[[connection]]\nname = {name:?}\nplugin = {{ path = {plugin:?} }}\nconfig = {{ base_url = {:?} }}\n\
             grants.http = [{{ host = {:?}, schemes = [\"http\"] }}]\nupstream = {{ account = \"main\"{upstream} }}\n\
             credentials.api = {{ secret = {{ file = {secret:?} }} }}\ncredentials.webhook = {{ secret = {{ file = {secret:?} }} }}\n\n",
            shop.url,
            shop.url.trim_start_matches("http://"),
        );
    }
    for flow in flows {
        text += &format!(
            "[[flow]]\nname = {:?}\npriority = {:?}\nsource = {{ connection = {:?}, stream = {:?} }}\n\
             destination = {{ connection = \"nowhere\", stream = \"stock\" }}\ntrigger = {{ every = \"100ms\" }}\n\n",
            flow.name, flow.priority, flow.connection, flow.stream
        );
    }
    let file = folder.join("setup.toml");
    fs::write(&file, text).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_after_holds_for_every_flow_of_the_account() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let flow = |name, connection, stream| Flow {
        name,
        connection,
        stream,
        priority: "normal",
    };
    let flows = [
        flow("orders", "one", "orders"),
        flow("products", "two", "products"),
    ];
    let setup = setup(&artifacts, folder.path(), &shop, "", &flows);
    json(&host, &["apply", "-f", &setup]);
    until("both flows read", async || {
        (shop.asked_for("/orders") > 1 && shop.asked_for("/products") > 1).then_some(())
    })
    .await;
    shop.refuses.store(1, Ordering::SeqCst);
    let status = until("a flow waits", async || {
        let status = json(&host, &["flow", "status", "products"]);
        status["upstream"].is_object().then_some(status)
    })
    .await;
    let message = status["upstream"]["message"].as_str().unwrap();
    assert!(
        message.contains("main is held until") && message.contains("429"),
        "{status}"
    );
    let shown = json(&host, &["upstream", "show", "main"]);
    assert_eq!(
        shown["connections"],
        serde_json::json!(["nowhere", "one", "two"]),
        "{shown}"
    );
    assert_eq!(
        shown["flows"],
        serde_json::json!(["orders", "products"]),
        "{shown}"
    );
    assert!(shown["hold"]["until"].is_i64(), "{shown}");
    let before = shop.asked().len();
    until("they go on", async || {
        (shop.asked().len() > before + 4).then_some(())
    })
    .await;
    // From the refusal on, nobody asked before the time was over: the gap is there once, and it is long enough.
    let asked = shop.asked();
    let gaps = asked
        .windows(2)
        .filter(|pair| pair[1].0 - pair[0].0 >= Duration::from_millis(RETRY_AFTER * 1_000 - 50));
    assert_eq!(gaps.count(), 1, "{asked:?}");

    // A person who knows better need not wait.
    shop.refuses.store(1, Ordering::SeqCst);
    until("it is held again", async || {
        json(&host, &["upstream", "show", "main"])["hold"]
            .is_object()
            .then_some(())
    })
    .await;
    let closed = json(
        &host,
        &["upstream", "close", "main", "--reason", "they raised our limit"],
    );
    assert_eq!(closed["hold"], Value::Null, "{closed}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_urgent_goes_first_and_the_rest_is_not_starved() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let urgent = |name, connection| Flow {
        name,
        connection,
        stream: "orders",
        priority: "high",
    };
    let flows = [
        urgent("urgent-1", "one"),
        urgent("urgent-2", "two"),
        urgent("urgent-3", "one"),
        Flow {
            name: "catalogue",
            connection: "two",
            stream: "products",
            priority: "low",
        },
    ];
    // Three urgent flows want some thirty requests a second; there are four.
    let setup = setup(
        &artifacts,
        folder.path(),
        &shop,
        ", per-second = 4, burst = 4",
        &flows,
    );
    json(&host, &["apply", "-f", &setup]);
    until("the catalogue got through", async || {
        (shop.asked_for("/products") >= 2).then_some(())
    })
    .await;
    let asked = shop.asked();
    let (first, last) = (asked.first().unwrap().0, asked.last().unwrap().0);
    let allowed = 4.0 + 4.0 * ((last - first).as_secs_f64() + 1.0);
    assert!(
        f64::from(u32::try_from(asked.len()).unwrap()) <= allowed,
        "{} > {allowed}",
        asked.len()
    );
    assert!(
        shop.asked_for("/orders") > 4 * shop.asked_for("/products"),
        "{asked:?}"
    );
    let shown = json(&host, &["upstream", "show", "main"]);
    assert_eq!(shown["budget"]["per-second"], 4.0, "{shown}");
    assert!(shown["waited"].as_u64().unwrap() > 0, "{shown}");
    host.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_hosts_stay_within_one_budget() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let Some(server) = postgres().await else {
        return;
    };
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let options = || HostOptions {
        database: Some(server.url().to_owned()),
        ..HostOptions::default()
    };
    let first = Host::start(&artifacts, &folder.path().join("first"), options())
        .await
        .unwrap();
    let second = Host::start(&artifacts, &folder.path().join("second"), options())
        .await
        .unwrap();
    let names = ["a", "b", "c", "d", "e", "f", "g", "h"];
    let flows: Vec<Flow> = names
        .iter()
        .enumerate()
        .map(|(n, name)| Flow {
            name,
            connection: if n % 2 == 0 { "one" } else { "two" },
            stream: "orders",
            priority: "normal",
        })
        .collect();
    let setup = setup(
        &artifacts,
        folder.path(),
        &shop,
        ", per-second = 6, burst = 3",
        &flows,
    );
    json(&first, &["apply", "-f", &setup]);
    // Both hosts have flows that wait for their turn.
    until("both hosts wait", async || {
        let waited = |host| {
            json(host, &["upstream", "show", "main"])["waited"]
                .as_u64()
                .unwrap()
        };
        (waited(&first) > 1 && waited(&second) > 1).then_some(())
    })
    .await;
    let asked = shop.asked().len();
    until("more was asked", async || {
        (shop.asked().len() >= asked + 30).then_some(())
    })
    .await;
    let asked = shop.asked();
    let (begun, ended) = (asked.first().unwrap().0, asked.last().unwrap().0);
    // A slice is good for a second.
    let allowed = 3.0 + 6.0 * ((ended - begun).as_secs_f64() + 1.0);
    assert!(
        f64::from(u32::try_from(asked.len()).unwrap()) <= allowed,
        "{} > {allowed}",
        asked.len()
    );

    // What one host hears holds for the other.
    shop.refuses.store(1, Ordering::SeqCst);
    until("both hosts know of the hold", async || {
        let held = |host| json(host, &["upstream", "show", "main"])["hold"].is_object();
        (held(&first) && held(&second)).then_some(())
    })
    .await;
    first.stop().await.unwrap();
    second.stop().await.unwrap();
}
