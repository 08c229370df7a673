//! Lists and events.

use crate::{at, charge, customer, event, get, list, payment_intent, refund, stripe};
use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::testing::Script;
use stecker_sdk::{Operation, Record};

const EVENTS: &str = "/v1/events";

fn keys(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| record.key.as_str()).collect()
}

fn paid(id: &str, seconds: i64) -> Value {
    let intent = payment_intent(&format!("pi_{id}"), "succeeded", at(seconds));
    event(
        &format!("evt_{id}"),
        "payment_intent.succeeded",
        at(seconds),
        &intent,
    )
}

#[test]
fn events_are_read_in_passes_that_overlap() {
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(
                get(EVENTS)
                    .query("limit", 2)
                    .no_query("created[gte]")
                    .no_query("starting_after"),
            )
            .reply(200, list(EVENTS, &[paid("3", -10), paid("2", -20)], true))
            .expect(get(EVENTS).query("starting_after", "evt_2"))
            .reply(200, list(EVENTS, &[paid("1", -30)], false))
            .expect(
                get(EVENTS)
                    .query("created[gte]", at(-60))
                    .no_query("starting_after"),
            )
            .reply(200, list(EVENTS, &[paid("4", 5), paid("3", -10)], false)),
    );
    let streams = stripe.discover().unwrap();
    let reading = || stripe.read("events").max_records(2).conforming_to(&streams);
    let first = reading().page().unwrap();
    assert_eq!(keys(&first.records), ["evt_2", "evt_3"], "as they happened");
    assert!(first.more);
    stripe.host().advance(Duration::from_secs(30));
    let second = reading().after(&first).page().unwrap();
    assert_eq!(keys(&second.records), ["evt_1"]);
    assert!(!second.more);
    let third = reading().after(&second).page().unwrap();
    assert_eq!(keys(&third.records), ["evt_3", "evt_4"]);
    assert_eq!(
        third.records[0].source_version, first.records[1].source_version,
        "the host recognises what it has"
    );
    let payload: Value = serde_json::from_str(&third.records[1].payload).unwrap();
    assert_eq!(
        (
            &payload["type"],
            &payload["thing"]["amount"],
            &payload["object"]["amount"]
        ),
        (&json!("payment_intent.succeeded"), &json!("19.90"), &json!(1990))
    );
}

#[test]
fn an_account_in_which_nothing_happens_costs_no_new_cursor() {
    let empty = || list(EVENTS, &[], false);
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(EVENTS).query("created[gte]", at(-60)))
            .reply(200, empty())
            .expect(get(EVENTS).query("created[gte]", at(-60)))
            .reply(200, empty())
            .expect(get(EVENTS).query("created[gte]", at(7_200 - 60)))
            .reply(200, empty()),
    );
    let cursor = json!({ "phase": "following", "from": at(-60), "pass": null, "passes": 3 });
    let page = stripe.read("events").from_cursor(&cursor).page().unwrap();
    assert_eq!(
        serde_json::from_str::<Value>(page.cursor.as_deref().unwrap()).unwrap(),
        cursor
    );
    // What a list has to be asked for does not grow for ever, though.
    stripe.host().advance(Duration::from_secs(7_200));
    let page = stripe.read("events").after(&page).page().unwrap();
    stripe.read("events").after(&page).page().unwrap();
}

#[test]
fn things_are_listed_once_and_then_followed() {
    let path = "/v1/payment_intents";
    let other = event("evt_9", "charge.succeeded", at(-5), &charge("ch_1", 0, at(-5)));
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(path).query("limit", 1).no_query("starting_after"))
            .reply(
                200,
                list(path, &[payment_intent("pi_2", "processing", at(-50))], true),
            )
            .expect(get(path).query("starting_after", "pi_2"))
            .reply(
                200,
                list(path, &[payment_intent("pi_1", "succeeded", at(-90_000))], false),
            )
            .expect(get(EVENTS).query("created[gte]", at(-60)))
            .reply(200, list(EVENTS, &[other, paid("2", -20)], false)),
    );
    let streams = stripe.discover().unwrap();
    let records = stripe
        .read("payment_intents")
        .max_records(1)
        .conforming_to(&streams);
    let first = records.page().unwrap();
    let second = stripe
        .read("payment_intents")
        .max_records(1)
        .after(&first)
        .page()
        .unwrap();
    assert!(second.more, "the events since are read at once");
    let third = stripe
        .read("payment_intents")
        .after(&second)
        .conforming_to(&streams)
        .page()
        .unwrap();
    assert!(!third.more);
    assert_eq!(
        keys(&third.records),
        ["pi_2"],
        "an event about a charge is another stream's"
    );
    assert!(
        first.records[0].source_version < third.records[0].source_version,
        "what happens behind a listed state replaces it"
    );
    assert_eq!(third.records[0].event_time, Some(at(-20) * 1_000));
    let payload: Value = serde_json::from_str(&third.records[0].payload).unwrap();
    assert_eq!(
        (
            &payload["status"],
            &payload["amount_received"],
            &payload["currency"]
        ),
        (&json!("succeeded"), &json!("19.90"), &json!("EUR"))
    );
}

