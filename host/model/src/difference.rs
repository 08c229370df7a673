//! What would change at the destination: a thing as it is there, held against what would be sent.

use serde_json::Value;

/// The most places that are told of one thing; how many there are beyond is told too.
const MOST: usize = 20;
/// Characters of a value that is told.
const CHARACTERS: usize = 120;

/// One differing place. Values are JSON texts, cut to 120 characters; none: it is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// JSON Pointer (RFC 6901).
    pub path: String,
    /// As it is at the destination.
    pub there: Option<String>,
    /// As it would be sent.
    pub sent: Option<String>,
}

/// Where two things differ.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Difference {
    /// The first 20 places, in the order of what would be sent.
    pub places: Vec<Place>,
    /// How many there are in all.
    pub count: usize,
}

/// Compares what would be sent with what is there.
///
/// What the destination holds beyond what would be sent is no difference, because sending does not change it (ids, its own
/// times); in a list every element counts. Null is the same as nothing, and numbers are compared by their value.
#[must_use]
pub fn difference(there: &Value, sent: &Value) -> Difference {
    let mut found = Difference::default();
    compare("", Some(there), Some(sent), &mut found);
    found
}

fn compare(path: &str, there: Option<&Value>, sent: Option<&Value>, found: &mut Difference) {
    let present = |value: Option<&Value>| value.is_some_and(|value| !value.is_null());
    match (there, sent) {
        _ if !present(there) && !present(sent) => {}
        (Some(Value::Object(there)), Some(Value::Object(sent))) => {
            for (key, value) in sent {
                compare(&below(path, key), there.get(key), Some(value), found);
            }
        }
        (Some(Value::Array(there)), Some(Value::Array(sent))) => {
            for index in 0..there.len().max(sent.len()) {
                let path = below(path, &index.to_string());
                compare(&path, there.get(index), sent.get(index), found);
            }
        }
        (Some(Value::Number(there)), Some(Value::Number(sent)))
            if there == sent || (is_float(there, sent) && there.as_f64() == sent.as_f64()) => {}
        (there, sent) if there == sent => {}
        (there, sent) => {
            found.count += 1;
            if found.places.len() < MOST {
                found.places.push(Place {
                    path: path.to_owned(),
                    there: there.map(cut),
                    sent: sent.map(cut),
                });
            }
        }
    }
}

/// Whole numbers are compared exactly: as floating point, large ones that differ would look alike.
fn is_float(one: &serde_json::Number, other: &serde_json::Number) -> bool {
    one.is_f64() || other.is_f64()
}

fn below(path: &str, key: &str) -> String {
    format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn cut(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= CHARACTERS {
        return text;
    }
    text.chars().take(CHARACTERS).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_would_change_is_named_with_its_place() {
        let nothing: &[&str] = &[];
        for (there, sent, paths) in [
            (json!({"a": 1}), json!({"a": 1}), nothing),
            (json!({"a": 1, "id": 7}), json!({"a": 1}), nothing),
            (json!({"a": 1.0}), json!({"a": 1}), nothing),
            (json!({}), json!({"a": null}), nothing),
            (json!({"a": null}), json!({}), nothing),
            (json!({"a": 1}), json!({"a": null}), &["/a"]),
            (json!({"a": "1"}), json!({"a": 1}), &["/a"]),
            (
                json!({"a": 9_007_199_254_740_993_u64}),
                json!({"a": 9_007_199_254_740_992_u64}),
                &["/a"],
            ),
            (json!({}), json!({"a": 1}), &["/a"]),
            (json!({"a": {"b": 1}}), json!({"a": {"b": 2}}), &["/a/b"]),
            (json!({"a": {"b": 1}}), json!({"a": [1]}), &["/a"]),
            (json!([1, 2, 3]), json!([1, 3]), &["/1", "/2"]),
            (json!([1]), json!([1, 2]), &["/1"]),
            (
                json!({"a/b": 1, "c~": 1}),
                json!({"a/b": 2, "c~": 2}),
                &["/a~1b", "/c~0"],
            ),
            (json!(1), json!(2), &[""]),
        ] {
            let found = difference(&there, &sent);
            let found_paths: Vec<_> = found.places.iter().map(|place| place.path.as_str()).collect();
            assert_eq!(found_paths, paths, "{there} {sent}");
            assert_eq!(found.count, paths.len());
        }
    }

    #[test]
    fn values_are_cut_and_places_are_counted_beyond_the_first() {
        let old: Vec<_> = (0..50)
            .map(|n| json!(format!("{n}-{}", "ä".repeat(500))))
            .collect();
        let new: Vec<_> = (0..50).map(|n| json!(n)).collect();
        let found = difference(&json!(old), &json!(new));
        assert_eq!((found.count, found.places.len()), (50, MOST));
        let there = found.places[0].there.as_ref().unwrap();
        assert_eq!(there.chars().count(), CHARACTERS + 1);
        assert_eq!(found.places[0].sent.as_deref(), Some("0"));
    }
}
