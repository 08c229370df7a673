//! A value that fits a JSON Schema (draft 2020-12), made without knowing what it is for.
//!
//! What an author gave as an example or a default is taken; otherwise the simplest value of the type. Not every schema can be met like this, so whoever
//! uses the value checks it.

use serde_json::{Map, Number, Value, json};

/// Where every URL of a sample leads. Nobody is there (RFC 2606), and nobody is asked.
pub(super) const URL: &str = "https://upstream.example";
const DEPTH: u32 = 16;
/// Values in a sample.
const SIZE: u32 = 2_000;
/// Members of an array or characters of a text that a schema can ask for.
const LONGEST: u64 = 1_000;

/// A sample. `all`: with every property, not only with those that have to be there.
pub(super) fn sample(schema: &Value, all: bool) -> Value {
    let mut maker = Maker {
        root: schema,
        all,
        left: SIZE,
    };
    maker.value(schema, DEPTH)
}

struct Maker<'a> {
    root: &'a Value,
    all: bool,
    left: u32,
}

impl<'a> Maker<'a> {
    fn value(&mut self, schema: &'a Value, depth: u32) -> Value {
        let Value::Object(keywords) = schema else {
            return json!({});
        };
        if depth == 0 || self.left == 0 {
            return Value::Null;
        }
        self.left -= 1;
        if let Some(value) = keywords.get("const") {
            return value.clone();
        }
        let first = |name: &str| keywords.get(name)?.as_array()?.first().cloned();
        if let Some(example) = first("examples") {
            return example;
        }
        match keywords.get("default") {
            None | Some(Value::Null) => {}
            Some(default) => return default.clone(),
        }
        if let Some(value) = first("enum") {
            return value;
        }
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str) {
            let pointer = target.strip_prefix('#').unwrap_or_default();
            let root = self.root;
            return root
                .pointer(pointer)
                .filter(|_| !pointer.is_empty())
                .map_or_else(|| json!({}), |target| self.value(target, depth - 1));
        }
        for name in ["oneOf", "anyOf"] {
            let alternatives = keywords.get(name).and_then(Value::as_array);
            let is_something = |schema: &&Value| schema.get("type") != Some(&json!("null"));
            if let Some(one) = alternatives.and_then(|all| all.iter().find(is_something)) {
                let one = self.value(one, depth - 1);
                return match (one, self.object(keywords, depth)) {
                    (Value::Object(mut one), Some(Value::Object(own))) => {
                        one.extend(own);
                        one.into()
                    }
                    (one, _) => one,
                };
            }
        }
        if let Some(parts) = keywords.get("allOf").and_then(Value::as_array) {
            let mut whole = Map::new();
            for part in parts {
                match self.value(part, depth - 1) {
                    Value::Object(part) => whole.extend(part),
                    other => return other,
                }
            }
            if let Some(Value::Object(own)) = self.object(keywords, depth) {
                whole.extend(own);
            }
            return whole.into();
        }
        self.of_type(keywords, depth)
    }

    fn of_type(&mut self, keywords: &'a Map<String, Value>, depth: u32) -> Value {
        let kind = match keywords.get("type") {
            Some(Value::String(kind)) => kind.as_str(),
            Some(Value::Array(kinds)) => kinds
                .iter()
                .filter_map(Value::as_str)
                .find(|kind| *kind != "null")
                .unwrap_or("null"),
            _ if keywords.contains_key("properties") => "object",
            _ => "",
        };
        match kind {
            "string" => text(keywords).into(),
            "integer" => whole(keywords),
            "number" => whole(keywords),
            "boolean" => true.into(),
            "null" => Value::Null,
            "array" => self.array(keywords, depth),
            _ => self.object(keywords, depth).unwrap_or_else(|| json!({})),
        }
    }

    fn array(&mut self, keywords: &'a Map<String, Value>, depth: u32) -> Value {
        let count = |name: &str| keywords.get(name).and_then(Value::as_u64);
        let wanted = count("minItems").unwrap_or(0).max(u64::from(self.all));
        let wanted = wanted.min(count("maxItems").unwrap_or(LONGEST)).min(LONGEST);
        let Some(items) = keywords.get("items") else {
            return Value::Array(vec![json!({}); usize::try_from(wanted).unwrap_or(0)]);
        };
        let mut all = Vec::new();
        for _ in 0..wanted {
            all.push(self.value(items, depth - 1));
        }
        all.into()
    }

    fn object(&mut self, keywords: &'a Map<String, Value>, depth: u32) -> Option<Value> {
        let properties = keywords.get("properties")?.as_object()?;
        let required = keywords.get("required").and_then(Value::as_array);
        let mut object = Map::new();
        for (name, schema) in properties {
            let is_required = required.is_some_and(|names| names.iter().any(|known| known == name));
            if is_required || self.all && depth > DEPTH / 2 {
                object.insert(name.clone(), self.value(schema, depth - 1));
            }
        }
        Some(object.into())
    }
}

