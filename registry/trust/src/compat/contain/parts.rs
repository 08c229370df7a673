//! Items of arrays and members of objects.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::{At, Comparison, add, fine};
use crate::compat::{
    facts::{Counted, Fact, Facts, Types, bounds, escaped, keyword, required, types},
    schema::Compatibility,
};

impl<'a> Comparison<'a> {
    pub(super) fn arrays(
        &mut self,
        facts: &Facts<'a>,
        map: &'a Map<String, Value>,
        at: &At,
    ) -> Compatibility {
        let mut outcome = fine();
        let (_, most) = bounds(facts, Counted::Items);
        let prefix = |map: &'a Map<String, Value>| map.get("prefixItems").and_then(Value::as_array);
        let fixed = prefix(map).map_or(0, Vec::len);
        let old_fixed = facts
            .iter()
            .filter_map(|fact| match fact {
                Fact::Schema { schema, .. } => prefix(schema).map(Vec::len),
                Fact::Is(Value::Array(items)) => Some(items.len()),
                _ => None,
            })
            .max()
            .unwrap_or(0);
        // Beyond what either side names one by one, all items are alike.
        for index in 0..=fixed.max(old_fixed) {
            let there = u64::try_from(index).unwrap_or(u64::MAX);
            if most.is_some_and(|most| there >= most) {
                break;
            }
            let schema = match prefix(map).and_then(|prefix| prefix.get(index)) {
                Some(schema) => schema,
                None => match map.get("items") {
                    Some(schema) => schema,
                    None => break,
                },
            };
            let item = self.item(facts, index);
            add(&mut outcome, self.implies(&item, schema, &at.into("*")));
        }
        let unique = map.get("uniqueItems") == Some(&Value::Bool(true));
        if unique
            && !keyword(facts, "uniqueItems").any(|value| value == &Value::Bool(true))
            && most.is_none_or(|most| most > 1)
        {
            add(&mut outcome, at.broken("items may no longer be there twice"));
        }
        outcome
    }

    /// What is known of the item at a place.
    fn item(&mut self, facts: &Facts<'a>, index: usize) -> Facts<'a> {
        let mut item = Vec::new();
        for fact in facts {
            match fact {
                Fact::Is(Value::Array(items)) => match items.get(index) {
                    Some(value) => item.push(Fact::Is(value)),
                    None => item.push(Fact::Never),
                },
                Fact::Schema { schema, .. } => {
                    let prefix = schema.get("prefixItems").and_then(Value::as_array);
                    let schema = prefix
                        .and_then(|prefix| prefix.get(index))
                        .or_else(|| schema.get("items"));
                    if let Some(schema) = schema {
                        item.extend(self.facts_of(schema, 0));
                    }
                }
                _ => {}
            }
        }
        item
    }

    pub(super) fn objects(
        &mut self,
        facts: &Facts<'a>,
        map: &'a Map<String, Value>,
        at: &At,
    ) -> Compatibility {
        let mut outcome = fine();
        let has = required(facts);
        for name in map
            .get("required")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            if let Some(name) = name.as_str().filter(|name| !has.contains(*name)) {
                let may = self.member(facts, name);
                let what = if types(&may) == Types::NONE {
                    "is required, and could not be there before"
                } else {
                    "is required, and could be left out before"
                };
                add(&mut outcome, at.into(&escaped(name)).broken(what));
            }
        }
        let named = map.get("properties").and_then(Value::as_object);
        for (name, schema) in named.into_iter().flatten() {
            let member = self.member(facts, name);
            add(
                &mut outcome,
                self.implies(&member, schema, &at.into(&escaped(name))),
            );
        }
        let patterns = map.get("patternProperties").and_then(Value::as_object);
        for (pattern, schema) in patterns.into_iter().flatten() {
            // Of a member whose name matches, this much is known; which of the named ones match is not.
            let mut member = Vec::new();
            for old in keyword(facts, "patternProperties").filter_map(|old| old.get(pattern)) {
                member.extend(self.facts_of(old, 0));
            }
            let tried = self.implies(&member, schema, &at.into("*"));
            if !tried.is_compatible() {
                let what = format!(
                    "members that match `{}` were not known to be so",
                    crate::text::short(pattern)
                );
                add(&mut outcome, at.into("*").unclear(what));
            }
        }
        let Some(others) = map.get("additionalProperties") else {
            return outcome;
        };
        let is_named = |name: &str| named.is_some_and(|named| named.contains_key(name));
        for name in old_names(facts).into_iter().filter(|name| !is_named(name)) {
            let member = self.member(facts, name);
            let tried = self.implies(&member, others, &at.into(&escaped(name)));
            // A pattern of the new side may take the name out of the others; whether it does is not looked at.
            if patterns.is_none() {
                add(&mut outcome, tried);
            } else if !tried.is_compatible() {
                add(
                    &mut outcome,
                    at.into(&escaped(name)).unclear("may match a pattern or not"),
                );
            }
        }
        let mut member = Vec::new();
        for fact in facts {
            match fact {
                Fact::Is(Value::Object(_)) => member.push(Fact::Never),
                Fact::Schema { schema, .. } if !schema.contains_key("patternProperties") => {
                    if let Some(schema) = schema.get("additionalProperties") {
                        member.extend(self.facts_of(schema, 0));
                    }
                }
                _ => {}
            }
        }
        add(&mut outcome, self.implies(&member, others, &at.into("*")));
        outcome
    }

    /// What is known of the member of this name, where it is there.
    fn member(&mut self, facts: &Facts<'a>, name: &str) -> Facts<'a> {
        let mut member = Vec::new();
        for fact in facts {
            match fact {
                Fact::Is(Value::Object(members)) => match members.get(name) {
                    Some(value) => member.push(Fact::Is(value)),
                    None => member.push(Fact::Never),
                },
                Fact::Schema { schema, .. } => {
                    let own = schema
                        .get("properties")
                        .and_then(|properties| properties.get(name));
                    let other = || {
                        let by_pattern = schema.contains_key("patternProperties");
                        schema.get("additionalProperties").filter(|_| !by_pattern)
                    };
                    if let Some(schema) = own.or_else(other) {
                        member.extend(self.facts_of(schema, 0));
                    }
                }
                _ => {}
            }
        }
        member
    }
}

/// The members that the old side has a name for.
fn old_names<'a>(facts: &Facts<'a>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for fact in facts {
        match fact {
            Fact::Is(Value::Object(members)) => names.extend(members.keys().map(String::as_str)),
            Fact::Schema { schema, .. } => {
                if let Some(properties) = schema.get("properties").and_then(Value::as_object) {
                    names.extend(properties.keys().map(String::as_str));
                }
            }
            _ => {}
        }
    }
    names
}
