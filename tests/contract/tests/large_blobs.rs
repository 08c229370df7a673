//! A file that is larger than the plugin's memory, from one system to another one: byte for byte the same, and nobody ever holds it. In a
//! process of its own, because it is about how much memory that process has.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, that is how a broken assumption shows"
)]

use std::{
    convert::Infallible,
    fs,
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    http::HeaderMap,
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use semver::Version;
use sha2::{Digest as _, Sha256};
use stecker_contract_rules::corpus;
use stecker_flow::FolderBlobs;
use stecker_model::{BlobGrant, Grants, HttpGrant, Limits, Name, Page, PluginError, ReadRequest};
use stecker_sandbox::{
    Binding, CallError, NoCredentials, NoStorage, Sandbox, SandboxOptions, Session, TracingObserver,
};
use stecker_store::BlobFolder;

const MIB: u64 = 1 << 20;
/// Six times what the plugin may have.
const SIZE: u64 = 96 * MIB;
/// What the process may have more after the transfer than before it: a sixth of the file, with room for what an allocator does not give back.
const SLACK: u64 = 16 * MIB;
const PIECE: usize = 64 << 10;

/// The same bytes every time, and no two pieces alike.
fn piece(number: u64) -> Bytes {
    let mut state = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let words = (0..PIECE / 8).flat_map(|_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    });
    words.collect::<Vec<u8>>().into()
}

fn pieces(size: u64) -> impl Iterator<Item = Bytes> {
    (0..size / PIECE as u64).map(piece)
}

/// What the receiving system got.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Got {
    digest: String,
    size: u64,
    announced: Option<String>,
}

/// One system that has a file of as many bytes as the path says, and one that takes any. Neither holds one.
async fn systems(got: Arc<Mutex<Got>>) -> (String, String) {
    let source = Router::new().route(
        "/file/{size}",
        get(|axum::extract::Path(size): axum::extract::Path<u64>| async move {
            let body = stream::iter(pieces(size).map(Ok::<_, Infallible>));
            ([("content-length", size.to_string())], Body::from_stream(body))
        }),
    );
    let sink = Router::new().route(
        "/upload",
        post(|headers: HeaderMap, request: Request| async move {
            let (mut hash, mut size) = (Sha256::new(), 0);
            let mut body = request.into_body().into_data_stream();
            while let Some(chunk) = body.next().await {
                let chunk = chunk.unwrap();
                hash.update(&chunk);
                size += chunk.len() as u64;
            }
            *got.lock().unwrap() = Got {
                digest: format!("sha256:{}", hex::encode(hash.finalize())),
                size,
                announced: headers
                    .get("content-length")
                    .map(|length| length.to_str().unwrap().to_owned()),
            };
            "taken"
        }),
    );
    (serve(source).await, serve(sink).await)
}

async fn serve(app: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// The most memory that this process had since [`forget_most_memory`], in bytes.
fn most_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// proc_pid_clear_refs(5): compiling took more than a transfer ever will, and must not hide it.
fn forget_most_memory() {
    fs::write("/proc/self/clear_refs", "5").unwrap();
}

async fn session(folder: &Path, source: &str, sink: &str) -> Session {
    let sandbox = Sandbox::new(SandboxOptions {
        max_instances: 2,
        ..SandboxOptions::default()
    })
    .unwrap();
    let (_, plugin) = corpus::plugins(&Version::new(1, 1, 0)).unwrap().remove(0);
    let (tenant, connection): (Name, Name) = ("acme".parse().unwrap(), "shop".parse().unwrap());
    let grant = |host: &str| HttpGrant {
        host: host.to_owned(),
        schemes: vec!["http".to_owned()],
        ..HttpGrant::default()
    };
    let binding = Binding {
        config: serde_json::json!({ "url": format!("http://{source}/"), "other": format!("http://{sink}/") })
            .to_string(),
        grants: Grants {
            http: vec![grant(source), grant(sink)],
            blobs: Some(BlobGrant {
                max_bytes: 2 * SIZE,
                max_blob_bytes: SIZE,
            }),
            ..Grants::default()
        },
        limits: Limits {
            memory_mib: 16,
            ..Limits::default()
        },
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(FolderBlobs(
            BlobFolder::new(folder.to_owned()).room(&tenant, &connection),
        )),
        observer: Arc::new(TracingObserver),
        tenant,
        connection,
    };
    let release = sandbox
        .load(plugin)
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    release.bind(binding).unwrap()
}

/// Moves a file; the page that the plugin made of it, and the most memory that the plugin had.
async fn transfer(session: &Session, source: &str, sink: &str, size: u64) -> (Result<Page, CallError>, u64) {
    let request = ReadRequest {
        stream: "transfer".to_owned(),
        cursor: None,
        max_records: 1,
        max_bytes: SIZE,
        deadline_ms: 60_000,
        options: vec![
            ("from".to_owned(), format!("http://{source}/file/{size}")),
            ("to".to_owned(), format!("http://{sink}/upload")),
        ],
    };
    let called = session.read(request).await;
    (called.result, called.usage.peak_memory)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_larger_than_the_plugins_memory() {
    let (folder, got) = (tempfile::tempdir().unwrap(), Arc::new(Mutex::new(Got::default())));
    let (source, sink) = systems(Arc::clone(&got)).await;
    let session = session(folder.path(), &source, &sink).await;

    // What every transfer needs once is there afterwards: connections, threads, compiled code.
    let (page, _) = transfer(&session, &source, &sink, 4 * MIB).await;
    page.unwrap();
    forget_most_memory();
    let before = most_memory();

    let (page, plugins_memory) = transfer(&session, &source, &sink, SIZE).await;
    let page = page.unwrap();
    let grown = most_memory() - before;

    let mut hash = Sha256::new();
    pieces(SIZE).for_each(|piece| hash.update(&piece));
    let digest = format!("sha256:{}", hex::encode(hash.finalize()));
    let payload: serde_json::Value = serde_json::from_str(&page.records[0].payload).unwrap();
    assert_eq!(payload["$blob"], digest);
    assert_eq!(
        (&payload["size"], &payload["answer"]),
        (&SIZE.into(), &"taken".into())
    );
    let expected = Got {
        digest,
        size: SIZE,
        announced: Some(SIZE.to_string()),
    };
    assert_eq!(*got.lock().unwrap(), expected);
    assert!(plugins_memory < 4 * MIB, "the plugin had {plugins_memory} bytes");
    assert!(
        grown < SLACK,
        "{SIZE} bytes were moved, and the process had {grown} bytes more than before"
    );

    // One byte more than is granted, and nothing of it is left.
    let (page, _) = transfer(&session, &source, &sink, SIZE + PIECE as u64).await;
    match page.unwrap_err() {
        CallError::Plugin(PluginError { code, details, .. }) => {
            assert_eq!(code, "denied");
            assert!(
                details.contains(&("rule".to_owned(), "blobs.size".to_owned())),
                "{details:?}"
            );
        }
        other => panic!("{other}"),
    }
    let left = fs::read_dir(folder.path().join("acme/new")).unwrap().count();
    assert_eq!(left, 0, "files of what was given up");
}
