//! The document describes what is there, and all of it.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use crate::Running;

/// Every operation: what a client may rely on, so a path that goes is noticed.
const OPERATIONS: [&str; 88] = [
    "delete /api/v1/barred-releases/{digest}",
    "delete /api/v1/secrets/{connection}/{credential}",
    "delete /api/v1/webhooks/{name}",
    "get /api/v1/at-risk",
    "get /api/v1/barred-releases",
    "get /api/v1/connections",
    "get /api/v1/connections/{name}",
    "get /api/v1/connections/{name}/streams",
    "get /api/v1/connections/{name}/tapes",
    "get /api/v1/connections/{name}/tapes/{id}",
    "get /api/v1/denials",
    "get /api/v1/denials/{id}",
    "get /api/v1/doctor",
    "get /api/v1/explain",
    "get /api/v1/flows",
    "get /api/v1/flows/{name}",
    "get /api/v1/outdated",
    "get /api/v1/quarantine",
    "get /api/v1/quarantine/groups",
    "get /api/v1/reconciles",
    "get /api/v1/reconciles/{id}",
    "get /api/v1/records",
    "get /api/v1/records/{flow}/{seq}",
    "get /api/v1/records/{flow}/{seq}/payload",
    "get /api/v1/records/{flow}/{seq}/steps",
    "get /api/v1/releases",
    "get /api/v1/replays",
    "get /api/v1/replays/{name}",
    "get /api/v1/rollouts",
    "get /api/v1/rollouts/{name}",
    "get /api/v1/secrets",
    "get /api/v1/storage",
    "get /api/v1/tenant",
    "get /api/v1/tenants",
    "get /api/v1/trust",
    "get /api/v1/upstreams",
    "get /api/v1/upstreams/{name}",
    "get /api/v1/webhooks",
    "get /api/v1/webhooks/{name}",
    "get /api/v1/webhooks/{name}/deliveries",
    "post /api/v1/apply",
    "post /api/v1/barred-releases/{digest}",
    "post /api/v1/connections/{name}/check",
    "post /api/v1/connections/{name}/close-circuit",
    "post /api/v1/connections/{name}/open-circuit",
    "post /api/v1/connections/{name}/shadow",
    "post /api/v1/connections/{name}/tapes/clear",
    "post /api/v1/connections/{name}/tapes/start",
    "post /api/v1/connections/{name}/tapes/stop",
    "post /api/v1/denials/clear",
    "post /api/v1/flows/{name}/pause",
    "post /api/v1/flows/{name}/reconcile",
    "post /api/v1/flows/{name}/resume",
    "post /api/v1/flows/{name}/run",
    "post /api/v1/keys/rotate",
    "post /api/v1/plan",
    "post /api/v1/quarantine/discard",
    "post /api/v1/quarantine/preview",
    "post /api/v1/quarantine/retry",
    "post /api/v1/reconciles/{id}/abort",
    "post /api/v1/releases",
    "post /api/v1/replay-preview",
    "post /api/v1/replays",
    "post /api/v1/replays/{name}/abort",
    "post /api/v1/replays/{name}/pause",
    "post /api/v1/replays/{name}/resume",
    "post /api/v1/resolve",
    "post /api/v1/rollout-plan",
    "post /api/v1/rollouts",
    "post /api/v1/rollouts/{name}/abort",
    "post /api/v1/rollouts/{name}/pause",
    "post /api/v1/rollouts/{name}/promote",
    "post /api/v1/rollouts/{name}/resume",
    "post /api/v1/secrets/{connection}/{credential}/authorize",
    "post /api/v1/secrets/{connection}/{credential}/authorized",
    "post /api/v1/signatures",
    "post /api/v1/storage/vacuum",
    "post /api/v1/tenant/limits",
    "post /api/v1/trust",
    "post /api/v1/trust/drop",
    "post /api/v1/upstreams/{name}/close",
    "post /api/v1/webhooks",
    "post /api/v1/webhooks/{name}/disable",
    "post /api/v1/webhooks/{name}/enable",
    "post /api/v1/webhooks/{name}/rotate-secret",
    "post /api/v1/webhooks/{name}/test",
    "put /api/v1/records/{flow}/{seq}/payload",
    "put /api/v1/secrets/{connection}/{credential}",
];

fn operations(document: &Value) -> Vec<(String, String, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (method.clone(), path.clone(), operation))
    });
    all.collect()
}

fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
    match value {
        Value::Object(map) => {
            found.extend(map.get("$ref").and_then(Value::as_str));
            map.values().for_each(|value| references(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}

#[test]
fn the_document_is_openapi_3_1_and_closed_in_itself() {
    let document = stecker_server::openapi_document();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.contains("#/components/schemas/Problem"));
    for reference in found {
        let pointer = reference
            .strip_prefix('#')
            .unwrap_or_else(|| panic!("{reference} leads out of the document"));
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
    let mut ids = BTreeSet::new();
    for (method, path, operation) in operations(&document) {
        let id = operation["operationId"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "{id} is there twice");
        assert!(
            operation["summary"].is_string(),
            "{method} {path} says what it does"
        );
        assert!(
            operation["responses"]["default"].is_object(),
            "{method} {path} describes its problems"
        );
        let in_path = path.matches('{').count();
        let described = operation["parameters"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|one| one["in"] == "path")
            .count();
        assert_eq!(
            in_path, described,
            "{method} {path} describes the parts of its path"
        );
    }
}

#[tokio::test]
async fn every_operation_is_described_and_every_description_has_its_operation_behind_a_token() {
    let running = Running::start().await;
    let response = running
        .anonymous(Method::GET, "/api/v1/openapi.json")
        .send()
        .await
        .unwrap();
    let document: Value = serde_json::from_slice(&response.bytes().await.unwrap()).unwrap();
    assert_eq!(document, stecker_server::openapi_document());
    let described: BTreeSet<String> = operations(&document)
        .into_iter()
        .map(|(method, path, _)| format!("{method} {path}"))
        .collect();
    let expected: BTreeSet<String> = OPERATIONS.iter().map(ToString::to_string).collect();
    assert_eq!(described, expected);
    for (method, path, _) in operations(&document) {
        let method: Method = method.to_uppercase().parse().unwrap();
        let path = path
            .replace("{name}", "a")
            .replace("{flow}", "a")
            .replace("{id}", "a")
            .replace("{seq}", "1");
        let response = running.anonymous(method.clone(), &path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED, "{method} {path}");
    }
}
