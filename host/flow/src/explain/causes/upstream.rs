//! A system is not there: it cannot be reached, does not answer in time, or answers that it cannot.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Evidence, Reason},
};

use super::{Case, Failure, Finding, Stage, again, bug, by_itself, elsewhere, others, system, with_failure};
use crate::explain::text::{http_status, last_message, says, time};

/// How the host and the usual HTTP clients say that nobody answered.
const AWAY: [&str; 14] = [
    "connection refused",
    "connection reset",
    "could not be reached",
    "cannot be reached",
    "could not connect",
    "timed out",
    "timeout",
    "time-out",
    "no answer",
    "dns",
    "name or service not known",
    "unreachable",
    "connection closed",
    "maintenance",
];

pub(super) fn is_away(reason: &Reason) -> bool {
    let message = last_message(&reason.message);
    // What is our own fault is none of the other's.
    if is_no_room(reason) || bug::is_crash(reason) || bug::is_host(reason) {
        return false;
    }
    if http_status(message).is_some_and(|status| matches!(status, 408 | 500..=599)) {
        return true;
    }
    reason.code == ErrorCode::Transient.as_str()
        || reason.code == "looked-up"
        || (reason.code == ErrorCode::Fatal.as_str() && says(message, &AWAY))
}

/// The host had no place for the call.
pub(super) fn is_no_room(reason: &Reason) -> bool {
    says(
        last_message(&reason.message),
        &[
            "so the plugin was not called",
            "the calls of its tenant that run at the same time have all of its",
        ],
    )
}

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    if failure.stage == Stage::Transform || !is_away(&failure.reason) {
        return None;
    }
    let system = system(case, failure);
    let message = last_message(&failure.reason.message);
    let elsewhere = elsewhere(case, is_away);
    let status = http_status(message);
    let nobody = status.is_none() && says(message, &AWAY);
    let breaker = case.breaker.as_ref().filter(|breaker| !breaker.held);
    let (confidence, sentence) = if let Some(breaker) = breaker {
        (
            Confidence::Certain,
            format!(
                "{system} is left alone, because {} failed too often: {}.",
                breaker.upstream, breaker.reason
            ),
        )
    } else if case.others.good_since > 0 {
        (
            Confidence::Possible,
            format!(
                "{system} could not take this record at the moment, while others went through: it is not down, it is something about this \
                 record or a fault that passes."
            ),
        )
    } else if !elsewhere.is_empty() || (status.is_some_and(|status| status >= 500) || nobody) {
        let what = status.map_or_else(
            || "does not answer".to_owned(),
            |status| format!("answers with {status}"),
        );
        (
            Confidence::Certain,
            format!("{system} {what}, and nothing goes through: it is down or has a fault."),
        )
    } else {
        (
            Confidence::Likely,
            format!("{system} cannot take anything at the moment; it says that this passes."),
        )
    };
    let mut finding = with_failure(Finding::new(Cause::UpstreamDown, confidence, sentence), failure)
        .all_shown([others(case, failure)])
        .all_shown(elsewhere);
    if let Some(breaker) = breaker {
        finding = finding.all_shown([Evidence {
            what: format!(
                "nothing is asked of {} since {}{}",
                breaker.upstream,
                time(breaker.since),
                breaker
                    .until
                    .map_or_else(String::new, |until| format!(", until {}", time(until)))
            ),
            place: format!("upstream/{}", breaker.upstream),
        }]);
    }
    Some(
        finding.then(
            format!(
                "See whether {system} works, and tell whoever runs it if not. {}",
                by_itself(case)
            ),
            [OperatorCommand::Check {
                connection: case.connection.name.clone(),
            }]
            .into_iter()
            .chain(again(case)),
        ),
    )
}
