//! The test host itself: what it plays, and how it fails a test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may do what tests may"
)]

use serde_json::json;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;
use stecker_sdk::crypto::{self, Digest};
use stecker_sdk::http::Client;
use stecker_sdk::log::Level;
use stecker_sdk::testing::{self, Script, Tape, TestHost};
use stecker_sdk::{clock, random, storage};

/// What the test would fail with.
fn failure(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test has to fail");
    let constant = panic.downcast_ref::<&str>().map(|&text| text.to_owned());
    panic
        .downcast_ref::<String>()
        .cloned()
        .or(constant)
        .unwrap_or_default()
}

fn post(name: &str) {
    Client::new("https://api.example")
        .post("/things")
        .json(&json!({"name": name, "size": 1}))
        .send()
        .ok();
}

fn expecting(name: &str) -> TestHost {
    let host = TestHost::new();
    host.script(
        Script::new()
            .expect(testing::post("/things").json(json!({"name": name, "size": 1})))
            .reply(201, json!({})),
    );
    host
}

#[test]
fn a_request_that_differs_fails_with_the_difference() {
    let message = failure(|| {
        let _host = expecting("one");
        post("two");
    });
    assert!(
        message.contains("-  \"name\": \"one\"") && message.contains("+  \"name\": \"two\""),
        "{message}"
    );
}

#[test]
fn a_mismatch_cannot_be_swallowed() {
    let message = failure(|| {
        let host = expecting("one");
        assert!(catch_unwind(|| post("two")).is_err());
        drop(host);
    });
    assert!(message.contains("request 1 is not the one expected"), "{message}");
}

#[test]
fn an_expectation_that_nobody_met_fails_the_test() {
    let message = failure(|| drop(expecting("one")));
    assert!(
        message.contains("1 of 1 expected requests never came") && message.contains("POST /things"),
        "{message}"
    );
}

#[test]
fn a_request_beyond_the_script_fails_the_test() {
    let message = failure(|| {
        let _host = TestHost::new();
        post("one");
    });
    assert!(message.contains("the conversation is over"), "{message}");
}

#[test]
fn a_tape_is_strict_where_a_script_is_not() {
    let tape = |request: serde_json::Value| {
        let exchange = json!({"exchanges": [{"request": request, "response": {"status": 200, "json": {}}}]});
        Tape::parse(&exchange.to_string()).unwrap()
    };
    let play = |request: serde_json::Value| {
        failure(|| {
            let host = TestHost::new();
            host.tape(tape(request));
            Client::new("https://api.example")
                .credential("api")
                .get("/x?a=1")
                .send()
                .ok();
        })
    };
    let url = "https://api.example/x?a=1";
    assert!(
        play(json!({"method": "GET", "url": url})).contains("credential: expected `(absent)`, got `api`")
    );
    let extra = play(json!({"method": "GET", "url": "https://api.example/x", "credential": "api"}));
    assert!(extra.contains("query a: expected none, got `1`"), "{extra}");
    assert!(play(json!({"method": "GET", "url": url, "credential": "api", "text": "body"})).contains("body"));
}

#[test]
fn a_tape_that_is_none_says_where() {
    for (text, place) in [
        (
            r#"{"exchanges": [{"request": {"method": "GET", "uri": "x"}}]}"#,
            "/exchanges/0/request",
        ),
        (
            r#"{"exchanges": [{"request": {"method": "GET", "url": "https://x.example"}}]}"#,
            "/exchanges/0",
        ),
        ("[", "EOF"),
    ] {
        let error = Tape::parse(text).unwrap_err().to_string();
        assert!(error.contains(place), "{error}");
    }
}

#[test]
fn storage_compares_and_swaps() {
    let host = TestHost::new();
    assert_eq!(storage::put_if_absent("a/1", b"x").unwrap(), 1);
    assert_eq!(
        storage::put_if_absent("a/1", b"y").unwrap_err().code(),
        "conflict"
    );
    assert_eq!(storage::put_if_version("a/1", b"y", 1).unwrap(), 2);
    assert_eq!(
        storage::put_if_version("a/1", b"z", 1).unwrap_err().code(),
        "conflict"
    );
    assert_eq!(host.stored("a/1").unwrap(), b"y");
    let counted = |by: u32| storage::update("n", |n: Option<u32>| Ok(n.unwrap_or(0) + by)).unwrap();
    assert_eq!([counted(2), counted(3)], [2, 5]);
    for n in 0..1_200 {
        storage::put(&format!("many/{n:04}"), b"").unwrap();
    }
    assert_eq!(
        storage::keys("many/").unwrap().len(),
        1_200,
        "more than the host gives at once"
    );
    assert_eq!(storage::keys("a/").unwrap(), ["a/1"]);
    assert!(storage::delete("a/1").unwrap() && !storage::delete("a/1").unwrap());
    assert_eq!(storage::get_json::<String>("n").unwrap_err().code(), "data");
}

#[test]
fn the_clock_moves_when_told_and_randomness_repeats() {
    let host = TestHost::new();
    host.set_clock("2026-03-01T00:00:00Z");
    let before = clock::now();
    host.advance(Duration::from_secs(90));
    assert_eq!(clock::now() - before, 90_000);
    host.seed(7);
    let first = random::bytes(5_000);
    host.seed(7);
    assert_eq!(random::bytes(5_000), first);
    assert_ne!(random::hex(16), random::hex(16));
}

#[test]
fn signatures_match_the_published_vectors() {
    // RFC 4231, test case 2.
    let host = TestHost::new();
    host.secret("key", "Jefe");
    let tag = crypto::from_hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843").unwrap();
    let data = b"what do ya want for nothing?";
    assert!(crypto::hmac_verify("key", Digest::Sha256, data, &tag).unwrap());
    assert!(!crypto::hmac_verify("key", Digest::Sha256, b"else", &tag).unwrap());
    assert_eq!(
        crypto::hmac_sign("other", Digest::Sha256, data)
            .unwrap_err()
            .code(),
        "denied"
    );
    // FIPS 180-2, appendix B.1.
    assert_eq!(
        crypto::sha256_hex(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    assert_eq!(crypto::from_base64(&crypto::to_base64(data)).unwrap(), data);
}

#[test]
fn lines_are_kept_with_their_fields() {
    let host = TestHost::new();
    let pages = 3;
    stecker_sdk::warn!("read {pages} pages", stream_name = "orders", records = 250);
    let line = &host.logs()[0];
    assert_eq!((line.level, line.message.as_str()), (Level::Warn, "read 3 pages"));
    assert_eq!(
        line.fields,
        [
            ("stream-name".to_owned(), "orders".to_owned()),
            ("records".to_owned(), "250".to_owned())
        ]
    );
}

#[test]
fn without_a_host_the_failure_says_what_is_missing() {
    assert!(
        failure(|| {
            clock::now();
        })
        .contains("Harness::new")
    );
}
