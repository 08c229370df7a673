//! A connection whose plugin crashes again and again is left alone until a person says otherwise, on every node and after every restart.

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
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use stecker_scenarios::{Artifacts, Host, HostOptions};

/// A system that takes connections and says nothing, until it is told to answer.
#[derive(Clone)]
struct Shop {
    answers: Arc<AtomicBool>,
    connections: Arc<AtomicU32>,
    url: String,
}

impl Shop {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let shop = Self {
            answers: Arc::default(),
            connections: Arc::default(),
            url: format!("http://{}", listener.local_addr().unwrap()),
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
        self.connections.fetch_add(1, Ordering::SeqCst);
        let mut seen = Vec::new();
        let mut buffer = [0; 4_096];
        while let Ok(read) = stream.read(&mut buffer) {
            seen.extend_from_slice(buffer.get(..read).unwrap_or_default());
            if read == 0 {
                return;
            }
            if seen.ends_with(b"\r\n\r\n") && self.answers.load(Ordering::SeqCst) {
                seen.clear();
                let answer =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}";
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

fn json(host: &Host, arguments: &[&str]) -> Value {
    let said = host.cli(arguments.iter().copied().chain(["--json"])).unwrap();
    serde_json::from_str(&said).unwrap()
}

/// What a command that fails says, as JSON.
fn refused(artifacts: &Artifacts, host: &Host, arguments: &[&str]) -> Value {
    let ran = Command::new(&artifacts.stecker)
        .args(arguments)
        .arg("--json")
        .env("STECKER_DATA", host.data())
        .output()
        .unwrap();
    assert!(!ran.status.success(), "{}", String::from_utf8_lossy(&ran.stdout));
    serde_json::from_slice(&ran.stderr).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugin_that_keeps_crashing_is_left_alone_until_a_person_closes_its_circuit() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let shop = Shop::open();
    let folder = tempfile::tempdir().unwrap();
    let mut host = Host::start(&artifacts, &folder.path().join("data"), HostOptions::default())
        .await
        .unwrap();
    let secret = folder.path().join("secret");
    fs::write(&secret, "anything").unwrap();
    let plugin = artifacts.plugin("demo-shop").unwrap();
    let connection = |name: &str| {
        format!(
            "[[connection]]\nname = {name:?}\nplugin = {{ path = {plugin:?} }}\nconfig = {{ base_url = {:?} }}\n\
             limits = {{ deadline = \"150ms\" }}\n\
             grants.http = [{{ host = {:?}, schemes = [\"http\"] }}]\n\
             credentials.api = {{ secret = {{ file = {secret:?} }} }}\ncredentials.webhook = {{ secret = {{ file = {secret:?} }} }}\n\n",
            shop.url,
            shop.url.trim_start_matches("http://"),
        )
    };
    let setup = folder.path().join("setup.toml");
    let flow = "[[flow]]\nname = \"orders\"\nsource = { connection = \"shop\", stream = \"orders\" }\n\
                destination = { connection = \"other\", stream = \"stock\" }\ntrigger = { every = \"1h\" }\n";
    fs::write(
        &setup,
        format!("{}{}{flow}", connection("shop"), connection("other")),
    )
    .unwrap();
    json(&host, &["apply", "-f", setup.to_str().unwrap()]);

    // Every check runs out of its time. Between them the connection rests, for longer each time; then it is not called at all.
    let open = loop {
        let problem = refused(&artifacts, &host, &["connection", "check", "shop"]);
        let shown = json(&host, &["connection", "show", "shop"]);
        if shown["circuit"]["state"] == "open" {
            break shown["circuit"].clone();
        }
        assert!(problem["detail"].is_string(), "{problem}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(
        open["reason"]
            .as_str()
            .unwrap()
            .contains("crashed 5 times in a row"),
        "{open}"
    );
    assert!(
        open["last-crash"]["message"].as_str().unwrap().contains("150ms"),
        "{open}"
    );
    assert!(open["until"].is_i64(), "{open}");

    // Nothing reaches the system any more, whoever asks; everybody is told why.
    let before = shop.connections();
    let problem = refused(&artifacts, &host, &["connection", "check", "shop"]);
    assert_eq!(problem["type"], "/problems/circuit-open", "{problem}");
    assert!(
        problem["hint"].as_str().unwrap().contains("close-circuit shop"),
        "{problem}"
    );
    let status = json(&host, &["flow", "status", "orders"]);
    assert_eq!(
        (&status["health"], &status["waiting"]["connection"]),
        (&"waiting".into(), &"shop".into()),
        "{status}"
    );
    let unfinished = refused(&artifacts, &host, &["flow", "run", "orders"]);
    assert!(
        unfinished["detail"]
            .as_str()
            .unwrap()
            .contains("circuit of the connection shop"),
        "{unfinished}"
    );
    let metrics = host.text("/metrics").await.unwrap();
    assert!(
        metrics.contains("stecker_connection_circuit_open{connection=\"shop\",tenant=\"default\"} 1"),
        "{metrics}"
    );
    assert!(refused_doctor(&artifacts, &host).contains("circuit of the connection shop"));

    // A restart does not forget it.
    host.terminate().await.unwrap();
    host.start_again().await.unwrap();
    assert_eq!(
        json(&host, &["connection", "show", "shop"])["circuit"]["state"],
        "open"
    );
    refused(&artifacts, &host, &["connection", "check", "shop"]);
    assert_eq!(shop.connections(), before);

    // The system is back; a person says so.
    shop.answers.store(true, Ordering::SeqCst);
    let closed = json(
        &host,
        &[
            "connection",
            "close-circuit",
            "shop",
            "--reason",
            "the shop is back",
        ],
    );
    assert_eq!(closed["circuit"], Value::Null, "{closed}");
    assert_eq!(json(&host, &["connection", "check", "shop"])["ok"], true);
    assert!(shop.connections() > before);

    // And a person may stop it, for as long as the person likes.
    let stopped = json(
        &host,
        &["connection", "open-circuit", "shop", "--reason", "month end"],
    );
    assert_eq!(
        (&stopped["circuit"]["state"], &stopped["circuit"]["until"]),
        (&"open".into(), &Value::Null),
        "{stopped}"
    );
    let problem = refused(&artifacts, &host, &["connection", "check", "shop"]);
    assert!(
        problem["detail"].as_str().unwrap().contains("month end"),
        "{problem}"
    );
    json(&host, &["connection", "close-circuit", "shop"]);
    assert_eq!(json(&host, &["connection", "check", "shop"])["ok"], true);
    host.stop().await.unwrap();
}

fn refused_doctor(artifacts: &Artifacts, host: &Host) -> String {
    let ran = Command::new(&artifacts.stecker)
        .args(["doctor", "--json"])
        .env("STECKER_DATA", host.data())
        .output()
        .unwrap();
    assert!(!ran.status.success());
    String::from_utf8(ran.stdout).unwrap()
}
