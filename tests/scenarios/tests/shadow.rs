//! Another release, tried on recorded calls, by the real binary: what it would do differently is found, what it does the same is not, and nobody
//! hears of the trial.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test that fails says where"
)]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use axum::{Router, extract::State, http::HeaderMap, response::IntoResponse, routing::get};
use semver::Version;
use serde_json::{Value, json};
use stecker_registry::{Manifest, embed_manifest, inspect};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job};
use stecker_simulators::{Config, Faults, Simulators};
use stecker_test_guests::Guest;

const LINES: usize = 1_000;
/// Bytes of one line, with its end.
const WIDTH: usize = 64;

/// The system: a list of amounts, each on a line of the same length. It tells everybody which key it was asked with.
struct System {
    url: String,
    requests: Arc<AtomicUsize>,
}

impl System {
    async fn start() -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let app = Router::new()
            .route("/lines", get(lines))
            .fallback(async |State(requests): State<Arc<AtomicUsize>>| {
                requests.fetch_add(1, Ordering::SeqCst);
                axum::http::StatusCode::NOT_FOUND
            })
            .with_state(Arc::clone(&requests));
        tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { url, requests }
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
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

/// What a release does with a line before it is a record, and whether it leaves one out.
#[derive(Clone, Copy)]
struct Variant {
    version: &'static str,
    path: &'static str,
    /// `$line` is its address.
    change: &'static str,
    /// `$i` is its number; leaves 1 on the stack to skip it.
    skip: &'static str,
}

const RUNNING: Variant = Variant {
    version: "1.0.0",
    path: "/lines",
    change: "",
    skip: "(i32.const 0)",
};

/// `"total"` becomes `"gross"`.
const RENAMED: Variant = Variant {
    version: "1.1.0",
    change: "(i32.store (i32.add (local.get $line) (i32.const 14)) (i32.const 0x736f7267)) (i32.store8 (i32.add (local.get $line) (i32.const 18)) (i32.const 0x73))",
    ..RUNNING
};

/// `"0012.50"` becomes `"0001250"`.
const IN_CENTS: Variant = Variant {
    version: "1.2.0",
    change: "(local.set $at (i32.const 25))
        (loop $left
            (i32.store8 (i32.add (local.get $line) (i32.add (local.get $at) (i32.const 1))) (i32.load8_u (i32.add (local.get $line) (local.get $at))))
            (local.set $at (i32.sub (local.get $at) (i32.const 1)))
            (br_if $left (i32.ge_u (local.get $at) (i32.const 22))))
        (i32.store8 (i32.add (local.get $line) (i32.const 22)) (i32.const 48))",
    ..RUNNING
};

const ONE_MISSING: Variant = Variant {
    version: "1.3.0",
    skip: "(i32.eq (local.get $i) (i32.const 500))",
    ..RUNNING
};

const ELSEWHERE: Variant = Variant {
    version: "1.4.0",
    path: "/other",
    ..RUNNING
};

const SAME: Variant = Variant {
    version: "1.5.0",
    ..RUNNING
};

/// Less than 256 bytes.
const DESCRIPTION: &str = r#"{"title":"Lines","credentials":[{"name":"api","kind":"api-key-header","title":"A key"}],"streams":[{"name":"orders","title":"Orders","modes":["read"]}]}"#;

impl Variant {
    fn build(self, system: &System, folder: &Path) -> PathBuf {
        let url = format!("{}{}", system.url, self.path);
        let Self { change, skip, .. } = self;
        let described = DESCRIPTION.len();
        let description = DESCRIPTION.replace('"', "\\\"");
        let code = format!(
            r#"(import "stecker:plugin/http@1.0.0" "send" (func $send (param i32 i32)))
;; imports end
            (data (i32.const 4096) "GET{url}") (data (i32.const 4400) "orders1{{\"n\":1}}") (data (i32.const 4800) "api")
            (memory (export "memory") 8)
            (global $heap (mut i32) (i32.const 8192))
            (func $cabi_realloc (export "cabi_realloc") (param $old i32) (param $len i32) (param $align i32) (param $new i32) (result i32)
                (local $at i32)
                (global.set $heap (i32.and (i32.add (global.get $heap) (i32.const 15)) (i32.const -16)))
                (local.set $at (global.get $heap))
                (global.set $heap (i32.add (global.get $heap) (local.get $new)))
                (local.get $at))
            (data (i32.const 1024) "\10\04\00\00\{described:02x}\00\00\00")
            (data (i32.const 1040) "{description}")
            (func (export "stecker:plugin/meta@1.0.0#describe") (result i32) (i32.const 1024))
            (func $skip (param $i i32) (result i32) {skip})
            (func $change (param $line i32) (local $at i32) {change})
            (func (export "stecker:plugin/source@1.0.0#read") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)
                (local $body i32) (local $n i32) (local $i i32) (local $count i32) (local $records i32) (local $line i32) (local $at i32)
                (i32.store (i32.const 5000) (i32.const 4096)) (i32.store (i32.const 5004) (i32.const 3))
                (i32.store (i32.const 5008) (i32.const 4099)) (i32.store (i32.const 5012) (i32.const {length}))
                (i32.store8 (i32.const 5036) (i32.const 1)) (i32.store (i32.const 5040) (i32.const 4800)) (i32.store (i32.const 5044) (i32.const 3))
                (call $send (i32.const 5000) (i32.const 6000))
                (if (i32.load8_u (i32.const 6000)) (then (return (i32.const 6000))))
                (local.set $body (i32.load (i32.const 6020)))
                (local.set $n (i32.div_u (i32.load (i32.const 6024)) (i32.const {WIDTH})))
                (local.set $records (call $cabi_realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.mul (local.get $n) (i32.const 72))))
                (block $done (loop $next
                    (br_if $done (i32.ge_u (local.get $i) (local.get $n)))
                    (local.set $line (i32.add (local.get $body) (i32.mul (local.get $i) (i32.const {WIDTH}))))
                    (if (i32.eqz (call $skip (local.get $i))) (then
                        (call $change (local.get $line))
                        (local.set $at (i32.add (local.get $records) (i32.mul (local.get $count) (i32.const 72))))
                        (i32.store (local.get $at) (i32.const 4400)) (i32.store offset=4 (local.get $at) (i32.const 6))
                        (i32.store offset=8 (local.get $at) (i32.add (local.get $line) (i32.const 7))) (i32.store offset=12 (local.get $at) (i32.const 4))
                        (i32.store offset=20 (local.get $at) (local.get $line)) (i32.store offset=24 (local.get $at) (i32.const {payload}))
                        (i32.store offset=56 (local.get $at) (i32.const 4406)) (i32.store offset=60 (local.get $at) (i32.const 1))
                        (local.set $count (i32.add (local.get $count) (i32.const 1)))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br $next)))
                (i32.store (i32.const 7008) (local.get $records)) (i32.store (i32.const 7012) (local.get $count))
                (i32.store8 (i32.const 7016) (i32.const 1)) (i32.store (i32.const 7020) (i32.const 4407)) (i32.store (i32.const 7024) (i32.const 7))
                (i32.const 7000))
            (func (export "stecker:plugin/source@1.0.0#acknowledge") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))"#,
            length = url.len(),
            payload = WIDTH - 1,
        );
        let manifest = format!(
            "name = \"tests/lines\"\nversion = \"{}\"\ntitle = \"Lines\"\ncontract = \"1.0.0\"\n\
             [[capabilities.http]]\nschemes = [\"http\"]\nhosts = [\"{{config:/url}}\"]\nmethods = [\"GET\"]\npurpose = \"tests\"\n\
             [credentials.api]\nkind = \"api-key-header\"\nheader = \"x-api-key\"\ndescription = \"tests\"\n",
            self.version
        );
        let guest = Guest {
            world: "import stecker:plugin/http@1.0.0; export stecker:plugin/meta@1.0.0; export stecker:plugin/source@1.0.0;",
            packages: "",
            code: &code,
            prelude: false,
        };
        let component = guest.build(&Version::new(1, 0, 0), &Manifest::from_toml(&manifest).unwrap());
        let path = folder.join(format!("lines-{}.wasm", self.version));
        fs::write(&path, component.unwrap()).unwrap();
        path
    }
}

