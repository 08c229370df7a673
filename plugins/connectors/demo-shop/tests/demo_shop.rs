//! The connector against the shop's reference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may do what tests may"
)]

use demo_shop::DemoShop;
use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::testing::{self, Harness, Reply, Script, WebhookCall};
use stecker_sdk::{Finding, LookupItem, Outcome, Record, Verdict};

fn shop() -> Harness<DemoShop> {
    Harness::new(json!({"base_url": "https://shop.example/"}))
}

fn order(id: u64, version: u64, updated_at: &str) -> Value {
    json!({
        "id": id, "number": format!("SO-{id:06}"), "updated_at": updated_at, "version": version,
        "customer": {"id": 4, "email": "customer4@example.com", "name": "Ada Lind"},
        "currency": "EUR", "total": "39.80",
        "lines": [{"sku": "MUG-BLU", "name": "Mug, blue", "quantity": 2, "unit_price": "19.90"}],
        "status": "paid",
    })
}

fn keys(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.key.as_str()).collect()
}

const MONDAY: &str = "2026-01-05T08:00:00.000Z";

#[test]
fn it_describes_itself_and_its_streams() {
    let shop = shop();
    assert_eq!(shop.describe().hosts, ["{config:/base_url}"]);
    let streams = shop.discover().unwrap();
    assert_eq!(
        streams
            .iter()
            .map(|stream| stream.name.as_str())
            .collect::<Vec<_>>(),
        ["orders", "products", "stock"]
    );
}

#[test]
fn orders_of_the_same_moment_are_told_apart_by_id_and_the_end_is_remembered() {
    let shop = shop().script(
        Script::new()
            .expect(
                testing::get("/api/v1/orders")
                    .query("limit", 2)
                    .no_query("updated_since")
                    .credential("api"),
            )
            .reply(
                200,
                json!({"orders": [order(1001, 1, MONDAY), order(1002, 3, MONDAY)],
                "next": {"updated_since": MONDAY, "after_id": 1002}}),
            )
            .expect(
                testing::get("/api/v1/orders")
                    .query("updated_since", MONDAY)
                    .query("after_id", 1002),
            )
            .reply(200, json!({"orders": [order(1003, 1, MONDAY)], "next": null}))
            .expect(
                testing::get("/api/v1/orders")
                    .query("updated_since", MONDAY)
                    .query("after_id", 1003),
            )
            .reply(200, json!({"orders": [], "next": null})),
    );
    let streams = shop.discover().unwrap();
    let first = shop
        .read("orders")
        .max_records(2)
        .conforming_to(&streams)
        .page()
        .unwrap();
    assert_eq!(first.records[1].source_version, "00000000000000000003");
    assert_eq!(first.records[1].event_time, Some(1_767_600_000_000));
    let second = shop.read("orders").max_records(2).after(&first).page().unwrap();
    assert_eq!(keys(&second.records), ["1003"]);
    let third = shop.read("orders").max_records(2).after(&second).page().unwrap();
    assert_eq!(third.cursor, second.cursor, "an empty page stays where it is");
}

#[test]
fn products_are_read_in_the_same_way() {
    let product = json!({"id": 5, "sku": "MUG-BLU", "name": "Mug", "currency": "EUR", "price": "19.90",
        "updated_at": MONDAY, "version": 2});
    let shop = shop().script(
        Script::new()
            .expect(testing::get("/api/v1/products"))
            .reply(200, json!({"products": [product], "next": null})),
    );
    let streams = shop.discover().unwrap();
    assert_eq!(
        keys(&shop.read("products").conforming_to(&streams).all_pages().unwrap()),
        ["5"]
    );
}

#[test]
fn a_page_too_large_for_the_host_is_cut_and_continued() {
    let listing = json!({"orders": [order(1001, 1, MONDAY), order(1002, 1, MONDAY)], "next": null});
    let shop = shop().script(
        Script::new()
            .expect(testing::get("/api/v1/orders").no_query("after_id"))
            .reply(200, listing)
            .expect(testing::get("/api/v1/orders").query("after_id", 1001))
            .reply(200, json!({"orders": [order(1002, 1, MONDAY)], "next": null})),
    );
    assert_eq!(
        keys(&shop.read("orders").max_bytes(300).all_pages().unwrap()),
        ["1001", "1002"]
    );
}

