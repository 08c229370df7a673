//! Refunds and metadata.

use crate::{at, get, list, payment_intent, post, refund, stripe};
use serde_json::{Value, json};
use stecker_sdk::testing::Script;
use stecker_sdk::{Finding, LookupItem, Outcome, Record, WriteItem};

const KEY: &str = "key-1";

fn wanted(payload: &Value) -> WriteItem {
    item("refunds", "RMA-7", payload, 1)
}

fn item(stream: &str, key: &str, payload: &Value, attempt: u32) -> WriteItem {
    WriteItem {
        record: Record::upsert(stream, key, "00007", payload).unwrap(),
        idempotency_key: KEY.to_owned(),
        attempt,
    }
}

fn question(key: &str) -> LookupItem {
    LookupItem {
        key: "RMA-7".to_owned(),
        idempotency_key: key.to_owned(),
        source_version: "00007".to_owned(),
    }
}

fn paid() -> Script {
    Script::new()
        .expect(get("/v1/payment_intents/pi_1"))
        .reply(200, payment_intent("pi_1", "succeeded", at(-90)))
}

#[test]
fn a_refund_is_made_under_its_key_and_carries_it() {
    let stripe = stripe(&json!({})).script(
        paid()
            .expect(post("/v1/refunds", KEY).text(
                "payment_intent=pi_1&amount=550&reason=requested_by_customer&metadata%5Breturn%5D=RMA-7&metadata%5Bstecker_key%5D=key-1",
            ))
            .reply(200, refund("re_1", 550, Some(KEY), at(0))),
    );
    let payload = json!({ "payment_intent": "pi_1", "amount": "5.50", "currency": "EUR", "reason": "requested_by_customer",
        "metadata": { "return": "RMA-7" } });
    let outcomes = stripe.write_items("refunds", vec![wanted(&payload)]).unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Delivered(receipt) if receipt.external_id.as_deref() == Some("re_1"))
    );
}

#[test]
fn what_cannot_be_refunded_is_refused_with_its_place_and_nothing_is_sent() {
    let cases = [
        (json!({ "currency": "EUR" }), "payment", "/payment_intent", false),
        (
            json!({ "payment_intent": "pi_1", "charge": "ch_1", "currency": "EUR" }),
            "payment",
            "/payment_intent",
            false,
        ),
        (
            json!({ "payment_intent": "pi_1", "amount": "5.50", "currency": "USD" }),
            "currency-differs",
            "/currency",
            true,
        ),
        (
            json!({ "payment_intent": "pi_1", "amount": "5.505", "currency": "EUR" }),
            "amount",
            "/amount",
            true,
        ),
        (
            json!({ "payment_intent": "pi_1", "amount": "-1", "currency": "EUR" }),
            "amount",
            "/amount",
            true,
        ),
        (json!({ "payment_intent": "pi_1" }), "payload", "", false),
    ];
    for (payload, code, path, asks) in cases {
        let stripe = stripe(&json!({})).script(if asks { paid() } else { Script::new() });
        let outcomes = stripe.write_items("refunds", vec![wanted(&payload)]).unwrap();
        match &outcomes[0] {
            Outcome::Rejected(rejection) => assert_eq!(
                (
                    rejection.code.as_str(),
                    rejection.path.as_deref().unwrap_or_default()
                ),
                (code, path),
                "{rejection:?}"
            ),
            other => panic!("{payload}: {other:?}"),
        }
    }
    let gone = Record::delete("refunds", "RMA-7", "1");
    let outcomes = stripe(&json!({})).write("refunds", vec![gone]).unwrap();
    assert!(matches!(&outcomes[0], Outcome::Rejected(rejection) if rejection.code == "delete-unsupported"));
}

