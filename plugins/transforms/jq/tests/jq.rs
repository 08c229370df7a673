//! What the transform does to records, and how it says that a program or a record is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "helpers of tests may do what tests may"
)]

use serde_json::{Value, json};
use stecker_sdk::testing::Harness;
use stecker_sdk::{Error, Operation, Record, Rejection, Transformed};

fn order() -> Record {
    Record::upsert(
        "orders",
        "7",
        "00000000000000000003",
        &json!({
            "number": "SO-7", "total": "39.80", "weight": 0.10,
            "lines": [{"sku": "A", "quantity": 2}, {"sku": "B", "quantity": 1}],
        }),
    )
    .unwrap()
    .at(1_767_268_800_000)
    .attribute("channel", "web")
}

fn apply(config: Value) -> Transformed {
    Harness::<jq::Jq>::new(config)
        .apply(vec![order()])
        .unwrap()
        .remove(0)
}

fn emitted(config: Value) -> Vec<(String, Value)> {
    match apply(config) {
        Transformed::Emit(records) => records
            .into_iter()
            .map(|record| (record.key, serde_json::from_str(&record.payload).unwrap()))
            .collect(),
        other => panic!("nothing was emitted: {other:?}"),
    }
}

fn rejected(config: Value) -> Rejection {
    match apply(config) {
        Transformed::Reject(rejection) => rejection,
        other => panic!("it was not rejected: {other:?}"),
    }
}

fn refused(config: Value) -> Error {
    Harness::<jq::Jq>::new(config).apply(vec![order()]).unwrap_err()
}

#[test]
fn an_object_is_reshaped_and_the_rest_of_the_record_stays() {
    let harness = Harness::<jq::Jq>::new(json!({"program": "{reference: .number, total, key: $record.key}"}));
    harness.describe();
    let answer = harness.apply(vec![order()]).unwrap();
    let expected = order()
        .with_payload(&json!({"reference": "SO-7", "total": "39.80", "key": "7"}))
        .unwrap();
    assert_eq!(answer, [Transformed::Emit(vec![expected])]);
}

