//! Sales: each once, and to the cent.

use crate::{calls, calls_with, erp, fixture, record, refusal, result, then};
use serde_json::{Value, json};
use stecker_sdk::testing::Script;
use stecker_sdk::{Finding, LookupItem, Outcome, Record};

const SEARCH: &str = "model.sale.sale.search_read";
const CREATE: &str = "model.sale.sale.create";
const QUOTE: &str = "model.sale.sale.quote";
const CONFIRM: &str = "model.sale.sale.confirm";

fn sale(reference: &str) -> Value {
    json!({
        "reference": reference, "currency": "EUR", "total": "53.91", "date": "2026-11-21T20:55:04.893Z",
        "party": { "code": "V-17", "name": "Erika Beispiel", "email": "erika@example.com" },
        "invoice_address": { "name": "Beispiel & Töchter GmbH", "street": "Hauptstraße 1\nHinterhaus",
            "postal_code": "53111", "city": "Bonn", "country": "DE" },
        "lines": [
            { "sku": "BE-BL", "description": "Becher", "quantity": 3, "total": "38.95" },
            { "description": "Shipping", "quantity": 1, "total": "14.96" },
        ],
    })
}

fn sale_record(reference: &str) -> Record {
    record("sales", reference, &sale(reference))
}

fn row(id: i64, reference: &str, state: &str, total: &str) -> Value {
    json!({ "id": id, "reference": reference, "number": null, "state": state,
        "total_amount": { "__class__": "Decimal", "decimal": total }, "currency.": { "id": 1, "code": "EUR" } })
}

fn product(id: i64, code: &str) -> Value {
    json!({ "id": id, "code": code, "sale_uom": 1, "template.": { "id": id, "name": code, "list_price": null } })
}

/// Everything that the sale needs is there.
fn all_there(script: Script) -> Script {
    let party = json!([{ "id": 2, "code": "V-17", "name": "Erika Beispiel", "contact_mechanisms.": [] }]);
    let mut addresses = result("find_addresses");
    addresses[0]["country."] = json!({ "id": 1, "code": "DE" });
    let script = script
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_payment_term"));
    let script = then(
        script,
        calls("model.product.product.search_read"),
        &json!([product(12, "BE-BL")]),
    );
    let script = then(script, calls("model.party.party.search_read"), &party);
    then(script, calls("model.party.address.search_read"), &addresses)
}

fn none_there() -> Script {
    then(Script::new(), calls(SEARCH), &json!([]))
}

fn booked(script: Script, id: i64, reference: &str) -> Script {
    let script = script
        .expect(calls_with(QUOTE, &json!([[id]])))
        .reply_with(fixture("quote_sale"))
        .expect(calls_with(CONFIRM, &json!([[id]])))
        .reply_with(fixture("confirm_sale"));
    then(
        script,
        calls(SEARCH),
        &json!([row(id, reference, "processing", "53.91")]),
    )
}

fn create_values(reference: &str) -> Value {
    json!({
        "party": 2, "reference": reference, "description": null, "payment_term": 10,
        "sale_date": { "__class__": "date", "year": 2026, "month": 11, "day": 21 },
        "invoice_address": 2, "shipment_address": 2,
        "lines": [["create", [
            { "type": "line", "quantity": 3.0, "unit_price": { "__class__": "Decimal", "decimal": "12.9833" },
              "description": "Becher", "product": 12, "unit": 1 },
            { "type": "line", "quantity": 1.0, "unit_price": { "__class__": "Decimal", "decimal": "14.9600" },
              "description": "Shipping" },
        ]]],
    })
}

