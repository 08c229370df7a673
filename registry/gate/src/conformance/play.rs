//! The run itself: every role, in front of an upstream that behaves in one way, one way after the other.

use std::{future::Future, sync::Arc};

use serde_json::{Value, json};
use stecker_model::{KeyRange, LookupItem, Question, RawRequest, ReadRequest, StreamInfo, WriteItem};
use stecker_registry::Role;
use stecker_sandbox::{Called, Release, Session};
use tokio::time::Instant;

use super::{
    Behaviour,
    given::{KEYS, configuration, payloads, record},
    script::Script,
    seen::{self, Ended, Run, cut},
    stage::{self, Denied},
};
use crate::ConformancePolicy;

/// Streams that are tried of each mode.
const STREAMS: usize = 4;
/// Records of a page that is asked for; few, so that a plugin that ignores it is seen.
const PAGE: u32 = 5;

/// Reasons that are told why something was not run.
const LEFT_OUT: usize = 20;

/// What came of the run.
pub(super) struct Played {
    pub(super) runs: Vec<Run>,
    pub(super) left_out: Vec<String>,
}

pub(super) struct Player<'a> {
    release: &'a Release,
    policy: &'a ConformancePolicy,
    config: Option<Value>,
    read: Vec<String>,
    written: Vec<Target>,
    until: Instant,
    runs: Vec<Run>,
    left_out: Vec<String>,
}

/// A stream to write to, with what is written.
struct Target {
    stream: String,
    payloads: Vec<String>,
}

/// A session in front of one behaviour.
struct Scene {
    session: Session,
    script: Arc<Script>,
    denied: Arc<Denied>,
    behaviour: Behaviour,
    round: u32,
}

impl<'a> Player<'a> {
    pub(super) fn new(release: &'a Release, description: &Value, policy: &'a ConformancePolicy) -> Self {
        let mut left_out = Vec::new();
        let manifest = &release.inspection().manifest;
        let config = configuration(manifest, description, policy.config.as_ref());
        let config = config.map_err(|why| left_out.push(why)).ok();
        let named = |mode: &str| -> Vec<String> {
            let streams = description.get("streams").and_then(Value::as_array);
            let has = |stream: &&Value| {
                let modes = stream.get("modes").and_then(Value::as_array);
                modes.is_some_and(|modes| modes.iter().any(|known| known == mode))
            };
            let name = |stream: &Value| stream.get("name")?.as_str().map(str::to_owned);
            streams
                .into_iter()
                .flatten()
                .filter(has)
                .filter_map(name)
                .take(STREAMS)
                .collect()
        };
        let written = named("write").into_iter().map(|stream| Target {
            payloads: payloads(None),
            stream,
        });
        Self {
            written: written.collect(),
            read: named("read"),
            release,
            policy,
            config,
            until: Instant::now() + policy.total,
            runs: Vec::new(),
            left_out,
        }
    }

    pub(super) fn end(mut self) -> Played {
        self.left_out.dedup();
        self.left_out.truncate(LEFT_OUT);
        Played {
            runs: self.runs,
            left_out: self.left_out,
        }
    }

    /// Everything. The plain behaviour twice, to see whether the same gives the same.
    pub(super) async fn play_all(&mut self) {
        let Some(config) = self.config.clone() else {
            return;
        };
        self.discover(&config).await;
        let rounds = [(Behaviour::Plain, 1)];
        for (behaviour, round) in Behaviour::ALL.into_iter().map(|one| (one, 0)).chain(rounds) {
            let Some(scene) = self.scene(&config, behaviour, round) else {
                return;
            };
            self.play(&scene).await;
            if Instant::now() >= self.until {
                let total = self.policy.total;
                self.left_out.push(format!(
                    "the time of {total:?} for the whole run was over; what came after {} was not run",
                    behaviour.as_str()
                ));
                return;
            }
        }
    }

    fn scene(&mut self, config: &Value, behaviour: Behaviour, round: u32) -> Option<Scene> {
        let denied = Arc::new(Denied::default());
        let script = Arc::new(Script::new(behaviour));
        let manifest = &self.release.inspection().manifest;
        let bound = stage::binding(manifest, config, self.policy.call, Arc::clone(&denied))
            .ok_or_else(|| "the configuration has no URL where the manifest expects one".to_owned())
            .and_then(|binding| {
                let answers = Arc::clone(&script);
                let session = self.release.bind_answered(binding, answers);
                session.map_err(|error| format!("the plugin could not be bound: {error}"))
            });
        match bound {
            Ok(session) => Some(Scene {
                session,
                script,
                denied,
                behaviour,
                round,
            }),
            Err(why) => {
                self.left_out.push(why);
                None
            }
        }
    }