#[test]
fn the_record_is_known_to_the_program() {
    let about = emitted(json!({"program": "$record"})).remove(0).1;
    assert_eq!(
        about,
        json!({
            "key": "7", "stream": "orders", "operation": "upsert", "event_time": 1_767_268_800_000_u64,
            "source_version": "00000000000000000003", "attributes": {"channel": "web"},
        })
    );
    let gone = Record::delete("orders", "7", "4");
    let harness = Harness::<jq::Jq>::new(json!({"program": "{gone: $record.operation}"}));
    match harness.apply(vec![gone]).unwrap().remove(0) {
        Transformed::Emit(records) => {
            assert_eq!(records[0].operation, Operation::Delete);
            assert_eq!(records[0].payload, r#"{"gone":"delete"}"#);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_record_becomes_several_under_keys_of_their_own() {
    let config = json!({"program": ".number as $n | .lines[] | . + {order: $n}", "key": r#""\(.order)/\(.sku)""#, "stream": "lines"});
    let lines = emitted(config);
    assert_eq!(
        lines,
        [
            (
                "SO-7/A".to_owned(),
                json!({"sku": "A", "quantity": 2, "order": "SO-7"})
            ),
            (
                "SO-7/B".to_owned(),
                json!({"sku": "B", "quantity": 1, "order": "SO-7"})
            ),
        ]
    );
    let rejection = rejected(json!({"program": ".lines[]"}));
    assert_eq!(
        rejection.code, "ambiguous-key",
        "or all but one would vanish silently"
    );
}

#[test]
fn no_output_drops_the_record() {
    assert!(matches!(
        apply(json!({"program": "select(.number == \"other\")"})),
        Transformed::Drop(_)
    ));
    assert!(matches!(apply(json!({"program": "empty"})), Transformed::Drop(_)));
}

#[test]
fn one_bad_record_is_rejected_and_the_others_are_not() {
    let bad = Record::upsert("orders", "8", "1", &json!({"number": 8})).unwrap();
    let harness = Harness::<jq::Jq>::new(
        json!({"program": "{n: (.number | ltrimstr(\"SO-\") | tonumber), l: .lines[0].sku | ascii_downcase}"}),
    );
    let answers = harness.apply(vec![bad, order()]).unwrap();
    match &answers[0] {
        Transformed::Reject(rejection) => assert_eq!(rejection.code, "transform-error"),
        other => panic!("{other:?}"),
    }
    assert!(matches!(answers[1], Transformed::Emit(_)));
    drop(harness);
    assert_eq!(
        rejected(json!({"program": "error(\"no \\(.number) today\")"})).reason,
        "no SO-7 today"
    );
}

#[test]
fn amounts_and_large_numbers_are_not_rounded() {
    let record = Record {
        payload: r#"{"id":9007199254740993,"price":19.90}"#.to_owned(),
        ..order()
    };
    let harness = Harness::<jq::Jq>::new(json!({"program": "{id, price, next: (.id + 1)}"}));
    match harness.apply(vec![record]).unwrap().remove(0) {
        Transformed::Emit(records) => {
            assert_eq!(
                records[0].payload,
                r#"{"id":9007199254740993,"price":19.90,"next":9007199254740994}"#
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_json_cannot_say_is_rejected() {
    assert_eq!(rejected(json!({"program": "{x: infinite}"})).code, "not-json");
    assert_eq!(rejected(json!({"program": "{x: nan}"})).code, "not-json");
}

#[test]
fn a_key_has_to_be_one_text_or_number() {
    assert_eq!(
        emitted(json!({"program": ".", "key": ".lines | length"}))[0].0,
        "2"
    );
    for key in [".lines", "empty", ".lines[].sku", "\"\"", "null"] {
        assert_eq!(
            rejected(json!({"program": ".", "key": key})).code,
            "bad-key",
            "{key}"
        );
    }
}

#[test]
fn a_program_that_does_not_compile_says_where() {
    for (program, line, column) in [
        ("{a: 1,\n b: }", "2", "5"),
        (".a |\n  upcase(.b)", "2", "3"),
        (".a | \"open", "1", "11"),
        ("$nope", "1", "1"),
        (".a & .b", "1", "4"),
        ("", "1", "1"),
    ] {
        let error = refused(json!({"program": program}));
        assert_eq!(error.code(), "config", "{program}");
        assert_eq!(
            (error.detail_of("line"), error.detail_of("column")),
            (Some(line), Some(column)),
            "{error}"
        );
        assert_eq!(error.detail_of("path"), Some("/program"));
    }
    assert_eq!(
        refused(json!({"program": ".", "key": "("})).detail_of("path"),
        Some("/key")
    );
}

#[test]
fn what_would_differ_between_two_runs_is_left_out() {
    for program in [
        "now",
        "env",
        "$ENV",
        "input",
        "[inputs]",
        "localtime",
        "halt",
        "halt_error",
        "include \"x\"; .",
    ] {
        let error = refused(json!({"program": program}));
        assert_eq!(error.code(), "config", "{program}: {error}");
    }
}

#[test]
fn debug_writes_to_the_log_and_changes_nothing() {
    let harness = Harness::<jq::Jq>::new(json!({"program": "debug | .number"}));
    assert!(matches!(
        harness.apply(vec![order()]).unwrap()[0],
        Transformed::Emit(_)
    ));
    assert!(
        harness
            .host()
            .logs()
            .iter()
            .any(|line| line.message.contains("SO-7"))
    );
}

#[test]
fn a_configuration_with_a_misspelt_field_is_refused() {
    let error = refused(json!({"program": ".", "kee": "."}));
    assert_eq!(error.code(), "config");
    assert!(error.message().contains("kee"), "{error}");
}
