//! Signed calls.

use crate::{NOW, at, charge, event, get, list, payment_intent, stripe};
use serde_json::{Value, json};
use stecker_sdk::Verdict;
use stecker_sdk::crypto::to_hex;
use stecker_sdk::testing::{Harness, Script, WebhookCall};
use stripe::Stripe;

const SECRET: &[u8] = b"whsec_generated for this test";

/// A call as Stripe signs it (<https://docs.stripe.com/webhooks/signature>), now.
pub(crate) fn call(body: &Value, secret: &[u8]) -> WebhookCall {
    signed_at(body, secret, at(0))
}

fn signed_at(body: &Value, secret: &[u8], seconds: u64) -> WebhookCall {
    WebhookCall::json(body).signed(
        "stripe-signature",
        secret,
        |body| [seconds.to_string().as_bytes(), b".", body].concat(),
        |tag| format!("t={seconds},v1={},v0=ignored", to_hex(tag)),
    )
}

fn listening(script: Script) -> Harness<Stripe> {
    stripe(&json!({})).secret("webhook", SECRET).script(script)
}

fn paid() -> Value {
    let intent = payment_intent("pi_1", "succeeded", at(-9));
    event("evt_1", "payment_intent.succeeded", at(-5), &intent)
}

#[test]
fn an_event_brings_what_a_poll_would() {
    let stripe = listening(
        Script::new()
            .expect(get("/v1/events"))
            .reply(200, list("/v1/events", &[paid()], false))
            .expect(get("/v1/events"))
            .reply(200, list("/v1/events", &[paid()], false)),
    );
    let received = stripe.receive(call(&paid(), SECRET)).unwrap();
    assert_eq!(
        (received.verdict, received.event_id.as_deref()),
        (Verdict::Accept, Some("evt_1"))
    );
    let cursor = json!({ "phase": "following", "from": at(-60), "pass": null, "passes": 3 });
    for (stream, record) in ["events", "payment_intents"].into_iter().zip(&received.records) {
        let page = stripe.read(stream).from_cursor(&cursor).page().unwrap();
        assert_eq!(
            &page.records[0], record,
            "the host recognises the second of the two"
        );
    }
}

#[test]
fn an_event_about_something_without_a_stream_is_still_an_event() {
    let stripe = listening(Script::new());
    let dispute = event(
        "evt_2",
        "charge.dispute.created",
        at(-5),
        &json!({ "object": "dispute", "id": "dp_1" }),
    );
    let received = stripe.receive(call(&dispute, SECRET)).unwrap();
    let streams: Vec<&str> = received
        .records
        .iter()
        .map(|record| record.stream.as_str())
        .collect();
    assert_eq!(streams, ["events"]);
}

#[test]
fn a_thin_event_has_its_thing_asked_for() {
    let thin = |related: &Value| {
        json!({ "id": "evt_3", "object": "v2.core.event", "type": "v1.charge.succeeded",
        "created": NOW, "related_object": related })
    };
    let stripe = listening(
        Script::new()
            .expect(get("/v1/charges/ch_1"))
            .reply(200, charge("ch_1", 0, at(-5)))
            .expect(get("/v1/charges/ch_1"))
            .never_sent(),
    );
    let related =
        json!({ "id": "ch_1", "type": "charge", "url": "https://elsewhere.example/v1/charges/ch_1" });
    let received = stripe.receive(call(&thin(&related), SECRET)).unwrap();
    assert_eq!(received.verdict, Verdict::Accept);
    assert_eq!(
        (
            received.records[0].stream.as_str(),
            received.records[0].key.as_str()
        ),
        ("charges", "ch_1")
    );
    // Kept by the host, and tried again.
    let error = stripe.receive(call(&thin(&related), SECRET)).unwrap_err();
    assert_eq!(error.code(), "transient");
    let meter = json!({ "id": "mtr_1", "type": "billing.meter", "url": "/v1/billing/meters/mtr_1" });
    for related in [meter, Value::Null] {
        let ignored = stripe.receive(call(&thin(&related), SECRET)).unwrap();
        assert_eq!(ignored.verdict, Verdict::Ignore);
    }
}

#[test]
fn what_is_not_genuine_is_refused() {
    let stripe = listening(Script::new());
    let forged = [
        WebhookCall::json(paid()),
        WebhookCall::json(paid()).header("stripe-signature", "t=1,v1=00"),
        call(&paid(), b"another secret"),
        call(&paid(), SECRET).tampered("{}"),
        signed_at(&paid(), SECRET, at(-301)),
        WebhookCall::bytes("not JSON").signed(
            "stripe-signature",
            SECRET,
            |body| [at(0).to_string().as_bytes(), b".", body].concat(),
            |tag| format!("t={},v1={}", at(0), to_hex(tag)),
        ),
    ];
    for call in forged {
        let received = stripe.receive(call).unwrap();
        assert_eq!(received.verdict, Verdict::Refuse, "{received:?}");
    }
    let other = stripe
        .receive(call(&json!({ "object": "list" }), SECRET))
        .unwrap();
    assert_eq!(other.verdict, Verdict::Ignore);
}

#[test]
fn an_event_that_does_not_fit_is_kept_and_not_lost() {
    let stripe = listening(Script::new());
    let mut odd = paid();
    odd["data"]["object"]["amount"] = json!("much");
    let error = stripe.receive(call(&odd, SECRET)).unwrap_err();
    assert_eq!(error.code(), "schema");
    assert!(error.message().contains("pi_1"), "{error}");
}
