//! Where two JSON values differ, by the shape of the place: every index of a list is `*`, so that a field of a thousand records is one place. Pure.

use serde_json::Value;
use stecker_model::canonical_json;

/// Characters of a value that is told.
const CHARACTERS: usize = 200;
/// Places that are told of one pair of values.
const MOST: usize = 1_000;

/// One place where two values differ. None: nothing is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct FieldChange {
    /// JSON Pointer (RFC 6901), with `*` for indexes.
    pub(super) place: String,
    pub(super) old: Option<String>,
    pub(super) new: Option<String>,
}

/// Places where differences do not count: JSON Pointers with `*` for any one name or index, and everything below them.
#[derive(Debug, Clone, Default)]
pub(super) struct Ignore(Vec<Vec<String>>);

impl Ignore {
    /// # Errors
    /// The pointer that is none, and why.
    pub(super) fn parse(pointers: &[String]) -> Result<Self, String> {
        let one = |pointer: &String| {
            if !pointer.starts_with('/') {
                return Err(format!(
                    "`{pointer}` is no JSON Pointer (RFC 6901): it has to begin with `/`, such as `/meta/updated_at` or `/lines/*/id`"
                ));
            }
            Ok(pointer.split('/').skip(1).map(str::to_owned).collect())
        };
        pointers.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    pub(super) fn covers(&self, place: &str) -> bool {
        let place: Vec<_> = place.split('/').skip(1).collect();
        self.0.iter().any(|rule| {
            rule.len() <= place.len()
                && rule
                    .iter()
                    .zip(&place)
                    .all(|(rule, step)| rule == "*" || rule == step)
        })
    }
}

/// Every place where the values differ and that is not ignored. Numbers are compared by value; nothing and null are not the same.
pub(super) fn changes(old: &Value, new: &Value, ignore: &Ignore) -> Vec<FieldChange> {
    let mut found = Vec::new();
    compare(String::new(), Some(old), Some(new), ignore, &mut found);
    found
}

fn compare(
    place: String,
    old: Option<&Value>,
    new: Option<&Value>,
    ignore: &Ignore,
    found: &mut Vec<FieldChange>,
) {
    if found.len() >= MOST || (!place.is_empty() && ignore.covers(&place)) {
        return;
    }
    match (old, new) {
        (Some(Value::Object(old)), Some(Value::Object(new))) => {
            for (name, value) in old {
                compare(below(&place, name), Some(value), new.get(name), ignore, found);
            }
            for (name, value) in new.iter().filter(|(name, _)| !old.contains_key(*name)) {
                compare(below(&place, name), None, Some(value), ignore, found);
            }
        }
        (Some(Value::Array(old)), Some(Value::Array(new))) => {
            for index in 0..old.len().max(new.len()) {
                compare(
                    format!("{place}/*"),
                    old.get(index),
                    new.get(index),
                    ignore,
                    found,
                );
            }
        }
        (Some(old), Some(new)) if canonical_json(old) == canonical_json(new) => {}
        (old, new) => found.push(FieldChange {
            place,
            old: old.map(|value| cut(&value.to_string())),
            new: new.map(|value| cut(&value.to_string())),
        }),
    }
}

fn below(place: &str, name: &str) -> String {
    format!("{place}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A stranger's text, short enough to be shown.
pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(CHARACTERS) {
        Some((at, _)) => format!("{}…", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn places(old: &Value, new: &Value, ignore: &[&str]) -> Vec<String> {
        let ignore: Vec<_> = ignore.iter().map(|rule| (*rule).to_owned()).collect();
        let found = changes(old, new, &Ignore::parse(&ignore).unwrap());
        found.into_iter().map(|change| change.place).collect()
    }

    #[test]
    fn places_are_told_by_their_shape() {
        let old = json!({ "id": 1, "total": "1.00", "lines": [{ "sku": "a", "n": 1 }, { "sku": "b", "n": 2 }], "a/b": null });
        for (new, expected) in [
            (old.clone(), vec![]),
            (
                json!({ "id": 1.0, "total": "1.00", "lines": [{ "sku": "a", "n": 1 }, { "sku": "b", "n": 2 }], "a/b": null }),
                vec![],
            ),
            (
                json!({ "id": 1, "sum": "1.00", "lines": [{ "sku": "a", "n": 1 }, { "sku": "b", "n": 2 }], "a/b": null }),
                vec!["/total", "/sum"],
            ),
            (
                json!({ "id": 1, "total": "1.00", "lines": [{ "sku": "A", "n": 1 }, { "sku": "B", "n": 2 }] }),
                vec!["/a~1b", "/lines/*/sku", "/lines/*/sku"],
            ),
            (
                json!({ "id": "1", "total": "1.00", "lines": [{ "sku": "a", "n": 1 }], "a/b": null }),
                vec!["/id", "/lines/*"],
            ),
        ] {
            let mut found = places(&old, &new, &[]);
            let mut expected: Vec<_> = expected.into_iter().map(str::to_owned).collect();
            found.sort();
            expected.sort();
            assert_eq!(found, expected, "{new}");
        }
    }

    #[test]
    fn what_is_ignored_goes_with_everything_below() {
        let (old, new) = (
            json!({ "meta": { "at": 1, "by": { "x": 1 } }, "lines": [{ "id": 1, "n": 1 }] }),
            json!({ "meta": { "at": 2, "by": { "x": 2 } }, "lines": [{ "id": 2, "n": 2 }] }),
        );
        for (ignore, left) in [
            (vec!["/meta"], vec!["/lines/*/id", "/lines/*/n"]),
            (vec!["/meta/*", "/lines/*/id"], vec!["/lines/*/n"]),
            (vec!["/*/at", "/lines"], vec!["/meta/by/x"]),
        ] {
            assert_eq!(places(&old, &new, &ignore), left, "{ignore:?}");
        }
        assert!(Ignore::parse(&["meta".to_owned()]).is_err());
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-5_i64..5).prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                proptest::collection::btree_map("[a-c/~]{1,2}", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_value_never_differs_from_itself(value in value()) {
            prop_assert!(changes(&value, &value, &Ignore::default()).is_empty());
        }

        #[test]
        fn what_differs_one_way_differs_the_other_way(old in value(), new in value()) {
            let (there, back) = (changes(&old, &new, &Ignore::default()), changes(&new, &old, &Ignore::default()));
            prop_assert_eq!(there.len(), back.len());
            prop_assert_eq!(there.is_empty(), canonical_json(&old) == canonical_json(&new));
        }
    }
}
