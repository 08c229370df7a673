//! What changed for operators since the release before: the configuration they wrote, and what they granted.

use semver::Version;
use serde_json::Value;
use stecker_registry::Manifest;
use stecker_trust::compat::{CapabilityDiff, Finding, config_step};

use crate::{Code, findings::Findings};

/// The schema out of a description; without one, anything goes.
fn schema(description: &Value) -> Value {
    match description.get("config") {
        None | Some(Value::Null) => Value::Bool(true),
        Some(schema) => schema.clone(),
    }
}

pub(crate) fn configuration(old: (&Version, &Value), new: (&Version, &Value), findings: &mut Findings<'_>) {
    let (before, after) = (schema(old.1), schema(new.1));
    let Some(compatibility) = config_step((old.0, &before), (new.0, &after)) else {
        return;
    };
    let told = |found: &[Finding]| -> Vec<String> {
        let line = |finding: &Finding| {
            let place = if finding.place.is_empty() {
                "the configuration"
            } else {
                finding.place.as_str()
            };
            format!("{place}: {}", finding.what)
        };
        found.iter().map(line).collect()
    };
    findings.add_each(Code::ConfigBroken, told(&compatibility.broken));
    findings.add_each(Code::ConfigUnclear, told(&compatibility.unclear));
    findings.add_each(Code::ConfigNote, told(&compatibility.notes));
}

pub(crate) fn capabilities(old: &Manifest, new: &Manifest, findings: &mut Findings<'_>) {
    let difference = CapabilityDiff::between(old, new);
    findings.add_each(Code::CapabilitiesWider, difference.wider());
    findings.add_each(
        Code::CapabilitiesNarrower,
        difference.narrower.iter().map(|change| change.what.clone()),
    );
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::GatePolicy;

    #[test]
    fn a_configuration_stays_valid_within_a_major() {
        let found = |from: &str, to: &str, old: &Value, new: &Value| -> Vec<Code> {
            let policy = GatePolicy::publish();
            let mut findings = Findings::new(&policy);
            let (from, to): (Version, Version) = (from.parse().unwrap(), to.parse().unwrap());
            let describe = |schema: &Value| json!({ "title": "t", "config": schema });
            configuration((&from, &describe(old)), (&to, &describe(new)), &mut findings);
            findings.into_list().iter().map(|finding| finding.code).collect()
        };
        let one =
            json!({ "type": "object", "properties": { "url": { "type": "string" } }, "required": ["url"] });
        let more = json!({ "type": "object", "properties": { "url": { "type": "string" }, "page": {} },
            "required": ["url", "page"] });
        let odd = json!({ "type": "object", "properties": { "url": { "type": "string", "pattern": "^https" } }, "required": ["url"] });
        assert_eq!(found("1.0.0", "1.1.0", &one, &one), []);
        assert_eq!(found("1.0.0", "1.1.0", &one, &more), [Code::ConfigBroken]);
        assert_eq!(found("1.0.0", "2.0.0", &one, &more), []);
        assert_eq!(found("1.0.0", "1.0.1", &one, &odd), [Code::ConfigUnclear]);
        assert_eq!(found("1.0.0", "1.0.1", &Value::Null, &Value::Null), []);
        assert_eq!(found("1.0.0", "1.0.1", &one, &Value::Null), []);
    }
}
