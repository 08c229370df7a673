//! The connector against the ERP's reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may do what tests may"
)]

use demo_erp::DemoErp;
use serde_json::{Value, json};
use stecker_sdk::testing::{self, Expect, Harness, Reply, Script};
use stecker_sdk::{Finding, LookupItem, Outcome, Question, Record};

fn erp() -> Harness<DemoErp> {
    Harness::new(json!({"base_url": "https://erp.example"}))
}

fn payload(reference: &str) -> Value {
    json!({
        "reference": reference,
        "customer": {"id": 4, "name": "Ada Lind", "email": "customer4@example.com"},
        "currency": "EUR", "total": "39.80",
        "lines": [{"sku": "MUG-BLU", "name": "Mug, blue", "quantity": 2, "unit_price": "19.90"}],
    })
}

fn order(reference: &str) -> Record {
    Record::upsert("orders", reference, "00000000000000000002", &payload(reference)).unwrap()
}

fn batch() -> Expect {
    testing::post("/v2/sales-orders/batch").credential("api")
}

fn result(reference: &str, status: &str, id: Option<&str>, error: Value) -> Value {
    json!({"reference": reference, "status": status, "id": id, "error": error})
}

#[test]
fn it_describes_itself_and_its_streams() {
    let erp = erp();
    erp.describe();
    let streams = erp.discover().unwrap();
    assert_eq!(
        streams
            .iter()
            .map(|stream| stream.name.as_str())
            .collect::<Vec<_>>(),
        ["orders", "stock"]
    );
}

#[test]
fn each_item_of_a_batch_has_its_own_outcome() {
    let unknown = json!({"code": "unknown-item", "message": "There is no item `X`.", "path": "/lines/0/sku"});
    let busy = json!({"code": "busy", "message": "send it again soon", "path": ""});
    let erp = erp().script(
        Script::new()
            .expect(batch().json_including(json!({"items": [
                {"reference": "SO-1", "version": 2, "idempotency_key": "test:orders:SO-1:00000000000000000002", "total": "39.80"},
                {"reference": "SO-2"}, {"reference": "SO-3"}, {"reference": "SO-4"}, {"reference": "SO-5"},
            ]})))
            .reply(207, json!({"results": [
                result("SO-1", "created", Some("SALE-1"), Value::Null),
                result("SO-2", "exists", Some("SALE-2"), Value::Null),
                result("SO-3", "rejected", None, unknown),
                result("SO-4", "busy", None, busy),
                result("SO-5", "parked", None, Value::Null),
            ]})),
    );
    let mut records: Vec<Record> = (1..=5).map(|number| order(&format!("SO-{number}"))).collect();
    let no_total = Record::upsert("orders", "SO-6", "1", &json!({"reference": "SO-6"})).unwrap();
    let other_key = Record {
        key: "7".to_owned(),
        ..order("SO-7")
    };
    records.splice(0..0, [no_total, other_key, Record::delete("orders", "SO-8", "1")]);
    let outcomes = erp.write("orders", records).unwrap();
    for (outcome, code) in outcomes
        .iter()
        .zip(["payload", "key-mismatch", "delete-unsupported"])
    {
        assert!(
            matches!(outcome, Outcome::Rejected(rejection) if rejection.code == code),
            "{outcome:?}"
        );
    }
    assert_eq!(outcomes[3], Outcome::delivered("SALE-1"));
    assert_eq!(outcomes[4], Outcome::duplicate("SALE-2"));
    assert!(matches!(&outcomes[5], Outcome::Rejected(rejection)
        if rejection.code == "unknown-item" && rejection.path.as_deref() == Some("/lines/0/sku")));
    assert!(matches!(&outcomes[6], Outcome::Retry(error) if error.code() == "transient"));
    assert!(
        matches!(outcomes[7], Outcome::Unknown(_)),
        "a status that nobody knows is not taken for a failure"
    );
}

