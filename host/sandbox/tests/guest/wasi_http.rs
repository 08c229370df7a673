//! WASI's way out is the plugin's other way out: the same policy, the same bounds, the same denials.

use std::{fs, path::Path, sync::Arc, time::Duration};

use stecker_model::{Grants, HttpGrant, Instances, Period, Transformed};
use stecker_sandbox::{Binding, CallError};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

use crate::support::{MANIFEST, Recorder, answer, apply, binding, component, load, record, sandbox, session};

/// WASI 0.2 as the probe of the denial suite has it.
fn wasi() -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/denials/guests/probe/wit/deps");
    let mut packages = String::new();
    for file in ["io", "clocks", "sockets", "http"] {
        let source = fs::read_to_string(folder.join(file).with_extension("wit")).unwrap();
        let (package, interfaces) = source.split_once(";\n").unwrap();
        packages.push_str(&format!("{package} {{ {interfaces} }}\n"));
    }
    packages
}

fn world(imports: &str) -> String {
    format!("{imports} export stecker:plugin/meta@1.0.0; export stecker:plugin/transform@1.0.0;")
}

/// Sends `GET http://<authority>/` with a header for the host, waits, and answers with a letter: the hundreds of the status as a digit, or
/// `A` plus the number of the error code.
fn fetching(authority: &str) -> Vec<u8> {
    let code = format!(
        r#"
        (import "wasi:http/types@0.2.0" "[constructor]fields" (func $fields (result i32)))
        (import "wasi:http/types@0.2.0" "[method]fields.append" (func $append (param i32 i32 i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.0" "[constructor]outgoing-request" (func $request (param i32) (result i32)))
        (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-scheme" (func $scheme (param i32 i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-authority" (func $authority (param i32 i32 i32 i32) (result i32)))
        (import "wasi:http/types@0.2.0" "[method]outgoing-request.set-path-with-query" (func $path (param i32 i32 i32 i32) (result i32)))
        (import "wasi:http/outgoing-handler@0.2.0" "handle" (func $handle (param i32 i32 i32 i32)))
        (import "wasi:http/types@0.2.0" "[method]future-incoming-response.subscribe" (func $subscribe (param i32) (result i32)))
        (import "wasi:io/poll@0.2.0" "[method]pollable.block" (func $block (param i32)))
        (import "wasi:http/types@0.2.0" "[method]future-incoming-response.get" (func $get (param i32 i32)))
        (import "wasi:http/types@0.2.0" "[method]incoming-response.status" (func $status (param i32) (result i32)))
        ;; imports end
        (data (i32.const 4096) "{authority}")
        (data (i32.const 4400) "/stecker-idempotency-keyseven")
        {}"#,
        apply(&format!(
            "(local $fields i32) (local $request i32) (local $response i32)
             (local.set $fields (call $fields))
             (call $append (local.get $fields) (i32.const 4401) (i32.const 23) (i32.const 4424) (i32.const 5) (i32.const 4600))
             (local.set $request (call $request (local.get $fields)))
             (drop (call $scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
             (drop (call $authority (local.get $request) (i32.const 1) (i32.const 4096) (i32.const {})))
             (drop (call $path (local.get $request) (i32.const 1) (i32.const 4400) (i32.const 1)))
             (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 4608))
             (local.set $response (i32.load (i32.const 4616)))
             (call $block (call $subscribe (local.get $response)))
             (call $get (local.get $response) (i32.const 4704))
             (if (i32.load8_u (i32.const 4720))
                (then (i32.store8 (i32.const 4096) (i32.add (i32.const 65) (i32.load8_u (i32.const 4728)))))
                (else (i32.store8 (i32.const 4096)
                    (i32.add (i32.const 48) (i32.div_u (call $status (i32.load (i32.const 4728))) (i32.const 100))))))
             {} (i32.const 2048)",
            authority.len(),
            answer(1, 4096, 1)
        ))
    );
    let manifest = format!(
        "{MANIFEST}
         [[capabilities.http]]
         hosts = [\"{{config:/url}}\"]
         schemes = [\"http\"]
         methods = [\"GET\"]
         purpose = \"reads orders\""
    );
    let world = world("import wasi:io/poll@0.2.0; import wasi:http/outgoing-handler@0.2.0;");
    component(&world, &wasi(), &code, &manifest)
}

fn granted(authority: &str) -> Binding {
    Binding {
        config: format!("{{\"url\":\"http://{authority}/\"}}"),
        grants: Grants {
            http: vec![HttpGrant {
                host: authority.to_owned(),
                schemes: vec!["http".to_owned()],
                methods: vec!["GET".to_owned()],
                ..HttpGrant::default()
            }],
            ..Grants::default()
        },
        ..binding()
    }
}

async fn listener() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let authority = listener.local_addr().unwrap().to_string();
    (listener, authority)
}

async fn head_of(stream: &mut TcpStream) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert!(
            stream.read_buf(&mut head).await.unwrap() > 0,
            "the request has no end"
        );
    }
    String::from_utf8(head).unwrap()
}

#[tokio::test]
async fn a_request_through_wasi_http() {
    let (listener, authority) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let head = head_of(&mut stream).await;
        stream
            .write_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            .await
            .unwrap();
        head
    });
    let release = load(&sandbox(), fetching(&authority)).await;
    let called = release
        .bind(granted(&authority))
        .unwrap()
        .apply(vec![record()])
        .await;
    assert_eq!(called.result.unwrap(), [Transformed::Drop("2".to_owned())]);
    assert_eq!(called.usage.http_requests, 1);
    let head = server.await.unwrap().to_lowercase();
    assert!(head.starts_with("get / http/1.1\r\n"), "{head}");
    assert!(head.contains("\r\nidempotency-key: seven\r\n"), "{head}");
    assert!(!head.contains("\r\nstecker-"), "{head}");
}

#[tokio::test]
async fn a_refused_request_through_wasi_http() {
    let (listener, authority) = listener().await;
    let release = load(&sandbox(), fetching(&authority)).await;
    let recorder = Arc::new(Recorder::default());
    let binding = Binding {
        grants: Grants::default(),
        observer: Arc::clone(&recorder) as _,
        ..granted(&authority)
    };
    let called = release.bind(binding).unwrap().apply(vec![record()]).await;
    // The sixteenth code: HTTP-request-denied.
    assert_eq!(called.result.unwrap(), [Transformed::Drop("P".to_owned())]);
    assert_eq!(called.usage.http_requests, 0);
    {
        let denials = recorder.denials.lock().unwrap();
        assert_eq!(denials.len(), 1, "{denials:?}");
        assert_eq!(
            (denials[0].rule.as_str(), denials[0].layer.as_str()),
            ("http.host", "grant")
        );
        assert!(denials[0].smallest_grant.contains(&authority), "{}", denials[0]);
    }
    drop(listener);
}

/// The request is a task of its own; it must not go on when nobody can take its answer any more.
#[tokio::test]
async fn a_request_ends_with_its_call() {
    let (listener, authority) = listener().await;
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        head_of(&mut stream).await;
        // Never answers: what ends this is the other side.
        tokio::time::timeout(Duration::from_secs(20), stream.read_u8()).await
    });
    let release = load(&sandbox(), fetching(&authority)).await;
    let mut binding = granted(&authority);
    binding.limits.deadline = Period::from_millis(500);
    let called = release.bind(binding).unwrap().apply(vec![record()]).await;
    assert!(
        matches!(called.result, Err(CallError::Deadline { .. })),
        "{:?}",
        called.result
    );
    assert!(
        server.await.unwrap().unwrap().is_err(),
        "the connection is closed"
    );
}

