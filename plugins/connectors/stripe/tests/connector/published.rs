//! The answers of these tests and the requests of the connector, held against Stripe's published description.
//!
//! The description (<https://github.com/stripe/openapi>, the variant without expanded fields) is not part of this repository. `VENDOR_SPECS`
//! names a folder with `stripe/*.json`; where it is not set, this is skipped.

#![allow(clippy::print_stdout, reason = "a test that is skipped says why")]

use crate::{at, charge, customer, event, get, list, payment_intent, post, refund, stripe};
use serde_json::{Map, Value, json};
use std::path::Path;
use stecker_sdk::testing::{Recorded, Script};
use stecker_sdk::{Record, WriteItem};

struct Published(Value);

impl Published {
    fn or_skip() -> Option<Self> {
        let Some(folder) = std::env::var_os("VENDOR_SPECS") else {
            println!(
                "skipped: set VENDOR_SPECS to a folder that has Stripe's published description in stripe/*.json"
            );
            return None;
        };
        let folder = Path::new(&folder).join("stripe");
        let files =
            std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let file = files
            .map(|entry| entry.unwrap().path())
            .find(|path| path.extension().is_some_and(|extension| extension == "json"))
            .unwrap_or_else(|| panic!("there is no description in {}", folder.display()));
        Some(Self(
            serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap(),
        ))
    }

    fn check(&self, schema: &Value, value: &Value, what: &str) {
        let mut schema = as_json_schema(schema);
        schema["components"] = as_json_schema(&self.0["components"]);
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        let errors: Vec<String> = validator
            .iter_errors(value)
            .map(|error| format!("at `{}`: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{what}:\n{}", errors.join("\n"));
    }

    fn check_object(&self, name: &str, value: &Value) {
        let schema = json!({ "$ref": format!("#/components/schemas/{name}") });
        self.check(&schema, value, name);
    }

    /// Every parameter and every field of a request is one that the operation has, and fits.
    fn check_request(&self, path: &str, request: &Recorded) {
        let operation = &self.0["paths"][path][request.method.to_ascii_lowercase()];
        assert!(operation.is_object(), "there is no {} {path}", request.method);
        let query = request.url.split_once('?').map_or("", |(_, query)| query);
        for (name, value) in fields(query.as_bytes()) {
            let parameter = operation["parameters"]
                .as_array()
                .unwrap()
                .iter()
                .find(|parameter| parameter["name"] == name && parameter["in"] == "query")
                .unwrap_or_else(|| panic!("{path} has no parameter {name}"));
            self.check(&parameter["schema"], &value, &format!("{path}?{name}"));
        }
        if let Some(body) = &request.body {
            let schema = &operation["requestBody"]["content"]["application/x-www-form-urlencoded"]["schema"];
            for (name, value) in fields(body) {
                let field = &schema["properties"][&name];
                assert!(field.is_object(), "{path} has no field {name}");
                self.check(field, &value, &format!("{path}, {name}"));
            }
        }
    }
}

/// OpenAPI 3.0 as JSON Schema: `nullable` is a type of its own there.
fn as_json_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => {
            let mut out: Map<String, Value> = fields
                .iter()
                .filter(|(name, _)| *name != "nullable")
                .map(|(name, value)| (name.clone(), as_json_schema(value)))
                .collect();
            if fields.get("nullable") == Some(&Value::Bool(true)) {
                out = Map::from_iter([("anyOf".to_owned(), json!([out, { "type": "null" }]))]);
            }
            Value::Object(out)
        }
        Value::Array(list) => Value::Array(list.iter().map(as_json_schema).collect()),
        other => other.clone(),
    }
}

