//! The connector against answers made from the facts of Stripe's published description (<https://github.com/stripe/openapi>); `published`
//! holds them against the description itself, where it is at hand.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says where")]

mod checking;
mod errors;
mod published;
mod reading;
mod webhook;
mod writing;

use serde_json::{Value, json};
use stecker_sdk::testing::{self, Expect, Harness};
use stecker_sdk::time;
use stripe::Stripe;

/// When the tests happen.
pub(crate) const NOW: &str = "2026-11-27T08:00:00Z";

/// [`NOW`] and so many seconds, since 1970.
pub(crate) fn at(seconds: i64) -> u64 {
    let now = time::millis_from_rfc3339(NOW).unwrap() / 1_000;
    now.checked_add_signed(seconds).unwrap()
}

pub(crate) fn stripe(extra: &Value) -> Harness<Stripe> {
    let mut config = json!({ "base_url": "https://api.stripe.com" });
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Harness::new(config).at(NOW)
}

/// A request as every one is made.
pub(crate) fn get(path: &str) -> Expect {
    testing::get(path)
        .credential("api")
        .header("stripe-version", "2023-08-16")
}

pub(crate) fn post(path: &str, key: &str) -> Expect {
    testing::post(path)
        .credential("api")
        .header("stripe-version", "2023-08-16")
        .header("content-type", "application/x-www-form-urlencoded")
        .idempotency_key(key)
}

pub(crate) fn list(path: &str, data: &[Value], has_more: bool) -> Value {
    json!({ "object": "list", "url": path, "data": data, "has_more": has_more })
}

pub(crate) fn payment_intent(id: &str, status: &str, created: u64) -> Value {
    let paid = status == "succeeded";
    json!({
        "id": id, "object": "payment_intent", "amount": 1990, "amount_capturable": 0,
        "amount_received": if paid { 1990 } else { 0 }, "capture_method": "automatic",
        "confirmation_method": "automatic", "created": created, "currency": "eur", "customer": "cus_1", "description": null,
        "latest_charge": if paid { json!("ch_1") } else { Value::Null }, "livemode": false,
        "metadata": { "order": "1001" }, "payment_method_types": ["card"], "status": status,
    })
}

pub(crate) fn charge(id: &str, refunded: u64, created: u64) -> Value {
    json!({
        "id": id, "object": "charge", "amount": 1990, "amount_captured": 1990, "amount_refunded": refunded,
        "billing_details": { "address": null, "email": null, "name": null, "phone": null }, "captured": true,
        "created": created, "currency": "eur", "customer": null, "disputed": false, "failure_code": null,
        "failure_message": null, "livemode": false, "metadata": {}, "paid": true, "payment_intent": "pi_1",
        "refunded": refunded == 1990, "status": "succeeded",
    })
}

pub(crate) fn refund(id: &str, amount: u64, key: Option<&str>, created: u64) -> Value {
    let metadata = key.map_or(json!({}), |key| json!({ "stecker_key": key }));
    json!({
        "id": id, "object": "refund", "amount": amount, "charge": "ch_1", "created": created, "currency": "eur",
        "metadata": metadata, "payment_intent": "pi_1", "reason": null, "status": "succeeded",
    })
}

pub(crate) fn customer(id: &str, created: u64) -> Value {
    json!({
        "id": id, "object": "customer", "created": created, "livemode": false, "name": "Ada Lind",
        "email": "ada@example.com", "phone": null, "description": null, "metadata": {},
        "address": { "city": "Bonn", "country": "DE", "line1": "Hauptstraße 1", "line2": null, "postal_code": "53111", "state": null },
    })
}

pub(crate) fn event(id: &str, kind: &str, created: u64, object: &Value) -> Value {
    json!({
        "id": id, "object": "event", "api_version": "2023-08-16", "created": created, "data": { "object": object },
        "livemode": false, "pending_webhooks": 1, "request": { "id": "req_1", "idempotency_key": null }, "type": kind,
    })
}
