//! Connection or flow are set up in a way that cannot work.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, others, with_failure};
use crate::explain::text::{code_has, first_line, http_status, last_message};

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    let reason = &failure.reason;
    let message = last_message(&reason.message);
    let said = reason.code == ErrorCode::Config.as_str();
    let cannot = reason.code == ErrorCode::Unsupported.as_str() || code_has(&reason.code, &["unsupported"]);
    // An address that is not there for anybody is a wrong address.
    let address = http_status(message) == Some(404) && case.others.good_since == 0;
    if failure.stage == Stage::Transform || !(said || cannot || address) {
        return None;
    }
    let confidence = if said || cannot {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let connection = &case.connection.name;
    let sentence = if cannot {
        format!(
            "`{connection}` cannot do what the flow asks of it: {}",
            first_line(message)
        )
    } else if said {
        format!(
            "The configuration of `{connection}` cannot work: {}",
            first_line(message)
        )
    } else {
        format!(
            "`{connection}` does not know the address that its plugin asks for, for any record: its base address is probably wrong."
        )
    };
    let finding = with_failure(Finding::new(Cause::Configuration, confidence, sentence), failure)
        .all_shown([others(case, failure)]);
    if cannot && case.is_quarantined() {
        return Some(finding.then(
            "Leave such records out with a transform of the flow, and give this one up.",
            [
                OperatorCommand::Apply,
                OperatorCommand::Discard {
                    record: case.record.id.clone(),
                    reason: format!("{connection} cannot do this"),
                },
            ],
        ));
    }
    Some(
        finding.then(
            format!(
                "Correct the connection in the setup, apply it, and try it. {}",
                by_itself(case)
            ),
            [
                OperatorCommand::Apply,
                OperatorCommand::Check {
                    connection: connection.clone(),
                },
            ]
            .into_iter()
            .chain(again(case)),
        ),
    )
}