struct Scene {
    artifacts: Artifacts,
    system: System,
    folder: tempfile::TempDir,
    key: String,
}

impl Scene {
    async fn set_up(artifacts: Artifacts) -> Self {
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
config = {{ base_url = "http://127.0.0.1:9" }}
credentials.api = {{ username = "api", secret = {{ file = {} }} }}

[[flow]]
name = "lines"
source = {{ connection = "shop", stream = "orders" }}
destination = {{ connection = "erp", stream = "orders" }}
delivery = {{ page = 1000 }}

[[flow.transform]]
plugin = {{ path = {} }}
config = {{ program = "empty" }}
"#,
            path(&RUNNING.build(&scene.system, scene.folder.path())),
            scene.system.url,
            scene.system.url.trim_start_matches("http://"),
            path(&key),
            path(&scene.artifacts.plugin("demo-erp").unwrap()),
            path(&key),
            path(&scene.artifacts.plugin("jq").unwrap()),
        );
        let file = scene.folder.path().join("setup.toml");
        fs::write(&file, setup).unwrap();
        scene.told(&["apply", "-f", file.to_str().unwrap()]);
        scene
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Whether it went well, and what it said.
    fn stecker(&self, words: &[&str]) -> (bool, String, String) {
        let output = Command::new(&self.artifacts.stecker)
            .args(words)
            .env("STECKER_DATA", self.data())
            .output()
            .unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    fn told(&self, words: &[&str]) -> String {
        let (ok, out, err) = self.stecker(words);
        assert!(ok, "{words:?}: {err}");
        out
    }

    /// Adds a release and tries it; whether the command was content, and the report.
    fn shadow(&self, variant: Variant, more: &[&str]) -> (bool, Value) {
        let file = variant.build(&self.system, self.folder.path());
        self.told(&["release", "add", file.to_str().unwrap()]);
        let release = format!("tests/lines@={}", variant.version);
        let mut words = vec!["shadow", "shop", "--release", &release, "--json"];
        words.extend(more);
        let (ok, out, err) = self.stecker(&words);
        (
            ok,
            serde_json::from_str(&out).unwrap_or_else(|_| panic!("{out}{err}")),
        )
    }
}

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
        if variant.version == ELSEWHERE.version {
            // What a plugin makes of a system that does not answer is its own business.
            assert!(found.iter().any(|one| one.0 == "request"), "{report}");
        } else {
            assert_eq!(found, expected, "{}: {report}", variant.version);
        }
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
