//! A system of a list of amounts, a host that reads it, and the commands of an operator.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    extract::State,
    http::HeaderMap,
    response::IntoResponse,
    routing::{get, post},
};
use serde_json::Value;
use stecker_scenarios::Artifacts;

use crate::guests::{LINES, RUNNING, Variant, WIDTH, Writer};

/// The system: a list of amounts, each on a line of the same length. It tells everybody which key it was asked with.
pub(crate) struct System {
    pub(crate) url: String,
    requests: Arc<AtomicUsize>,
}

impl System {
    pub(crate) async fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/lines", get(lines))
            .route("/orders", post(order))
            .fallback(async |State(requests): State<Arc<AtomicUsize>>| {
                requests.fetch_add(1, Ordering::SeqCst);
                axum::http::StatusCode::NOT_FOUND
            })
            .with_state(Arc::clone(&requests));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, requests }
    }

    pub(crate) fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

async fn order(State(requests): State<Arc<AtomicUsize>>) {
    requests.fetch_add(1, Ordering::SeqCst);
}

async fn lines(State(requests): State<Arc<AtomicUsize>>, headers: HeaderMap) -> impl IntoResponse {
    requests.fetch_add(1, Ordering::SeqCst);
    let line = |n: usize| {
        let line = format!(
            r#"{{"id":"{n:04}","total":"{:07.2}","name":"Article"}}"#,
            n as f64 / 4.0
        );
        format!("{line:width$}\n", width = WIDTH - 1)
    };
    let key = headers["x-api-key"].to_str().unwrap().to_owned();
    ([("x-asked-with", key)], (0..LINES).map(line).collect::<String>())
}

pub(crate) struct Scene {
    pub(crate) artifacts: Artifacts,
    pub(crate) system: System,
    pub(crate) folder: tempfile::TempDir,
    pub(crate) key: String,
}

impl Scene {
    pub(crate) async fn set_up(artifacts: Artifacts) -> Self {
        let bytes: [u8; 16] = rand::random();
        let scene = Self {
            artifacts,
            system: System::start().await,
            folder: tempfile::tempdir().unwrap(),
            key: bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        };
        let path = |path: &Path| format!("{:?}", path.display().to_string());
        let key = scene.folder.path().join("key");
        fs::write(&key, &scene.key).unwrap();
        let url = scene.system.url.as_str();
        let host = url.trim_start_matches("http://");
        let setup = format!(
            r#"
[[connection]]
name = "shop"
plugin = {{ path = {} }}
config = {{ url = {:?} }}
grants.http = [{{ host = {:?}, schemes = ["http"], methods = ["GET"] }}]
credentials.api = {{ secret = {{ file = {} }} }}

[[connection]]
name = "erp"
plugin = {{ path = {} }}
config = {{ url = {:?} }}
grants.http = [{{ host = {:?}, schemes = ["http"], methods = ["POST"] }}]

[[flow]]
name = "lines"
source = {{ connection = "shop", stream = "orders" }}
destination = {{ connection = "erp", stream = "orders" }}
delivery = {{ page = 1000 }}

[[flow.transform]]
plugin = {{ path = {} }}
config = {{ program = 'if .id == "0001" then . else empty end' }}
"#,
            path(&RUNNING.build(url, scene.folder.path())),
            url,
            host,
            path(&key),
            path(&Writer::RUNNING.build(url, scene.folder.path())),
            url,
            host,
            path(&scene.artifacts.plugin("jq").unwrap()),
        );
        let file = scene.folder.path().join("setup.toml");
        fs::write(&file, setup).unwrap();
        scene.told(&["apply", "-f", file.to_str().unwrap()]);
        scene
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Whether it went well, and what it said.
    pub(crate) fn stecker(&self, words: &[&str]) -> (bool, String, String) {
        let output = Command::new(&self.artifacts.stecker)
            .args(words)
            .env("STECKER_DATA", self.data())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    pub(crate) fn told(&self, words: &[&str]) -> String {
        let (ok, out, err) = self.stecker(words);
        assert!(ok, "{words:?}: {err}");
        out
    }

    /// Adds a release and tries it; whether the command was content, and the report.
    pub(crate) fn shadow(&self, variant: Variant, more: &[&str]) -> (bool, Value) {
        let file = variant.build(&self.system.url, self.folder.path());
        self.tried(&file, "shop", &format!("tests/lines@={}", variant.version), more)
    }

    /// The same of a release that writes.
    pub(crate) fn shadow_writer(&self, variant: Writer) -> (bool, Value) {
        let file = variant.build(&self.system.url, self.folder.path());
        self.tried(&file, "erp", &format!("tests/writer@={}", variant.version), &[])
    }

    fn tried(&self, file: &Path, connection: &str, release: &str, more: &[&str]) -> (bool, Value) {
        self.told(&["release", "add", file.to_str().unwrap()]);
        let mut words = vec!["shadow", connection, "--release", release, "--json"];
        words.extend(more);
        let (ok, out, err) = self.stecker(&words);
        (
            ok,
            serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")),
        )
    }
}