#[test]
fn a_batch_is_split_at_fifty_and_a_lost_half_is_unknown_not_repeated() {
    let created: Vec<Value> = (0..50)
        .map(|n| result(&format!("SO-{n}"), "created", Some("S"), Value::Null))
        .collect();
    let erp = erp().script(
        Script::new()
            .expect(batch())
            .reply(207, json!({"results": created}))
            .expect(batch())
            .lost(),
    );
    let outcomes = erp
        .write("orders", (0..60).map(|n| order(&format!("SO-{n}"))).collect())
        .unwrap();
    assert!(
        outcomes[..50]
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Delivered(_)))
    );
    assert!(
        outcomes[50..]
            .iter()
            .all(|outcome| matches!(outcome, Outcome::Unknown(_)))
    );
}

#[test]
fn an_answer_that_cannot_be_read_leaves_it_open_whether_it_was_booked() {
    let script = Script::new()
        .expect(batch())
        .reply_with(Reply::bytes(207, "<html>"))
        .expect(batch())
        .reply(207, json!({"results": []}));
    let erp = erp().script(script);
    for _ in 0..2 {
        assert!(matches!(
            erp.write("orders", vec![order("SO-1")]).unwrap()[0],
            Outcome::Unknown(_)
        ));
    }
}

#[test]
fn where_the_erp_says_that_nothing_was_done_it_is_tried_again() {
    let erp = erp().script(
        Script::new()
            .expect(batch())
            .reply(503, json!({}))
            .expect(batch())
            .reply_with(Reply::status(429).header("Retry-After", 2))
            .expect(batch())
            .never_sent()
            .expect(batch())
            .reply(504, json!({}))
            .expect(batch())
            .reply(401, json!({"code": "unauthorized"})),
    );
    let write = || erp.write("orders", vec![order("SO-1")]);
    for _ in 0..3 {
        assert!(matches!(write().unwrap()[0], Outcome::Retry(_)));
    }
    assert!(
        matches!(write().unwrap()[0], Outcome::Unknown(_)),
        "a gateway gave up waiting, the ERP maybe not"
    );
    assert_eq!(write().unwrap_err().code(), "auth");
}

#[test]
fn a_lookup_goes_by_the_key_of_the_delivery_and_else_by_the_version() {
    let item = |reference: &str, key: &str, version: u64| LookupItem {
        key: reference.to_owned(),
        idempotency_key: key.to_owned(),
        source_version: format!("{version:020}"),
    };
    let sale = |reference: &str, version: u64, keys: &[&str]| {
        let mut sale = payload(reference);
        sale["id"] = json!(format!("SALE-{reference}"));
        sale["version"] = json!(version);
        sale["idempotency_keys"] = json!(keys);
        sale["booked_at"] = json!("2026-01-05T08:00:00.000Z");
        sale
    };
    let erp = erp().script(
        Script::new()
            .expect(testing::get("/v2/sales-orders").query("reference", "A").query("reference", "B").query("reference", "C"))
            .reply(200, json!({"sales_orders": [sale("A", 1, &["k1"]), sale("B", 5, &["other"]), sale("C", 1, &["other"])]})),
    );
    let findings = erp
        .lookup(
            "orders",
            vec![
                item("A", "k1", 1),
                item("B", "k2", 4),
                item("C", "k3", 2),
                item("D", "k4", 1),
            ],
        )
        .unwrap();
    match &findings[0] {
        Finding::Present(found) => {
            assert_eq!(found.external_id.as_deref(), Some("SALE-A"));
            assert!(found.payload.as_deref().unwrap().contains("39.80"));
        }
        other => panic!("{other:?}"),
    }
    assert!(
        matches!(findings[1], Finding::Present(_)),
        "a later state is there"
    );
    assert_eq!(findings[2..], [Finding::Absent, Finding::Absent]);
}

#[test]
fn stock_is_read_by_sequence_number() {
    let level = |sku: &str, seq: u64| json!({"sku": sku, "quantity": -3, "seq": seq, "updated_at": "2026-01-05T08:00:00.000Z"});
    let erp = erp().script(
        Script::new()
            .expect(
                testing::get("/v2/stock")
                    .query("limit", 100)
                    .no_query("changed_since")
                    .credential("api"),
            )
            .reply(200, json!({"stock": [level("A", 7), level("B", 9)], "next": 9}))
            .expect(testing::get("/v2/stock").query("changed_since", 9))
            .reply(200, json!({"stock": [], "next": null})),
    );
    let streams = erp.discover().unwrap();
    let records = erp.read("stock").conforming_to(&streams).all_pages().unwrap();
    assert_eq!(records.len(), 2);
    assert_eq!(records[1].source_version, "00000000000000000009");
}

