//! Every way in which a call can fail.

use crate::{calls, erp, fixture, record, refusal, result, then};
use serde_json::{Value, json};
use stecker_sdk::Outcome;
use stecker_sdk::testing::{Reply, Script};

const SEARCH: &str = "model.product.product.search_read";
const WRITE: &str = "model.product.template.write";

fn error_body(kind: &str, said: &Value) -> Value {
    json!({ "id": 1, "error": [kind, said] })
}

#[test]
fn while_nothing_is_written_a_failure_stands_for_the_batch() {
    let replies = [
        (fixture("wrong_password"), "auth"),
        (fixture("unknown_method"), "auth"),
        (fixture("unknown_database"), "config"),
        (Reply::bytes(404, "<h1>Not Found</h1>"), "config"),
        (Reply::status(429).header("retry-after", 20), "rate-limited"),
        (Reply::bytes(503, "<h1>database is locked</h1>"), "transient"),
        (Reply::bytes(409, "<h1>Conflict</h1>"), "transient"),
        (Reply::bytes(200, "<html>"), "schema"),
        (fixture("unknown_model"), "transient"),
        (
            Reply::json(200, error_body("ConcurrencyException", &json!("changed"))),
            "transient",
        ),
        (
            Reply::json(200, error_body("LoginException", &json!(["code", "", "char"]))),
            "auth",
        ),
        (fixture("forbidden_model"), "data"),
    ];
    for (reply, code) in replies {
        let erp = erp(&json!({})).script(Script::new().expect(calls(SEARCH)).reply_with(reply));
        let product = record("products", "BE-BL", &json!({ "sku": "BE-BL", "name": "Becher" }));
        let error = erp.write("products", vec![product]).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert!(!error.maybe_sent(), "reading writes nothing: {error}");
    }
}

#[test]
fn while_one_is_written_a_failure_is_sorted_into_its_outcome() {
    let warning = error_body("UserWarning", &json!(["price_1", "The price is low.", "Really?"]));
    let cases: [(Reply, &str); 5] = [
        (fixture("create_sale_too_many_digits"), "rejected refused"),
        (Reply::json(200, warning), "rejected warning"),
        (fixture("create_sale_unknown_field"), "retry"),
        (
            Reply::json(200, error_body("ConcurrencyException", &json!("x"))),
            "retry",
        ),
        (Reply::bytes(502, "bad gateway"), "retry"),
    ];
    for (reply, expected) in cases {
        let rows = result("find_products");
        let mut rows = rows.clone();
        rows[0]["template."]["list_price"] = json!({ "__class__": "Decimal", "decimal": "10.91" });
        rows[0]["sale_uom"] = json!(1);
        let script = then(Script::new(), calls(SEARCH), &rows);
        let erp = erp(&json!({})).script(script.expect(calls(WRITE)).reply_with(reply));
        let product = record(
            "products",
            "BE-BL",
            &json!({ "sku": "BE-BL", "name": "Becher blau" }),
        );
        let outcome = erp.write("products", vec![product]).unwrap().remove(0);
        let got = match &outcome {
            Outcome::Rejected(rejection) => format!("rejected {}", rejection.code),
            Outcome::Retry(_) => "retry".to_owned(),
            other => format!("{other:?}"),
        };
        assert_eq!(got, expected, "{outcome:?}");
        if expected.starts_with("rejected") {
            assert!(!refusal(&outcome).reason.is_empty());
        }
    }
}

#[test]
fn unknown_streams_are_named() {
    let erp = erp(&json!({}));
    let written = erp.write("stock", Vec::new()).unwrap_err();
    assert!(
        written.message().contains("parties, products, sales"),
        "{written}"
    );
    let read = erp.read("sales").page().unwrap_err();
    assert!(read.message().contains("stock, shipments"), "{read}");
}
