//! Orders, products and customers.

use crate::{asks, data, fixture, lists, orders, orders_answer, shop};
use serde_json::{Value, json};
use stecker_sdk::testing::{Reply, Script};
use vendure::OrderPayload;

const BEGINNING: &str = "1970-01-01T00:00:00.000Z";

fn cents(text: &str) -> i64 {
    let (whole, rest) = text.split_once('.').unwrap();
    assert_eq!(rest.len(), 2, "{text}");
    format!("{whole}{rest}").parse().unwrap()
}

#[test]
fn every_part_of_an_order_adds_up_to_its_total() {
    let recorded: Vec<Value> = [orders("orders"), orders("orders_discounted")].concat();
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, orders_answer(&recorded)),
    );
    let streams = shop.discover().unwrap();
    let records = shop.read("orders").conforming_to(&streams).all_pages().unwrap();
    assert_eq!(records.len(), 4);
    for (record, wire) in records.iter().zip(&recorded) {
        let order: OrderPayload = serde_json::from_str(&record.payload).unwrap();
        let parts = order.lines.iter().map(|line| &line.total);
        let parts = parts.chain(order.shipping.iter().map(|line| &line.total));
        let sum: i64 = parts.map(|total| cents(total)).sum();
        assert_eq!(sum, wire["totalWithTax"].as_i64().unwrap(), "{}", order.code);
        assert_eq!(sum, cents(&order.total));
        assert_eq!(
            (record.key.as_str(), record.attributes.len()),
            (order.code.as_str(), 0)
        );
    }
    let discounted: OrderPayload = serde_json::from_str(&records[3].payload).unwrap();
    assert_eq!(discounted.coupon_codes, ["STECKER10"]);
    assert_eq!(
        (
            discounted.lines[0].unit_price.as_str(),
            discounted.lines[0].total.as_str()
        ),
        ("3.99", "7.09")
    );
    let buyer = discounted.customer.unwrap();
    assert_eq!(
        (buyer.name.as_str(), buyer.email.as_str()),
        ("René Schäfer", "shopper31@example.com")
    );
    assert_eq!(
        discounted.billing_address.unwrap().street.as_deref(),
        Some("Am Deich 14b")
    );
    assert_eq!(
        records[3].source_version,
        "2026-11-21T20:55:06.000000000Z.00000000000000000004"
    );
}

#[test]
fn the_same_order_is_the_same_record_however_its_lines_are_listed() {
    let order = orders("orders_discounted")[0].clone();
    let mut shuffled = order.clone();
    shuffled["lines"].as_array_mut().unwrap().reverse();
    shuffled["lines"][0]["id"] = json!("10");
    let mut straight = order;
    straight["lines"][2]["id"] = json!("10");
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, orders_answer(&[straight]))
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, orders_answer(&[shuffled])),
    );
    let read = || shop.read("orders").page().unwrap().records;
    assert_eq!(read(), read());
}

#[test]
fn an_order_that_does_not_add_up_says_so() {
    let mut order = orders("orders")[0].clone();
    order["totalWithTax"] = json!(3_700);
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, orders_answer(&[order])),
    );
    let records = shop.read("orders").all_pages().unwrap();
    assert_eq!(
        records[0].attributes,
        [("unbalanced".to_owned(), "0.08".to_owned())]
    );
    assert!(shop.host().logs()[0].message.contains("do not add up"));
}

#[test]
fn reading_goes_on_behind_the_last_order_and_looks_whether_it_is_still_there() {
    let all = orders("orders");
    let shop = shop(&json!({ "page_size": 2 })).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 2))
            .reply(200, orders_answer(&all[..2]))
            // Orders 2 and 3 share a second; 2 is asked for again, to see that nothing moved.
            .expect(lists("2026-11-21T20:55:04.999Z", 0, 3))
            .reply(200, orders_answer(&all[1..]))
            .expect(lists("2026-11-21T20:55:04.999Z", 1, 3))
            .reply(200, orders_answer(&all[2..])),
    );
    let keys: Vec<String> = shop
        .read("orders")
        .all_pages()
        .unwrap()
        .into_iter()
        .map(|order| order.key)
        .collect();
    let codes: Vec<&str> = all.iter().map(|order| order["code"].as_str().unwrap()).collect();
    assert_eq!(keys[..2], codes[..2]);
    let first = shop
        .read("orders")
        .from_cursor(&json!({ "after": "2026-11-21T20:55:04.999Z", "skip": 2, "last": "3" }));
    let page = first.page().unwrap();
    assert!(page.records.is_empty() && !page.more);
}

