//! The payload has another shape than whoever reads it expects: a field is missing, has another type, or should not be there.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Evidence},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, others, system, with_failure};
use crate::explain::{
    facts::{FieldFacts, FieldFound},
    text::{code_has, last_message, says},
};

/// Codes that plugins and systems use for it.
const CODES: [&str; 9] = [
    "schema",
    "payload",
    "not-json",
    "invalid-item",
    "invalid-payload",
    "invalid-type",
    "missing-field",
    "unknown-field",
    "validation-error",
];

/// How parsers and validators say it (serde, JSON Schema and their relatives).
const SHAPES: [&str; 14] = [
    "invalid type",
    "missing field",
    "unknown field",
    "unknown variant",
    "does not fit",
    "is not of type",
    "is not of types",
    "wrong type",
    "required property",
    "is a required property",
    "additional properties",
    "expected a string",
    "expected a number",
    "must be a string",
];

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    let reason = &failure.reason;
    let message = last_message(&reason.message);
    let differs = case
        .field
        .as_ref()
        .is_some_and(|field| field.found != FieldFound::SameType);
    let about_fields = CODES.contains(&reason.code.as_str())
        || (code_has(&reason.code, &["field", "property", "attribute"])
            && code_has(&reason.code, &["missing", "unknown", "invalid", "unexpected"]));
    let by_shape = about_fields || says(message, &SHAPES);
    let refused_here = failure.outcome.as_deref() == Some("rejected");
    if !(by_shape || differs && refused_here) {
        return None;
    }
    // What a transform says of a payload is the transform's own matter, unless it is about the shape.
    if failure.stage == Stage::Transform && !by_shape {
        return None;
    }
    let field = reason
        .path
        .clone()
        .or_else(|| case.field.as_ref().map(|field| field.path.clone()))
        .filter(|path| !path.is_empty());
    let system = match failure.stage {
        Stage::Transform => "a transform".to_owned(),
        Stage::Reading => format!("the plugin of `{}`", case.connection.name),
        Stage::Writing => system(case, failure),
    };
    let confidence = match (by_shape, differs) {
        (true, true) => Confidence::Certain,
        (true, false) if field.is_some() || about_fields => Confidence::Likely,
        // The very place that is refused is what is different about this record.
        (false, _) => Confidence::Likely,
        (true, false) => Confidence::Possible,
    };
    let place = field.as_ref().map_or_else(
        || "the payload".to_owned(),
        |field| format!("the field `{field}`"),
    );
    let sentence = if failure.stage == Stage::Reading || reason.code == ErrorCode::Schema.as_str() {
        format!(
            "What {} answered has another shape than its plugin expects, at {place}: its API changed, or the plugin is too old.",
            case.connection.name
        )
    } else {
        format!(
            "{place} has another shape than {system} expects{}.",
            what(case.field.as_ref())
        )
    };
    let finding = with_failure(
        Finding::new(Cause::SchemaMismatch, confidence, capital(&sentence)),
        failure,
    )
    .at(field)
    .all_shown(case.field.as_ref().map(evidence(case)))
    .all_shown([others(case, failure)]);
    let record = case.record.id.clone();
    if !case.is_quarantined() {
        return Some(finding.then(
            format!(
                "Look at what is sent; correct the flow's transform, or use a release of the plugin that fits. {}",
                by_itself(case)
            ),
            [OperatorCommand::Steps { record }, OperatorCommand::Apply],
        ));
    }
    let commands = [
        OperatorCommand::Steps {
            record: record.clone(),
        },
        OperatorCommand::Edit {
            record,
            reason: "shape corrected".to_owned(),
        },
    ];
    Some(finding.then(
        "Where only some records are so: correct their payloads. Where all are: correct the flow's transform and `stecker apply` it, then send \
         what is in quarantine for it on its way again.",
        commands.into_iter().chain(again(case)),
    ))
}

fn what(field: Option<&FieldFacts>) -> String {
    match field.map(|field| &field.found) {
        Some(FieldFound::TypeChanged { was, is }) => {
            format!(": it is {is} here, and {was} in the records that went through")
        }
        Some(FieldFound::Absent) => ": it is not there, and was in the records that went through".to_owned(),
        Some(FieldFound::New) => ": it is new, and was in none of the records that went through".to_owned(),
        _ => String::new(),
    }
}

fn evidence(case: &Case) -> impl Fn(&FieldFacts) -> Evidence {
    let place = format!("record/{}, payload{{}}", case.record.id);
    move |field| {
        let peers = match field.peers {
            1 => "1 record that went through".to_owned(),
            n => format!("{n} records that went through"),
        };
        let what = match &field.found {
            FieldFound::TypeChanged { was, is } => {
                format!("`{}` is {is} in this record, and {was} in {peers}", field.path)
            }
            FieldFound::Absent => format!("`{}` is not in this record, and is in {peers}", field.path),
            FieldFound::New => format!("`{}` is in this record, and not in {peers}", field.path),
            FieldFound::SameType => format!("`{}` has the same type in {peers}", field.path),
        };
        Evidence {
            what,
            place: place.replace("{}", &field.path),
        }
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars
        .next()
        .map(|first| first.to_uppercase().chain(chars).collect())
        .unwrap_or_default()
}
