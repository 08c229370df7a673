//! The connector against what a real Vendure 3.7 answered (`tests/real/fixtures/vendure`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says where")]

mod checking;
mod reading;
mod stock;
mod webhook;

use serde_json::{Value, json};
use stecker_sdk::testing::{self, Expect, Harness, Reply};
use vendure::Vendure;

pub(crate) const URL: &str = "https://shop.example/admin-api";

/// A recorded answer.
pub(crate) fn fixture(name: &str) -> Reply {
    let fixture = recorded(name);
    let status = u16::try_from(fixture["status"].as_u64().unwrap()).unwrap();
    Reply::json(status, &fixture["body"])
}

/// The data of a recorded answer.
pub(crate) fn data(name: &str) -> Value {
    recorded(name)["body"]["data"].clone()
}

fn recorded(name: &str) -> Value {
    let path = format!(
        "{}/../../../tests/real/fixtures/vendure/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut fixture: Value = serde_json::from_str(&text).unwrap();
    fixture["response"].take()
}

/// The recorded orders, each with a history, which the recorded query did not ask for.
pub(crate) fn orders(name: &str) -> Vec<Value> {
    let mut orders = data(name)["orders"]["items"].as_array().unwrap().clone();
    for order in &mut orders {
        order["history"] = json!({ "totalItems": 4 });
    }
    orders
}

pub(crate) fn orders_answer(orders: &[Value]) -> Value {
    json!({ "data": { "orders": { "items": orders } } })
}

/// A request with these variables.
pub(crate) fn asks(variables: &Value) -> Expect {
    testing::post("/admin-api")
        .credential("api")
        .json_including(json!({ "variables": variables }))
}

/// A request for a list from a place on.
pub(crate) fn lists(after: &str, skip: u32, take: u32) -> Expect {
    asks(&json!({ "options": {
        "filter": { "updatedAt": { "after": after } }, "sort": { "updatedAt": "ASC", "id": "ASC" }, "skip": skip, "take": take,
    }}))
}

/// The connector, long after everything that was recorded.
pub(crate) fn shop(extra: &Value) -> Harness<Vendure> {
    let mut config = json!({ "admin_api_url": URL });
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Harness::new(config).at("2026-12-01T00:00:00Z")
}
