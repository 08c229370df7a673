//! Every plugin of the corpus loads on this host, describes itself, and does all that its version of the contract has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use async_trait::async_trait;
use semver::Version;
use stecker_contract_rules::corpus;
use stecker_model::{
    BlobGrant, Finding, Grants, HttpGrant, KeyRange, Limits, LookupItem, Name, Operation, Outcome, Question,
    RawRequest, ReadRequest, Record, StorageGrant, Transformed, Verdict, WriteItem,
};
use stecker_registry::{Role, contract};
use stecker_sandbox::{
    Binding, Condition, CredentialError, Credentials, MemoryBlobs, Quota, Sandbox, SandboxOptions, Secret,
    Session, Storage, StorageError, StoredEntry, TracingObserver,
};

/// A store without bounds: what is tested is that the calls come through.
#[derive(Default)]
struct Memory(Mutex<BTreeMap<String, StoredEntry>>);

#[async_trait]
impl Storage for Memory {
    async fn get(&self, key: &str) -> Result<Option<StoredEntry>, StorageError> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn put(
        &self,
        key: &str,
        value: Vec<u8>,
        condition: Condition,
        _: Quota,
    ) -> Result<u64, StorageError> {
        let mut entries = self.0.lock().unwrap();
        let current = entries.get(key).map(|entry| entry.version);
        let holds = match condition {
            Condition::Always => true,
            Condition::Absent => current.is_none(),
            Condition::Version(version) => current == Some(version),
        };
        if !holds {
            return Err(StorageError::Conflict { current });
        }
        let version = current.unwrap_or(0) + 1;
        entries.insert(key.to_owned(), StoredEntry { value, version });
        Ok(version)
    }

    async fn delete(&self, key: &str, _: Condition) -> Result<bool, StorageError> {
        Ok(self.0.lock().unwrap().remove(key).is_some())
    }

    async fn list_keys(&self, prefix: &str, _: Option<&str>, _: u32) -> Result<Vec<String>, StorageError> {
        let entries = self.0.lock().unwrap();
        Ok(entries
            .keys()
            .filter(|key| key.starts_with(prefix))
            .cloned()
            .collect())
    }
}

struct Keys;

#[async_trait]
impl Credentials for Keys {
    async fn secret(&self, _: &str) -> Result<Secret, CredentialError> {
        Ok(Secret::new("a key that nobody guesses".to_owned()))
    }
}

/// A server that gives back what it gets.
async fn echo() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let app = axum::Router::new().fallback(|body: axum::body::Bytes| async move { body });
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

async fn session(sandbox: &Sandbox, plugin: Vec<u8>, address: &str) -> Session {
    let (tenant, connection): (Name, Name) = ("acme".parse().unwrap(), "shop".parse().unwrap());
    let release = sandbox
        .load(plugin)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let described = release.describe().await.unwrap();
    assert_eq!(described["title"], "Corpus");
    let binding = Binding {
        config: serde_json::json!({ "url": format!("http://{address}/") }).to_string(),
        grants: Grants {
            http: vec![HttpGrant {
                host: address.to_owned(),
                schemes: vec!["http".to_owned()],
                ..HttpGrant::default()
            }],
            storage: Some(StorageGrant::of_bytes(10_000)),
            blobs: Some(BlobGrant {
                max_bytes: 1 << 20,
                max_blob_bytes: 1 << 20,
            }),
        },
        limits: Limits::default(),
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(Keys),
        storage: Arc::new(Memory::default()),
        blobs: MemoryBlobs::default().of(&tenant, &connection),
        observer: Arc::new(TracingObserver),
        tenant,
        connection,
    };
    release.bind(binding).unwrap()
}

fn record(key: &str) -> Record {
    Record {
        stream: "things".to_owned(),
        key: key.to_owned(),
        operation: Operation::Delete,
        payload: "{}".to_owned(),
        before: None,
        event_time: Some(7),
        source_version: "1".to_owned(),
        attributes: vec![("a".to_owned(), "b".to_owned())],
    }
}

/// What every import did, by its name.
const IMPORTS: [(&str, &str); 8] = [
    ("http.send", "200 sent"),
    ("http.send-many", "200 a, 200 b"),
    ("storage", "2 other key true"),
    ("crypto.hash", "20"),
    ("crypto.hmac", "32 true"),
    ("clock.now", "true"),
    ("clock.monotonic-ms", "true"),
    ("random.bytes", "8"),
];
const SINCE_1_1: [(&str, &str); 2] = [
    ("blobs", "6 blob"),
    ("http-blobs.send", "200 0 before middle after"),
];

async fn imports(session: &Session, version: &Version) {
    let probes = session.check().await.result.unwrap();
    let mut expected: BTreeMap<&str, &str> = IMPORTS.into();
    if *version >= Version::new(1, 1, 0) {
        expected.extend(SINCE_1_1);
    }
    let came: BTreeMap<&str, &str> = probes
        .iter()
        .map(|probe| (probe.name.as_str(), probe.message.as_str()))
        .collect();
    assert_eq!(came, expected, "contract {version}");
    assert!(probes.iter().all(|probe| probe.ok));
}

