//! The difference between what is there and what is wanted, place by place.

use serde::Serialize;
use serde_json::Value;
use stecker_model::{
    Name,
    api::{Change, ChangeKind, FieldChange},
};

/// What happens to one thing.
pub(super) fn change<T: Serialize>(
    what: &str,
    name: &Name,
    stored: Option<&T>,
    wanted: &T,
) -> serde_json::Result<Change> {
    let mut fields = Vec::new();
    let kind = match stored {
        None => ChangeKind::Create,
        Some(stored) => {
            compare(
                "",
                &serde_json::to_value(stored)?,
                &serde_json::to_value(wanted)?,
                &mut fields,
            );
            if fields.is_empty() {
                ChangeKind::Unchanged
            } else {
                ChangeKind::Update
            }
        }
    };
    Ok(Change {
        what: what.to_owned(),
        name: name.clone(),
        kind,
        fields,
    })
}

/// Objects and lists are gone through; anything else is compared as a whole.
fn compare(path: &str, before: &Value, after: &Value, out: &mut Vec<FieldChange>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            let added = after.keys().filter(|key| !before.contains_key(*key));
            for key in before.keys().chain(added) {
                // RFC 6901, section 3.
                let path = format!("{path}/{}", key.replace('~', "~0").replace('/', "~1"));
                entry(&path, before.get(key), after.get(key), out);
            }
        }
        (Value::Array(before), Value::Array(after)) => {
            for index in 0..before.len().max(after.len()) {
                entry(
                    &format!("{path}/{index}"),
                    before.get(index),
                    after.get(index),
                    out,
                );
            }
        }
        _ if before == after => {}
        _ => out.push(FieldChange {
            path: path.to_owned(),
            before: before.clone(),
            after: after.clone(),
        }),
    }
}

fn entry(path: &str, before: Option<&Value>, after: Option<&Value>, out: &mut Vec<FieldChange>) {
    match (before, after) {
        (Some(before), Some(after)) => compare(path, before, after, out),
        (None, None) => {}
        (before, after) => out.push(FieldChange {
            path: path.to_owned(),
            before: before.cloned().unwrap_or_default(),
            after: after.cloned().unwrap_or_default(),
        }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_differing_place_is_named_with_before_and_after() {
        let name: Name = "shop".parse().unwrap();
        let before =
            json!({ "a": 1, "b": { "c": [1, 2, 3], "x/y~z": true }, "gone": "x", "same": [{ "k": 1 }] });
        let after = json!({ "a": 1, "b": { "c": [1, 5], "x/y~z": false }, "new": {}, "same": [{ "k": 1 }] });
        let change = change("connection", &name, Some(&before), &after).unwrap();
        assert_eq!(change.kind, ChangeKind::Update);
        let mut fields: Vec<_> = change
            .fields
            .into_iter()
            .map(|field| (field.path, field.before, field.after))
            .collect();
        fields.sort_by(|a, b| a.0.cmp(&b.0));
        let expected = [
            ("/b/c/1", json!(2), json!(5)),
            ("/b/c/2", json!(3), json!(null)),
            ("/b/x~1y~0z", json!(true), json!(false)),
            ("/gone", json!("x"), json!(null)),
            ("/new", json!(null), json!({})),
        ];
        assert_eq!(
            fields,
            expected.map(|(path, before, after)| (path.to_owned(), before, after))
        );
    }

    #[test]
    fn the_same_again_is_unchanged_and_a_new_thing_is_created() {
        let name: Name = "shop".parse().unwrap();
        let value = json!({ "a": 1 });
        assert_eq!(
            change("flow", &name, Some(&value), &value).unwrap().kind,
            ChangeKind::Unchanged
        );
        assert_eq!(
            change("flow", &name, None, &value).unwrap().kind,
            ChangeKind::Create
        );
    }
}
