//! Stock levels, written and looked up.

use crate::{asks, data, fixture, shop};
use serde_json::{Value, json};
use stecker_sdk::testing::{Expect, Harness, Script};
use stecker_sdk::{Finding, LookupItem, Outcome, Record};
use vendure::Vendure;

fn level(sku: &str, quantity: f64) -> Record {
    Record::upsert(
        "stock",
        sku,
        "1",
        &json!({ "sku": sku, "quantity": quantity, "unit": "u" }),
    )
    .unwrap()
}

fn variants(list: &[(&str, &str, i64)]) -> Value {
    let variants: Vec<Value> = list.iter().map(variant).collect();
    json!({ "data": { "productVariants": { "items": variants } } })
}

fn updated(list: &[(&str, &str, i64)]) -> Value {
    let variants: Vec<Value> = list.iter().map(variant).collect();
    json!({ "data": { "updateProductVariants": variants } })
}

fn variant((id, sku, on_hand): &(&str, &str, i64)) -> Value {
    json!({ "id": id, "sku": sku, "stockLevels": [
        { "stockLocationId": "1", "stockOnHand": on_hand }, { "stockLocationId": "2", "stockOnHand": 7 } ] })
}

fn finds(skus: &[&str]) -> Expect {
    asks(&json!({ "options": { "filter": { "sku": { "in": skus } } } }))
}

fn sets(levels: &[(&str, i64)]) -> Expect {
    let input: Vec<Value> = levels
        .iter()
        .map(|(id, on_hand)| json!({ "id": id, "stockLevels": [{ "stockLocationId": "1", "stockOnHand": on_hand }] }))
        .collect();
    asks(&json!({ "input": input }))
}

fn located() -> Script {
    Script::new()
        .expect(asks(&json!({ "options": { "take": 1000 } })))
        .reply_with(fixture("stock_locations"))
}

fn lookup(shop: &Harness<Vendure>, sku: &str, version: &str) -> Finding {
    let item = LookupItem {
        key: sku.to_owned(),
        idempotency_key: "k".to_owned(),
        source_version: version.to_owned(),
    };
    shop.lookup("stock", vec![item]).unwrap().remove(0)
}

