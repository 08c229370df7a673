//! The system understood the record, and its own rules do not allow it. What is left when a system refuses one record and takes others.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence},
};

use super::{Case, Failure, Finding, Stage, again, others, system, with_failure};
use crate::explain::text::{first_line, http_status, last_message};

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    let reason = &failure.reason;
    let rejected = failure.outcome.as_deref() == Some("rejected") || reason.code == ErrorCode::Data.as_str();
    // These codes say whose fault it is, and it is not the record's.
    let other = matches!(
        ErrorCode::parse(&reason.code),
        ErrorCode::Auth
            | ErrorCode::RateLimited
            | ErrorCode::Denied
            | ErrorCode::Config
            | ErrorCode::Unsupported
            | ErrorCode::Transient
    ) || reason.code == ErrorCode::Fatal.as_str();
    if failure.stage != Stage::Writing || !rejected || other {
        return None;
    }
    let system = system(case, failure);
    let own_code = ErrorCode::parse(&reason.code) == ErrorCode::Fatal;
    let confidence = match (own_code, case.others.good_since > 0) {
        (true, true) => Confidence::Certain,
        (true, false) | (false, true) => Confidence::Likely,
        (false, false) => Confidence::Possible,
    };
    let status = http_status(last_message(&reason.message))
        .map_or_else(String::new, |status| format!(" (HTTP {status})"));
    let finding = with_failure(
        Finding::new(
            Cause::BusinessRule,
            confidence,
            format!(
                "{system} understood the record and refused it by a rule of its own, `{}`{status}: {}",
                reason.code,
                first_line(last_message(&reason.message))
            ),
        ),
        failure,
    )
    .at(reason.path.clone())
    .all_shown([others(case, failure)]);
    let record = case.record.id.clone();
    let code: String = reason.code.chars().take(80).collect();
    let commands = [
        OperatorCommand::Edit {
            record: record.clone(),
            reason: format!("corrected for {code}"),
        },
        OperatorCommand::Discard {
            record,
            reason: format!("refused by {}: {code}", case.connection.name),
        },
    ];
    let commands: Vec<OperatorCommand> = if case.is_quarantined() {
        commands.into_iter().chain(again(case)).collect()
    } else {
        vec![OperatorCommand::Groups {
            flow: case.flow.name.clone(),
        }]
    };
    Some(finding.then(
        format!(
            "Decide with whoever knows the rules of {system}: correct the record, or give it up, or change the rule there and send it on its way \
             again."
        ),
        commands,
    ))
}
