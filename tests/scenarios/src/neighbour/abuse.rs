//! The other tenant: a connection for each way to be a nuisance, called again as soon as the call before has ended.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use anyhow::Result;
use serde_json::{Value, json};
use stecker_registry::{Manifest, embed_manifest};
use tokio::{task::JoinSet, time::sleep};

use super::upstream::Upstream;
use crate::Host;

const TENANT: &str = "noisy";
/// Before the circuit of a connection is closed again. What is measured is a plugin that misbehaves, not a flood of requests to the API.
const INSISTING: Duration = Duration::from_millis(250);

const MANIFEST: &str = r#"
    name = "tests/probe"
    version = "1.0.0"
    title = "Probe"
    contract = "1.0.0"

    [[capabilities.http]]
    schemes = ["http"]
    hosts = ["{config:/upstream}"]
    methods = ["GET"]
    purpose = "being a nuisance"

    [capabilities.storage]
    max-bytes = 1048576
"#;

/// What each connection does in one call. The steps are the probe's (`tests/denials/guests/probe/src/step.rs`).
fn abuses(upstream: &str) -> Vec<(&'static str, Value)> {
    let get = |path: &str| json!([{"do": "http", "url": format!("{upstream}/{path}"), "timeout-ms": 60_000}]);
    vec![
        ("spin", json!([{"do": "spin"}])),
        ("memory", json!([{"do": "allocate", "bytes": 1_u32 << 30}])),
        (
            "memory-in-use",
            json!([{"do": "allocate", "bytes": 24 << 20}, {"do": "spin"}]),
        ),
        ("trap", json!([{"do": "trap"}])),
        ("recursion", json!([{"do": "recurse"}])),
        (
            "log-flood",
            json!([{"do": "log", "message-bytes": 8_000, "repeat": 20_000}]),
        ),
        (
            "print-flood",
            json!([{"do": "print", "bytes": 8_000, "repeat": 20_000}]),
        ),
        (
            "random-flood",
            json!([{"do": "random", "len": 65_536, "repeat": 2_000}]),
        ),
        ("churn", json!([{"do": "now"}])),
        ("sleep", json!([{"do": "sleep-ms", "ms": 60_000}])),
        ("endless-body", get("endless")),
        ("drip-fed-body", get("drip")),
        (
            "storage-flood",
            json!([
                {"do": "storage-put", "key": "key", "value-bytes": 8_000, "repeat": 500},
                {"do": "storage-put", "key": "large", "value-bytes": 2_000_000, "repeat": 10},
            ]),
        ),
        (
            "denial-flood",
            json!([{"do": "http", "url": "http://127.0.0.1:1/", "repeat": 2_000}]),
        ),
    ]
}

pub(super) struct Abuser {
    abuses: Vec<&'static str>,
    _upstream: Upstream,
}

/// While it goes on.
pub(super) struct Raging {
    stop: Arc<AtomicBool>,
    loops: JoinSet<()>,
    counts: Arc<Mutex<Counts>>,
}

#[derive(Default)]
struct Counts {
    calls: BTreeMap<String, u64>,
    ends: BTreeMap<String, u64>,
}

impl Abuser {
    /// Has the connections set up by the commands that an operator would use.
    pub(super) async fn set_up(host: &Host, probe: &[u8], folder: &Path) -> Result<Self> {
        let upstream = Upstream::start().await?;
        let url = format!("http://{}", upstream.address);
        fs::create_dir_all(folder)?;
        let plugin = folder.join("probe.wasm");
        fs::write(&plugin, embed_manifest(probe, &Manifest::from_toml(MANIFEST)?)?)?;
        let mut setup = String::new();
        let mut names = Vec::new();
        for (name, steps) in abuses(&url) {
            let config = json!({"upstream": url, "via": "stecker", "steps": steps}).to_string();
            setup.push_str(&format!(
                r#"
[[connection]]
name = "{name}"
plugin = {{ path = {plugin:?} }}
config = {config}
grants.http = [{{ host = "{address}", schemes = ["http"], methods = ["GET"] }}]
grants.storage = {{ max-bytes = 1048576 }}
limits = {{ memory-mib = 64, deadline = "2s" }}
"#,
                plugin = plugin.display().to_string(),
                address = upstream.address,
                config = inline(&config)?,
            ));
            names.push(name);
        }
        let path = folder.join("setup.toml");
        fs::write(&path, setup)?;
        host.cli([
            "--tenant".as_ref(),
            TENANT.as_ref(),
            "apply".as_ref(),
            "-f".as_ref(),
            path.as_os_str(),
        ])?;
        Ok(Self {
            abuses: names,
            _upstream: upstream,
        })
    }

    /// Begins, with so many calls of each kind at the same time.
    pub(super) fn rage(&self, host: &Host, concurrency: usize) -> Raging {
        let raging = Raging {
            stop: Arc::default(),
            loops: JoinSet::new(),
            counts: Arc::default(),
        };
        let mut raging = raging;
        for &abuse in &self.abuses {
            for _ in 0..concurrency {
                let caller = host.caller(TENANT);
                let path = format!("/api/v1/connections/{abuse}/check");
                let close = format!("/api/v1/connections/{abuse}/close-circuit");
                let (stop, counts) = (Arc::clone(&raging.stop), Arc::clone(&raging.counts));
                raging.loops.spawn(async move {
                    while !stop.load(Ordering::Acquire) {
                        let end = match caller.post(&path).await {
                            Ok(status) => status.to_string(),
                            Err(_) => "no answer".to_owned(),
                        };
                        // The plugin was not called, because it has crashed too often. Its tenant insists.
                        if end.starts_with("503") {
                            sleep(INSISTING).await;
                            let _closed = caller.post_json(&close, &json!({"reason": "again"})).await;
                        }
                        if end == "no answer" {
                            // A connection that is refused at once must not become a loop of this process's own.
                            sleep(Duration::from_millis(10)).await;
                        }
                        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
                        *counts.calls.entry(abuse.to_owned()).or_default() += 1;
                        *counts.ends.entry(format!("{abuse}: {end}")).or_default() += 1;
                    }
                });
            }
        }
        raging
    }
}

impl Raging {
    /// Ends it: no call is begun any more, and those under way are given up. Calls and ends, counted.
    pub(super) async fn stop(mut self) -> (BTreeMap<String, u64>, BTreeMap<String, u64>) {
        self.stop.store(true, Ordering::Release);
        self.loops.shutdown().await;
        let counts = std::mem::take(&mut *self.counts.lock().unwrap_or_else(PoisonError::into_inner));
        (counts.calls, counts.ends)
    }
}

/// A JSON object as a TOML inline table.
fn inline(json: &str) -> Result<String> {
    let value: toml::Value = serde_json::from_str(json)?;
    Ok(value.to_string())
}