fn external_id(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Delivered(receipt) | Outcome::Duplicate(receipt) => receipt.external_id.as_deref().unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_sale_is_created_quoted_confirmed_and_read_back() {
    let script = all_there(none_there())
        .expect(calls_with(CREATE, &json!([[create_values("ORDER-1")]])))
        .reply_with(fixture("create_sale"));
    let script = then(
        script,
        calls(SEARCH),
        &json!([row(1, "ORDER-1", "draft", "53.91")]),
    );
    let erp = erp(&json!({})).script(booked(script, 1, "ORDER-1"));
    let outcomes = erp.write("sales", vec![sale_record("ORDER-1")]).unwrap();
    let Outcome::Delivered(receipt) = &outcomes[0] else {
        panic!("{outcomes:?}")
    };
    assert_eq!(receipt.external_id.as_deref(), Some("1"));
    assert!(
        receipt
            .attributes
            .contains(&("state".to_owned(), "processing".to_owned()))
    );
    assert!(
        receipt
            .attributes
            .contains(&("total".to_owned(), "53.91".to_owned()))
    );
}

#[test]
fn what_a_sale_needs_is_made_when_it_is_missing() {
    let script = none_there()
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_payment_term"));
    let script = then(script, calls("model.product.product.search_read"), &json!([]))
        .expect(calls("model.product.uom.search_read"))
        .reply_with(fixture("find_unit"))
        .expect(calls("model.product.category.search_read"))
        .reply_with(fixture("find_account_category"))
        .expect(calls_with(
            "model.product.template.create",
            &json!([[{ "name": "Becher", "type": "goods", "default_uom": 1, "salable": true, "sale_uom": 1,
                "list_price": { "__class__": "Decimal", "decimal": "12.9833" }, "account_category": 1,
                "products": [["create", [{ "suffix_code": "BE-BL" }]]] }]]),
        ))
        .reply_with(fixture("create_product"));
    let script = then(
        script,
        calls("model.product.product.search_read"),
        &json!([product(12, "BE-BL")]),
    );
    let script = then(script, calls("model.party.party.search_read"), &json!([]))
        .expect(calls("model.party.contact_mechanism.search_read"))
        .reply_with(fixture("find_party_by_email_none"))
        .expect(calls_with(
            "model.party.party.create",
            &json!([[{ "name": "Erika Beispiel", "code": "V-17",
                "contact_mechanisms": [["create", [{ "type": "email", "value": "erika@example.com" }]]] }]]),
        ))
        .reply_with(fixture("create_party"));
    let script = then(script, calls("model.party.address.search_read"), &json!([]))
        .expect(calls("model.country.country.search_read"))
        .reply_with(fixture("find_countries"));
    let script = then(
        script,
        calls_with(
            "model.party.address.create",
            &json!([[{ "party": 2, "party_name": "Beispiel & Töchter GmbH", "street": "Hauptstraße 1\nHinterhaus",
                "postal_code": "53111", "city": "Bonn", "country": 1 }]]),
        ),
        &json!([2]),
    )
    .expect(calls_with(CREATE, &json!([[create_values("ORDER-1")]])))
    .reply_with(fixture("create_sale"));
    let script = then(
        script,
        calls(SEARCH),
        &json!([row(1, "ORDER-1", "draft", "53.91")]),
    );
    let erp = erp(&json!({})).script(booked(script, 1, "ORDER-1"));
    let outcomes = erp.write("sales", vec![sale_record("ORDER-1")]).unwrap();
    assert!(matches!(outcomes[0], Outcome::Delivered(_)), "{outcomes:?}");
}

#[test]
fn a_party_is_known_by_its_mail_address_where_its_code_is_not() {
    let script = none_there()
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_payment_term"));
    let script = then(
        script,
        calls("model.product.product.search_read"),
        &json!([product(12, "BE-BL")]),
    );
    let script = then(script, calls("model.party.party.search_read"), &json!([]))
        .expect(calls("model.party.contact_mechanism.search_read"))
        .reply_with(fixture("find_party_by_email"));
    let mut addresses = result("find_addresses");
    addresses[0]["country."] = json!({ "id": 1, "code": "DE" });
    let script = then(script, calls("model.party.address.search_read"), &addresses)
        .expect(calls_with(CREATE, &json!([[create_values("ORDER-1")]])))
        .reply_with(fixture("create_sale"));
    let script = then(
        script,
        calls(SEARCH),
        &json!([row(1, "ORDER-1", "draft", "53.91")]),
    );
    let erp = erp(&json!({})).script(booked(script, 1, "ORDER-1"));
    let outcomes = erp.write("sales", vec![sale_record("ORDER-1")]).unwrap();
    assert_eq!(external_id(&outcomes[0]), "1");
}

#[test]
fn what_is_there_is_recognised_and_a_draft_is_continued() {
    let there = json!([
        row(1, "A", "processing", "53.91"),
        row(2, "B", "draft", "53.91"),
        row(3, "C", "quotation", "53.91"),
        row(4, "D", "cancelled", "53.91"),
        row(5, "E", "processing", "53.90"),
        row(6, "F", "done", "53.91"),
        row(7, "F", "confirmed", "53.91"),
        row(8, "G", "cancelled", "1.00"),
        row(9, "G", "done", "53.91"),
    ]);
    let script = then(Script::new(), calls(SEARCH), &there)
        .expect(calls_with(QUOTE, &json!([[2]])))
        .reply_with(fixture("quote_sale"))
        .expect(calls_with(CONFIRM, &json!([[3, 2]])))
        .reply_with(fixture("confirm_sale"));
    let now = json!([
        row(3, "C", "processing", "53.91"),
        row(2, "B", "confirmed", "53.91")
    ]);
    let erp = erp(&json!({})).script(then(script, calls(SEARCH), &now));
    let batch = ["A", "B", "C", "D", "E", "F", "G"].map(sale_record).to_vec();
    let outcomes = erp.write("sales", batch).unwrap();
    assert!(matches!(outcomes[0], Outcome::Duplicate(_)));
    assert!(matches!(outcomes[1], Outcome::Delivered(_)));
    assert!(matches!(outcomes[2], Outcome::Delivered(_)));
    assert!(
        matches!(outcomes[3], Outcome::Duplicate(_)),
        "somebody cancelled it; it is not made again"
    );
    let differs = refusal(&outcomes[4]);
    assert_eq!(differs.code, "amount-differs");
    assert!(
        differs.reason.contains("53.90") && differs.reason.contains("53.91"),
        "{}",
        differs.reason
    );
    assert_eq!(refusal(&outcomes[5]).code, "ambiguous-reference");
    assert_eq!(external_id(&outcomes[6]), "9", "the cancelled one is history");
    assert!(erp.host().logs()[0].message.contains("could not process"));
}

#[test]
fn one_bad_sale_refuses_only_itself() {
    let good = |reference: &str| create_values(reference);
    let script = all_there(none_there())
        .expect(calls_with(CREATE, &json!([[good("A"), good("B"), good("C")]])))
        .reply_with(fixture("create_sale_without_party"));
    let script = then(script, calls_with(CREATE, &json!([[good("A")]])), &json!([1]))
        .expect(calls_with(CREATE, &json!([[good("B")]])))
        .reply_with(fixture("create_sale_without_party"));
    let script = then(script, calls_with(CREATE, &json!([[good("C")]])), &json!([3]));
    let drafts = json!([row(3, "C", "draft", "53.91"), row(1, "A", "draft", "53.91")]);
    let script = then(script, calls(SEARCH), &drafts)
        .expect(calls_with(QUOTE, &json!([[1, 3]])))
        .reply_with(fixture("quote_sale_without_address"))
        .expect(calls_with(QUOTE, &json!([[1]])))
        .reply_with(fixture("quote_sale"))
        .expect(calls_with(QUOTE, &json!([[3]])))
        .reply_with(fixture("quote_sale_without_address"));
    // What this call made and Tryton does not want is taken back.
    let script = then(
        script,
        calls_with("model.sale.sale.cancel", &json!([[3]])),
        &Value::Null,
    );
    let script = then(
        script,
        calls_with("model.sale.sale.delete", &json!([[3]])),
        &Value::Null,
    )
    .expect(calls_with(CONFIRM, &json!([[1]])))
    .reply_with(fixture("confirm_sale"));
    let erp = erp(&json!({})).script(then(
        script,
        calls(SEARCH),
        &json!([row(1, "A", "processing", "53.91")]),
    ));
    let outcomes = erp
        .write("sales", ["A", "B", "C"].map(sale_record).to_vec())
        .unwrap();
    assert_eq!(external_id(&outcomes[0]), "1");
    let refused = refusal(&outcomes[1]);
    assert_eq!(refused.code, "refused");
    assert!(
        refused.reason.contains("A value is required for field"),
        "{}",
        refused.reason
    );
    assert!(refusal(&outcomes[2]).reason.contains("invoice address"));
}

#[test]
fn a_draft_that_comes_to_another_amount_is_taken_back() {
    let script = then(all_there(none_there()), calls(CREATE), &json!([1]));
    let script = then(
        script,
        calls(SEARCH),
        &json!([row(1, "ORDER-1", "draft", "64.15")]),
    );
    let script = then(
        script,
        calls_with("model.sale.sale.cancel", &json!([[1]])),
        &Value::Null,
    )
    .expect(calls_with("model.sale.sale.delete", &json!([[1]])))
    .reply_with(fixture("forbidden_button"));
    let erp = erp(&json!({})).script(script);
    let outcomes = erp.write("sales", vec![sale_record("ORDER-1")]).unwrap();
    let refused = refusal(&outcomes[0]);
    assert_eq!(
        (refused.code.as_str(), refused.path.as_deref()),
        ("amount-differs", Some("/total"))
    );
    for part in ["64.15", "53.91", "could not be taken back", "is not allowed"] {
        assert!(refused.reason.contains(part), "{part} in: {}", refused.reason);
    }
}

#[test]
fn lost_answers_are_unknown_until_the_reference_is_looked_for() {
    let created = || then(all_there(none_there()), calls(CREATE), &json!([1]));
    let draft = json!([row(1, "ORDER-1", "draft", "53.91")]);
    let lookup = |state: &str| {
        then(
            Script::new(),
            calls(SEARCH),
            &json!([row(1, "ORDER-1", state, "53.91")]),
        )
    };
    let erp = erp(&json!({})).script(
        all_there(none_there())
            .expect(calls(CREATE))
            .lost()
            .then(none_there())
            .then(
                then(created(), calls(SEARCH), &draft)
                    .expect(calls(QUOTE))
                    .reply_with(fixture("quote_sale")),
            )
            .then(Script::new().expect(calls(CONFIRM)).lost())
            .then(lookup("quotation"))
            .then(lookup("processing"))
            .then(created().expect(calls(SEARCH)).lost()),
    );
    let write = || {
        erp.write("sales", vec![sale_record("ORDER-1")])
            .unwrap()
            .remove(0)
    };
    let find = || {
        let item = LookupItem {
            key: "ORDER-1".to_owned(),
            idempotency_key: "k".to_owned(),
            source_version: "1".to_owned(),
        };
        erp.lookup("sales", vec![item]).unwrap().remove(0)
    };
    assert!(matches!(write(), Outcome::Unknown(_)), "the draft may be there");
    assert_eq!(find(), Finding::Absent);
    assert!(matches!(write(), Outcome::Unknown(_)), "it may be confirmed");
    assert_eq!(find(), Finding::Absent, "a quotation is to be gone on with");
    let Finding::Present(found) = find() else { panic!() };
    let now: Value = serde_json::from_str(&found.payload.unwrap()).unwrap();
    assert_eq!(
        (&now["total"], &now["currency"]),
        (&json!("53.91"), &json!("EUR"))
    );
    let Outcome::Retry(error) = write() else { panic!() };
    assert!(error.message().contains("could not be read back"), "{error}");
}

#[test]
fn bad_payloads_are_refused_with_their_place_before_anything_is_asked() {
    let with = |pointer: &str, value: Value| {
        let mut payload = sale("A");
        *payload.pointer_mut(pointer).unwrap() = value;
        record("sales", "A", &payload)
    };
    let erp = erp(&json!({}));
    let cases = [
        (with("/reference", json!("B")), "key-mismatch", "/reference"),
        (with("/total", json!("53.92")), "unbalanced", "/total"),
        (with("/total", json!("53,91")), "not-an-amount", "/total"),
        (
            with("/lines/0/total", json!("38.951")),
            "not-an-amount",
            "/lines/0/total",
        ),
        (
            with("/lines/0/quantity", json!(0)),
            "not-a-quantity",
            "/lines/0/quantity",
        ),
        (
            with("/lines/0/quantity", json!(1.23456)),
            "not-a-quantity",
            "/lines/0/quantity",
        ),
        (
            with("/lines/0/quantity", json!("3")),
            "payload",
            "/lines/0/quantity",
        ),
        (
            with("/lines/0/quantity", json!(1_234_567.5)),
            "not-divisible",
            "/lines/0/total",
        ),
        (with("/lines", json!([])), "no-lines", "/lines"),
        (with("/party/code", json!(" ")), "no-code", "/party/code"),
        (with("/date", json!("yesterday")), "not-a-day", "/date"),
    ];
    let (batch, expected): (Vec<Record>, Vec<(&str, &str)>) = cases
        .into_iter()
        .map(|(record, code, path)| (record, (code, path)))
        .unzip();
    let outcomes = erp.write("sales", batch).unwrap();
    for (outcome, (code, path)) in outcomes.iter().zip(expected) {
        let refused = refusal(outcome);
        assert_eq!(
            (refused.code.as_str(), refused.path.as_deref()),
            (code, Some(path)),
            "{}",
            refused.reason
        );
    }
    let gone = erp
        .write("sales", vec![Record::delete("sales", "A", "2")])
        .unwrap();
    assert_eq!(refusal(&gone[0]).code, "delete-unsupported");
    let unbalanced = &outcomes[1];
    assert!(refusal(unbalanced).reason.contains("53.91") && refusal(unbalanced).reason.contains("53.92"));
}

#[test]
fn an_unknown_product_or_country_refuses_the_sale_that_has_it() {
    let script = none_there()
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_payment_term"));
    let script = then(
        script,
        calls("model.product.product.search_read"),
        &json!([product(12, "BE-BL")]),
    );
    let party = json!([{ "id": 2, "code": "V-17", "name": "Erika Beispiel", "contact_mechanisms.": [] }]);
    let script = then(script, calls("model.party.party.search_read"), &party);
    let script = then(script, calls("model.party.address.search_read"), &json!([]));
    let script = then(
        script,
        calls("model.country.country.search_read"),
        &json!([{ "id": 1, "code": "DE" }]),
    );
    let script = then(script, calls("model.party.address.create"), &json!([2]));
    let script = then(script, calls(CREATE), &json!([1]));
    let script = then(script, calls(SEARCH), &json!([row(1, "A", "draft", "53.91")]));
    let erp = erp(&json!({ "create_missing_products": false })).script(booked(script, 1, "A"));
    let mut no_product = sale("B");
    no_product["lines"][0]["sku"] = json!("NONE");
    let mut no_country = sale("C");
    no_country["invoice_address"]["country"] = json!("zz");
    let batch = vec![
        sale_record("A"),
        record("sales", "B", &no_product),
        record("sales", "C", &no_country),
    ];
    let outcomes = erp.write("sales", batch).unwrap();
    assert_eq!(external_id(&outcomes[0]), "1");
    let product = refusal(&outcomes[1]);
    assert_eq!(
        (product.code.as_str(), product.path.as_deref()),
        ("unknown-product", Some("/lines/0/sku"))
    );
    let country = refusal(&outcomes[2]);
    assert_eq!(
        (country.code.as_str(), country.path.as_deref()),
        ("unknown-country", Some("/invoice_address/country"))
    );
}

#[test]
fn the_same_sale_twice_in_a_batch_is_written_once() {
    let script = then(all_there(none_there()), calls(CREATE), &json!([1]));
    let script = then(script, calls(SEARCH), &json!([row(1, "A", "draft", "53.91")]));
    let script = booked(script, 1, "A");
    let erp = erp(&json!({})).script(then(
        script,
        calls(SEARCH),
        &json!([row(1, "A", "processing", "53.91")]),
    ));
    let outcomes = erp
        .write("sales", vec![sale_record("A"), sale_record("A")])
        .unwrap();
    assert!(matches!(outcomes[0], Outcome::Delivered(_)));
    assert!(matches!(outcomes[1], Outcome::Duplicate(_)));
}
