//! The comparison itself: do facts about the old side imply a schema of the new one?

mod exclusive;
mod leaves;
mod parts;

use serde_json::{Map, Value};

use super::{
    facts::{Fact, Facts, Types, types},
    schema::{Compatibility, Finding},
};

/// Steps of a comparison, at most. Alternatives within alternatives multiply, and a stranger writes the schemas.
const FUEL: u32 = 20_000;
/// How deep it goes, at most.
const MAX_DEPTH: usize = 48;

/// Keywords that say nothing about validity, or only carry what others refer to.
const SILENT: [&str; 16] = [
    "title",
    "description",
    "default",
    "examples",
    "$comment",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$schema",
    "$id",
    "$defs",
    "definitions",
    "contentEncoding",
    "contentMediaType",
    "contentSchema",
    "$vocabulary",
];
/// Keywords that are decided one by one or in groups, below.
const DECIDED: [&str; 26] = [
    "$ref",
    "allOf",
    "anyOf",
    "oneOf",
    "type",
    "enum",
    "const",
    "required",
    "properties",
    "patternProperties",
    "additionalProperties",
    "items",
    "prefixItems",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "minProperties",
    "maxProperties",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "uniqueItems",
    "pattern",
];
/// Keywords that are only compared as they stand, with those that they belong to.
const GROUPS: [&[&str]; 8] = [
    &["format"],
    &["not"],
    &["if", "then", "else"],
    &["contains", "minContains", "maxContains"],
    &["propertyNames"],
    &["dependentRequired"],
    &["dependentSchemas"],
    &["dependencies"],
];
/// Keywords whose meaning depends on all others, so that no part of such a schema can be judged alone.
const WHOLE: [&str; 5] = [
    "unevaluatedProperties",
    "unevaluatedItems",
    "$dynamicRef",
    "$recursiveRef",
    "additionalItems",
];

/// One comparison of two documents.
pub(super) struct Comparison<'a> {
    old: &'a Value,
    new: &'a Value,
    fuel: u32,
}

/// Where in the configuration the comparison is.
#[derive(Clone)]
struct At {
    place: String,
    depth: usize,
}

impl At {
    fn into(&self, member: &str) -> Self {
        Self {
            place: format!("{}/{member}", self.place),
            depth: self.depth + 1,
        }
    }

    fn here(&self) -> Self {
        Self {
            place: self.place.clone(),
            depth: self.depth + 1,
        }
    }

    fn broken(&self, what: impl Into<String>) -> Compatibility {
        Compatibility {
            broken: vec![self.finding(what)],
            ..Compatibility::default()
        }
    }

    fn unclear(&self, what: impl Into<String>) -> Compatibility {
        Compatibility {
            unclear: vec![self.finding(what)],
            ..Compatibility::default()
        }
    }

    fn finding(&self, what: impl Into<String>) -> Finding {
        Finding {
            place: self.place.clone(),
            what: what.into(),
        }
    }
}

fn fine() -> Compatibility {
    Compatibility::default()
}

fn add(to: &mut Compatibility, more: Compatibility) {
    to.broken.extend(more.broken);
    to.unclear.extend(more.unclear);
}

fn shown(value: &Value) -> String {
    crate::text::short(&value.to_string())
}

/// Whether a schema means the same wherever it stands.
fn stands_alone(schema: &Value) -> bool {
    match schema {
        Value::Array(items) => items.iter().all(stands_alone),
        Value::Object(members) => members.iter().all(|(name, member)| {
            !matches!(name.as_str(), "$ref" | "$dynamicRef" | "$recursiveRef" | "$id") && stands_alone(member)
        }),
        _ => true,
    }
}

/// Whether a part of a schema calls itself a document.
fn has_id(schema: &Value) -> bool {
    match schema {
        Value::Array(items) => items.iter().any(has_id),
        Value::Object(members) => members.contains_key("$id") || members.values().any(has_id),
        _ => false,
    }
}

/// The schema that a reference within the document leads to.
fn resolve<'a>(root: &'a Value, reference: &Value) -> Option<&'a Value> {
    let pointer = reference.as_str()?.strip_prefix('#')?;
    // Percent-encoding would have to be undone first; nobody's definitions need it.
    if pointer.contains('%') || !(pointer.is_empty() || pointer.starts_with('/')) {
        return None;
    }
    root.pointer(pointer)
}

