//! Reading what was shipped.

use crate::{calls, erp, result, then};
use serde_json::{Value, json};
use stecker_sdk::Page;
use stecker_sdk::testing::Script;

const SALES: &str = "model.sale.sale.search_read";

fn sale(id: i64, reference: &str, second: u32, state: &str) -> Value {
    json!({ "id": id, "reference": reference, "number": id.to_string(), "state": "processing", "shipment_state": state,
        "shipments.": [{ "id": id, "number": "7", "state": "done",
            "effective_date": { "__class__": "date", "year": 2026, "month": 11, "day": 22 } }],
        "write_date": { "__class__": "datetime", "year": 2026, "month": 11, "day": 21, "hour": 21, "minute": 0,
            "second": second, "microsecond": 0 } })
}

fn keys(page: &Page) -> Vec<&str> {
    page.records.iter().map(|record| record.key.as_str()).collect()
}

#[test]
fn the_state_of_a_sale_is_read_as_tryton_gives_it() {
    let mut rows = result("sale_shipment_states");
    rows[0]["shipments."][0]["state"] = json!("waiting");
    rows[0]["shipments."][0]["effective_date"] = Value::Null;
    let erp = erp(&json!({})).script(then(Script::new(), calls(SALES), &rows));
    let streams = erp.discover().unwrap();
    let page = erp.read("shipments").conforming_to(&streams).page().unwrap();
    assert_eq!(keys(&page), ["ORDER-1"]);
    let payload: Value = serde_json::from_str(&page.records[0].payload).unwrap();
    assert_eq!(payload["shipment_state"], "waiting");
    assert_eq!(page.records[0].source_version, "2026-11-21T21:00:29.746849000Z");
}

#[test]
fn what_became_visible_late_is_found_and_nothing_is_said_twice() {
    let script = then(
        Script::new(),
        calls(SALES),
        &json!([sale(1, "A", 10, "waiting"), sale(3, "C", 30, "sent")]),
    );
    // B's transaction began before C's and ended after it was read.
    let again = json!([
        sale(1, "A", 10, "waiting"),
        sale(2, "B", 20, "sent"),
        sale(3, "C", 30, "sent")
    ]);
    let script = then(script, calls(SALES), &again);
    let script = then(script, calls(SALES), &again);
    let changed = json!([
        sale(2, "B", 20, "sent"),
        sale(3, "C", 30, "sent"),
        sale(1, "A", 40, "sent")
    ]);
    let erp = erp(&json!({})).script(then(script, calls(SALES), &changed));
    let first = erp.read("shipments").page().unwrap();
    assert_eq!(keys(&first), ["A", "C"]);
    let second = erp.read("shipments").after(&first).page().unwrap();
    assert_eq!(keys(&second), ["B"]);
    let third = erp.read("shipments").after(&second).page().unwrap();
    assert!(third.records.is_empty() && third.cursor == second.cursor);
    let fourth = erp.read("shipments").after(&third).page().unwrap();
    assert_eq!(keys(&fourth), ["A"]);
    let payload: Value = serde_json::from_str(&fourth.records[0].payload).unwrap();
    assert_eq!(
        payload["shipments"],
        json!([{ "number": "7", "state": "done", "shipped_on": "2026-11-22" }])
    );
}

#[test]
fn pages_go_by_time_and_id_and_the_next_pass_begins_where_this_one_did() {
    let newest = json!([{ "id": 9, "write_date": sale(9, "Z", 50, "sent")["write_date"] }]);
    let script = then(
        Script::new(),
        calls(SALES),
        &json!([sale(1, "A", 10, "sent"), sale(2, "B", 10, "sent")]),
    );
    let script = then(script, calls(SALES), &newest);
    let script = then(script, calls(SALES), &json!([sale(3, "C", 10, "sent")]));
    let erp = erp(&json!({ "overlap_seconds": 30 })).script(then(script, calls(SALES), &json!([])));
    let first = erp.read("shipments").max_records(2).page().unwrap();
    assert!(first.more);
    let second = erp.read("shipments").max_records(2).after(&first).page().unwrap();
    assert_eq!((keys(&second), second.more), (vec!["C"], false));
    let domain = &erp.host().requests()[2].json()["params"][0][2];
    assert_eq!(
        (&domain[0], &domain[2][1]),
        (&json!("OR"), &json!(["id", ">", 2]))
    );
    let quiet = erp
        .read("shipments")
        .max_records(2)
        .after(&second)
        .page()
        .unwrap();
    assert!(quiet.records.is_empty());
    let since = &erp.host().requests()[3].json()["params"][0][2];
    assert_eq!(
        (&since[1], &since[2]["second"]),
        (&json!(">="), &json!(20)),
        "30 s before the newest of the first page"
    );
}