#[test]
fn events_older_than_a_listing_never_replace_what_it_found() {
    let path = "/v1/payment_intents";
    let stripe =
        stripe(&json!({}))
            .secret("webhook", b"s".to_vec())
            .script(Script::new().expect(get(path)).reply(
                200,
                list(path, &[payment_intent("pi_1", "succeeded", at(-9_000))], false),
            ));
    let listed = stripe.read("payment_intents").page().unwrap();
    let late = event(
        "evt_1",
        "payment_intent.created",
        at(-9_000),
        &payment_intent("pi_1", "requires_payment_method", at(-9_000)),
    );
    let received = stripe.receive(crate::webhook::call(&late, b"s")).unwrap();
    let state = received
        .records
        .iter()
        .find(|record| record.stream == "payment_intents");
    assert!(state.unwrap().source_version < listed.records[0].source_version);
}

#[test]
fn every_kind_has_its_stream_and_a_deleted_customer_is_a_delete() {
    let kinds = [
        ("charges", charge("ch_1", 500, at(-90))),
        ("refunds", refund("re_1", 500, None, at(-90))),
        ("customers", customer("cus_1", at(-90))),
    ];
    for (stream, thing) in kinds {
        let path = format!("/v1/{stream}");
        let gone = event("evt_1", "customer.deleted", at(-1), &customer("cus_1", at(-90)));
        let stripe = stripe(&json!({})).script(
            Script::new()
                .expect(get(&path))
                .reply(200, list(&path, &[thing], false))
                .expect(get(EVENTS))
                .reply(200, list(EVENTS, &[gone], false)),
        );
        let streams = stripe.discover().unwrap();
        let records = stripe.read(stream).conforming_to(&streams).all_pages().unwrap();
        assert_eq!(records.len(), if stream == "customers" { 2 } else { 1 });
        if let Some(gone) = records.get(1) {
            assert_eq!(gone.operation, Operation::Delete);
            assert!(gone.source_version > records[0].source_version);
        }
    }
}

#[test]
fn whoever_was_away_for_longer_than_events_are_kept_lists_everything_again() {
    let path = "/v1/charges";
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(path).no_query("starting_after"))
            .reply(200, list(path, &[charge("ch_1", 0, at(-90))], false))
            .expect(get(EVENTS))
            .reply(200, list(EVENTS, &[], false)),
    );
    let month = 30 * 86_400;
    let cursor = json!({ "phase": "following", "from": at(-month), "pass": null, "passes": 3 });
    let page = stripe.read("charges").from_cursor(&cursor).page().unwrap();
    assert_eq!(keys(&page.records), ["ch_1"]);
    // What happened is gone with the events themselves, and that is said.
    let page = stripe.read("events").from_cursor(&cursor).page().unwrap();
    assert!(page.records.is_empty());
    assert!(
        stripe
            .host()
            .logs()
            .iter()
            .any(|line| format!("{line:?}").contains("30 days")),
        "{:?}",
        stripe.host().logs()
    );
}

#[test]
fn a_thing_that_went_away_between_two_pages_is_no_end() {
    let path = "/v1/customers";
    let gone = json!({ "error": { "type": "invalid_request_error", "code": "resource_missing",
        "message": "No such customer: 'cus_9'", "param": "starting_after" } });
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(path).query("starting_after", "cus_9"))
            .reply(400, gone)
            .expect(get(path).no_query("starting_after"))
            .reply(200, list(path, &[customer("cus_1", at(-90))], false)),
    );
    let cursor = json!({ "phase": "listing", "began": at(-100), "after": "cus_9" });
    let page = stripe.read("customers").from_cursor(&cursor).page().unwrap();
    assert_eq!(keys(&page.records), ["cus_1"]);
    let unknown = stripe.read("invoices").page().unwrap_err();
    assert_eq!(unknown.code(), "not-found");
}

#[test]
fn states_of_one_second_are_told_apart_by_how_far_they_are() {
    let created = |status: &str, id: &str| {
        event(
            id,
            "payment_intent.any",
            at(-5),
            &payment_intent("pi_1", status, at(-5)),
        )
    };
    let events = [
        created("succeeded", "evt_a"),
        created("requires_payment_method", "evt_z"),
    ];
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(EVENTS))
            .reply(200, list(EVENTS, &events, false)),
    );
    let cursor = json!({ "phase": "following", "from": at(-60), "pass": null, "passes": 3 });
    let page = stripe
        .read("payment_intents")
        .from_cursor(&cursor)
        .page()
        .unwrap();
    assert!(page.records[0].source_version > page.records[1].source_version);
}

#[test]
fn a_page_too_large_for_the_host_is_cut_and_continued() {
    let stripe = stripe(&json!({})).script(
        Script::new()
            .expect(get(EVENTS))
            .reply(200, list(EVENTS, &[paid("2", -10), paid("1", -20)], false))
            .expect(get(EVENTS).query("starting_after", "evt_2"))
            .reply(200, list(EVENTS, &[paid("1", -20)], false)),
    );
    let records = stripe.read("events").max_bytes(100).all_pages().unwrap();
    assert_eq!(keys(&records), ["evt_2", "evt_1"]);
}
