//! The connector against what a real Tryton 8.2 answered (`tests/real/fixtures/tryton`).

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that fails says where")]

mod checking;
mod comparing;
mod failures;
mod masters;
mod sales;
mod shipments;
mod stock;

use serde_json::{Value, json};
use stecker_sdk::testing::{self, Expect, Harness, Reply, Script};
use stecker_sdk::{Outcome, Record, Rejection};
use tryton::Tryton;

/// A recorded answer.
pub(crate) fn fixture(name: &str) -> Reply {
    let answer = recorded(name);
    let status = u16::try_from(answer["status"].as_u64().unwrap()).unwrap();
    match &answer["body"] {
        Value::String(html) => Reply::bytes(status, html.clone()),
        body => Reply::json(status, body),
    }
}

/// The result in a recorded answer.
pub(crate) fn result(name: &str) -> Value {
    recorded(name)["body"]["result"].clone()
}

fn recorded(name: &str) -> Value {
    let path = format!(
        "{}/../../../tests/real/fixtures/tryton/{name}.json",
        env!("CARGO_MANIFEST_DIR")
    );
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut fixture: Value = serde_json::from_str(&text).unwrap();
    fixture["response"].take()
}

/// A call of this method.
pub(crate) fn calls(method: &str) -> Expect {
    testing::post("/stecker/rpc/")
        .credential("rpc")
        .json_including(json!({ "id": 1, "method": method }))
}

/// A call of this method with exactly these parameters (the context, which holds the company, comes behind them).
pub(crate) fn calls_with(method: &str, params: &Value) -> Expect {
    let mut params = params.as_array().unwrap().clone();
    params.push(json!({ "company": 1 }));
    testing::post("/stecker/rpc/")
        .credential("rpc")
        .json(json!({ "id": 1, "method": method, "params": params }))
}

pub(crate) fn answer(result: &Value) -> Value {
    json!({ "id": 1, "result": result })
}

pub(crate) fn then(script: Script, expect: Expect, result: &Value) -> Script {
    script.expect(expect).reply(200, answer(result))
}

pub(crate) fn erp(extra: &Value) -> Harness<Tryton> {
    let mut config = json!({
        "url": "https://erp.example/stecker/", "company": 1, "payment_term": "Vorkasse", "category": "Waren",
    });
    config
        .as_object_mut()
        .unwrap()
        .extend(extra.as_object().unwrap().clone());
    Harness::new(config).at("2026-12-01T00:00:00Z")
}

pub(crate) fn record(stream: &str, key: &str, payload: &Value) -> Record {
    Record::upsert(stream, key, "1", payload).unwrap()
}

pub(crate) fn refusal(outcome: &Outcome) -> &Rejection {
    match outcome {
        Outcome::Rejected(rejection) => rejection,
        other => panic!("not refused: {other:?}"),
    }
}