#[test]
fn only_levels_that_differ_are_set_and_bad_records_refuse_themselves() {
    let shop = shop(&json!({})).script(
        located()
            .expect(finds(&["BE-BL", "KF-250", "KF-500", "NONE"]))
            .reply(
                200,
                variants(&[
                    ("1", "KF-250", 480),
                    ("2", "KF-500", 350),
                    ("8", "BE-BL", 1),
                    ("9", "BE-BL", 1),
                ]),
            )
            .expect(sets(&[("1", 501)]))
            .reply_with(fixture("set_stock")),
    );
    let outcomes = shop
        .write(
            "stock",
            vec![
                level("KF-250", 501.0),
                level("KF-500", 350.0),
                level("NONE", 1.0),
                level("BE-BL", 1.0),
                level("KF-500", 1.5),
                Record::delete("stock", "KF-500", "2"),
                Record::upsert("stock", "KF-500", "3", &json!({ "quantity": 1 })).unwrap(),
            ],
        )
        .unwrap();
    assert_eq!(outcomes[0], Outcome::delivered("1"));
    assert_eq!(outcomes[1], Outcome::duplicate("2"));
    let refused: Vec<(&str, Option<&str>)> = outcomes[2..]
        .iter()
        .map(|outcome| match outcome {
            Outcome::Rejected(rejection) => (rejection.code.as_str(), rejection.path.as_deref()),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(
        refused,
        [
            ("unknown-sku", Some("/sku")),
            ("ambiguous-sku", Some("/sku")),
            ("not-whole", Some("/quantity")),
            ("delete-unsupported", None),
            ("payload", Some("")),
        ]
    );
}

#[test]
fn the_last_of_several_levels_of_one_sku_has_the_last_word() {
    let shop = shop(&json!({ "stock_location": "Default Stock Location" })).script(
        located()
            .expect(finds(&["KF-250", "KF-500"]))
            .reply(200, variants(&[("1", "KF-250", 480), ("2", "KF-500", 350)]))
            .expect(sets(&[("1", 10), ("2", 20)]))
            .reply(200, updated(&[("1", "KF-250", 10), ("2", "KF-500", 20)]))
            .expect(sets(&[("1", 480)]))
            .reply(200, updated(&[("1", "KF-250", 480)])),
    );
    let batch = vec![
        level("KF-250", 10.0),
        level("KF-250", 480.0),
        level("KF-500", 20.0),
        level("KF-500", 20.0),
    ];
    let outcomes = shop.write("stock", batch).unwrap();
    assert_eq!(
        outcomes,
        [
            Outcome::delivered("1"),
            Outcome::delivered("1"),
            Outcome::delivered("2"),
            Outcome::duplicate("2")
        ]
    );
}

#[test]
fn where_the_shop_refuses_many_only_the_ones_at_fault_are_refused() {
    let shop = shop(&json!({})).script(
        located()
            .expect(finds(&["KF-250", "KF-500"]))
            .reply(200, variants(&[("1", "KF-250", 480), ("9999", "KF-500", 350)]))
            .expect(sets(&[("1", 10), ("9999", 20)]))
            .reply_with(fixture("set_stock_unknown_variant"))
            .expect(sets(&[("1", 10)]))
            .reply(200, updated(&[("1", "KF-250", 10)]))
            .expect(sets(&[("9999", 20)]))
            .reply_with(fixture("set_stock_unknown_variant")),
    );
    let outcomes = shop
        .write("stock", vec![level("KF-250", 10.0), level("KF-500", 20.0)])
        .unwrap();
    assert_eq!(outcomes[0], Outcome::delivered("1"));
    let Outcome::Rejected(rejection) = &outcomes[1] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(rejection.code, "not-found");
    assert!(rejection.reason.contains("No ProductVariant with the id"));
}

#[test]
fn an_unanswered_request_is_cleared_up_by_looking_at_the_level() {
    let lost = || {
        located()
            .expect(finds(&["KF-250"]))
            .reply(200, variants(&[("1", "KF-250", 480)]))
            .expect(sets(&[("1", 10)]))
            .lost()
    };
    let look = |on_hand| {
        located()
            .expect(finds(&["KF-250"]))
            .reply(200, variants(&[("1", "KF-250", on_hand)]))
    };
    let shop = shop(&json!({})).script(lost().then(look(480)).then(look(10)).then(look(10)));
    let outcomes = shop.write("stock", vec![level("KF-250", 10.0)]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Unknown(_)));

    assert_eq!(lookup(&shop, "KF-250", "1"), Finding::Absent, "not arrived");
    let Finding::Present(found) = lookup(&shop, "KF-250", "1") else {
        panic!("it has arrived")
    };
    let now: Value = serde_json::from_str(&found.payload.unwrap()).unwrap();
    assert_eq!(now, json!({ "sku": "KF-250", "quantity": 10 }));
    assert_eq!(
        lookup(&shop, "KF-250", "2"),
        Finding::Undecided,
        "nothing is known of another version"
    );
}

#[test]
fn a_failure_before_anything_was_written_stands_for_the_batch() {
    let shop = shop(&json!({})).script(
        Script::new()
            .expect(asks(&json!({})))
            .reply_with(fixture("wrong_key"))
            .then(located())
            .expect(asks(&json!({})))
            .lost()
            .then(located())
            .expect(finds(&["KF-250"]))
            .reply(200, variants(&[("1", "KF-250", 480)]))
            .expect(sets(&[("1", 10)]))
            .reply_with(fixture("forbidden")),
    );
    let write = || shop.write("stock", vec![level("KF-250", 10.0)]).unwrap_err();
    assert_eq!(write().code(), "auth");
    let cut_off = write();
    assert_eq!(cut_off.code(), "transient");
    assert!(!cut_off.maybe_sent(), "a lookup writes nothing");
    assert_eq!(write().code(), "auth");
}

#[test]
fn the_location_has_to_be_one_that_there_is() {
    let two = json!({ "data": { "stockLocations": { "items": [
        { "id": "1", "name": "Halle" }, { "id": "2", "name": "Laden" } ] } } });
    let ask = || asks(&json!({}));
    let several = shop(&json!({})).script(Script::new().expect(ask()).reply(200, &two));
    let error = several.write("stock", vec![level("KF-250", 1.0)]).unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("config", Some("/stock_location"))
    );
    assert!(error.message().contains("`Halle`, `Laden`"), "{error}");
    several.finish();

    let wrong =
        shop(&json!({ "stock_location": "Keller" })).script(Script::new().expect(ask()).reply(200, &two));
    let error = wrong.write("stock", vec![level("KF-250", 1.0)]).unwrap_err();
    assert!(error.message().contains("no stock location `Keller`"), "{error}");
    wrong.finish();

    let by_id = shop(&json!({ "stock_location": "2" })).script(
        Script::new()
            .expect(ask())
            .reply(200, &two)
            .expect(ask())
            .reply(200, variants(&[("1", "KF-250", 480)])),
    );
    let outcomes = by_id.write("stock", vec![level("KF-250", 7.0)]).unwrap();
    assert_eq!(
        outcomes,
        [Outcome::duplicate("1")],
        "the level of that location counts"
    );
    assert!(data("stock_locations")["stockLocations"]["items"].is_array());
}
