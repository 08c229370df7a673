//! The system has it already: another record, another flow or a person brought it there, or its idempotency key was used for something else.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Evidence},
};

use super::{Case, Failure, Finding, Stage, again, system, with_failure};
use crate::explain::text::{code_has, http_status, last_message, says, time};

const SAYS: [&str; 9] = [
    "already exists",
    "already been used",
    "already booked",
    "already there",
    "already taken",
    "was used for",
    "duplicate",
    "must be unique",
    "is not unique",
];

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage != Stage::Writing {
        return None;
    }
    let reason = &failure.reason;
    let message = last_message(&reason.message);
    let code = &reason.code;
    let by_code = code_has(code, &["duplicate", "exists", "taken", "reused"])
        || (code_has(code, &["already", "idempotency"]) && !code_has(code, &["missing", "invalid"]));
    let by_word = says(message, &SAYS);
    let conflict = *code == ErrorCode::Conflict.as_str() || http_status(message) == Some(409);
    // A conflict may as well be somebody who changed the thing in between, which passes by itself.
    if !(by_code || by_word || (conflict && !case.delivered_before.is_empty())) {
        return None;
    }
    let system = system(case, failure);
    let key = code_has(code, &["idempotency"]) || says(message, &["idempotency"]);
    let confidence = match (by_code, by_word, case.delivered_before.is_empty()) {
        (_, _, false) if by_code || by_word => Confidence::Certain,
        (true, ..) => Confidence::Certain,
        (false, true, _) => Confidence::Likely,
        _ => Confidence::Possible,
    };
    let sentence = match (key, case.delivered_before.first()) {
        (true, _) => format!(
            "{system} has booked something else under the idempotency key of this record: the record was delivered before, and was changed since \
             (its payload, or the flow's transform)."
        ),
        (false, Some(before)) => format!(
            "{system} has it already: {} brought it there at {}{}.",
            before.id,
            time(before.at),
            before
                .external_id
                .as_ref()
                .map_or_else(String::new, |id| format!(" as {id}"))
        ),
        (false, None) => format!(
            "{system} has it already, and not from this host: a person or another system brought it there, or another record has the same number."
        ),
    };
    let finding = with_failure(Finding::new(Cause::Duplicate, confidence, sentence), failure)
        .at(reason.path.clone())
        .all_shown(case.delivered_before.iter().take(3).map(|before| Evidence {
            what: format!(
                "{} was delivered at {}{}",
                before.id,
                time(before.at),
                before
                    .external_id
                    .as_ref()
                    .map_or_else(String::new, |id| format!(", as {id} there"))
            ),
            place: format!("record/{}", before.id),
        }));
    let compare = OperatorCommand::Reconcile {
        flow: case.flow.name.clone(),
    };
    let record = case.record.id.clone();
    if !case.is_quarantined() {
        return Some(finding.then(
            format!("Look at what is in {system}; compare the flow's two ends."),
            [OperatorCommand::ShowRecord { record }, compare],
        ));
    }
    Some(finding.then(
        format!(
            "Look at what is in {system}. If that is right, give this record up; if it is not, put it right there and send the record on its way \
             again."
        ),
        [
            compare,
            OperatorCommand::Discard {
                record,
                reason: format!("{} has it already", case.connection.name),
            },
        ]
        .into_iter()
        .chain(again(case)),
    ))
}
