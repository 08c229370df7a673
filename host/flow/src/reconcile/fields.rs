//! In which places two payloads differ. Pure.

use serde_json::Value;
use stecker_model::{api::FieldDifference, canonical_json};

/// Places that are told of one thing.
const PLACES: usize = 20;
/// Characters of a value.
const CHARACTERS: usize = 120;
/// How deep it is looked into; what differs deeper is told as a whole.
const DEPTH: usize = 16;

/// The differing places within the compared fields (JSON Pointers), or within everything. At most 20.
pub(crate) fn differing(expected: &Value, found: &Value, fields: &[String]) -> Vec<FieldDifference> {
    let mut differences = Vec::new();
    if fields.is_empty() {
        walk(
            Some(expected),
            Some(found),
            String::new(),
            DEPTH,
            &mut differences,
        );
    }
    for field in fields {
        let (ours, theirs) = (expected.pointer(field), found.pointer(field));
        walk(ours, theirs, field.clone(), DEPTH, &mut differences);
    }
    differences
}

fn walk(
    expected: Option<&Value>,
    found: Option<&Value>,
    path: String,
    depth: usize,
    out: &mut Vec<FieldDifference>,
) {
    // What is not there and null are the same for a digest.
    let absent = |value: Option<&Value>| value.is_none_or(Value::is_null);
    if out.len() >= PLACES || (absent(expected) && absent(found)) {
        return;
    }
    if let (Some(ours), Some(theirs)) = (expected, found) {
        if canonical_json(ours) == canonical_json(theirs) {
            return;
        }
        match (ours, theirs) {
            (Value::Object(ours), Value::Object(theirs)) if depth > 0 => {
                let added = theirs.keys().filter(|name| !ours.contains_key(*name));
                for name in ours.keys().chain(added) {
                    let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
                    walk(ours.get(name), theirs.get(name), path, depth - 1, out);
                }
                return;
            }
            (Value::Array(ours), Value::Array(theirs)) if depth > 0 => {
                for at in 0..ours.len().max(theirs.len()) {
                    walk(
                        ours.get(at),
                        theirs.get(at),
                        format!("{path}/{at}"),
                        depth - 1,
                        out,
                    );
                }
                return;
            }
            _ => {}
        }
    }
    out.push(FieldDifference {
        path,
        expected: expected.map(shown),
        found: found.map(shown),
    });
}

fn shown(value: &Value) -> String {
    let text = canonical_json(value);
    match text.char_indices().nth(CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn paths(differences: &[FieldDifference]) -> Vec<&str> {
        differences.iter().map(|one| one.path.as_str()).collect()
    }

    #[test]
    fn places_are_named_down_to_the_value() {
        let ours =
            json!({"total": "9.90", "lines": [{"sku": "A", "n": 1}, {"sku": "B"}], "a/b": 1, "same": [1]});
        let theirs =
            json!({"total": "9.90", "lines": [{"sku": "A", "n": 2}], "a/b": 2, "same": [1.0], "id": "X"});
        let all = differing(&ours, &theirs, &[]);
        let mut found = paths(&all);
        found.sort_unstable();
        assert_eq!(found, ["/a~1b", "/id", "/lines/0/n", "/lines/1"]);
        let line = all.iter().find(|one| one.path == "/lines/1").unwrap();
        assert_eq!(
            (line.expected.as_deref(), line.found.as_deref()),
            (Some("{\"sku\":\"B\"}"), None)
        );
        let some = differing(&ours, &theirs, &["/lines/0".to_owned(), "/total".to_owned()]);
        assert_eq!(paths(&some), ["/lines/0/n"]);
    }

    #[test]
    fn values_and_their_number_are_bounded() {
        let ours: Value = (0..100)
            .map(|n| (n.to_string(), json!("ä".repeat(500))))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let all = differing(&ours, &json!({}), &[]);
        assert_eq!(all.len(), PLACES);
        assert_eq!(all[0].expected.as_ref().unwrap().chars().count(), CHARACTERS + 1);
        let mut deep = json!(1);
        let mut other = json!(2);
        for _ in 0..100 {
            deep = json!([deep]);
            other = json!([other]);
        }
        assert_eq!(differing(&deep, &other, &[]).len(), 1);
    }

    #[test]
    fn null_and_nothing_are_the_same() {
        assert_eq!(differing(&json!({"a": null}), &json!({}), &["/a".to_owned()]), []);
    }
}
