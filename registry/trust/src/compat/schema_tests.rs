use serde_json::{Value, json};

use super::*;
use crate::compat::config_step;

/// `fine`, `broken` or `unclear`; broken before unclear.
fn outcome(old: &Value, new: &Value) -> &'static str {
    let found = compare(old, new);
    match (found.broken.is_empty(), found.unclear.is_empty()) {
        (true, true) => "fine",
        (false, _) => "broken",
        (true, false) => "unclear",
    }
}

#[expect(clippy::needless_pass_by_value, reason = "every caller makes it on the spot")]
fn object(properties: Value, required: &[&str], closed: bool) -> Value {
    let mut schema = json!({ "type": "object", "properties": properties, "required": required });
    if closed {
        schema["additionalProperties"] = false.into();
    }
    schema
}

#[test]
fn what_a_plugin_may_change_within_a_major() {
    let old = object(
        json!({ "url": { "type": "string" }, "size": { "type": "integer", "minimum": 1, "maximum": 10 } }),
        &["url"],
        true,
    );
    let with = |change: &dyn Fn(&mut Value)| {
        let mut new = old.clone();
        change(&mut new);
        new
    };
    type Change<'a> = &'a dyn Fn(&mut Value);
    for (what, change, expected) in [
        ("nothing", (&|_: &mut Value| {}) as Change<'_>, "fine"),
        ("words", &|s| s["title"] = "Shop".into(), "fine"),
        (
            "a new optional field",
            &|s| s["properties"]["more"] = json!({ "type": "string" }),
            "fine",
        ),
        (
            "a new required field",
            &|s| {
                s["properties"]["more"] = json!({ "type": "string" });
                s["required"] = json!(["url", "more"]);
            },
            "broken",
        ),
        (
            "an old field required",
            &|s| s["required"] = json!(["url", "size"]),
            "broken",
        ),
        ("less required", &|s| s["required"] = json!([]), "fine"),
        (
            "a field gone from a closed object",
            &|s| drop(s["properties"].as_object_mut().unwrap().remove("size")),
            "broken",
        ),
        (
            "the object opened",
            &|s| drop(s.as_object_mut().unwrap().remove("additionalProperties")),
            "fine",
        ),
        (
            "a wider type",
            &|s| s["properties"]["size"]["type"] = json!(["number", "null"]),
            "fine",
        ),
        (
            "another type",
            &|s| s["properties"]["url"]["type"] = "integer".into(),
            "broken",
        ),
        (
            "a wider bound",
            &|s| s["properties"]["size"]["maximum"] = json!(10.5),
            "fine",
        ),
        (
            "a narrower bound",
            &|s| s["properties"]["size"]["maximum"] = json!(9),
            "broken",
        ),
        (
            "an exclusive bound at the same place",
            &|s| s["properties"]["size"]["exclusiveMaximum"] = json!(10),
            "broken",
        ),
        (
            "a pattern",
            &|s| s["properties"]["url"]["pattern"] = "^https".into(),
            "unclear",
        ),
        (
            "a format",
            &|s| s["properties"]["url"]["format"] = "uri".into(),
            "unclear",
        ),
        (
            "a length",
            &|s| s["properties"]["url"]["minLength"] = 1.into(),
            "broken",
        ),
        (
            "values",
            &|s| s["properties"]["url"]["enum"] = json!(["a"]),
            "broken",
        ),
        (
            "a keyword that nobody knows",
            &|s| s["x-order"] = 7.into(),
            "fine",
        ),
        (
            "a draft",
            &|s| s["$schema"] = "http://json-schema.org/draft-07/schema#".into(),
            "unclear",
        ),
    ] {
        let new = with(change);
        assert_eq!(outcome(&old, &new), expected, "{what}: {:?}", compare(&old, &new));
    }
}

#[test]
fn single_keywords_against_each_other() {
    for (old, new, expected) in [
        (json!(true), json!({}), "fine"),
        (json!(false), json!({ "type": "string" }), "fine"),
        (json!({}), json!(false), "broken"),
        (json!({}), json!({ "type": "string" }), "broken"),
        (
            json!({ "enum": ["a", "b"] }),
            json!({ "enum": ["a", "b", "c"] }),
            "fine",
        ),
        (json!({ "enum": ["a", "b"] }), json!({ "enum": ["a"] }), "broken"),
        (
            json!({ "enum": ["a", "b"] }),
            json!({ "type": "string", "maxLength": 1 }),
            "fine",
        ),
        (
            json!({ "const": 5 }),
            json!({ "minimum": 5, "multipleOf": 5 }),
            "fine",
        ),
        (
            json!({ "type": "boolean" }),
            json!({ "enum": [true, false] }),
            "fine",
        ),
        (json!({ "type": "boolean" }), json!({ "enum": [true] }), "broken"),
        (json!({ "minimum": 1 }), json!({ "exclusiveMinimum": 0 }), "fine"),
        (json!({ "exclusiveMinimum": 0 }), json!({ "minimum": 0 }), "fine"),
        (
            json!({ "type": "string", "minimum": 1 }),
            json!({ "type": "string", "minimum": 2 }),
            "fine",
        ),
        (json!({ "type": "integer" }), json!({ "multipleOf": 1 }), "fine"),
        (json!({ "multipleOf": 6 }), json!({ "multipleOf": 3 }), "fine"),
        (json!({ "multipleOf": 3 }), json!({ "multipleOf": 6 }), "broken"),
        (
            json!({ "type": "array", "items": { "type": "integer" } }),
            json!({ "items": { "type": "number" } }),
            "fine",
        ),
        (
            json!({ "type": "array" }),
            json!({ "items": { "type": "number" } }),
            "broken",
        ),
        (
            json!({ "type": "array", "maxItems": 0 }),
            json!({ "items": false }),
            "fine",
        ),
        (
            json!({ "prefixItems": [{ "type": "string" }], "items": false, "type": "array" }),
            json!({ "items": { "type": "string" } }),
            "fine",
        ),
        (
            json!({ "uniqueItems": true }),
            json!({ "uniqueItems": true, "minItems": 0 }),
            "fine",
        ),
        (json!({}), json!({ "uniqueItems": true }), "broken"),
        (
            json!({ "type": "object", "additionalProperties": { "type": "integer" } }),
            json!({ "additionalProperties": { "type": "number" } }),
            "fine",
        ),
        (
            json!({ "type": "object" }),
            json!({ "additionalProperties": false }),
            "broken",
        ),
        (
            json!({ "required": ["a"], "type": "object" }),
            json!({ "minProperties": 1 }),
            "fine",
        ),
        (
            json!({ "not": { "const": 1 } }),
            json!({ "not": { "const": 1 }, "title": "x" }),
            "fine",
        ),
        (json!({}), json!({ "not": { "const": 1 } }), "unclear"),
        (
            json!({ "pattern": "^a" }),
            json!({ "pattern": "^a", "description": "x" }),
            "fine",
        ),
        (json!({}), json!({ "unevaluatedProperties": false }), "unclear"),
        (
            json!({ "patternProperties": { "^x": { "type": "integer" } } }),
            json!({ "patternProperties": { "^x": { "type": "number" } } }),
            "fine",
        ),
    ] {
        assert_eq!(
            outcome(&old, &new),
            expected,
            "{old} to {new}: {:?}",
            compare(&old, &new)
        );
    }
}

/// The shapes that Rust types have when their schema is derived.
#[test]
fn alternatives_as_derived_schemas_have_them() {
    let maybe = |kind: &str| json!({ "anyOf": [{ "$ref": "#/$defs/T" }, { "type": "null" }], "$defs": { "T": { "type": kind } } });
    assert_eq!(outcome(&maybe("integer"), &maybe("number")), "fine");
    assert_eq!(outcome(&maybe("number"), &maybe("integer")), "broken");
    assert_eq!(outcome(&json!({ "type": "integer" }), &maybe("integer")), "fine");
    assert_eq!(
        outcome(&json!({ "type": ["integer", "null"] }), &maybe("integer")),
        "fine"
    );
    assert_eq!(
        outcome(&maybe("integer"), &json!({ "type": ["null", "integer"] })),
        "fine"
    );
    let variants = |names: &[&str]| {
        let all: Vec<_> = names
            .iter()
            .map(|name| json!({ "const": name, "description": name }))
            .collect();
        json!({ "oneOf": all })
    };
    assert_eq!(
        outcome(&variants(&["a", "b"]), &variants(&["a", "b", "c"])),
        "fine"
    );
    assert_eq!(
        outcome(&variants(&["a", "b", "c"]), &variants(&["a", "b"])),
        "broken"
    );
    let tagged = |names: &[&str], closed: bool| {
        let all: Vec<_> = names
            .iter()
            .map(|name| {
                object(
                    json!({ "kind": { "const": name }, "n": { "type": "integer" } }),
                    &["kind"],
                    closed,
                )
            })
            .collect();
        json!({ "oneOf": all })
    };
    assert_eq!(
        outcome(&tagged(&["a", "b"], true), &tagged(&["a", "b", "c"], true)),
        "fine"
    );
    assert_eq!(
        outcome(&tagged(&["a", "b"], false), &tagged(&["a"], false)),
        "broken"
    );
    let outside = |names: &[&str]| {
        let all: Vec<_> = names
            .iter()
            .map(|name| object(json!({ *name: { "type": "integer" } }), &[name], true))
            .collect();
        json!({ "oneOf": all })
    };
    assert_eq!(outcome(&outside(&["a"]), &outside(&["a", "b"])), "fine");
    // Both alternatives may hold here, which the new schema refuses.
    let overlapping = json!({ "oneOf": [{ "type": "integer" }, { "type": "number" }] });
    assert_eq!(outcome(&json!({ "type": "integer" }), &overlapping), "unclear");
}

/// What is known of "all other members" is not known of those that a pattern takes out of them.
#[test]
fn a_pattern_takes_members_out_of_the_others() {
    let old = json!({
        "type": "object",
        "patternProperties": { "^a": { "type": "string" } },
        "additionalProperties": { "type": "integer" },
    });
    assert_ne!(
        outcome(&old, &json!({ "properties": { "a": { "type": "integer" } } })),
        "fine"
    );
    assert_ne!(
        outcome(&old, &json!({ "additionalProperties": { "type": "integer" } })),
        "fine"
    );
}

#[test]
fn alternatives_that_share_a_value_do_not_exclude_each_other() {
    let new = json!({ "oneOf": [{ "enum": ["a", "b"] }, { "enum": ["b", "c"] }] });
    assert_eq!(outcome(&json!({ "const": "b" }), &new), "unclear");
    let apart = json!({ "oneOf": [{ "enum": ["a", "b"] }, { "enum": ["c"] }] });
    assert_eq!(outcome(&json!({ "const": "b" }), &apart), "fine");
    // 1 and 1.0 are one number.
    let numbers = json!({ "oneOf": [{ "enum": [1] }, { "enum": [1.0] }] });
    assert_eq!(outcome(&json!({ "const": 1 }), &numbers), "unclear");
}

#[test]
fn schemas_that_go_round_in_circles_end() {
    let circle = json!({ "$ref": "#/$defs/A", "$defs": { "A": { "$ref": "#/$defs/B" }, "B": { "$ref": "#/$defs/A" } } });
    let tree = |kind: &str| json!({ "type": "object", "properties": { "kind": { "type": kind }, "child": { "$ref": "#" } } });
    assert_eq!(outcome(&circle, &circle), "fine");
    assert_eq!(outcome(&json!({}), &circle), "unclear");
    assert_eq!(outcome(&circle, &json!({ "type": "string" })), "broken");
    assert_eq!(outcome(&tree("string"), &tree("string")), "fine");
    assert_eq!(outcome(&tree("string"), &tree("integer")), "broken");
    let nested = (0..200).fold(
        json!({ "type": "string" }),
        |inner, _| json!({ "anyOf": [inner, { "type": "null" }] }),
    );
    assert_ne!(outcome(&json!({ "title": "other" }), &nested), "fine");
}

#[test]
fn findings_name_their_place_and_defaults_are_noted() {
    let old = object(
        json!({ "a/b": object(json!({ "n": { "type": "integer", "default": 1 } }), &[], false) }),
        &[],
        false,
    );
    let new = object(
        json!({ "a/b": object(json!({ "n": { "type": "integer", "default": 2, "maximum": 9 } }), &[], false) }),
        &[],
        false,
    );
    let found = compare(&old, &new);
    assert_eq!(found.broken[0].place, "/a~1b/n");
    assert!(found.notes[0].what.contains("was 1 and is 2"));
    assert_eq!(found.text().lines().count(), 2);
}

#[test]
fn a_major_promises_nothing() {
    let (old, new) = (json!({}), json!(false));
    let step = |from: &str, to: &str| {
        config_step((&from.parse().unwrap(), &old), (&to.parse().unwrap(), &new))
            .map(|found| found.is_compatible())
    };
    assert_eq!(step("1.0.0", "1.1.0"), Some(false));
    assert_eq!(step("1.0.0", "2.0.0"), None);
    assert_eq!(step("0.1.0", "0.2.0"), None);
    assert_eq!(step("0.1.0", "0.1.1"), Some(false));
}
