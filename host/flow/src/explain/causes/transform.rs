//! A transform refused the record: nothing was sent.

use stecker_model::{
    OperatorCommand,
    api::{Cause, Confidence},
};

use super::{Case, Failure, Finding, Stage, again, bug, others, with_failure};
use crate::explain::text::{first_line, last_message};

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage != Stage::Transform || bug::is_crash(&failure.reason) || bug::is_host(&failure.reason) {
        return None;
    }
    let said = first_line(last_message(&failure.reason.message));
    let finding = with_failure(
        Finding::new(
            Cause::TransformError,
            Confidence::Certain,
            format!("A transform of the flow refused the record, so nothing was sent: {said}"),
        ),
        failure,
    )
    .at(failure.reason.path.clone())
    .all_shown([others(case, failure)]);
    let record = case.record.id.clone();
    Some(finding.then(
        "See what each transform makes of it. Correct the transform in the setup and apply it, or the payload of this one record; then send what \
         is in quarantine for it on its way again.",
        [OperatorCommand::Steps { record }, OperatorCommand::Apply]
            .into_iter()
            .chain(again(case)),
    ))
}