#[test]
fn a_failed_probe_says_what_to_do() {
    let erp = erp().script(
        Script::new()
            .expect(testing::get("/v2/ping"))
            .reply(200, json!({"system": "Demo ERP"}))
            .expect(testing::get("/v2/stock"))
            .denied("no grant for erp.example"),
    );
    let probes = erp.check().unwrap();
    assert!(probes[0].ok && !probes[1].ok);
    assert!(probes[1].hint.as_deref().unwrap().contains("grant"));
}

fn listed(sales: &[Value], next: Option<&str>) -> Value {
    json!({"sales_orders": sales, "next": next})
}

fn booked(reference: &str) -> Value {
    let mut sale = payload(reference);
    sale["id"] = json!(format!("SALE-{reference}"));
    sale["version"] = json!(2);
    sale["idempotency_keys"] = json!(["k"]);
    sale["booked_at"] = json!("2026-01-05T08:00:00.000Z");
    sale
}

#[test]
fn sales_are_listed_and_summed_up_as_they_would_be_written() {
    let page = || {
        testing::get("/v2/sales-orders/list")
            .query("limit", 100)
            .credential("api")
    };
    let first = || listed(&[booked("A"), booked("B"), booked("B")], Some("B"));
    let last = || listed(&[booked("C")], None);
    let script = Script::new()
        .expect(page().no_query("after"))
        .reply(200, first())
        .expect(page().query("after", "B"))
        .reply(200, last());
    let erp = erp().script(script);
    let fields = ["/customer/name", "/total", "/lines"];
    let question = Question::everything("orders", &fields);
    let entries = erp.list_keys(&question, 1_000).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.copies))
        .collect();
    assert_eq!(
        found,
        [("A", 1), ("B", 2), ("C", 1)],
        "one entry for each reference"
    );
    assert_eq!(entries[0].external_id.as_deref(), Some("SALE-A"));
    assert_eq!(entries[0].digest, question.digest_of(&payload("A")).unwrap());
    erp.finish();

    let script = Script::new()
        .expect(page())
        .reply(200, first())
        .expect(page())
        .reply(200, last());
    let erp = self::erp().script(script);
    let buckets = erp.digest(&question, 4).unwrap();
    assert_eq!(
        buckets.iter().map(|bucket| bucket.count).sum::<u64>(),
        4,
        "each of them counts"
    );
    assert_eq!(
        erp.digest(&Question::everything("stock", &[]), 0)
            .unwrap_err()
            .code(),
        "not-found"
    );
}

#[test]
fn a_sale_that_was_changed_there_is_put_right_by_its_reference() {
    let marked = |repair: &str| {
        let mut record = order("SO-1");
        record.attributes.push(("repair".to_owned(), repair.to_owned()));
        record
    };
    let correct = || testing::post("/v2/sales-orders/correct").credential("api");
    let script = Script::new()
        .expect(correct().json_including(json!({"reference": "SO-1", "total": "39.80"})))
        .reply(200, result("SO-1", "created", Some("SALE-1"), Value::Null))
        .expect(correct())
        .lost()
        .expect(batch())
        .reply(
            207,
            json!({"results": [result("SO-1", "created", Some("SALE-9"), Value::Null)]}),
        );
    let erp = erp().script(script);
    assert_eq!(
        erp.write("orders", vec![marked("different")]).unwrap(),
        [Outcome::delivered("SALE-1")]
    );
    assert!(matches!(
        erp.write("orders", vec![marked("different")]).unwrap()[0],
        Outcome::Unknown(_)
    ));
    assert_eq!(
        erp.write("orders", vec![marked("missing")]).unwrap(),
        [Outcome::delivered("SALE-9")]
    );
}
