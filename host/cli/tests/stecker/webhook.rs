//! Webhooks that go out, worked on in the data folder.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use serde_json::json;

use crate::run;

const URL: &str = "https://hooks.acme.example/stecker";

#[test]
fn a_secret_is_shown_when_it_is_made_and_never_again() {
    let dir = tempfile::tempdir().unwrap();
    let made = run(
        dir.path(),
        &[
            "webhook",
            "add",
            "ops",
            URL,
            "--event",
            "record.quarantined",
            "--json",
        ],
    )
    .expect(0)
    .json();
    let first = made["secret"].as_str().unwrap().to_owned();
    assert!(first.starts_with("whsec_") && first.len() > 40, "{first}");
    assert_eq!(made["webhook"]["events"], json!(["record.quarantined"]));
    let made = run(dir.path(), &["webhook", "rotate-secret", "ops", "--json"])
        .expect(0)
        .json();
    let second = made["secret"].as_str().unwrap();
    assert_ne!(second, first);
    assert!(made["webhook"]["old-secret-until"].is_i64());
    for words in [
        &["webhook", "list"][..],
        &["webhook", "list", "--json"],
        &["webhook", "show", "ops"],
        &["webhook", "deliveries", "ops", "--json"],
        &["secret", "list", "--json"],
    ] {
        let ran = run(dir.path(), words).expect(0);
        assert!(!ran.stdout.contains("whsec_"), "{words:?}: {}", ran.stdout);
    }
    let ended = run(
        dir.path(),
        &["webhook", "rotate-secret", "ops", "--overlap", "0s", "--json"],
    )
    .expect(0)
    .json();
    assert!(ended["webhook"]["old-secret-until"].is_null(), "{ended}");
    let people = run(dir.path(), &["webhook", "rotate-secret", "ops"]).expect(0);
    assert!(people.stdout.contains("not shown again"), "{}", people.stdout);
}

#[test]
fn it_is_disabled_with_a_reason_enabled_and_removed() {
    let dir = tempfile::tempdir().unwrap();
    assert!(
        run(dir.path(), &["webhook", "list"])
            .expect(0)
            .stdout
            .contains("webhook add")
    );
    run(dir.path(), &["webhook", "add", "ops", URL]).expect(0);
    let again = run(dir.path(), &["webhook", "add", "ops", URL]).expect(1);
    assert!(again.stderr.contains("already"), "{}", again.stderr);
    let off = run(
        dir.path(),
        &[
            "webhook",
            "disable",
            "ops",
            "--reason",
            "the receiver is being moved",
            "--json",
        ],
    )
    .expect(0)
    .json();
    assert_eq!(off["enabled"], false);
    assert_eq!(off["disabled"]["reason"], "the receiver is being moved");
    let on = run(dir.path(), &["webhook", "enable", "ops", "--json"])
        .expect(0)
        .json();
    assert_eq!((&on["enabled"], &on["waiting"]), (&json!(true), &json!(0)));
    run(dir.path(), &["webhook", "remove", "ops"]).expect(0);
    for verb in [
        "show",
        "enable",
        "disable",
        "remove",
        "rotate-secret",
        "test",
        "deliveries",
    ] {
        let gone = run(dir.path(), &["webhook", verb, "ops"]).expect(1);
        assert!(gone.stderr.contains("webhook list"), "{verb}: {}", gone.stderr);
    }
}

#[test]
fn what_cannot_be_is_refused_with_what_could() {
    let dir = tempfile::tempdir().unwrap();
    for (words, says) in [
        (
            &["webhook", "add", "ops", "http://127.0.0.1:9000/"][..],
            "[[receivers]]",
        ),
        (&["webhook", "add", "ops", "https://10.1.2.3/"], "[[receivers]]"),
        (
            &["webhook", "add", "ops", "https://169.254.169.254/"],
            "not open to webhooks",
        ),
        (&["webhook", "add", "ops", "ftp://acme.example/"], "never allowed"),
        (
            &["webhook", "add", "ops", "https://user:secret@acme.example/"],
            "never allowed",
        ),
        (
            &["webhook", "add", "ops", URL, "--flow", "nowhere"],
            "stecker flow list",
        ),
    ] {
        let ran = run(dir.path(), words).expect(1);
        assert!(ran.stderr.contains(says), "{words:?}: {}", ran.stderr);
    }
    let ran = run(
        dir.path(),
        &["webhook", "add", "ops", URL, "--event", "record.lost"],
    )
    .expect(2);
    assert!(ran.stderr.contains("record.dropped"), "{}", ran.stderr);
    let long = run(dir.path(), &["webhook", "add", "ops", URL]).expect(0);
    drop(long);
    let ran = run(
        dir.path(),
        &["webhook", "rotate-secret", "ops", "--overlap", "31d"],
    )
    .expect(1);
    assert!(ran.stderr.contains("30 days"), "{}", ran.stderr);
}

#[test]
fn a_test_goes_to_where_whoever_runs_the_host_allows_it() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let url = format!("http://{address}/hook");
    run(dir.path(), &["webhook", "add", "ops", &url]).expect(1);
    std::fs::write(
        dir.path().join("limits.toml"),
        format!("[[receivers]]\nhost = \"{address}\"\nschemes = [\"http\"]\n"),
    )
    .unwrap();
    run(dir.path(), &["tenant", "limit", "limits.toml"]).expect(0);
    run(dir.path(), &["webhook", "add", "ops", &url]).expect(0);
    let receiver = thread::spawn(move || {
        let mut seen = Vec::new();
        for status in ["204 No Content", "302 Found"] {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = vec![0; 4_096];
            let length = stream.read(&mut request).unwrap();
            request.truncate(length);
            seen.push(String::from_utf8(request).unwrap());
            let answer = format!(
                "HTTP/1.1 {status}\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
            );
            stream.write_all(answer.as_bytes()).unwrap();
        }
        seen
    });
    let ok = run(dir.path(), &["webhook", "test", "ops", "--json"])
        .expect(0)
        .json();
    assert_eq!((&ok["ok"], &ok["status"]), (&json!(true), &json!(204)));
    let moved = run(dir.path(), &["webhook", "test", "ops", "--json"])
        .expect(1)
        .json();
    assert_eq!(
        (&moved["ok"], &moved["status"]),
        (&json!(false), &json!(302)),
        "not followed"
    );
    let seen = receiver.join().unwrap();
    let head = seen[0].to_ascii_lowercase();
    for part in [
        "post /hook http/1.1",
        "content-type: application/json",
        "webhook-id: msg_test_",
        "webhook-timestamp: ",
        "webhook-signature: v1,",
        "user-agent: stecker/",
    ] {
        assert!(head.contains(part), "{part}: {head}");
    }
    let nobody = run(dir.path(), &["webhook", "test", "ops"]).expect(1);
    assert!(nobody.stdout.contains("no connection"), "{}", nobody.stdout);
}