#[tokio::test]
async fn sockets_are_refused_and_the_operator_is_told() {
    let code = format!(
        r#"
        (import "wasi:sockets/tcp-create-socket@0.2.0" "create-tcp-socket" (func $tcp (param i32 i32)))
        (import "wasi:sockets/udp-create-socket@0.2.0" "create-udp-socket" (func $udp (param i32 i32)))
        (import "wasi:sockets/instance-network@0.2.0" "instance-network" (func $network (result i32)))
        (import "wasi:sockets/ip-name-lookup@0.2.0" "resolve-addresses" (func $lookup (param i32 i32 i32 i32)))
        ;; imports end
        (data (i32.const 4096) "intranet.example")
        (func $letter (param $at i32)
            (i32.store8 (local.get $at) (i32.add (i32.const 65) (i32.load8_u (i32.const 4608)))))
        {}"#,
        apply(&format!(
            "(call $tcp (i32.const 0) (i32.const 4604)) (call $letter (i32.const 4200))
             (call $udp (i32.const 1) (i32.const 4604)) (call $letter (i32.const 4201))
             (call $lookup (call $network) (i32.const 4096) (i32.const 16) (i32.const 4604)) (call $letter (i32.const 4202))
             {} (i32.const 2048)",
            answer(1, 4200, 3)
        ))
    );
    let world = world(
        "import wasi:sockets/tcp-create-socket@0.2.0; import wasi:sockets/udp-create-socket@0.2.0;
         import wasi:sockets/instance-network@0.2.0; import wasi:sockets/ip-name-lookup@0.2.0;",
    );
    let recorder = Arc::new(Recorder::default());
    let release = load(&sandbox(), component(&world, &wasi(), &code, MANIFEST)).await;
    let binding = Binding {
        observer: Arc::clone(&recorder) as _,
        ..binding()
    };
    let called = release.bind(binding).unwrap().apply(vec![record()]).await;
    // The second code: access-denied.
    assert_eq!(called.result.unwrap(), [Transformed::Drop("BBB".to_owned())]);
    let denials = recorder.denials.lock().unwrap();
    let asked: Vec<&str> = denials.iter().map(|denial| denial.asked.as_str()).collect();
    assert!(
        denials
            .iter()
            .all(|denial| denial.rule == "wasi.sockets" && denial.layer == "host")
    );
    assert!(
        matches!(asked.as_slice(), [tcp, udp, lookup]
            if tcp.contains("TCP") && udp.contains("UDP") && lookup.contains("intranet.example")),
        "{asked:?}"
    );
}

