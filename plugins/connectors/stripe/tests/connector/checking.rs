//! What can be known before a flow runs.

use crate::{get, list, stripe};
use serde_json::json;
use stecker_sdk::testing::{Harness, Reply, Script};
use stripe::Stripe;

fn failed(stripe: &Harness<Stripe>) -> Vec<String> {
    let probes = stripe.check().unwrap();
    let failed = probes.into_iter().filter(|probe| !probe.ok);
    failed.map(|probe| probe.name).collect()
}

fn events(date: &str) -> Script {
    Script::new()
        .expect(get("/v1/events").query("limit", 1))
        .reply_with(Reply::json(200, list("/v1/events", &[], false)).header("date", date))
}

#[test]
fn an_account_that_is_set_up_passes() {
    let mut script = events("Fri, 27 Nov 2026 08:00:02 GMT");
    for path in [
        "/v1/payment_intents",
        "/v1/charges",
        "/v1/refunds",
        "/v1/customers",
    ] {
        script = script
            .expect(get(path).query("limit", 1))
            .reply(200, list(path, &[], false));
    }
    let stripe = stripe(&json!({})).script(script);
    assert_eq!(failed(&stripe), Vec::<String>::new());
    let description = stripe.describe();
    assert_eq!(description.upstream[0].api_version, stripe::API_VERSION);
    assert_eq!(stripe.discover().unwrap().len(), 5);
}

#[test]
fn each_thing_that_is_wrong_is_said() {
    let mut script = events("Fri, 27 Nov 2026 08:03:00 GMT");
    for path in [
        "/v1/payment_intents",
        "/v1/charges",
        "/v1/refunds",
        "/v1/customers",
    ] {
        let refused = json!({ "error": { "type": "invalid_request_error", "message": "lacks permission" } });
        script = script.expect(get(path)).reply(403, refused);
    }
    let stripe = stripe(&json!({})).script(script);
    assert_eq!(
        failed(&stripe),
        ["events", "payment_intents", "charges", "refunds", "customers"]
    );
}

#[test]
fn a_connected_account_and_a_version_are_named_in_every_request() {
    let expected = stecker_sdk::testing::get("/v1/events")
        .header("stripe-version", "2024-06-20")
        .header("stripe-account", "acct_1");
    let config = json!({ "api_version": "2024-06-20", "account": "acct_1" });
    let stripe = stripe(&config).script(
        Script::new()
            .expect(expected)
            .reply(200, list("/v1/events", &[], false)),
    );
    stripe.read("events").page().unwrap();
}

#[test]
fn a_configuration_out_of_bounds_is_refused_with_its_place() {
    for (field, value) in [("page_size", 0), ("page_size", 101), ("overlap_seconds", 0)] {
        let error = stripe(&json!({ field: value }))
            .read("events")
            .page()
            .unwrap_err();
        assert_eq!(
            (error.code(), error.detail_of("path")),
            ("config", Some(format!("/{field}").as_str()))
        );
    }
}
