//! A disk that is full while the host works: whoever calls is told so, nothing is lost or doubled, and when there is room again the work
//! goes on by itself.
//!
//! The disk is a real one that is really full: a small file system of its own, in a namespace of its own.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::Value;
use stecker_scenarios::{Artifacts, Job};
use stecker_simulators::{Config, Faults, Running, Simulators};

const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);

/// Mounts the disk, starts the host on it, and then fills or frees it as it is told, a line each. Logs stay outside.
const SCRIPT: &str = r#"
    mount -t tmpfs -o size=48m tmpfs "$STECKER_DATA" || exit 77
    "$STECKER" serve --listen 127.0.0.1:0 >"$LOG" 2>&1 </dev/null &
    host=$!
    trap 'kill -KILL $host' EXIT
    echo mounted
    while read -r word; do
        case $word in
            fill) dd if=/dev/zero of="$STECKER_DATA/filler" bs=4k >/dev/null 2>&1 ;;
            free) rm "$STECKER_DATA/filler" ;;
            apply) "$STECKER" apply -f "$SETUP" >>"$LOG" 2>&1 || echo failed ;;
            context) echo $(cat "$STECKER_DATA/server.json"); continue ;;
            token) echo $(cat "$STECKER_DATA/token"); continue ;;
        esac
        echo done
    done
"#;

/// A host on a disk of its own.
struct OnDisk {
    shell: Child,
    /// Its end ends the shell, and the shell the host.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    log: PathBuf,
    url: String,
    token: String,
    client: reqwest::Client,
}

impl OnDisk {
    /// None: this machine lets nobody mount a file system.
    async fn start(artifacts: &Artifacts, folder: &Path, setup: &Path) -> Option<Self> {
        let data = folder.join("data");
        fs::create_dir_all(&data).unwrap();
        let log = folder.join("host.log");
        let mut shell = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", SCRIPT])
            .env("STECKER", &artifacts.stecker)
            .env("STECKER_DATA", &data)
            .env("SETUP", setup)
            .env("LOG", &log)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let (input, output) = (shell.stdin.take(), shell.stdout.take()?);
        let mut host = Self {
            shell,
            input,
            output: BufReader::new(output),
            log,
            url: String::new(),
            token: String::new(),
            client: reqwest::Client::builder().no_proxy().build().unwrap(),
        };
        if host.line() != "mounted" {
            return None;
        }
        let begun = Instant::now();
        while host.url.is_empty() || host.status("/readyz").await != 200 {
            assert!(begun.elapsed() < PATIENCE, "{}", host.log());
            tokio::time::sleep(LOOK).await;
            let context: Value = serde_json::from_str(&host.tell("context")).unwrap_or_default();
            host.url = context["url"].as_str().unwrap_or_default().to_owned();
        }
        host.token = host.tell("token").trim().to_owned();
        Some(host)
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        // The end of the output is an empty line like any other that is not the one expected.
        let _read = self.output.read_line(&mut line);
        line.trim().to_owned()
    }

    fn tell(&mut self, word: &str) -> String {
        writeln!(self.input.as_mut().unwrap(), "{word}").unwrap();
        self.line()
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(15)..].join("\n")
    }

    async fn status(&self, path: &str) -> u16 {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await;
        answer.map_or(0, |answer| answer.status().as_u16())
    }

    async fn flows(&self) -> Value {
        let request = self
            .client
            .get(format!("{}/api/v1/flows", self.url))
            .bearer_auth(&self.token);
        request.send().await.unwrap().json().await.unwrap()
    }
}

impl Drop for OnDisk {
    fn drop(&mut self) {
        drop(self.input.take());
        // It may have ended already, which is as good.
        let _ = self.shell.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_full_for_a_while_costs_nothing() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let systems = Simulators::start(Config {
        orders: 200,
        faults: Faults::off(),
        ..Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    let Some(mut host) = OnDisk::start(&artifacts, folder.path(), job.setup()).await else {
        eprintln!("skipped: this machine lets nobody mount a small file system (unshare --user --mount)");
        return;
    };
    assert_eq!(host.tell("apply"), "done", "{}", host.log());
    let begun = Instant::now();
    while systems.account().verdict().booked < 30 {
        assert!(begun.elapsed() < PATIENCE, "{}", host.log());
        tokio::time::sleep(LOOK).await;
    }
    assert_eq!(call_webhook(&host, &systems, 0).await, 204, "while there is room");

    host.tell("fill");
    // What was begun may still fit; at some moment nothing does any more.
    let begun = Instant::now();
    let mut refused = 0;
    for number in 1.. {
        refused = call_webhook(&host, &systems, number).await;
        if refused >= 400 {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "the disk is never full; {}",
            host.log()
        );
    }
    assert!(
        matches!(refused, 503 | 507),
        "{refused}: the sender has to come again; {}",
        host.log()
    );
    systems.create_orders(150);
    let begun = Instant::now();
    loop {
        let ready = host
            .client
            .get(format!("{}/readyz", host.url))
            .send()
            .await
            .unwrap();
        let (status, body) = (ready.status(), ready.text().await.unwrap());
        if status == 503 && body.contains("no room") {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "it is not said: {body}; {}",
            host.log()
        );
        tokio::time::sleep(LOOK).await;
    }

    host.tell("free");
    let begun = Instant::now();
    loop {
        let verdict = systems.account().verdict();
        assert_eq!(
            (verdict.duplicated.len(), verdict.out_of_order),
            (0, 0),
            "{verdict:?}"
        );
        let settled = verdict.missing.is_empty()
            && verdict.amount_mismatches.is_empty()
            && verdict.stock_mismatches.is_empty();
        if settled
            && host.status("/readyz").await == 200
            && call_webhook(&host, &systems, 1_000_000).await == 204
        {
            break;
        }
        assert!(
            begun.elapsed() < PATIENCE,
            "{verdict:?}; {}; {}",
            host.flows().await,
            host.log()
        );
        tokio::time::sleep(LOOK).await;
    }
    drop(host);
    systems.stop().await;
}

/// A genuine call about something of no interest; its status.
async fn call_webhook(host: &OnDisk, systems: &Running, number: u32) -> u16 {
    let id = format!("e-disk-{number}");
    let filler = "x".repeat(60_000);
    let body = format!(r#"{{"event_id":"{id}","type":"shop.renamed","filler":"{filler}"}}"#);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let now = now.to_string();
    let secret = &systems.announcement().webhook_secret;
    let signature = stecker_simulators::signature(secret, &now, body.as_bytes());
    let request = host
        .client
        .post(format!("{}/hooks/default/shop", host.url))
        .header("x-shop-event-id", id)
        .header("x-shop-timestamp", &now)
        .header("x-shop-signature", signature)
        .body(body);
    request.send().await.unwrap().status().as_u16()
}
