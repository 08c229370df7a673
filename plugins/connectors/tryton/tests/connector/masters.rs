//! Parties and products as streams of their own.

use crate::{calls, calls_with, erp, fixture, record, refusal, then};
use serde_json::{Value, json};
use stecker_sdk::testing::Script;
use stecker_sdk::{Finding, LookupItem, Outcome};

const PRODUCTS: &str = "model.product.product.search_read";
const PARTIES: &str = "model.party.party.search_read";

fn product_row(id: i64, code: &str, name: &str, price: &str) -> Value {
    json!({ "id": id, "code": code, "sale_uom": 1, "template.": { "id": id + 100, "name": name,
        "list_price": { "__class__": "Decimal", "decimal": price } } })
}

fn product(sku: &str, name: &str, price: &str) -> Value {
    json!({ "sku": sku, "name": name, "list_price": price })
}

fn looked_up(key: &str) -> LookupItem {
    LookupItem {
        key: key.to_owned(),
        idempotency_key: "k".to_owned(),
        source_version: "1".to_owned(),
    }
}

#[test]
fn products_are_created_changed_or_left_as_they_are() {
    let rows = json!([
        product_row(1, "A", "Alt", "1.0000"),
        product_row(2, "B", "Becher", "2.50")
    ]);
    let script = then(Script::new(), calls(PRODUCTS), &rows);
    let write =
        json!([[101], { "name": "Neu", "list_price": { "__class__": "Decimal", "decimal": "1.10" } }]);
    let script = then(
        script,
        calls_with("model.product.template.write", &write),
        &Value::Null,
    )
    .expect(calls("model.product.uom.search_read"))
    .reply_with(fixture("find_unit"))
    .expect(calls("model.product.category.search_read"))
    .reply_with(fixture("find_account_category"))
    .expect(calls("model.product.template.create"))
    .reply_with(fixture("create_product_code_taken"));
    let script = then(script, calls(PRODUCTS), &json!([]));
    let erp = erp(&json!({})).script(script);
    let batch = [
        product("A", "Neu", "1.10"),
        product("B", "Becher", "2.5"),
        product("C", "Neues", "3"),
        product("D", "Teuer", "1.23456"),
    ];
    let batch = batch
        .iter()
        .map(|payload| record("products", payload["sku"].as_str().unwrap(), payload));
    let outcomes = erp.write("products", batch.collect()).unwrap();
    assert_eq!(outcomes[0], Outcome::delivered("1"));
    assert_eq!(outcomes[1], Outcome::duplicate("2"));
    assert!(refusal(&outcomes[2]).reason.contains("must be unique"));
    assert_eq!(refusal(&outcomes[3]).path.as_deref(), Some("/list_price"));
}

#[test]
fn products_are_not_created_where_that_is_not_wanted_or_not_configured() {
    let script = || then(Script::new(), calls(PRODUCTS), &json!([]));
    let without = erp(&json!({ "create_missing_products": false })).script(script());
    let batch = || vec![record("products", "A", &product("A", "Neu", "1"))];
    let outcomes = without.write("products", batch()).unwrap();
    assert_eq!(refusal(&outcomes[0]).code, "unknown-product");
    without.finish();

    let script = script()
        .expect(calls("model.product.uom.search_read"))
        .reply_with(fixture("find_unit"));
    let unnamed = erp(&json!({ "category": null })).script(script);
    let error = unnamed.write("products", batch()).unwrap_err();
    assert_eq!(
        (error.code(), error.detail_of("path")),
        ("config", Some("/category"))
    );
}

#[test]
fn parties_are_created_changed_or_left_as_they_are() {
    let rows = json!([
        { "id": 2, "code": "V-1", "name": "Alt", "contact_mechanisms.": [{ "id": 1, "type": "email", "value": "A@b.example" }] },
        { "id": 3, "code": "V-2", "name": "Bert", "contact_mechanisms.": [{ "id": 2, "type": "email", "value": "Bert@b.example" }] },
        { "id": 4, "code": "V-3", "name": "Carla", "contact_mechanisms.": [] },
    ]);
    let script = then(Script::new(), calls(PARTIES), &rows)
        .expect(calls("model.party.contact_mechanism.search_read"))
        .reply_with(fixture("find_party_by_email_none"));
    let script = then(script, calls("model.party.party.create"), &json!([5]));
    let address = json!([{ "id": 9, "party": 3, "party_name": null, "street": "Hauptstraße 1", "postal_code": null,
        "city": "Bonn", "country.": null }]);
    let script = then(script, calls("model.party.address.search_read"), &address);
    let changes = json!([
        [2], { "name": "Anna", "contact_mechanisms": [["create", [{ "type": "email", "value": "anna@b.example" }]]] }
    ]);
    let script = then(script, calls("model.party.address.create"), &json!([10]));
    let script = then(
        script,
        calls_with("model.party.party.write", &changes),
        &Value::Null,
    );
    let erp = erp(&json!({})).script(script);
    let home = json!([{ "street": " Hauptstraße 1", "city": "Bonn" }]);
    let batch = [
        json!({ "code": "V-1", "name": "Anna", "email": "anna@b.example" }),
        json!({ "code": "V-2", "name": "Bert", "email": "bert@b.example", "addresses": home }),
        json!({ "code": "V-3", "name": "Carla", "addresses": home }),
        json!({ "code": "V-4", "name": "Neu", "email": "neu@b.example", "phone": "0228 / 1" }),
        json!({ "code": "", "name": "Niemand" }),
    ];
    let batch = batch
        .iter()
        .map(|payload| record("parties", "x", payload))
        .collect();
    let outcomes = erp.write("parties", batch).unwrap();
    assert_eq!(outcomes[0], Outcome::delivered("2"));
    assert_eq!(outcomes[1], Outcome::duplicate("3"));
    assert_eq!(outcomes[2], Outcome::delivered("4"), "it has a new address");
    assert_eq!(outcomes[3], Outcome::delivered("5"));
    assert_eq!(refusal(&outcomes[4]).path.as_deref(), Some("/code"));
}

#[test]
fn a_code_that_somebody_took_meanwhile_refuses_only_that_party() {
    let script = then(Script::new(), calls(PARTIES), &json!([]))
        .expect(calls("model.party.party.create"))
        .reply_with(fixture("create_party_code_taken"))
        .expect(calls("model.party.party.create"))
        .reply_with(fixture("create_party_code_taken"));
    let script = then(script, calls("model.party.party.create"), &json!([7]));
    let erp = erp(&json!({})).script(script);
    let batch = ["V-1", "V-2"].map(|code| record("parties", code, &json!({ "code": code, "name": "N" })));
    let outcomes = erp.write("parties", batch.to_vec()).unwrap();
    assert!(refusal(&outcomes[0]).reason.contains("must be unique"));
    assert_eq!(outcomes[1], Outcome::delivered("7"));
}

#[test]
fn lookup_says_who_is_missing_and_leaves_the_rest_open() {
    let script = then(
        Script::new(),
        calls(PARTIES),
        &json!([{ "id": 2, "code": "V-1", "name": "A" }]),
    );
    let script = then(script, calls(PRODUCTS), &json!([product_row(1, "A", "Alt", "1")]));
    let erp = erp(&json!({})).script(script);
    let parties = erp
        .lookup("parties", vec![looked_up("V-1"), looked_up("V-2")])
        .unwrap();
    assert_eq!(parties, [Finding::Undecided, Finding::Absent]);
    let products = erp
        .lookup("products", vec![looked_up("B"), looked_up("A")])
        .unwrap();
    assert_eq!(products, [Finding::Absent, Finding::Undecided]);
}