impl<'a> Comparison<'a> {
    pub(super) fn of(old: &'a Value, new: &'a Value) -> Compatibility {
        let mut comparison = Self { old, new, fuel: FUEL };
        let at = At {
            place: String::new(),
            depth: 0,
        };
        if old == new {
            return fine();
        }
        for schema in [old, new] {
            let dialect = schema.get("$schema").and_then(Value::as_str);
            if dialect.is_some_and(|dialect| !dialect.contains("2020-12")) {
                return at.unclear("the schema is written in another draft than 2020-12");
            }
            // References below it would start from there.
            if schema.as_object().is_some_and(|all| all.values().any(has_id)) {
                return at.unclear("a part of the schema has an `$id` of its own");
            }
        }
        let facts = comparison.facts_of(old, 0);
        comparison.implies(&facts, new, &at)
    }

    /// What a schema of the old side says, with what it refers to and all that has to hold at once laid side by side.
    fn facts_of(&mut self, schema: &'a Value, depth: usize) -> Facts<'a> {
        self.fuel = self.fuel.saturating_sub(1);
        let map = match schema {
            Value::Bool(true) => return Vec::new(),
            Value::Bool(false) => return vec![Fact::Never],
            Value::Object(map) => map,
            // Not a schema; then nothing is known.
            _ => return Vec::new(),
        };
        let mut facts = vec![Fact::Schema {
            schema: map,
            split: false,
        }];
        if depth < MAX_DEPTH && self.fuel > 0 {
            if let Some(target) = map.get("$ref").and_then(|reference| resolve(self.old, reference)) {
                facts.extend(self.facts_of(target, depth + 1));
            }
            for part in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
                facts.extend(self.facts_of(part, depth + 1));
            }
        }
        facts
    }

    /// Whether everything that the facts hold of satisfies the schema: directly, or else by taking the facts' alternatives one at a time.
    fn implies(&mut self, facts: &Facts<'a>, schema: &'a Value, at: &At) -> Compatibility {
        if self.fuel == 0 || at.depth > MAX_DEPTH {
            return at.unclear("it is too deep or has too many alternatives to be compared");
        }
        self.fuel -= 1;
        let direct = self.implies_directly(facts, schema, at);
        if direct.is_compatible() {
            return direct;
        }
        let Some(cases) = self.split(facts) else {
            return direct;
        };
        let mut outcome = fine();
        for case in cases {
            add(&mut outcome, self.implies(&case, schema, &at.here()));
        }
        if outcome.is_compatible() || direct.broken.is_empty() {
            outcome
        } else {
            direct
        }
    }