/// The fields of a form, with those in brackets put together and numbers as numbers.
fn fields(form: &[u8]) -> Map<String, Value> {
    let mut out = Map::new();
    let decode = |text: &str| text.replace("%5B", "[").replace("%5D", "]").replace('+', " ");
    for pair in std::str::from_utf8(form)
        .unwrap()
        .split('&')
        .filter(|pair| !pair.is_empty())
    {
        let (name, value) = pair.split_once('=').unwrap();
        let (name, text) = (decode(name), decode(value));
        let value = text.parse::<i64>().map_or(json!(text), Value::from);
        match name.split_once('[') {
            // Metadata is text, whatever it looks like.
            Some(("metadata", inner)) => {
                out.entry("metadata").or_insert_with(|| json!({}))[inner.trim_end_matches(']')] = json!(text);
            }
            Some((outer, inner)) => {
                out.entry(outer).or_insert_with(|| json!({}))[inner.trim_end_matches(']')] = value;
            }
            None => {
                out.insert(name, value);
            }
        }
    }
    out
}

#[test]
fn the_answers_of_these_tests_are_such_as_stripe_gives() {
    let Some(published) = Published::or_skip() else {
        return;
    };
    for status in ["requires_payment_method", "processing", "succeeded"] {
        published.check_object("payment_intent", &payment_intent("pi_1", status, at(0)));
    }
    published.check_object("charge", &charge("ch_1", 500, at(0)));
    published.check_object("refund", &refund("re_1", 500, Some("key"), at(0)));
    published.check_object("customer", &customer("cus_1", at(0)));
    published.check_object(
        "event",
        &event("evt_1", "customer.created", at(0), &customer("cus_1", at(0))),
    );
    let error = json!({ "error": { "type": "card_error", "code": "card_declined", "decline_code": "lost_card",
        "message": "Your card was declined.", "param": "amount" } });
    published.check_object("error", &error);
}

#[test]
fn the_requests_are_such_as_stripe_takes() {
    let Some(published) = Published::or_skip() else {
        return;
    };
    let paths = ["payment_intents", "charges", "refunds", "customers"];
    let mut script = Script::new();
    for path in paths.map(|path| format!("/v1/{path}")) {
        script = script.expect(get(&path)).reply(200, list(&path, &[], false));
    }
    let pass = json!({ "phase": "following", "from": at(-60), "pass": { "began": at(-1), "after": "evt_1" }, "passes": 3 });
    let script = script
        .expect(get("/v1/events"))
        .reply(200, list("/v1/events", &[], false))
        .expect(get("/v1/payment_intents/pi_1"))
        .reply(200, payment_intent("pi_1", "succeeded", at(0)))
        .expect(post("/v1/refunds", "key-1"))
        .reply(200, refund("re_1", 550, None, at(0)))
        .expect(post("/v1/payment_intents/pi_1", "key-1"))
        .reply(200, payment_intent("pi_1", "succeeded", at(0)));
    let stripe = stripe(&json!({})).script(script);
    for path in paths {
        stripe.read(path).page().unwrap();
    }
    stripe.read("events").from_cursor(&pass).page().unwrap();
    let item = |stream: &str, key: &str, payload: Value| WriteItem {
        record: Record::upsert(stream, key, "7", &payload).unwrap(),
        idempotency_key: "key-1".to_owned(),
        attempt: 1,
    };
    let refund = json!({ "payment_intent": "pi_1", "amount": "5.50", "currency": "EUR", "reason": "duplicate", "metadata": { "a": "1" } });
    stripe
        .write_items("refunds", vec![item("refunds", "RMA-7", refund)])
        .unwrap();
    let metadata = json!({ "metadata": { "sale": "SO-7", "old": null } });
    stripe
        .write_items("payment_intents", vec![item("payment_intents", "pi_1", metadata)])
        .unwrap();
    let requests = stripe.host().requests();
    assert_eq!(requests.len(), 8);
    for request in &requests {
        let path = request
            .url
            .split(['?'])
            .next()
            .unwrap()
            .trim_start_matches("https://api.stripe.com");
        let path = path.replace("/pi_1", "/{intent}");
        published.check_request(&path, request);
    }
}
