//! What there is of sales, for comparing.

use serde_json::{Value, json};
use stecker_sdk::{Question, testing::Script};

use crate::{answer, calls_with, erp};

const SEARCH: &str = "model.sale.sale.search_read";

fn row(id: i64, reference: &str, state: &str, total: &str) -> Value {
    json!({
        "id": id, "reference": reference, "number": null, "state": state,
        "total_amount": { "__class__": "Decimal", "decimal": total }, "currency.": { "id": 1, "code": "EUR" },
    })
}

#[test]
fn sales_are_listed_by_reference_and_a_reference_is_never_cut() {
    let first = json!([
        row(1, "A", "processing", "9.90"),
        row(4, "B", "draft", "1.00"),
        row(2, "C", "done", "5.00")
    ]);
    let second = json!([row(2, "C", "done", "5.00"), row(3, "C", "cancelled", "5.00"),]);
    let order = json!([["reference", "ASC"], ["id", "ASC"]]);
    let fields = json!(["reference", "number", "state", "total_amount", "currency.code"]);
    let page = |domain: Value| calls_with(SEARCH, &json!([domain, 0, 3, order, fields]));
    let script = Script::new()
        .expect(page(json!([["reference", "!=", null]])))
        .reply(200, answer(&first))
        .expect(page(json!([["reference", "!=", null], ["reference", ">", "B"]])))
        .reply(200, answer(&second));
    let erp = erp(&json!({})).script(script);
    let question = Question::everything("sales", &["/total", "/currency"]);
    let entries = erp.list_keys(&question, 3).unwrap();
    let found: Vec<_> = entries
        .iter()
        .map(|entry| (entry.key.as_str(), entry.copies, entry.external_id.as_deref()))
        .collect();
    assert_eq!(
        found,
        [("A", 1, Some("1")), ("C", 2, Some("2"))],
        "a draft is not there yet"
    );
    let written = json!({ "reference": "A", "total": "9.90", "currency": "EUR", "lines": [] });
    assert_eq!(entries[0].digest, question.digest_of(&written).unwrap());
}

#[test]
fn what_a_sale_does_not_keep_as_it_was_written_is_not_compared() {
    let erp = erp(&json!({}));
    for fields in [&[][..], &["/total", "/lines"]] {
        let error = erp
            .list_keys(&Question::everything("sales", fields), 100)
            .unwrap_err();
        assert_eq!(error.code(), "config");
        assert!(error.message().contains("/currency, /total"), "{error}");
    }
    let of_parties = Question::everything("parties", &[]);
    assert_eq!(erp.list_keys(&of_parties, 100).unwrap_err().code(), "unsupported");
}
