//! The sandbox refused the plugin something that it needs: a host that is not granted, a secret, storage.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, DenialInfo},
};

use super::{Case, Failure, Finding, again, by_itself, with_failure};
use crate::explain::text::{first_line, time};

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    let told = failure.reason.code == ErrorCode::Denied.as_str();
    let seen = case.denials.first();
    if !told && seen.is_none() {
        return None;
    }
    // A plugin that was refused something may well have gone on without; only what it says itself is sure.
    let confidence = match (told, case.others.good_since) {
        (true, _) => Confidence::Certain,
        (false, 0) => Confidence::Possible,
        (false, _) => return None,
    };
    let connection = &case.connection.name;
    let asked = seen.map_or_else(
        || first_line(&failure.reason.message),
        |denial| first_line(&denial.asked),
    );
    let who = seen.map_or("the sandbox", |denial| match denial.layer.as_str() {
        "manifest" => "its own manifest, which does not ask for it",
        "grant" => "the grants of the connection",
        "ceiling" => "the tenant's limits",
        _ => "the host, which never allows it",
    });
    let mut finding = with_failure(
        Finding::new(
            Cause::Denial,
            confidence,
            format!("The plugin of `{connection}` was refused `{asked}`, by {who}."),
        ),
        failure,
    );
    for denial in case.denials.iter().take(3) {
        finding = finding.shown(
            format!(
                "refused {} times by the rule {} (layer {}), first at {}, last at {}: {}",
                denial.count,
                denial.rule,
                denial.layer,
                time(denial.first_seen_at),
                time(denial.last_seen_at),
                first_line(&denial.asked)
            ),
            format!("denial/{}", denial.id),
        );
    }
    let (action, commands) = remedy(case, seen);
    Some(finding.then(
        format!("{action} {}", by_itself(case)),
        commands.into_iter().chain(again(case)),
    ))
}

fn remedy(case: &Case, seen: Option<&DenialInfo>) -> (String, Vec<OperatorCommand>) {
    let Some(denial) = seen else {
        return (
            "Look up what was refused and what would allow it.".to_owned(),
            vec![OperatorCommand::Denials {
                connection: case.connection.name.clone(),
            }],
        );
    };
    let show = OperatorCommand::ShowDenial {
        id: denial.id.clone(),
    };
    if denial.smallest_grant.is_empty() {
        return (
            "No grant can allow it: use another release of the plugin, or another configuration of the connection.".to_owned(),
            vec![show],
        );
    }
    let grant = denial.smallest_grant.lines().collect::<Vec<_>>().join(" ");
    (
        format!(
            "If the plugin may do this, allow it: `{grant}` goes into {}.",
            denial.goes_into
        ),
        vec![show, OperatorCommand::Apply],
    )
}
