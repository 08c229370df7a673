//! Order events.

use crate::{asks, fixture, orders, shop};
use serde_json::{Value, json};
use stecker_sdk::crypto::to_hex;
use stecker_sdk::testing::{Harness, Script, WebhookCall};
use stecker_sdk::{Verdict, crypto};
use vendure::Vendure;

const SECRET: &[u8] = b"generated for this test";

fn event(kind: &str) -> Value {
    json!({ "id": "e-1", "type": kind, "occurredAt": "2026-11-21T20:55:04.900Z",
        "order": { "id": "1", "code": "3C518WWP6UUXXJWP", "state": "PaymentSettled" } })
}

fn call(body: &Value) -> WebhookCall {
    WebhookCall::json(body)
        .header("x-vendure-event-id", body["id"].as_str().unwrap_or("e-1"))
        .signed("x-vendure-signature", SECRET, <[u8]>::to_vec, to_hex)
}

fn listening(script: Script) -> Harness<Vendure> {
    shop(&json!({})).secret("webhook", SECRET).script(script)
}

fn one(order: &Value) -> Script {
    Script::new()
        .expect(asks(&json!({ "id": "1" })))
        .reply(200, json!({ "data": { "order": order } }))
}

#[test]
fn a_genuine_event_brings_the_order_as_a_poll_would() {
    let shop = listening(one(&orders("orders")[0]));
    let received = shop.receive(call(&event("order.PaymentSettled"))).unwrap();
    assert_eq!(
        (received.verdict, received.event_id.as_deref()),
        (Verdict::Accept, Some("e-1"))
    );
    let record = &received.records[0];
    assert_eq!(
        (record.key.as_str(), record.source_version.as_str()),
        (
            "3C518WWP6UUXXJWP",
            "2026-11-21T20:55:04.000000000Z.00000000000000000004"
        )
    );
}

#[test]
fn two_changes_within_one_second_have_two_versions() {
    let mut later = orders("orders")[0].clone();
    later["history"]["totalItems"] = json!(5);
    later["state"] = json!("Shipped");
    let shop = listening(one(&orders("orders")[0]).then(one(&later)));
    let version = |kind| {
        let received = shop.receive(call(&event(kind))).unwrap();
        received.records[0].source_version.clone()
    };
    assert!(version("order.PaymentSettled") < version("order.Shipped"));
}

#[test]
fn what_is_not_genuine_is_refused() {
    let shop = listening(Script::new());
    let good = event("order.PaymentSettled");
    let forged = [
        WebhookCall::json(&good),
        WebhookCall::json(&good).header("x-vendure-signature", "not hexadecimal"),
        WebhookCall::json(&good).signed("x-vendure-signature", b"another secret", <[u8]>::to_vec, to_hex),
        call(&good).tampered("{}"),
        WebhookCall::json(&good)
            .header("x-vendure-event-id", "e-2")
            .signed("x-vendure-signature", SECRET, <[u8]>::to_vec, to_hex),
        WebhookCall::json(json!({ "order": 1 })).signed(
            "x-vendure-signature",
            SECRET,
            <[u8]>::to_vec,
            to_hex,
        ),
    ];
    for call in forged {
        let received = shop.receive(call).unwrap();
        assert_eq!(received.verdict, Verdict::Refuse, "{received:?}");
    }
}

#[test]
fn what_is_of_no_interest_is_ignored() {
    let mut draft = orders("orders")[0].clone();
    draft["orderPlacedAt"] = Value::Null;
    let shop = listening(one(&Value::Null).then(one(&draft)));
    let verdict = |body: &Value| shop.receive(call(body)).unwrap().verdict;
    assert_eq!(verdict(&event("order.PaymentSettled")), Verdict::Ignore, "gone");
    assert_eq!(verdict(&event("order.Draft")), Verdict::Ignore, "not placed");
    assert_eq!(verdict(&event("product.updated")), Verdict::Ignore);
}

#[test]
fn an_event_is_kept_for_later_while_the_shop_cannot_be_asked() {
    let ask = || asks(&json!({ "id": "1" }));
    let shop = listening(
        Script::new()
            .expect(ask())
            .never_sent()
            .expect(ask())
            .reply_with(fixture("forbidden")),
    );
    let error = |shop: &Harness<Vendure>| shop.receive(call(&event("order.PaymentSettled"))).unwrap_err();
    assert_eq!(error(&shop).code(), "transient");
    assert_eq!(error(&shop).code(), "auth");
    shop.finish();

    let without = shop_without_secret();
    assert_eq!(
        error(&without).code(),
        "denied",
        "nobody gave this connection the secret"
    );
    assert_eq!(crypto::from_hex("00").unwrap(), [0]);
}

fn shop_without_secret() -> Harness<Vendure> {
    shop(&json!({}))
}