#[test]
fn the_shops_refusals_are_typed() {
    let shop = shop().script(
        Script::new()
            .expect(testing::get("/api/v1/orders"))
            .reply_with(Reply::json(429, json!({"code": "slow-down"})).header("Retry-After", 3))
            .expect(testing::get("/api/v1/orders"))
            .reply(401, json!({"code": "unauthorized"}))
            .expect(testing::get("/api/v1/orders"))
            .reply(200, json!({"orders": [{"id": "no number"}], "next": null})),
    );
    let limited = shop.read("orders").page().unwrap_err();
    assert_eq!(
        (limited.code(), limited.retry_in()),
        ("rate-limited", Some(Duration::from_secs(3)))
    );
    assert_eq!(shop.read("orders").page().unwrap_err().code(), "auth");
    let odd = shop.read("orders").page().unwrap_err();
    assert_eq!(
        (odd.code(), odd.detail_of("path")),
        ("schema", Some("/orders/0/id")),
        "{odd}"
    );
    assert_eq!(shop.read("customers").page().unwrap_err().code(), "not-found");
}

#[test]
fn a_failed_probe_says_what_to_do() {
    let shop = shop().script(
        Script::new()
            .expect(testing::get("/api/v1/ping"))
            .reply(401, json!({"detail": "This X-Api-Key is not valid."}))
            .expect(testing::get("/api/v1/orders"))
            .never_sent(),
    );
    let probes = shop.check().unwrap();
    assert!(probes.iter().all(|probe| !probe.ok));
    assert!(probes[0].hint.as_deref().unwrap().contains("credential"));
}

fn level(sku: &str, quantity: i64, version: u64) -> Record {
    Record::upsert(
        "stock",
        sku,
        format!("{version:020}"),
        &json!({"sku": sku, "quantity": quantity}),
    )
    .unwrap()
}

#[test]
fn every_stock_level_has_an_outcome_of_its_own() {
    let put = |sku: &str| testing::put(&format!("/api/v1/stock/{sku}")).credential("api");
    let answer = |sku: &str, applied: bool| json!({"sku": sku, "quantity": 1, "version": 41, "updated_at": MONDAY, "applied": applied});
    let shop = shop().script(
        Script::new()
            .expect(
                put("A%2FB")
                    .json(json!({"quantity": 1, "version": 41}))
                    .idempotency_key("test:stock:A/B:00000000000000000041"),
            )
            .reply(200, answer("A/B", true))
            .expect(put("OLD"))
            .reply(200, answer("OLD", false))
            .expect(put("TWICE"))
            .reply_with(Reply::json(200, answer("TWICE", true)).header("Idempotent-Replayed", "true"))
            .expect(put("NONE"))
            .reply(404, json!({"code": "unknown-sku"}))
            .expect(put("SLOW"))
            .reply_with(Reply::status(429).header("Retry-After", 2))
            .expect(put("LOST"))
            .lost(),
    );
    let mut records: Vec<Record> = ["A/B", "OLD", "TWICE", "NONE", "SLOW", "LOST"]
        .into_iter()
        .map(|sku| level(sku, 1, 41))
        .collect();
    records.push(Record::upsert("stock", "X", "1", &json!({"sku": "X", "quantity": "many"})).unwrap());
    let outcomes = shop.write("stock", records).unwrap();
    assert_eq!(outcomes[0], Outcome::delivered("A/B"));
    assert!(
        matches!(outcomes[1], Outcome::Duplicate(_)),
        "a newer level is there"
    );
    assert_eq!(outcomes[2], Outcome::duplicate("TWICE"));
    assert!(matches!(&outcomes[3], Outcome::Rejected(rejection) if rejection.code == "not-found"));
    assert!(
        matches!(&outcomes[4], Outcome::Retry(error) if error.retry_in() == Some(Duration::from_secs(2)))
    );
    assert!(
        matches!(outcomes[5], Outcome::Unknown(_)),
        "it may have been written"
    );
    assert!(
        matches!(&outcomes[6], Outcome::Rejected(rejection) if rejection.path.as_deref() == Some("/quantity"))
    );
}

#[test]
fn a_wrong_key_fails_the_batch_as_a_whole() {
    let refused = || json!({"code": "unauthorized"});
    let shop = shop().script(
        Script::new()
            .expect(testing::put("/api/v1/stock/A"))
            .reply(401, refused())
            .expect(testing::put("/api/v1/stock/B"))
            .reply(401, refused()),
    );
    assert_eq!(
        shop.write("stock", vec![level("A", 1, 1), level("B", 1, 1)])
            .unwrap_err()
            .code(),
        "auth"
    );
}