fn text(keywords: &Map<String, Value>) -> String {
    let format = keywords.get("format").and_then(Value::as_str);
    let mut text = match format.unwrap_or_default() {
        "uri" | "url" | "iri" | "uri-reference" => URL,
        "date-time" => "2026-01-01T00:00:00Z",
        "date" => "2026-01-01",
        "time" => "00:00:00Z",
        "email" => "somebody@upstream.example",
        "uuid" => "00000000-0000-4000-8000-000000000000",
        "hostname" => "upstream.example",
        _ => "sample",
    }
    .to_owned();
    let count = |name: &str| {
        keywords
            .get(name)
            .and_then(Value::as_u64)
            .map(|count| count.min(LONGEST))
    };
    let length = |text: &str| u64::try_from(text.chars().count()).unwrap_or(u64::MAX);
    while count("minLength").is_some_and(|least| length(&text) < least) {
        text.push('e');
    }
    if let Some(most) = count("maxLength") {
        text = text
            .chars()
            .take(usize::try_from(most).unwrap_or(usize::MAX))
            .collect();
    }
    text
}

/// The smallest positive number that is allowed, or else the largest one.
fn whole(keywords: &Map<String, Value>) -> Value {
    let bound = |name: &str, step: i64| {
        let number = keywords.get(name)?;
        Some(number.as_i64()?.saturating_add(step))
    };
    let least = bound("minimum", 0).max(bound("exclusiveMinimum", 1)).unwrap_or(1);
    let most = [bound("maximum", 0), bound("exclusiveMaximum", -1)];
    let most = most.into_iter().flatten().min().unwrap_or(i64::MAX);
    let value = least.max(1).min(most);
    match keywords.get("multipleOf").and_then(Value::as_i64) {
        Some(step) if step > 1 => Number::from(value.saturating_add(step - 1) / step * step).into(),
        _ => Number::from(value).into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn fits(schema: &Value) {
        for all in [false, true] {
            let value = sample(schema, all);
            let validator = jsonschema::draft202012::new(schema).unwrap();
            assert!(validator.is_valid(&value), "{value} does not fit {schema}");
        }
    }

    #[test]
    fn samples_fit_what_configurations_look_like() {
        for schema in [
            json!({ "type": "object", "properties": { "base_url": { "type": "string", "format": "uri" } }, "required": ["base_url"],
                "additionalProperties": false }),
            json!({ "type": "object", "required": ["n", "m", "s", "t", "l", "o", "e", "c"], "properties": {
                "n": { "type": "integer", "minimum": 1, "maximum": 500 }, "m": { "type": "integer", "exclusiveMinimum": 4, "multipleOf": 10 },
                "s": { "type": "string", "minLength": 20, "maxLength": 30 }, "t": { "type": ["null", "string"] },
                "l": { "type": "array", "minItems": 2, "items": { "$ref": "#/$defs/x" } }, "e": { "enum": ["a", "b"] },
                "c": { "const": 7 }, "o": { "anyOf": [{ "type": "null" }, { "$ref": "#/$defs/x" }] } },
                "$defs": { "x": { "type": "object", "properties": { "y": { "type": "boolean" } }, "required": ["y"] } } }),
            json!({ "type": "object", "oneOf": [{ "properties": { "k": { "const": "a" } }, "required": ["k"] }],
                "properties": { "z": { "type": "number" } }, "required": ["z"] }),
            json!({ "allOf": [{ "type": "object", "properties": { "a": { "type": "string" } }, "required": ["a"] },
                { "type": "object", "properties": { "b": { "type": "integer" } }, "required": ["b"] }] }),
            json!({ "type": "string", "pattern": "^[A-Z]{3}$", "examples": ["EUR"] }),
            json!(true),
            json!({}),
        ] {
            fits(&schema);
        }
    }

    #[test]
    fn a_schema_without_end_gives_a_sample_with_one() {
        let own = json!({ "$ref": "#", "type": "object" });
        sample(&own, true);
        let tree = json!({ "$defs": { "t": { "type": "object", "properties": { "l": { "$ref": "#/$defs/t" }, "r": { "$ref": "#/$defs/t" } },
            "required": ["l", "r"] } }, "$ref": "#/$defs/t" });
        let text = sample(&tree, true).to_string();
        assert!(text.len() < 100_000, "{}", text.len());
        let wide = json!({ "type": "array", "minItems": 18446744073709551615_u64, "items": { "type": "array", "minItems": 1000 } });
        assert!(sample(&wide, true).to_string().len() < 10_000_000);
        let long = json!({ "type": "string", "minLength": 18446744073709551615_u64 });
        assert_eq!(sample(&long, true).as_str().unwrap().len(), 1_000);
    }

    fn schemas() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            Just(json!(0)),
            any::<i64>().prop_map(Value::from),
            Just(json!(0.5)),
            Just(json!("x"))
        ];
        let leaf = (
            prop_oneof![
                Just("string"),
                Just("integer"),
                Just("array"),
                Just("object"),
                Just("null"),
                Just("odd")
            ],
            prop_oneof![
                Just("minimum"),
                Just("maximum"),
                Just("multipleOf"),
                Just("minLength"),
                Just("maxItems"),
                Just("exclusiveMaximum")
            ],
            number,
        )
            .prop_map(|(kind, word, number)| json!({ "type": kind, word: number }));
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(|all| json!({ "anyOf": all })),
                proptest::collection::vec(inner.clone(), 0..4)
                    .prop_map(|all| json!({ "allOf": all, "$ref": 7 })),
                inner.clone().prop_map(
                    |one| json!({ "type": "object", "properties": { "p": one }, "required": ["p", 1] })
                ),
                inner.prop_map(
                    |one| json!({ "type": "array", "items": one, "minItems": 3, "$ref": "#/items" })
                ),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_the_schema_there_is_a_sample(schema in schemas(), all in any::<bool>()) {
            sample(&schema, all);
        }
    }
}