#[test]
fn where_positions_shifted_the_second_is_read_again() {
    let all = orders("orders");
    let mut gone = all.clone();
    // Order 2 changed since, so it stands at the end, and 3 in its place.
    gone.swap(1, 2);
    gone[2]["updatedAt"] = json!("2026-11-21T20:59:00.000Z");
    gone[2]["history"]["totalItems"] = json!(5);
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(lists("2026-11-21T20:55:04.999Z", 0, 101))
            .reply(200, orders_answer(&gone[1..]))
            .expect(lists("2026-11-21T20:55:04.999Z", 0, 100))
            .reply(200, orders_answer(&gone[1..])),
    );
    let cursor = json!({ "after": "2026-11-21T20:55:04.999Z", "skip": 1, "last": "2" });
    let page = shop.read("orders").from_cursor(&cursor).page().unwrap();
    let ids: Vec<&str> = page.records.iter().map(|order| order.key.as_str()).collect();
    assert_eq!(
        ids,
        [all[2]["code"].as_str().unwrap(), all[1]["code"].as_str().unwrap()]
    );
}

#[test]
fn a_second_that_is_not_over_is_left_for_the_next_time() {
    let all = orders("orders");
    let shop = shop(&json!({ "settle_seconds": 2 }))
        .at("2026-11-21T20:55:06.500Z")
        .script(
            Script::new()
                .expect(lists(BEGINNING, 0, 100))
                .reply(200, orders_answer(&all)),
        );
    let page = shop.read("orders").page().unwrap();
    assert_eq!(page.records.len(), 1, "the two of 20:55:05 are 1.5 s old");
    assert!(!page.more);
    assert_eq!(page.hints, [("retry-after-ms".to_owned(), "2000".to_owned())]);
}

#[test]
fn orders_that_are_not_placed_or_not_wanted_are_left_out_and_passed_by() {
    let mut all = orders("orders");
    all[0]["orderPlacedAt"] = Value::Null;
    all[1]["state"] = json!("Cancelled");
    let shop = shop(&json!({ "order_states": ["PaymentSettled", "Shipped"] })).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, orders_answer(&all)),
    );
    let page = shop.read("orders").page().unwrap();
    assert_eq!(page.records.len(), 1);
    assert_eq!(page.records[0].key, all[2]["code"].as_str().unwrap());
    assert!(page.cursor.unwrap().contains("\"last\":\"3\""));
}

#[test]
fn products_are_variants_and_customers_are_people() {
    let shop = shop(&json!({ "channel_token": "b2b" })).script(
        Script::new()
            .expect(lists(BEGINNING, 0, 100).header("vendure-token", "b2b"))
            .reply_with(fixture("product_variants"))
            .expect(lists(BEGINNING, 0, 100))
            .reply(200, json!({ "data": with_address_fields(data("customers")) })),
    );
    let streams = shop.discover().unwrap();
    let products = shop.read("products").conforming_to(&streams).all_pages().unwrap();
    assert_eq!(products[0].key, "KF-250");
    let payload: Value = serde_json::from_str(&products[0].payload).unwrap();
    assert_eq!(
        (
            &payload["price"],
            &payload["price_with_tax"],
            &payload["stock_on_hand"]
        ),
        (&json!("6.71"), &json!("7.18"), &json!(480))
    );
    let customers = shop
        .read("customers")
        .conforming_to(&streams)
        .all_pages()
        .unwrap();
    let payload: Value = serde_json::from_str(&customers[0].payload).unwrap();
    assert_eq!(payload["name"], "Jörg Öztürk");
    assert_eq!(payload["addresses"][0]["city"], "Hamburg");
    assert_eq!(payload["addresses"][0]["country_code"], "DE");
}

/// The recorded query asked for fewer fields of an address.
fn with_address_fields(mut customers: Value) -> Value {
    for customer in customers["customers"]["items"].as_array_mut().unwrap() {
        for address in customer["addresses"].as_array_mut().unwrap() {
            address["province"] = json!("");
            address["phoneNumber"] = json!("");
            address["defaultBillingAddress"] = json!(true);
        }
    }
    customers
}

#[test]
fn errors_are_typed_although_they_come_with_status_200() {
    let anything = || asks(&json!({}));
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(anything())
            .reply_with(fixture("wrong_key"))
            .expect(anything())
            .reply_with(fixture("orders_page_too_large"))
            .expect(anything())
            .reply_with(fixture("unknown_field"))
            .expect(anything())
            .reply(200, json!({ "data": null, "errors": [{ "message": "no", "extensions": { "code": "CHANNEL_NOT_FOUND" } }] }))
            .expect(anything())
            .reply_with(Reply::bytes(503, "busy").header("retry-after", 3))
            .expect(anything())
            .never_sent()
            .expect(anything())
            .reply(200, json!({ "data": { "orders": { "items": [{ "id": "1" }] } } }))
            .expect(anything())
            .reply_with(Reply::bytes(404, "<html>")),
    );
    let codes = [
        "auth",
        "data",
        "schema",
        "config",
        "transient",
        "transient",
        "schema",
        "not-found",
    ];
    for code in codes {
        let error = shop.read("orders").page().unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(
            error.message().contains("reading orders") || code == "config" || code == "auth",
            "{error}"
        );
    }
    let unknown = shop.read("baskets").page().unwrap_err();
    assert_eq!(unknown.code(), "not-found");
    assert!(unknown.message().contains("orders, products, customers"));
}