    async fn call<T>(
        &mut self,
        scene: &Scene,
        (function, stream): (&'static str, Option<&str>),
        call: impl Future<Output = Called<T>>,
        ended: impl FnOnce(&T) -> Ended,
    ) -> Option<T> {
        if Instant::now() >= self.until {
            return None;
        }
        let called = call.await;
        let ended = match &called.result {
            Ok(answer) => ended(answer),
            Err(error) => Ended::from(error),
        };
        if let Ended::NotRun(why) = &ended {
            self.left_out.push(format!("{function}: {}", cut(why)));
        }
        self.runs.push(Run {
            function,
            stream: stream.map(str::to_owned),
            behaviour: scene.behaviour,
            round: scene.round,
            ended,
            requests: scene.script.take(),
            denied: scene.denied.take(),
        });
        called.result.ok()
    }

    /// What the plugin itself says of its streams: which there are, if the description does not name them, and what is written to them.
    async fn discover(&mut self, config: &Value) {
        if !self.release.has(Role::Connection) {
            return;
        }
        let Some(scene) = self.scene(config, Behaviour::Plain, 0) else {
            return;
        };
        let found = self
            .call(
                &scene,
                ("connection.discover", None),
                scene.session.discover(),
                |_| Ended::Done,
            )
            .await
            .unwrap_or_default();
        let has = |stream: &&StreamInfo, mode: &str| stream.modes.iter().any(|known| known == mode);
        if self.read.is_empty() {
            let names = found.iter().filter(|stream| has(stream, "read"));
            self.read = names.take(STREAMS).map(|stream| stream.name.clone()).collect();
        }
        if self.written.is_empty() {
            let names = found.iter().filter(|stream| has(stream, "write"));
            self.written = names
                .take(STREAMS)
                .map(|stream| Target {
                    stream: stream.name.clone(),
                    payloads: payloads(None),
                })
                .collect();
        }
        for target in &mut self.written {
            let info = found.iter().find(|stream| stream.name == target.stream);
            target.payloads = payloads(info);
        }
    }

    async fn play(&mut self, scene: &Scene) {
        let session = &scene.session;
        if self.release.has(Role::Connection) {
            self.call(scene, ("connection.check", None), session.check(), |probes| {
                Ended::Probes(probes.iter().map(|probe| probe.ok).collect())
            })
            .await;
            self.call(scene, ("connection.discover", None), session.discover(), |_| {
                Ended::Done
            })
            .await;
        }
        if self.release.has(Role::Source) {
            for stream in self.read.clone() {
                self.read(scene, &stream).await;
            }
        }
        let written: Vec<String> = self.written.iter().map(|target| target.stream.clone()).collect();
        for stream in &written {
            if self.release.has(Role::Destination) {
                self.write(scene, stream).await;
            }
            if self.release.has(Role::Reconcile) {
                self.reconcile(scene, stream).await;
            }
        }
        if self.release.has(Role::Webhook) {
            self.webhook(scene).await;
        }
        if self.release.has(Role::Transform) {
            let batch = (1..=3)
                .map(|n| {
                    let payload = json!({ "id": n, "name": "one", "total": "9.90", "lines": [] });
                    record("records", &format!("conformance-{n}"), payload.to_string())
                })
                .collect();
            let call = session.apply(batch);
            self.call(scene, ("transform.apply", None), call, |answers| {
                seen::of_transformed(answers)
            })
            .await;
        }
    }

    async fn read(&mut self, scene: &Scene, stream: &str) {
        let mut cursor = None;
        for _page in 0..2 {
            let request = ReadRequest {
                stream: stream.to_owned(),
                cursor: cursor.clone(),
                max_records: PAGE,
                max_bytes: 1 << 20,
                deadline_ms: u64::try_from(self.policy.call.as_millis()).unwrap_or(u64::MAX),
                options: Vec::new(),
            };
            let page = self
                .call(
                    scene,
                    ("source.read", Some(stream)),
                    scene.session.read(request),
                    |page| Ended::Records(page.records.iter().map(seen::of_record).collect()),
                )
                .await;
            let Some(page) = page else { return };
            cursor = page.cursor;
            if !page.more {
                break;
            }
        }
        if let Some(cursor) = cursor {
            let call = scene.session.acknowledge(stream, &cursor);
            self.call(scene, ("source.acknowledge", Some(stream)), call, |()| {
                Ended::Done
            })
            .await;
        }
    }

    async fn write(&mut self, scene: &Scene, stream: &str) {
        let target = self.written.iter().find(|target| target.stream == stream);
        let payloads = target.map(|target| target.payloads.clone()).unwrap_or_default();
        let items = KEYS.iter().zip(payloads).map(|(key, payload)| WriteItem {
            record: record(stream, key, payload),
            idempotency_key: format!("{key}-once"),
            attempt: 1,
        });
        let call = scene.session.write(stream, items.collect());
        self.call(scene, ("destination.write", Some(stream)), call, |outcomes| {
            seen::of_outcomes(outcomes)
        })
        .await;
        let items = KEYS.iter().map(|key| LookupItem {
            key: (*key).to_owned(),
            idempotency_key: format!("{key}-once"),
            source_version: "1".to_owned(),
        });
        let call = scene.session.lookup(stream, items.collect());
        self.call(scene, ("destination.lookup", Some(stream)), call, |findings| {
            seen::of_findings(findings)
        })
        .await;
    }

    async fn reconcile(&mut self, scene: &Scene, stream: &str) {
        let question = Question {
            stream: stream.to_owned(),
            fields: Vec::new(),
            ranges: vec![KeyRange::ALL],
        };
        let call = scene.session.digest(question.clone(), 4);
        self.call(scene, ("reconcile.digest", Some(stream)), call, |_| Ended::Done)
            .await;
        let call = scene.session.list_keys(question, None, 100);
        self.call(scene, ("reconcile.list-keys", Some(stream)), call, |_| {
            Ended::Done
        })
        .await;
    }

    /// A call that anybody on the network could have made.
    async fn webhook(&mut self, scene: &Scene) {
        let request = RawRequest {
            method: "POST".to_owned(),
            path: String::new(),
            query: String::new(),
            headers: vec![("content-type".to_owned(), "application/json".to_owned())],
            body: br#"{"id":"evt_1","type":"order.updated","data":{"id":"1"}}"#.to_vec(),
        };
        let call = scene.session.receive(request);
        self.call(scene, ("webhook.receive", None), call, |received| {
            Ended::Webhook(received.verdict)
        })
        .await;
    }
}
