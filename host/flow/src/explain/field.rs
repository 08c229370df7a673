//! One field of a payload beside the same field of payloads that went through. Pure.

use serde_json::Value;

use super::facts::{FieldFacts, FieldFound};

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth value",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// Looks at a place in a payload and in others. A place in a list is looked for at the first place of the others' lists, because they have
/// other lines. None if there is nothing to compare with.
pub(crate) fn compare(path: &str, here: &Value, others: &[Value]) -> Option<FieldFacts> {
    if others.is_empty() || path.is_empty() {
        return None;
    }
    let is = here.pointer(path).map(kind);
    let elsewhere: Vec<Option<&'static str>> = others
        .iter()
        .map(|other| {
            other
                .pointer(path)
                .or_else(|| other.pointer(&first_of_lists(path)))
                .map(kind)
        })
        .collect();
    let first = elsewhere.first().copied()?;
    // Only what is the same everywhere else says something.
    let agreed = elsewhere.iter().all(|other| *other == first);
    let found = match (is, first) {
        (Some(is), Some(was)) if agreed && is != was => FieldFound::TypeChanged { was, is },
        (None, Some(_)) if elsewhere.iter().all(Option::is_some) => FieldFound::Absent,
        (Some(_), None) if agreed => FieldFound::New,
        _ => FieldFound::SameType,
    };
    Some(FieldFacts {
        path: path.to_owned(),
        found,
        peers: others.len(),
    })
}

fn first_of_lists(path: &str) -> String {
    path.split('/')
        .map(|part| {
            if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) {
                "0"
            } else {
                part
            }
        })
        .collect::<Vec<_>>()
        .join("/")
}

/// The value at a place, if it can name something: a text or a number.
pub(crate) fn name_at(path: &str, payload: &Value) -> Option<String> {
    match payload.pointer(path).filter(|_| !path.is_empty())? {
        Value::String(text) if (1..=512).contains(&text.len()) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(path: &str, here: &Value, others: &[Value]) -> Option<FieldFound> {
        compare(path, here, others).map(|facts| facts.found)
    }

    #[test]
    fn what_is_different_from_everywhere_else_is_told() {
        let text = json!({ "total": "5", "lines": [{ "sku": "A" }] });
        let changed = FieldFound::TypeChanged {
            was: "a string",
            is: "a number",
        };
        for (path, here, others, expected) in [
            (
                "/total",
                json!({ "total": 5 }),
                vec![text.clone()],
                Some(changed.clone()),
            ),
            (
                "/lines/7/sku",
                json!({ "lines": [0, 0, 0, 0, 0, 0, 0, { "sku": 1 }] }),
                vec![text.clone()],
                Some(changed),
            ),
            ("/total", json!({}), vec![text.clone()], Some(FieldFound::Absent)),
            (
                "/new",
                json!({ "new": 1 }),
                vec![text.clone()],
                Some(FieldFound::New),
            ),
            (
                "/total",
                json!({ "total": "6" }),
                vec![text.clone()],
                Some(FieldFound::SameType),
            ),
            // Others do not agree among themselves: it says nothing.
            (
                "/total",
                json!({ "total": 5 }),
                vec![text.clone(), json!({ "total": null })],
                Some(FieldFound::SameType),
            ),
            ("/total", json!({ "total": 5 }), vec![], None),
            ("", json!(5), vec![text], None),
        ] {
            assert_eq!(found(path, &here, &others), expected, "{path} {here}");
        }
    }

    #[test]
    fn names_are_texts_and_numbers() {
        let payload = json!({ "sku": "A-1", "n": 7, "list": [], "empty": "" });
        assert_eq!(name_at("/sku", &payload).as_deref(), Some("A-1"));
        assert_eq!(name_at("/n", &payload).as_deref(), Some("7"));
        for none in ["/list", "/empty", "/away", ""] {
            assert_eq!(name_at(none, &payload), None, "{none}");
        }
    }
}
