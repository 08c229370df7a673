use stecker_model::{Operation, Reply, Verdict};

use super::*;

fn good() -> Record {
    Record {
        stream: "orders".to_owned(),
        key: "1".to_owned(),
        operation: Operation::Upsert,
        payload: "{}".to_owned(),
        before: None,
        event_time: None,
        source_version: "1".to_owned(),
        attributes: Vec::new(),
    }
}

fn page_of(records: Vec<Record>) -> Page {
    Page {
        records,
        cursor: Some("2".to_owned()),
        more: true,
        hints: Vec::new(),
    }
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T, CallError>, because: &str) {
    match result {
        Err(CallError::Contract { message }) => assert!(message.contains(because), "{message}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn pages() {
    let asked = Some("1");
    assert!(page(page_of(vec![good(); 3]), 3, asked).is_ok());
    refused(
        page(page_of(vec![good(); 4]), 3, asked),
        "returned 4 records; at most 3",
    );
    refused(page(page_of(vec![]), 3, Some("2")), "has not moved on");
    let last = Page {
        more: false,
        ..page_of(vec![])
    };
    assert!(page(last, 3, Some("2")).is_ok(), "the end may stay where it is");
    let long = Page {
        cursor: Some("x".repeat(MAX_CURSOR + 1)),
        ..page_of(vec![])
    };
    refused(page(long, 3, asked), "a cursor of more than");
}

#[test]
fn records_of_a_page() {
    for (field, spoil, because) in [
        ("key", (|r| r.key.clear()) as fn(&mut Record), "a key of 0 bytes"),
        ("key", |r| r.key = "k".repeat(513), "a key of 513 bytes"),
        (
            "version",
            |r| r.source_version = "1".repeat(257),
            "a source-version of 257 bytes",
        ),
        (
            "stream",
            |r| r.stream = "s".repeat(257),
            "a stream with 257 bytes",
        ),
        (
            "payload",
            |r| r.payload = "{".to_owned(),
            "the payload of record 1 of the page (key `1`) is not JSON",
        ),
        ("payload", |r| r.payload = String::new(), "is not JSON"),
        ("payload", |r| r.payload = "{} {}".to_owned(), "is not JSON"),
        ("payload", |r| r.payload = "[".repeat(10_000), "is not JSON"),
        (
            "before",
            |r| r.before = Some("nope".to_owned()),
            "the before of record 1",
        ),
    ] {
        let mut bad = good();
        spoil(&mut bad);
        let result = page(page_of(vec![good(), bad]), 10, Some("1"));
        match result {
            Err(CallError::Contract { message }) => assert!(message.contains(because), "{field}: {message}"),
            other => panic!("{field}: {other:?}"),
        }
    }
    let mut full = good();
    full.key = "k".repeat(512);
    full.source_version = "1".repeat(256);
    full.payload = "[1, \"two\", null]".to_owned();
    assert!(page(page_of(vec![full]), 1, None).is_ok());
}

#[test]
fn one_answer_for_each() {
    assert!(one_each("outcomes", vec![(); 2], 2).is_ok());
    refused(
        one_each("outcomes", vec![(); 1], 2),
        "1 outcomes came back for 2 records",
    );
    refused(
        transformed(vec![Transformed::Drop(String::new())], &[good(), good()]),
        "1 answers came back for 2",
    );
    let mut bad = good();
    bad.payload = "x".to_owned();
    refused(
        transformed(vec![Transformed::Emit(vec![bad.clone()])], &[good()]),
        "record 0 of what record 0 of the batch became",
    );
    let given_back = transformed(vec![Transformed::Emit(vec![bad.clone()])], &[bad.clone()]);
    assert!(
        given_back.is_ok(),
        "what the caller gave is not the guest's fault"
    );
    bad.key.clear();
    refused(
        transformed(vec![Transformed::Emit(vec![bad.clone()])], &[bad]),
        "a key of 0 bytes",
    );
    refused(
        transformed(vec![Transformed::Emit(vec![good(); MAX_FAN_OUT + 1])], &[good()]),
        "became 10001 records",
    );
    let found = Finding::Present {
        external_id: None,
        payload: Some("x".to_owned()),
    };
    refused(
        findings(vec![Finding::Absent, found], 2),
        "the payload of finding 1",
    );
}

#[test]
fn webhooks() {
    let with = |status| Received {
        verdict: Verdict::Accept,
        event_id: None,
        records: vec![good()],
        reply: Some(Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }),
        reason: None,
    };
    assert!(received(with(200)).is_ok());
    refused(received(with(101)), "status 101");
    refused(received(with(600)), "status 600");
}

#[test]
fn streams_and_descriptions() {
    let stream = |name: &str, schema: &str| RawStreamInfo {
        name: name.to_owned(),
        schema: schema.to_owned(),
        primary_key: Vec::new(),
        cursor_field: None,
        modes: Vec::new(),
        deletes: "never".to_owned(),
    };
    assert_eq!(
        streams(vec![stream("a", "{}"), stream("b", "true")])
            .unwrap()
            .len(),
        2
    );
    refused(
        streams(vec![stream("a", "{}"), stream("a", "{}")]),
        "the stream `a` twice",
    );
    refused(streams(vec![stream("", "{}")]), "0 bytes");
    refused(streams(vec![stream("a", "{")]), "the schema of the stream `a`");

    assert!(description("{\"title\":\"x\"}").is_ok());
    refused(description("[]"), "not an object");
    refused(description("{"), "did not return JSON");
    refused(description(&" ".repeat(MAX_DESCRIPTION + 1)), "at most");
}