async fn source(session: &Session) {
    let streams = session.discover().await.result.unwrap();
    assert_eq!(streams.len(), 1);
    let request = |cursor: Option<&str>| ReadRequest {
        stream: "things".to_owned(),
        cursor: cursor.map(str::to_owned),
        max_records: 10,
        max_bytes: 1_000,
        deadline_ms: 10_000,
        options: Vec::new(),
    };
    let first = session.read(request(None)).await.result.unwrap();
    assert_eq!((first.records[0].key.as_str(), first.more), ("one", true));
    assert_eq!(first.records[0].event_time, Some(1_767_268_800_000));
    let second = session
        .read(request(first.cursor.as_deref()))
        .await
        .result
        .unwrap();
    assert_eq!((second.records[0].key.as_str(), second.more), ("two", false));
    session.acknowledge("things", "2").await.result.unwrap();
}

async fn destination(session: &Session) {
    let item = |i: u32| WriteItem {
        record: record(&i.to_string()),
        idempotency_key: format!("key-{i}"),
        attempt: 1,
    };
    let outcomes = session
        .write("things", (0..5).map(item).collect())
        .await
        .result
        .unwrap();
    match outcomes.as_slice() {
        [
            Outcome::Delivered(Some(id)),
            Outcome::Duplicate(_),
            Outcome::Retry(error),
            Outcome::Rejected(rejection),
            Outcome::Unknown(_),
        ] => {
            assert_eq!(id, "0/key-0");
            assert_eq!(
                (error.retry_after_ms, rejection.path.as_deref()),
                (Some(7), Some("/id"))
            );
        }
        other => panic!("{other:?}"),
    }
    let asked = |key: &str| LookupItem {
        key: key.to_owned(),
        idempotency_key: "key".to_owned(),
        source_version: "1".to_owned(),
    };
    let findings = session
        .lookup("things", vec![asked("a"), asked("b"), asked("c")])
        .await;
    match findings.result.unwrap().as_slice() {
        [
            Finding::Present { external_id, .. },
            Finding::Absent,
            Finding::Undecided,
        ] => {
            assert_eq!(external_id.as_deref(), Some("a"));
        }
        other => panic!("{other:?}"),
    }
    let question = Question {
        stream: "things".to_owned(),
        fields: Vec::new(),
        ranges: vec![KeyRange::ALL],
    };
    let buckets = session.digest(question.clone(), 2).await.result.unwrap();
    assert_eq!(buckets.len(), 4);
    let listing = session.list_keys(question, None, 10).await.result.unwrap();
    assert_eq!(listing.entries[0].key, "one");
}

async fn webhook_and_transform(session: &Session) {
    let request = RawRequest {
        method: "POST".to_owned(),
        path: "/hook".to_owned(),
        query: String::new(),
        headers: Vec::new(),
        body: b"raw".to_vec(),
    };
    let received = session.receive(request).await.result.unwrap();
    assert_eq!(
        (received.verdict, received.records[0].key.as_str()),
        (Verdict::Accept, "called")
    );
    assert_eq!(received.reply.unwrap().body, b"raw");
    let topics = ["orders".to_owned()];
    let subscriptions = session
        .subscribe("https://host.example/h", &topics)
        .await
        .result
        .unwrap();
    assert_eq!(subscriptions[0].id, "orders at https://host.example/h");
    session.unsubscribe(subscriptions).await.result.unwrap();

    let batch = vec![record("a"), record("b"), record("c")];
    let answers = session.apply(batch.clone()).await.result.unwrap();
    match answers.as_slice() {
        [
            Transformed::Emit(records),
            Transformed::Drop(reason),
            Transformed::Reject(rejection),
        ] => {
            assert_eq!((records.as_slice(), reason.as_str()), (&batch[..1], "not wanted"));
            assert_eq!(rejection.code, "odd");
        }
        other => panic!("{other:?}"),
    }
}

async fn everything(session: &Session, version: &Version) {
    imports(session, version).await;
    source(session).await;
    destination(session).await;
    webhook_and_transform(session).await;
}

/// The same plugin, saying that it is of another version: names have the same length, so nothing else in the file changes.
fn renamed(plugin: &[u8], from: &str, to: &str) -> Vec<u8> {
    let mut bytes = plugin.to_vec();
    let mut at = 0;
    while let Some(found) = bytes[at..]
        .windows(from.len())
        .position(|window| window == from.as_bytes())
    {
        at += found;
        bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

/// Both ways: a version that is new to the plugin's imports, and one that is new to the host.
#[tokio::test]
async fn a_plugin_of_a_later_minor_version_that_uses_nothing_new() {
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 2,
        ..SandboxOptions::default()
    })
    .unwrap();
    let address = echo().await;
    let version = |text: &str| -> Version { text.parse().unwrap() };
    for (built, says) in [("1.0.0", "1.1.0"), ("1.0.0", "1.9.0"), ("1.1.0", "1.9.0")] {
        for (name, plugin) in corpus::plugins(&version(built)).unwrap() {
            let session = session(&sandbox, renamed(&plugin, built, says), &address).await;
            assert_eq!(session.release().inspection().contract, version(says), "{name}");
            everything(&session, &version(built)).await;
        }
    }
}

#[tokio::test]
async fn plugins_of_every_version_do_all_that_their_contract_has() {
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 4,
        ..SandboxOptions::default()
    })
    .unwrap();
    let address = echo().await;
    for version in contract::VERSIONS {
        for (name, plugin) in corpus::plugins(&version).unwrap() {
            let session = session(&sandbox, plugin, &address).await;
            let inspection = session.release().inspection();
            assert_eq!(inspection.contract, version, "{name}");
            assert!(
                Role::ALL.into_iter().all(|role| session.release().has(role)),
                "{name}"
            );
            everything(&session, &version).await;
        }
    }
}