#[test]
fn an_answer_that_never_came_is_looked_up_by_the_key() {
    let payload = json!({ "payment_intent": "pi_1", "currency": "EUR" });
    let stripe = stripe(&json!({})).script(
        paid()
            .expect(post("/v1/refunds", KEY))
            .lost()
            .expect(get("/v1/refunds").query("limit", 100))
            .reply(
                200,
                list(
                    "/v1/refunds",
                    &[
                        refund("re_2", 1, None, at(0)),
                        refund("re_1", 1990, Some(KEY), at(0)),
                    ],
                    false,
                ),
            ),
    );
    let outcomes = stripe.write_items("refunds", vec![wanted(&payload)]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Unknown(_)));
    let findings = stripe
        .lookup("refunds", vec![question(KEY), question("key-2")])
        .unwrap();
    assert_eq!(findings, [Finding::present("re_1"), Finding::Absent]);
}

#[test]
fn among_too_many_refunds_nobody_can_tell() {
    let mut script = Script::new();
    for page in 0..10 {
        let id = format!("re_{page}");
        let expect = get("/v1/refunds");
        let expect = match page {
            0 => expect.no_query("starting_after"),
            _ => expect.query("starting_after", format!("re_{}", page - 1)),
        };
        script = script
            .expect(expect)
            .reply(200, list("/v1/refunds", &[refund(&id, 1, None, at(0))], true));
    }
    let stripe = stripe(&json!({})).script(script);
    assert_eq!(
        stripe.lookup("refunds", vec![question(KEY)]).unwrap(),
        [Finding::Undecided]
    );
}

#[test]
fn a_later_attempt_looks_before_it_sends() {
    let payload = json!({ "payment_intent": "pi_1", "currency": "EUR" });
    let made = list("/v1/refunds", &[refund("re_1", 1990, Some(KEY), at(0))], false);
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get("/v1/refunds"))
            .reply(200, made)
            // Where it cannot look, it does not send.
            .expect(get("/v1/refunds"))
            .lost(),
    );
    let again = || vec![item("refunds", "RMA-7", &payload, 2)];
    let outcomes = stripe.write_items("refunds", again()).unwrap();
    assert!(
        matches!(&outcomes[0], Outcome::Duplicate(receipt) if receipt.external_id.as_deref() == Some("re_1"))
    );
    let outcomes = stripe.write_items("refunds", again()).unwrap();
    assert!(matches!(outcomes[0], Outcome::Retry(_)), "{outcomes:?}");
}

#[test]
fn metadata_is_set_and_found_again_by_its_version() {
    let payload = json!({ "metadata": { "sale": "SO-7", "old": null } });
    let mut annotated = payment_intent("pi_1", "succeeded", at(-90));
    annotated["metadata"] = json!({ "sale": "SO-7", "stecker_version": "00007" });
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(
                post("/v1/payment_intents/pi_1", KEY)
                    .text("metadata%5Bold%5D=&metadata%5Bsale%5D=SO-7&metadata%5Bstecker_version%5D=00007"),
            )
            .reply(200, &annotated)
            .expect(get("/v1/payment_intents/pi_1"))
            .reply(200, &annotated)
            .expect(get("/v1/payment_intents/pi_1"))
            .reply(200, &annotated)
            .expect(get("/v1/payment_intents/pi_2"))
            .reply(
                404,
                json!({ "error": { "type": "invalid_request_error", "message": "No such payment_intent" } }),
            ),
    );
    let outcomes = stripe
        .write_items(
            "payment_intents",
            vec![item("payment_intents", "pi_1", &payload, 1)],
        )
        .unwrap();
    assert!(matches!(outcomes[0], Outcome::Delivered(_)), "{outcomes:?}");
    let ask = |key: &str, version: &str| LookupItem {
        key: key.to_owned(),
        source_version: version.to_owned(),
        ..question(KEY)
    };
    let questions = vec![ask("pi_1", "00007"), ask("pi_1", "00008"), ask("pi_2", "00007")];
    let findings = stripe.lookup("payment_intents", questions).unwrap();
    assert_eq!(
        findings,
        [Finding::present("pi_1"), Finding::Absent, Finding::Absent]
    );
    assert_eq!(
        stripe.write("charges", Vec::new()).unwrap_err().code(),
        "not-found"
    );
}
