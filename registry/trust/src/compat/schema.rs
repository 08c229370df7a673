//! Whether every configuration that was valid under one JSON Schema (draft 2020-12) is valid under another.
//!
//! The answer is sound and not complete. If nothing is broken and nothing is unclear, then no configuration that was valid has become invalid; a test
//! holds that against a validator with random schemas and instances. What cannot be decided is said to be unclear, with the place, and never passed
//! over. The method is structural: what is known to hold of an instance of the old schema (see `facts`) has to imply each keyword of the new one
//! (see `contain`).

use serde::Serialize;
use serde_json::Value;

use super::contain::Comparison;

/// The outcome of a comparison.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Compatibility {
    /// What is no longer allowed.
    pub broken: Vec<Finding>,
    /// What could not be decided.
    pub unclear: Vec<Finding>,
    /// What changes for configurations that stay valid: other defaults.
    pub notes: Vec<Finding>,
}

/// Something about a place of the configuration.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Finding {
    /// The place as a JSON Pointer, with `*` for any member or item; empty for the whole.
    pub place: String,
    /// What is the matter there.
    pub what: String,
}

impl Compatibility {
    /// Whether every configuration that was valid is known to be still valid.
    #[must_use]
    pub fn is_compatible(&self) -> bool {
        self.broken.is_empty() && self.unclear.is_empty()
    }

    /// For people, a line for each finding.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = |what: &str, findings: &[Finding]| -> String {
            findings
                .iter()
                .map(|finding| {
                    let place = if finding.place.is_empty() {
                        "the configuration"
                    } else {
                        &finding.place
                    };
                    format!("{what}: {place}: {}\n", finding.what)
                })
                .collect()
        };
        lines("breaks", &self.broken) + &lines("cannot tell", &self.unclear) + &lines("note", &self.notes)
    }
}

/// Compares two schemas.
#[must_use]
pub fn compare(old: &Value, new: &Value) -> Compatibility {
    let mut outcome = Comparison::of(old, new);
    let mut notes = Vec::new();
    defaults(old, new, "", 0, &mut notes);
    outcome.notes = notes;
    for findings in [&mut outcome.broken, &mut outcome.unclear, &mut outcome.notes] {
        findings.sort();
        findings.dedup();
    }
    outcome
}

/// Defaults that changed, along the properties that both have.
fn defaults(old: &Value, new: &Value, place: &str, depth: usize, notes: &mut Vec<Finding>) {
    const MAX_DEPTH: usize = 32;
    let show = |value: Option<&Value>| {
        value.map_or("none".to_owned(), |value| crate::text::short(&value.to_string()))
    };
    let (before, after) = (old.get("default"), new.get("default"));
    if before != after {
        notes.push(Finding {
            place: place.to_owned(),
            what: format!(
                "the default was {} and is {}: configurations that leave it out may behave differently",
                show(before),
                show(after)
            ),
        });
    }
    let properties = |schema: &'_ Value| schema.get("properties").and_then(Value::as_object).cloned();
    let (Some(before), Some(after)) = (properties(old), properties(new)) else {
        return;
    };
    if depth < MAX_DEPTH {
        for (name, old) in &before {
            if let Some(new) = after.get(name) {
                defaults(
                    old,
                    new,
                    &format!("{place}/{}", super::facts::escaped(name)),
                    depth + 1,
                    notes,
                );
            }
        }
    }
}

#[cfg(test)]
#[path = "schema_tests.rs"]
mod tests;
