//! The comparison against a validator that has nothing to do with it.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::schema;

fn leaf() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(json!(true)),
        prop::sample::select(vec![
            "null", "boolean", "integer", "number", "string", "array", "object"
        ])
        .prop_map(|kind| json!({ "type": kind })),
        Just(json!({ "type": ["string", "null"] })),
        (0_i64..4, 0_i64..4).prop_map(|(a, b)| json!({ "type": "integer", "minimum": a, "maximum": a + b })),
        (0_i64..4).prop_map(|a| json!({ "exclusiveMinimum": a })),
        (0_i64..4).prop_map(|a| json!({ "exclusiveMaximum": a, "type": "number" })),
        (1_i64..4).prop_map(|a| json!({ "multipleOf": a })),
        (0_u64..3).prop_map(|a| json!({ "type": "string", "minLength": a })),
        (0_u64..3).prop_map(|a| json!({ "maxLength": a })),
        prop::collection::vec(scalar(), 1..4).prop_map(|values| json!({ "enum": values })),
        scalar().prop_map(|value| json!({ "const": value })),
        Just(json!({ "pattern": "^a" })),
        Just(json!({ "$ref": "#/$defs/D" })),
    ]
}

fn scalar() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-1_i64..5).prop_map(Value::from),
        prop::sample::select(vec![0.5, 1.0, 2.5]).prop_map(Value::from),
        "[ab]{0,3}".prop_map(Value::from),
    ]
}

fn some_schema() -> impl Strategy<Value = Value> {
    leaf().prop_recursive(3, 24, 3, |inner| {
        let named = prop::collection::btree_map("[abc]", inner.clone(), 0..3);
        prop_oneof![
            3 => (named, prop::collection::btree_set("[abc]", 0..2), prop::option::of(inner.clone()), any::<bool>(), prop::option::of(inner.clone()))
                .prop_map(|(properties, required, others, closed, pattern)| {
                    let mut schema = json!({ "type": "object", "properties": properties, "required": required });
                    if let Some(others) = others {
                        schema["additionalProperties"] = others;
                    }
                    if closed {
                        schema["additionalProperties"] = false.into();
                    }
                    if let Some(pattern) = pattern {
                        schema["patternProperties"] = json!({ "^a": pattern });
                    }
                    schema
                }),
            1 => (0_u64..3, 0_u64..3).prop_map(|(a, b)| json!({ "minProperties": a, "maxProperties": a + b })),
            1 => (prop::collection::vec(inner.clone(), 0..2), inner.clone(), any::<bool>(), 0_u64..3)
                .prop_map(|(prefix, items, unique, max)| {
                    let mut schema = json!({ "type": "array", "items": items, "uniqueItems": unique, "maxItems": max });
                    if !prefix.is_empty() {
                        schema["prefixItems"] = prefix.into();
                    }
                    schema
                }),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "allOf": all })),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "anyOf": all })),
            1 => prop::collection::vec(inner.clone(), 1..3).prop_map(|all| json!({ "oneOf": all })),
            1 => inner.clone().prop_map(|schema| json!({ "not": schema })),
            1 => (inner.clone(), inner.clone()).prop_map(|(one, other)| json!({ "if": one, "then": other })),
            1 => inner.prop_map(|schema| json!({ "contains": schema })),
        ]
    })
}

fn some_instance() -> impl Strategy<Value = Value> {
    scalar().prop_recursive(3, 16, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[abcd]", inner, 0..4).prop_map(|members| json!(members)),
        ]
    })
}

/// One keyword of a schema changed, somewhere: random pairs would hardly ever be compatible.
fn altered(schema: &Value, at: usize, with: &Value) -> Value {
    fn go(schema: &mut Value, left: &mut usize, with: &Value) {
        if *left == 0 {
            *left = usize::MAX;
            match (schema.as_object_mut(), with.as_object()) {
                (Some(old), Some(new)) => old.extend(new.clone()),
                _ => *schema = with.clone(),
            }
            return;
        }
        *left = left.saturating_sub(1);
        let Some(members) = schema.as_object_mut() else {
            return;
        };
        for (name, member) in members {
            match (name.as_str(), member) {
                ("properties" | "patternProperties", Value::Object(all)) => {
                    for schema in all.values_mut() {
                        go(schema, left, with);
                    }
                }
                ("allOf" | "anyOf" | "oneOf" | "prefixItems", Value::Array(all)) => {
                    for schema in all {
                        go(schema, left, with);
                    }
                }
                ("items" | "additionalProperties", schema @ Value::Object(_)) => go(schema, left, with),
                _ => {}
            }
        }
    }
    let mut schema = schema.clone();
    go(&mut schema, &mut { at }, with);
    schema
}

fn with_definition(mut schema: Value, definition: &Value) -> Value {
    if let Some(members) = schema.as_object_mut() {
        members.insert("$defs".to_owned(), json!({ "D": definition }));
    }
    schema
}

fn holds(old: &Value, new: &Value, instances: &[Value]) -> Result<(), TestCaseError> {
    let found = schema::compare(old, new);
    if !found.is_compatible() {
        return Ok(());
    }
    let (Ok(before), Ok(after)) = (
        jsonschema::draft202012::new(old),
        jsonschema::draft202012::new(new),
    ) else {
        return Ok(());
    };
    for instance in instances {
        prop_assert!(
            !before.is_valid(instance) || after.is_valid(instance),
            "{} was valid under {} and is not under {}",
            instance,
            old,
            new
        );
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    /// The promise: what is called compatible is so, by the word of a validator that has nothing to do with this code.
    #[test]
    fn no_configuration_becomes_invalid_unnoticed(
        old in some_schema(),
        other in some_schema(),
        at in 0_usize..4,
        definitions in (leaf(), leaf()),
        instances in prop::collection::vec(some_instance(), 40),
    ) {
        let old = with_definition(old, &definitions.0);
        let new = altered(&old, at, &other);
        holds(&old, &new, &instances)?;
        holds(&new, &old, &instances)?;
        holds(&old, &with_definition(other, &definitions.1), &instances)?;
    }

    #[test]
    fn arbitrary_values_in_the_place_of_schemas_never_panic(old in some_instance(), new in some_schema(), keyword in prop::sample::select(vec![
        "type", "enum", "required", "properties", "items", "prefixItems", "allOf", "anyOf", "oneOf", "minimum", "maxLength", "multipleOf", "$ref",
        "additionalProperties", "patternProperties", "const", "if", "not", "$schema", "$defs",
    ])) {
        let odd = json!({ keyword: old });
        let _ = schema::compare(&odd, &new);
        let _ = schema::compare(&new, &odd);
        let _ = schema::compare(&old, &odd).text();
    }
}
