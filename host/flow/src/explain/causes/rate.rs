//! A system asked for fewer requests.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Reason},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, elsewhere, others, system, with_failure};
use crate::explain::text::{http_status, last_message, says};

fn is_rate(reason: &Reason) -> bool {
    let message = last_message(&reason.message);
    reason.code == ErrorCode::RateLimited.as_str()
        || (reason.code != ErrorCode::Denied.as_str()
            && (http_status(message) == Some(429)
                || says(
                    message,
                    &["rate limit", "too many requests", "throttled", "quota exceeded"],
                )))
}

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage == Stage::Transform || !is_rate(&failure.reason) {
        return None;
    }
    let system = system(case, failure);
    let said_so = failure.reason.code == ErrorCode::RateLimited.as_str()
        || http_status(last_message(&failure.reason.message)) == Some(429);
    let confidence = if said_so {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let finding = with_failure(
        Finding::new(
            Cause::RateLimit,
            confidence,
            format!(
                "{system} asked for fewer requests: its limit for this account is used up for the moment."
            ),
        ),
        failure,
    )
    .all_shown([others(case, failure)])
    .all_shown(elsewhere(case, is_rate));
    let slower = format!(
        "If it comes again and again, set `limits.http.per-second` of {system} lower in the setup, or look who else uses the account."
    );
    let status = OperatorCommand::FlowStatus {
        flow: case.flow.name.clone(),
    };
    Some(match again(case) {
        Some(command) => finding.then(format!("{} {slower}", by_itself(case)), [command, status]),
        None => finding.then(format!("Nothing now. {} {slower}", by_itself(case)), [status]),
    })
}
