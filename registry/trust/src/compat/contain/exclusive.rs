//! Whether alternatives exclude each other, so that "exactly one" says no more than "one".

use serde_json::{Map, Value};

use super::{
    Comparison,
    leaves::{comparable, listed},
    resolve,
};
use crate::compat::facts::{Fact, Types, required, types};

impl<'a> Comparison<'a> {
    /// Whether at most one of the alternatives can hold.
    pub(super) fn exclude_each_other(&mut self, alternatives: &'a [Value]) -> bool {
        const MAX: usize = 64;
        alternatives.len() <= MAX
            && alternatives.iter().enumerate().all(|(i, one)| {
                let mut after = alternatives.iter().skip(i + 1);
                after.all(|other| self.excludes(one, other, 0))
            })
    }

    fn excludes(&mut self, one: &'a Value, other: &'a Value, depth: usize) -> bool {
        if self.fuel == 0 || depth > 8 {
            return false;
        }
        self.fuel -= 1;
        let follow = |schema: &'a Value, root: &'a Value| match schema.get("$ref") {
            Some(reference) => resolve(root, reference).unwrap_or(schema),
            None => schema,
        };
        let (one, other) = (follow(one, self.new), follow(other, self.new));
        let (Value::Object(a), Value::Object(b)) = (one, other) else {
            return one == &Value::Bool(false) || other == &Value::Bool(false);
        };
        let facts = |map| {
            [Fact::Schema {
                schema: map,
                split: true,
            }]
        };
        let (fa, fb) = (facts(a), facts(b));
        let both = types(&fa).and(types(&fb));
        if both == Types::NONE {
            return true;
        }
        if let (Some(these), Some(those)) = (listed(a), listed(b))
            && these.iter().all(|value| comparable(value))
            && those.iter().all(|value| comparable(value))
        {
            return these.iter().all(|value| !those.contains(value));
        }
        // Two objects: by a member that both must have and that cannot be both, or that one must have and the other cannot.
        if both != Types::OBJECT {
            return false;
        }
        let member =
            |map: &'a Map<String, Value>, name: &str| map.get("properties").and_then(|all| all.get(name));
        let closed = |map: &Map<String, Value>| {
            map.get("additionalProperties") == Some(&Value::Bool(false))
                && !map.contains_key("patternProperties")
        };
        let (ra, rb) = (required(&fa), required(&fb));
        ra.iter().any(|name| closed(b) && member(b, name).is_none())
            || rb.iter().any(|name| closed(a) && member(a, name).is_none())
            || ra
                .intersection(&rb)
                .any(|name| match (member(a, name), member(b, name)) {
                    (Some(one), Some(other)) => self.excludes(one, other, depth + 1),
                    _ => false,
                })
    }
}
