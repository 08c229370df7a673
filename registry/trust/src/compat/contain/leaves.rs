//! Keywords about one value by itself: its type, its range, its length.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::{At, add, fine, same_group, shown};
use crate::compat::{
    facts::{Counted, Fact, Facts, Types, as_count, bounds, keyword, order, value},
    schema::Compatibility,
};

/// The values that a schema lists.
pub(super) fn listed(map: &Map<String, Value>) -> Option<Vec<&Value>> {
    if let Some(value) = map.get("const") {
        return Some(vec![value]);
    }
    Some(map.get("enum")?.as_array()?.iter().collect())
}

/// Whether equality of JSON texts is equality of values: 1 and 1.0 are the same number and not the same text.
pub(super) fn comparable(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_f64(),
        Value::Array(items) => items.iter().all(comparable),
        Value::Object(members) => members.values().all(comparable),
        _ => true,
    }
}

/// `type`, `enum`, `const`, `pattern`.
pub(super) fn values(facts: &Facts<'_>, left: Types, map: &Map<String, Value>, at: &At) -> Compatibility {
    let mut outcome = fine();
    if let Some(kind) = map.get("type") {
        match Types::read(kind) {
            Some(allowed) if left.within(allowed) => {}
            Some(allowed) => add(
                &mut outcome,
                at.broken(format!("may no longer be: {}", left.without(allowed).names())),
            ),
            None => add(&mut outcome, at.unclear("`type` names something that is no type")),
        }
    }
    if let Some(allowed) = listed(map) {
        let lists: Vec<Vec<&Value>> = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Is(value) => Some(vec![*value]),
                Fact::Schema { schema, .. } => listed(schema),
                _ => None,
            })
            .collect();
        let gone = |list: &Vec<&Value>| -> Vec<String> {
            let missing = list.iter().filter(|value| !allowed.contains(value));
            missing.map(|value| shown(value)).collect()
        };
        match lists.iter().map(gone).min_by_key(Vec::len) {
            Some(gone) if gone.is_empty() => {}
            Some(gone) => add(
                &mut outcome,
                at.broken(format!("may no longer be {}", gone.join(", "))),
            ),
            None if left.within(
                Types::ALL
                    .without(Types::NUMBER)
                    .without(Types::STRING)
                    .without(Types::ARRAY)
                    .without(Types::OBJECT),
            ) =>
            {
                let all = [Value::Null, Value::Bool(false), Value::Bool(true)];
                let gone: Vec<_> = all
                    .iter()
                    .filter(|value| left.meets(Types::of(value)) && !allowed.contains(value))
                    .map(shown)
                    .collect();
                if !gone.is_empty() {
                    add(
                        &mut outcome,
                        at.broken(format!("may no longer be {}", gone.join(", "))),
                    );
                }
            }
            None => add(
                &mut outcome,
                at.broken("may only be one of some values, and could be any"),
            ),
        }
    }
    if left.meets(Types::STRING) && map.contains_key("pattern") && !same_group(facts, map, &["pattern"]) {
        add(
            &mut outcome,
            at.unclear("`pattern` is new or changed, and only compared as it stands"),
        );
    }
    outcome
}

/// `minimum` and its kind, `multipleOf`.
pub(super) fn numbers(facts: &Facts<'_>, left: Types, map: &Map<String, Value>, at: &At) -> Compatibility {
    let mut outcome = fine();
    if !left.meets(Types::NUMBER) {
        return outcome;
    }
    let is = value(facts).and_then(|value| match value {
        Value::Number(number) => Some(number),
        _ => None,
    });
    for (bound, other, is_strict, outside) in [
        ("minimum", "exclusiveMinimum", false, Ordering::Less),
        ("exclusiveMinimum", "minimum", true, Ordering::Less),
        ("maximum", "exclusiveMaximum", false, Ordering::Greater),
        ("exclusiveMaximum", "maximum", true, Ordering::Greater),
    ] {
        let Some(limit) = map.get(bound) else { continue };
        let Value::Number(limit) = limit else {
            add(&mut outcome, at.unclear(format!("`{bound}` is not a number")));
            continue;
        };
        // Whether a bound of the old side keeps everything within the new one; equal ones do if the new one is not the stricter kind.
        let keeps = |old: &Value, may_be_equal: bool| match old {
            Value::Number(old) => order(old, limit)
                .is_some_and(|order| order == outside.reverse() || order == Ordering::Equal && may_be_equal),
            _ => false,
        };
        let (plain, strict) = if is_strict { (other, bound) } else { (bound, other) };
        let kept = keyword(facts, plain).any(|old| keeps(old, !is_strict))
            || keyword(facts, strict).any(|old| keeps(old, true))
            || is.is_some_and(|is| keeps(&Value::Number(is.clone()), !is_strict));
        if !kept {
            add(
                &mut outcome,
                at.broken(format!("`{bound}` {limit} is stricter than before")),
            );
        }
    }
    if let Some(step) = map.get("multipleOf") {
        let divides = |old: &Value| match (old.as_u64(), step.as_u64()) {
            (Some(old), Some(step)) if step > 0 => old % step == 0,
            _ => old == step,
        };
        let value_fits = is.is_some_and(|is| match (is.as_i64(), step.as_i64()) {
            (Some(is), Some(step)) if step > 0 => is % step == 0,
            _ => false,
        });
        let whole = step.as_u64() == Some(1) && left.and(Types::NUMBER).within(Types::INTEGER);
        if !whole && !value_fits && !keyword(facts, "multipleOf").any(divides) {
            add(
                &mut outcome,
                at.broken(format!("has to be a multiple of {}", shown(step))),
            );
        }
    }
    outcome
}

/// `minLength` and its kind.
pub(super) fn counts(facts: &Facts<'_>, left: Types, map: &Map<String, Value>, at: &At) -> Compatibility {
    let mut outcome = fine();
    for counted in [Counted::Length, Counted::Items, Counted::Properties] {
        if !left.meets(counted.types()) {
            continue;
        }
        let (low, high) = counted.keywords();
        let (least, most) = bounds(facts, counted);
        for (name, kept) in [
            (low, map.get(low).and_then(as_count).map(|min| least >= min)),
            (
                high,
                map.get(high)
                    .and_then(as_count)
                    .map(|max| most.is_some_and(|most| most <= max)),
            ),
        ] {
            match (map.get(name), kept) {
                (None, _) | (_, Some(true)) => {}
                (Some(limit), Some(false)) => add(
                    &mut outcome,
                    at.broken(format!("`{name}` {limit} is stricter than before")),
                ),
                (Some(_), None) => add(&mut outcome, at.unclear(format!("`{name}` is not a count"))),
            }
        }
    }
    outcome
}
