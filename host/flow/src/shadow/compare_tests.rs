//! One call, changed in one way, and what is told of it.

use proptest::prelude::*;
use stecker_model::{
    ErrorCode, LookupItem, Operation, PluginError, ReadRequest, Reply, TAPE_FORM, Verdict, WriteItem,
};

use super::*;

fn record(key: &str, version: &str, payload: &str) -> Record {
    Record {
        stream: "orders".to_owned(),
        key: key.to_owned(),
        operation: Operation::Upsert,
        payload: payload.to_owned(),
        before: None,
        event_time: Some(1),
        source_version: version.to_owned(),
        attributes: Vec::new(),
    }
}

fn a_page(records: Vec<Record>) -> Page {
    Page {
        records,
        cursor: Some(r#"{"after":"9"}"#.to_owned()),
        more: true,
        hints: Vec::new(),
    }
}

fn tape(call: TapedCall, result: TapedResult) -> Tape {
    Tape {
        form: TAPE_FORM,
        release: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
        call,
        clock: 0,
        clock_readings: Vec::new(),
        seed: String::new(),
        exchanges: Vec::new(),
        truncated: false,
        result,
        usage: CallUsage::default(),
    }
}

fn read() -> TapedCall {
    TapedCall::Read(ReadRequest {
        stream: "orders".to_owned(),
        cursor: None,
        max_records: 100,
        max_bytes: 1_000,
        deadline_ms: 1_000,
        options: Vec::new(),
    })
}

fn write(keys: &[&str]) -> TapedCall {
    TapedCall::Write {
        stream: "orders".to_owned(),
        items: keys
            .iter()
            .map(|key| WriteItem {
                record: record(key, "1", "{}"),
                idempotency_key: (*key).to_owned(),
                attempt: 1,
            })
            .collect(),
    }
}

fn seen(result: TapedResult) -> Seen {
    Seen {
        result,
        off_tape: Vec::new(),
        unsent: Vec::new(),
        denied: Vec::new(),
        storage: BTreeMap::new(),
        usage: CallUsage::default(),
    }
}

/// Kind, place and key of everything that is told.
type Told = Vec<(Kind, String, String)>;

fn told(call: TapedCall, old: TapedResult, new: TapedResult) -> Told {
    let found = compare(&tape(call, old), &seen(new), &Ignore::default());
    let one = |found: Found| (found.kind, found.place, found.key.unwrap_or_default());
    found.into_iter().map(one).collect()
}

fn told_of_pages(old: Page, new: Page) -> Told {
    told(read(), TapedResult::Page(old), TapedResult::Page(new))
}

fn is(kind: Kind, place: &str, key: &str) -> (Kind, String, String) {
    (kind, place.to_owned(), key.to_owned())
}

#[test]
fn one_change_of_a_page_is_told_as_one() {
    let old = || {
        a_page(vec![
            record("1", "1", r#"{"total":"1.50","n":1}"#),
            record("2", "1", r#"{"total":"2.50"}"#),
            record("1", "2", r#"{"total":"1.75"}"#),
        ])
    };
    type Change = fn(&mut Page);
    let cases: [(Change, Told); 13] = [
        (|_| {}, vec![]),
        (|page| page.records.swap(0, 1), vec![]),
        (|page| page.cursor = Some(r#"{"after":"8"}"#.to_owned()), vec![]),
        (
            |page| page.records[0].payload = r#"{ "n": 1.0, "total": "1.50" }"#.to_owned(),
            vec![],
        ),
        (
            |page| page.records.swap(0, 2),
            vec![is(Kind::Order, "order", "1")],
        ),
        (
            |page| {
                page.records.remove(1);
            },
            vec![is(Kind::MissingRecord, "record", "2")],
        ),
        (
            |page| page.records.push(record("3", "1", "{}")),
            vec![is(Kind::ExtraRecord, "record", "3")],
        ),
        (
            |page| page.records[1].payload = r#"{"total":250}"#.to_owned(),
            vec![is(Kind::ChangedField, "/total", "2")],
        ),
        (
            |page| page.records[1].payload = r#"{"sum":"2.50"}"#.to_owned(),
            vec![
                is(Kind::ChangedField, "/total", "2"),
                is(Kind::ChangedField, "/sum", "2"),
            ],
        ),
        (
            |page| page.records[1].source_version = "7".to_owned(),
            vec![is(Kind::ChangedField, "source-version", "2")],
        ),
        (
            |page| page.records[1].operation = Operation::Delete,
            vec![is(Kind::ChangedField, "operation", "2")],
        ),
        (
            |page| page.cursor = Some("9".to_owned()),
            vec![is(Kind::Cursor, "{after} → number", "")],
        ),
        (|page| page.more = false, vec![is(Kind::Cursor, "more", "")]),
    ];
    for (at, (change, expected)) in cases.into_iter().enumerate() {
        let mut new = old();
        change(&mut new);
        assert_eq!(told_of_pages(old(), new), expected, "case {at}");
    }
}

#[test]
fn a_call_that_ends_otherwise_is_told_once() {
    let failed = |code: &str| TapedResult::Failed {
        code: code.to_owned(),
        message: "whatever it says".to_owned(),
    };
    let page = || TapedResult::Page(a_page(vec![record("1", "1", "{}")]));
    assert_eq!(
        told(read(), page(), failed("schema")),
        [is(Kind::Error, "ok → schema", "")]
    );
    assert_eq!(
        told(read(), failed("transient"), page()),
        [is(Kind::Error, "transient → ok", "")]
    );
    assert_eq!(told(read(), failed("auth"), failed("auth")), []);
}

#[test]
fn writes_and_lookups_are_told_by_item() {
    let retry = |code| Outcome::Retry(PluginError::new(code, "later"));
    let old = vec![
        Outcome::Delivered(Some("x".to_owned())),
        retry(ErrorCode::Transient),
    ];
    for (new, expected) in [
        (old.clone(), vec![]),
        (
            vec![
                Outcome::Delivered(Some("y".to_owned())),
                retry(ErrorCode::Transient),
            ],
            vec![is(Kind::Outcome, "delivered", "a")],
        ),
        (
            vec![Outcome::Duplicate(None), retry(ErrorCode::RateLimited)],
            vec![
                is(Kind::Outcome, "delivered → duplicate", "a"),
                is(Kind::Outcome, "retry (transient) → retry (rate-limited)", "b"),
            ],
        ),
    ] {
        let (old, new) = (TapedResult::Outcomes(old.clone()), TapedResult::Outcomes(new));
        assert_eq!(told(write(&["a", "b"]), old, new), expected);
    }
    let call = TapedCall::Lookup {
        stream: "orders".to_owned(),
        items: vec![LookupItem {
            key: "a".to_owned(),
            idempotency_key: "a".to_owned(),
            source_version: "1".to_owned(),
        }],
    };
    let (old, new) = (
        TapedResult::Findings(vec![Finding::Absent]),
        TapedResult::Findings(vec![Finding::Undecided]),
    );
    assert_eq!(
        told(call, old, new),
        [is(Kind::Finding, "absent → undecided", "a")]
    );
}

#[test]
fn a_webhook_is_judged_by_verdict_reply_and_records() {
    let received = |verdict, status| Received {
        verdict,
        event_id: Some("evt".to_owned()),
        records: vec![record("1", "1", "{}")],
        reply: Some(Reply {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }),
        reason: None,
    };
    let (old, new) = (received(Verdict::Accept, 200), received(Verdict::Refuse, 401));
    assert_eq!(
        told(read(), TapedResult::Received(old), TapedResult::Received(new)),
        [
            is(Kind::Webhook, "verdict", ""),
            is(Kind::Webhook, "status of the reply", "")
        ]
    );
}

#[test]
fn requests_and_storage_are_told_by_their_place() {
    let mut other = seen(TapedResult::Outcomes(Vec::new()));
    other.off_tape.push(OffTape {
        place: "POST /orders".to_owned(),
        new: "POST https://a.example/orders".to_owned(),
        old: None,
        bodies: Some((
            serde_json::json!({ "n": 1, "at": 1 }),
            serde_json::json!({ "n": 2, "at": 2 }),
        )),
    });
    other.unsent.push(("DELETE /orders/*".to_owned(), String::new()));
    other
        .denied
        .push(("http.host".to_owned(), "GET https://b.example".to_owned()));
    other.storage.insert("k".to_owned(), None);
    let ignore = Ignore::parse(&["/at".to_owned()]).unwrap();
    let tape = tape(write(&[]), TapedResult::Outcomes(Vec::new()));
    let mut found = compare(&tape, &other, &ignore);
    found.extend(compare_storage(
        None,
        &seen(TapedResult::Outcomes(Vec::new())),
        &other,
    ));
    let places: Vec<_> = found
        .iter()
        .map(|found| (found.kind, found.place.as_str()))
        .collect();
    assert_eq!(
        places,
        [
            (Kind::Denied, "http.host"),
            (Kind::Request, "POST /orders body /n"),
            (Kind::UnsentRequest, "DELETE /orders/*"),
            (Kind::Storage, "storage"),
        ]
    );
}

fn some_records() -> impl Strategy<Value = Vec<Record>> {
    let one = ("[a-c]", "[1-3]", 0..3_u8)
        .prop_map(|(key, version, n)| record(&key, &version, &format!(r#"{{"n":{n}}}"#)));
    proptest::collection::vec(one, 0..12)
}

proptest! {
    #[test]
    fn a_page_never_differs_from_itself(records in some_records()) {
        prop_assert_eq!(told_of_pages(a_page(records.clone()), a_page(records)), []);
    }

    /// Whatever is dropped or added is told: the sums have to come out even.
    #[test]
    fn no_record_is_lost_silently(old in some_records(), new in some_records()) {
        let found = told_of_pages(a_page(old.clone()), a_page(new.clone()));
        let count = |kind| found.iter().filter(|one| one.0 == kind).count();
        prop_assert_eq!(
            old.len() + count(Kind::ExtraRecord),
            new.len() + count(Kind::MissingRecord)
        );
    }

    /// In which order keys come does not matter as long as each key keeps its own.
    #[test]
    fn keys_may_come_in_any_order(records in some_records()) {
        let mut sorted = records.clone();
        sorted.sort_by(|one, other| one.key.cmp(&other.key));
        prop_assert_eq!(told_of_pages(a_page(records), a_page(sorted)), []);
    }
}