    /// The facts as several cases, one of which holds; none if there is nothing to split by.
    fn split(&mut self, facts: &Facts<'a>) -> Option<Vec<Facts<'a>>> {
        let position = facts.iter().position(|fact| {
            matches!(fact, Fact::Schema { schema, split: false }
                if ["anyOf", "oneOf", "enum"].iter().any(|name| schema.get(*name).is_some_and(Value::is_array)))
        });
        let mut rest = facts.clone();
        if let Some(position) = position {
            let Some(Fact::Schema { schema, split }) = rest.get_mut(position) else {
                return None;
            };
            let schema = *schema;
            *split = true;
            // Exactly one of them holds, so one of them does.
            let alternatives = ["anyOf", "oneOf"]
                .iter()
                .find_map(|name| schema.get(*name).and_then(Value::as_array));
            let cases = if let Some(alternatives) = alternatives {
                alternatives
                    .iter()
                    .map(|alternative| {
                        let mut case = rest.clone();
                        case.extend(self.facts_of(alternative, 0));
                        case
                    })
                    .collect()
            } else {
                let values = schema.get("enum").and_then(Value::as_array)?;
                let with = |value| {
                    let mut case = rest.clone();
                    case.push(Fact::Is(value));
                    case
                };
                values.iter().map(with).collect()
            };
            return Some(cases);
        }
        // Types last: `["string", "null"]` against alternatives of one type each.
        let left = types(facts);
        let several = left != Types::ALL && left.each().nth(1).is_some();
        several.then(|| {
            left.each()
                .map(|one| {
                    let mut case = facts.clone();
                    case.push(Fact::Of(one));
                    case
                })
                .collect()
        })
    }

    fn implies_directly(&mut self, facts: &Facts<'a>, schema: &'a Value, at: &At) -> Compatibility {
        let left = types(facts);
        if left == Types::NONE {
            return fine();
        }
        let map = match schema {
            Value::Bool(true) => return fine(),
            Value::Bool(false) => return at.broken("is no longer allowed"),
            Value::Object(map) => map,
            _ => return at.unclear("its schema is neither an object nor a boolean"),
        };
        let same = |fact: &Fact<'a>| matches!(fact, Fact::Schema { schema: old, .. } if *old == map);
        if stands_alone(schema) && facts.iter().any(same) {
            return fine();
        }
        let mut outcome = fine();
        for name in map.keys() {
            let name = name.as_str();
            if WHOLE.contains(&name) {
                return at.unclear(format!("`{name}` depends on everything around it"));
            }
            if SILENT.contains(&name) || DECIDED.contains(&name) {
                continue;
            }
            // The first of a group that is there speaks for all of it.
            let group = GROUPS.iter().find(|group| group.contains(&name));
            if let Some(group) = group
                && group.iter().find(|member| map.contains_key(**member)) == Some(&name)
                && !same_group(facts, map, group)
                && !is_idle(left, name)
            {
                add(
                    &mut outcome,
                    at.unclear(format!(
                        "`{name}` is new or changed, and only compared as it stands"
                    )),
                );
            }
        }
        add(&mut outcome, self.references(facts, map, at));
        add(&mut outcome, leaves::values(facts, left, map, at));
        add(&mut outcome, leaves::numbers(facts, left, map, at));
        add(&mut outcome, leaves::counts(facts, left, map, at));
        if left.meets(Types::ARRAY) {
            add(&mut outcome, self.arrays(facts, map, at));
        }
        if left.meets(Types::OBJECT) {
            add(&mut outcome, self.objects(facts, map, at));
        }
        outcome
    }

    /// `$ref`, `allOf`, `anyOf`, `oneOf`.
    fn references(&mut self, facts: &Facts<'a>, map: &'a Map<String, Value>, at: &At) -> Compatibility {
        let mut outcome = fine();
        if let Some(reference) = map.get("$ref") {
            let more = match resolve(self.new, reference) {
                Some(target) => self.implies(facts, target, &at.here()),
                None => at.unclear(format!(
                    "the reference {} leads nowhere within the schema",
                    shown(reference)
                )),
            };
            add(&mut outcome, more);
        }
        for part in map.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            add(&mut outcome, self.implies(facts, part, &at.here()));
        }
        for name in ["anyOf", "oneOf"] {
            let Some(alternatives) = map.get(name).and_then(Value::as_array) else {
                continue;
            };
            if same_group(facts, map, &[name]) {
                continue;
            }
            if name == "oneOf" && !self.exclude_each_other(alternatives) {
                add(
                    &mut outcome,
                    at.unclear("the alternatives of `oneOf` may hold at once, which would be refused"),
                );
                continue;
            }
            let mut found = false;
            let mut all_broken = true;
            for alternative in alternatives {
                let tried = self.implies(facts, alternative, &at.here());
                found |= tried.is_compatible();
                all_broken &= tried.unclear.is_empty();
                if found {
                    break;
                }
            }
            if !found {
                let what = "fits none of the alternatives any more";
                add(
                    &mut outcome,
                    if all_broken {
                        at.broken(what)
                    } else {
                        at.unclear(format!("{what}, or that cannot be told"))
                    },
                );
            }
        }
        outcome
    }
}

/// Whether one of the facts has the same keywords with the same values, and they mean the same there.
fn same_group(facts: &Facts<'_>, map: &Map<String, Value>, group: &[&str]) -> bool {
    let alone = group.iter().filter_map(|name| map.get(*name)).all(stands_alone);
    alone
        && facts.iter().any(|fact| match fact {
            Fact::Schema { schema, .. } => group.iter().all(|name| schema.get(*name) == map.get(*name)),
            _ => false,
        })
}

/// Whether a keyword has no effect on what is left.
fn is_idle(left: Types, name: &str) -> bool {
    match name {
        "contains" | "minContains" | "maxContains" => !left.meets(Types::ARRAY),
        "propertyNames" | "dependentRequired" | "dependentSchemas" | "dependencies" => {
            !left.meets(Types::OBJECT)
        }
        _ => false,
    }
}