#[test]
fn a_lookup_compares_versions() {
    let item = |sku: &str, version: &str| LookupItem {
        key: sku.to_owned(),
        idempotency_key: "k".to_owned(),
        source_version: version.to_owned(),
    };
    let there =
        |version: Option<u64>| json!({"sku": "A", "quantity": 5, "version": version, "updated_at": MONDAY});
    let get = || testing::get("/api/v1/stock/A");
    let shop = shop().script(
        Script::new()
            .expect(get())
            .reply(200, there(Some(41)))
            .expect(get())
            .reply(200, there(Some(40)))
            .expect(get())
            .reply(200, there(None))
            .expect(get())
            .reply(404, json!({}))
            .expect(get())
            .reply(200, there(Some(1))),
    );
    let asked = vec![
        item("A", "00041"),
        item("A", "00041"),
        item("A", "00041"),
        item("A", "00041"),
        item("A", "monday"),
    ];
    let findings = shop.lookup("stock", asked).unwrap();
    assert!(matches!(&findings[0], Finding::Present(found) if found.external_id.as_deref() == Some("A")));
    assert_eq!(
        findings[1..],
        [
            Finding::Absent,
            Finding::Absent,
            Finding::Absent,
            Finding::Undecided
        ]
    );
}

const SECRET: &[u8] = b"generated for this test";
/// 2026-01-05T08:00:10Z
const SENT: &str = "1767600010";

fn event(kind: &str) -> Value {
    json!({"event_id": "evt_00000001", "type": kind, "order": order(1001, 2, MONDAY)})
}

fn call(body: Value, timestamp: &'static str) -> WebhookCall {
    WebhookCall::json(body)
        .header("X-Shop-Event-Id", "evt_00000001")
        .header("X-Shop-Timestamp", timestamp)
        .signed(
            "X-Shop-Signature",
            SECRET,
            |body| [timestamp.as_bytes(), b".", body].concat(),
            |tag| format!("sha256={}", stecker_sdk::crypto::to_hex(tag)),
        )
}

fn receiving() -> Harness<DemoShop> {
    shop().secret("webhook", SECRET).at("2026-01-05T08:04:00Z")
}

#[test]
fn a_signed_event_gives_the_same_record_as_reading_does() {
    let shop = receiving().script(
        Script::new()
            .expect(testing::get("/api/v1/orders"))
            .reply(200, json!({"orders": [order(1001, 2, MONDAY)], "next": null})),
    );
    let received = shop.receive(call(event("order.updated"), SENT)).unwrap();
    assert_eq!(received.verdict, Verdict::Accept);
    assert_eq!(received.event_id.as_deref(), Some("evt_00000001"));
    assert_eq!(
        received.records,
        shop.read("orders").all_pages().unwrap(),
        "or the host would take both"
    );
}

#[test]
fn what_is_not_genuine_is_refused() {
    let shop = receiving();
    let genuine = || call(event("order.created"), SENT);
    let other_id = genuine().into_request();
    let mut renamed = WebhookCall::bytes(other_id.body.clone());
    for (name, value) in &other_id.headers {
        renamed = renamed.header(name, if name == "x-shop-event-id" { "evt_2" } else { value });
    }
    for (what, call) in [
        ("tampered", genuine().tampered(event("order.updated").to_string())),
        ("unsigned", WebhookCall::json(event("order.created"))),
        (
            "no hex",
            WebhookCall::json(event("order.created"))
                .header("x-shop-timestamp", SENT)
                .header("x-shop-signature", "sha256=zz"),
        ),
        (
            "another secret",
            WebhookCall::json(event("order.created"))
                .header("x-shop-timestamp", SENT)
                .header("x-shop-signature", format!("sha256={}", "00".repeat(32))),
        ),
        ("replayed later", call(event("order.created"), "1767599000")),
        ("from the future", call(event("order.created"), "1767601000")),
        ("another id in the header", renamed),
        ("no event", call(json!([1, 2]), SENT)),
    ] {
        assert_eq!(shop.receive(call).unwrap().verdict, Verdict::Refuse, "{what}");
    }
}

#[test]
fn events_of_other_types_are_ignored_and_a_missing_secret_is_an_error() {
    let shop = receiving();
    assert_eq!(
        shop.receive(call(event("order.deleted"), SENT)).unwrap().verdict,
        Verdict::Ignore
    );
    drop(shop);
    let without = self::shop().at("2026-01-05T08:04:00Z");
    assert_eq!(
        without
            .receive(call(event("order.created"), SENT))
            .unwrap_err()
            .code(),
        "denied"
    );
    assert_eq!(
        without
            .subscribe("https://host.example/hook", &[])
            .unwrap_err()
            .code(),
        "unsupported"
    );
}

#[test]
fn a_configuration_that_does_not_fit_is_named() {
    let error = Harness::<DemoShop>::new(json!({"base_url": 7}))
        .check()
        .unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("config", Some("/base_url"))
    );
}
