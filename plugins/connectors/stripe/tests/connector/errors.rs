//! What Stripe's errors (<https://docs.stripe.com/api/errors>) become.

use crate::{at, get, payment_intent, post, stripe};
use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::testing::{Reply, Script};
use stecker_sdk::{Outcome, Record, WriteItem};

fn said(kind: &str, more: &Value) -> Value {
    let mut error = json!({ "type": kind, "message": "said by Stripe" });
    error
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    json!({ "error": error })
}

/// The outcome of a refund that is answered like this, or the code of the error that stands for the batch.
fn refunded(reply: Reply) -> Result<Outcome, String> {
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get("/v1/payment_intents/pi_1"))
            .reply(200, payment_intent("pi_1", "succeeded", at(-90)))
            .expect(post("/v1/refunds", "key-1"))
            .reply_with(reply),
    );
    let payload = json!({ "payment_intent": "pi_1", "amount": "5.50", "currency": "EUR" });
    let item = WriteItem {
        record: Record::upsert("refunds", "RMA-7", "1", &payload).unwrap(),
        idempotency_key: "key-1".to_owned(),
        attempt: 1,
    };
    let outcomes = stripe.write_items("refunds", vec![item]);
    outcomes
        .map(|mut outcomes| outcomes.remove(0))
        .map_err(|error| error.code().to_owned())
}

#[test]
fn what_the_record_is_at_fault_for_is_refused() {
    let cases = [
        (
            400,
            said(
                "invalid_request_error",
                &json!({ "code": "charge_already_refunded", "param": "amount" }),
            ),
            "data",
            Some("/amount"),
        ),
        (
            402,
            said(
                "card_error",
                &json!({ "code": "card_declined", "decline_code": "lost_card" }),
            ),
            "data",
            None,
        ),
        (
            404,
            said("invalid_request_error", &json!({ "param": "payment_intent" })),
            "not-found",
            Some("/payment_intent"),
        ),
        (400, said("idempotency_error", &json!({})), "conflict", None),
        (409, said("idempotency_error", &json!({})), "conflict", None),
    ];
    for (status, body, code, path) in cases {
        match refunded(Reply::json(status, &body)) {
            Ok(Outcome::Rejected(rejection)) => {
                assert_eq!((rejection.code.as_str(), rejection.path.as_deref()), (code, path));
                assert!(rejection.reason.contains("said by Stripe"), "{rejection:?}");
            }
            other => panic!("{status} {body}: {other:?}"),
        }
    }
}

#[test]
fn where_stripe_may_have_acted_it_is_asked_before_anything_is_sent_again() {
    let in_use = said(
        "invalid_request_error",
        &json!({ "code": "idempotency_key_in_use" }),
    );
    for (status, body) in [
        (409, in_use),
        (424, said("api_error", &json!({}))),
        (500, said("api_error", &json!({}))),
        (502, json!("no JSON of Stripe's")),
        (503, said("api_error", &json!({}))),
        (504, json!({})),
    ] {
        let outcome = refunded(Reply::json(status, &body));
        assert!(
            matches!(outcome, Ok(Outcome::Unknown(_))),
            "{status}: {outcome:?}"
        );
    }
    let unreadable = refunded(Reply::bytes(200, "<html>"));
    assert!(matches!(unreadable, Ok(Outcome::Unknown(_))), "{unreadable:?}");
}

#[test]
fn a_limit_is_waited_for_and_a_wrong_key_concerns_everybody() {
    let busy = Reply::json(
        429,
        said("invalid_request_error", &json!({ "code": "rate_limit" })),
    )
    .header("retry-after", 3)
    .header("stripe-rate-limited-reason", "global-rate");
    match refunded(busy) {
        Ok(Outcome::Retry(error)) => {
            assert_eq!(
                (error.code(), error.retry_in()),
                ("rate-limited", Some(Duration::from_secs(3)))
            );
            assert_eq!(error.detail_of("limit"), Some("global-rate"));
        }
        other => panic!("{other:?}"),
    }
    for status in [401, 403] {
        let refused = refunded(Reply::json(status, said("invalid_request_error", &json!({}))));
        assert_eq!(refused, Err("auth".to_owned()));
    }
}

#[test]
fn reading_says_the_same() {
    for (status, code) in [
        (401, "auth"),
        (429, "rate-limited"),
        (500, "transient"),
        (400, "data"),
        (404, "not-found"),
    ] {
        let body = said("invalid_request_error", &json!({}));
        let stripe = stripe(&json!({})).script(Script::new().expect(get("/v1/events")).reply(status, body));
        let error = stripe.read("events").page().unwrap_err();
        assert_eq!(error.code(), code);
        assert!(error.message().contains("reading events"), "{error}");
    }
}
