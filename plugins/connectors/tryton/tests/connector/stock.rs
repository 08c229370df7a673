//! Reading stock.

use crate::{calls, erp, fixture, then};
use serde_json::{Value, json};
use std::time::Duration;
use stecker_sdk::Page;
use stecker_sdk::testing::{Expect, Harness, Script};
use tryton::Tryton;

const MOVES: &str = "model.stock.move.search_read";
const PRODUCTS: &str = "model.product.product.search_read";
const LOCATIONS: &str = "model.stock.location.search_read";

fn stamp(minute: u32, second: u32) -> Value {
    json!({ "__class__": "datetime", "year": 2026, "month": 11, "day": 21, "hour": 20, "minute": minute, "second": second,
        "microsecond": 5 })
}

fn moved(id: i64, product: i64, minute: u32, second: u32) -> Value {
    json!({ "id": id, "product": product, "write_date": stamp(minute, second), "create_date": stamp(0, 0) })
}

fn level(id: i64, code: &str, quantity: f64) -> Value {
    json!({ "id": id, "code": code, "quantity": quantity, "forecast_quantity": quantity })
}

/// Quantities are all 0 unless the context names places.
fn quantities() -> Expect {
    calls(PRODUCTS)
}

fn located(script: Script) -> Script {
    script
        .expect(calls(LOCATIONS))
        .reply_with(fixture("find_warehouses"))
}

fn levels(script: Script, levels: &Value) -> Script {
    then(located(script), quantities(), levels)
}

fn first_page() -> Script {
    let script = then(Script::new(), calls(MOVES), &json!([moved(3, 12, 55, 55)]));
    let script = then(script, calls(MOVES), &json!([moved(3, 12, 55, 55)]));
    located(script).expect(quantities()).reply_with(fixture("stock"))
}

fn next(erp: &Harness<Tryton>, page: &Page) -> Page {
    erp.host().advance(Duration::from_secs(10));
    erp.read("stock").after(page).page().unwrap()
}

fn read(page: &Page) -> Vec<(String, f64)> {
    let levels = page.records.iter().map(|record| {
        let payload: Value = serde_json::from_str(&record.payload).unwrap();
        (record.key.clone(), payload["quantity"].as_f64().unwrap())
    });
    levels.collect()
}

#[test]
fn the_stream_begins_with_all_products() {
    let erp = erp(&json!({})).script(first_page());
    let streams = erp.discover().unwrap();
    let page = erp.read("stock").conforming_to(&streams).page().unwrap();
    assert_eq!(
        read(&page),
        [
            ("BE-BL".to_owned(), 291.0),
            ("BE-GR".to_owned(), 272.0),
            ("BE-SA".to_owned(), 213.0)
        ]
    );
    assert!(!page.more);
    assert_eq!(page.records[0].source_version, "2026-12-01T00:00:00.000000000Z");
    let asked = erp.host().requests().pop().unwrap().json();
    assert_eq!(asked["params"][5], json!({ "company": 1, "locations": [5] }));
}

#[test]
fn there_and_back_again_is_two_changes() {
    let script = then(
        first_page(),
        calls(MOVES),
        &json!([moved(3, 12, 55, 55), moved(4, 13, 58, 0)]),
    );
    let script = levels(
        script,
        &json!([level(12, "BE-BL", 291.0), level(13, "BE-GR", 270.0)]),
    );
    let script = then(script, calls(MOVES), &json!([moved(4, 13, 58, 30)]));
    let script = levels(script, &json!([level(13, "BE-GR", 272.0)]));
    let script = then(script, calls(MOVES), &json!([moved(4, 13, 58, 30)]));
    let script = levels(script, &json!([level(13, "BE-GR", 272.0)]));
    let erp = erp(&json!({})).script(script);
    let all = erp.read("stock").page().unwrap();
    let down = next(&erp, &all);
    assert_eq!(
        read(&down),
        [("BE-BL".to_owned(), 291.0), ("BE-GR".to_owned(), 270.0)]
    );
    let up = next(&erp, &down);
    assert_eq!(read(&up), [("BE-GR".to_owned(), 272.0)]);
    let version = |page: &Page| page.records.last().unwrap().source_version.clone();
    assert!(all.records[1].source_version < version(&down) && version(&down) < version(&up));
    // What moved within the last minute is looked at again, and is as it was.
    let still = next(&erp, &up);
    assert!(still.records.is_empty() && !still.more);
    assert_eq!(still.cursor, up.cursor);
    let asked = erp.host().requests()[7].json();
    let since = &asked["params"][0][1][1][2];
    assert_eq!(
        (&since["minute"], &since["second"]),
        (&json!(57), &json!(0)),
        "a minute before the newest move"
    );
}

#[test]
fn pages_go_on_where_they_stopped_and_nothing_that_moves_meanwhile_is_lost() {
    let script = then(Script::new(), calls(MOVES), &json!([]));
    let script = then(script, calls(MOVES), &json!([]));
    let script = levels(script, &json!([level(1, "A", 1.0), level(2, "B", 2.0)]));
    let script = levels(script, &json!([level(3, "C", 3.0)]));
    // Three products moved; pages of two. Between the pages, and long after, A moves again.
    let three = json!([moved(7, 1, 10, 0), moved(8, 2, 10, 1), moved(9, 3, 10, 2)]);
    let script = then(script, calls(MOVES), &three);
    let script = levels(script, &json!([level(1, "A", 4.0), level(2, "B", 5.0)]));
    let later = json!([moved(7, 1, 50, 0), moved(8, 2, 10, 1), moved(9, 3, 55, 0)]);
    let script = then(script, calls(MOVES), &later);
    let script = levels(script, &json!([level(3, "C", 6.0)]));
    let script = then(script, calls(MOVES), &later);
    let script = levels(script, &json!([level(1, "A", 7.0), level(2, "B", 5.0)]));
    let script = then(script, calls(MOVES), &later);
    let script = levels(script, &json!([level(3, "C", 6.0)]));
    let erp = erp(&json!({})).script(script);
    let mut cursor: Option<Page> = None;
    let mut seen = Vec::new();
    for _ in 0..6 {
        let reading = erp.read("stock").max_records(2);
        let page = match &cursor {
            None => reading.page().unwrap(),
            Some(page) => reading.after(page).page().unwrap(),
        };
        seen.push((read(&page), page.more));
        cursor = Some(page);
    }
    let of = |list: &[(&str, f64)]| -> Vec<(String, f64)> {
        list.iter()
            .map(|(code, quantity)| ((*code).to_owned(), *quantity))
            .collect()
    };
    assert_eq!(
        seen,
        [
            (of(&[("A", 1.0), ("B", 2.0)]), true),
            (of(&[("C", 3.0)]), false),
            (of(&[("A", 4.0), ("B", 5.0)]), true),
            (of(&[("C", 6.0)]), false),
            (of(&[("A", 7.0)]), true),
            (of(&[]), false),
        ]
    );
}

#[test]
fn a_location_that_there_is_not_is_said() {
    let script = then(Script::new(), calls(MOVES), &json!([]));
    let script = then(script, calls(MOVES), &json!([]))
        .expect(calls(LOCATIONS))
        .reply_with(fixture("find_warehouses"));
    let erp = erp(&json!({ "stock_locations": ["WH", "KELLER"] })).script(script);
    let error = erp.read("stock").page().unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("config", Some("/stock_locations"))
    );
    assert!(error.message().contains("KELLER"), "{error}");
}
