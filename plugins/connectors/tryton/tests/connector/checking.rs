//! What can be known before a flow runs.

use crate::{calls, erp, fixture, then};
use serde_json::json;
use stecker_sdk::testing::{Harness, Script};
use tryton::Tryton;

fn failed(erp: &Harness<Tryton>) -> Vec<String> {
    let probes = erp.check().unwrap().into_iter().filter(|probe| !probe.ok);
    probes
        .map(|probe| format!("{}: {}", probe.name, probe.message))
        .collect()
}

fn rights(mut script: Script) -> Script {
    for model in ["sale.sale", "party.party", "product.product", "stock.move"] {
        script = then(
            script,
            calls(&format!("model.{model}.search_read")),
            &json!([{ "id": 1 }]),
        );
    }
    script
}

fn user() -> Script {
    Script::new()
        .expect(calls("model.res.user.get_preferences"))
        .reply_with(fixture("check"))
}

#[test]
fn an_erp_that_is_set_up_passes() {
    let script = rights(user())
        .expect(calls("model.stock.location.search_read"))
        .reply_with(fixture("find_warehouses"))
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_payment_term"))
        .expect(calls("model.product.uom.search_read"))
        .reply_with(fixture("find_unit"))
        .expect(calls("model.product.category.search_read"))
        .reply_with(fixture("find_account_category"));
    let erp = erp(&json!({})).script(script);
    assert_eq!(failed(&erp), Vec::<String>::new());
    assert_eq!(erp.describe().upstream[0].api_version, "8.2");
    assert_eq!(erp.discover().unwrap().len(), 5);
}

#[test]
fn each_thing_that_is_wrong_is_said() {
    let none = json!([]);
    let script = rights(user())
        .expect(calls("model.stock.location.search_read"))
        .reply_with(fixture("find_warehouses"))
        .expect(calls("model.account.invoice.payment_term.search_read"))
        .reply_with(fixture("find_sale_none"));
    let script = then(script, calls("model.stock.location.search_read"), &none);
    let script = then(script, calls("model.product.uom.search_read"), &none);
    let config = json!({ "stock_locations": ["NIX"], "warehouse": "W2", "unit": "kg" });
    let erp = erp(&config).script(script);
    let failed = failed(&erp);
    assert_eq!(failed.len(), 4, "{failed:?}");
    for (line, part) in failed.iter().zip(["`NIX`", "`Vorkasse`", "`W2`", "`kg`"]) {
        assert!(line.contains(part), "{line}");
    }
}

#[test]
fn one_wrong_password_is_enough() {
    // Nothing more is asked: every further call would count as one more wrong password.
    let wrong = erp(&json!({})).script(
        Script::new()
            .expect(calls("model.res.user.get_preferences"))
            .reply_with(fixture("wrong_password")),
    );
    let failed = failed(&wrong);
    assert_eq!(failed.len(), 1);
    assert!(
        failed[0].contains("refuses the user or the password"),
        "{failed:?}"
    );
}

#[test]
fn another_company_and_a_configuration_out_of_bounds_are_refused() {
    let other = erp(&json!({ "company": 7 })).script(
        Script::new()
            .expect(calls("model.res.user.get_preferences"))
            .reply_with(fixture("check")),
    );
    assert!(failed(&other)[0].contains("does not work for company 7"));
    other.finish();
    for (field, value) in [("company", 0), ("overlap_seconds", 0)] {
        let erp = erp(&json!({ field: value }));
        let error = erp.read("stock").page().unwrap_err();
        assert_eq!(
            (error.code(), error.detail_of("path")),
            ("config", Some(format!("/{field}").as_str()))
        );
    }
}