/// In nanoseconds, but no finer than a millisecond; and the same time zone everywhere.
#[tokio::test]
async fn clocks_of_wasi_are_coarse() {
    let code = format!(
        r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $now (result i64)))
        (import "wasi:clocks/monotonic-clock@0.2.0" "resolution" (func $resolution (result i64)))
        (import "wasi:clocks/wall-clock@0.2.0" "now" (func $wall (param i32)))
        (import "wasi:clocks/timezone@0.2.0" "display" (func $zone (param i64 i32 i32)))
        ;; imports end
        {}"#,
        apply(&format!(
            "(local $left i32)
             (local.set $left (i32.const 20000))
             (loop $more
                (if (i64.ne (i64.rem_u (call $now) (i64.const 1000000)) (i64.const 0)) (then unreachable))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $more (local.get $left)))
             (if (i64.ne (call $resolution) (i64.const 1000000)) (then unreachable))
             (call $wall (i32.const 4608))
             (if (i32.rem_u (i32.load (i32.const 4616)) (i32.const 1000000)) (then unreachable))
             (call $zone (i64.load (i32.const 4608)) (i32.const 0) (i32.const 4704))
             (if (i32.load (i32.const 4704)) (then unreachable))
             {}
             (i32.store (i32.const 2068) (i32.load (i32.const 4708)))
             (i32.store (i32.const 2072) (i32.load (i32.const 4712)))
             (i32.const 2048)",
            answer(1, 0, 0)
        ))
    );
    let world = world(
        "import wasi:clocks/monotonic-clock@0.2.0; import wasi:clocks/wall-clock@0.2.0; import wasi:clocks/timezone@0.2.0;",
    );
    let session = session(component(&world, &wasi(), &code, MANIFEST)).await;
    let called = session.apply(vec![record()]).await;
    assert_eq!(called.result.unwrap(), [Transformed::Drop("UTC".to_owned())]);
}

/// The first call goes on until both clocks are at 20 ms; the next one begins there, and traps if it does not.
#[tokio::test]
async fn clocks_of_a_warm_instance_never_go_back() {
    let code = format!(
        r#"
        (import "wasi:clocks/monotonic-clock@0.2.0" "now" (func $ns (result i64)))
        (import "stecker:plugin/clock@1.0.0" "monotonic-ms" (func $ms (result i64)))
        ;; imports end
        (global $before (mut i32) (i32.const 0))
        {}"#,
        apply(&format!(
            "(if (global.get $before)
                (then (if (i32.or (i64.lt_u (call $ms) (i64.const 20)) (i64.lt_u (call $ns) (i64.const 20000000))) (then unreachable)))
                (else (loop $wait
                    (br_if $wait (i32.or (i64.lt_u (call $ms) (i64.const 20)) (i64.lt_u (call $ns) (i64.const 20000000)))))))
             (global.set $before (i32.const 1))
             {} (i32.const 2048)",
            answer(1, 1040, 5)
        ))
    );
    let world = world("import wasi:clocks/monotonic-clock@0.2.0; import stecker:plugin/clock@1.0.0;");
    let release = load(&sandbox(), component(&world, &wasi(), &code, MANIFEST)).await;
    let warm = Binding {
        instances: Instances::Warm,
        ..binding()
    };
    let session = release.bind(warm).unwrap();
    for _ in 0..2 {
        session.apply(vec![record()]).await.result.unwrap();
    }
}
