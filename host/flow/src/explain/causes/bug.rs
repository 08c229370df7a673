//! Our own faults: a plugin that crashes, computes without end or breaks the contract, and a host that fails or has no room. Which of the two
//! it is decides who has to be told.

use stecker_model::{
    ErrorCode, OperatorCommand,
    api::{Cause, Confidence, Reason},
};

use super::{Case, Failure, Finding, Stage, again, by_itself, others, upstream, with_failure};
use crate::explain::text::{first_line, last_message, says, time};

/// How the sandbox says that it was the plugin.
const PLUGIN: [&str; 6] = [
    "the plugin crashed",
    "while it was computing",
    "the plugin needed more than its",
    "the plugin used up its stack",
    "the plugin broke the contract",
    "this is a fault of the plugin",
];
/// And that it was not.
const HOST: [&str; 3] = [
    "the host failed during the call",
    "this is not the plugin's fault",
    "nobody planned for",
];

pub(crate) fn is_crash(reason: &Reason) -> bool {
    says(last_message(&reason.message), &PLUGIN)
}

pub(super) fn is_host(reason: &Reason) -> bool {
    says(last_message(&reason.message), &HOST) || upstream::is_no_room(reason)
}

pub(super) fn look(case: &Case, failure: &Failure) -> Option<Finding> {
    let reason = &failure.reason;
    let message = last_message(&reason.message);
    if is_host(reason) {
        return Some(host(case, failure));
    }
    let circuit = &case.connection.circuit;
    let crash = circuit
        .last_crash
        .as_ref()
        .filter(|_| failure.stage != Stage::Transform && !circuit.is_quiet());
    let crashed = is_crash(reason);
    let says_so = reason.code == ErrorCode::Fatal.as_str() && !upstream::is_away(reason);
    if !crashed && !says_so {
        return None;
    }
    let who = match failure.stage {
        Stage::Transform => format!("A transform of the flow {}", case.flow.name),
        Stage::Reading | Stage::Writing => {
            format!(
                "The plugin of `{}` ({})",
                case.connection.name, case.connection.plugin
            )
        }
    };
    let (confidence, sentence) = if crashed {
        (
            Confidence::Certain,
            format!(
                "{who} is broken, at least for this record: {}",
                first_line(message)
            ),
        )
    } else {
        (
            Confidence::Likely,
            format!(
                "{who} met something that it was not made for: {}",
                first_line(message)
            ),
        )
    };
    let mut finding = with_failure(Finding::new(Cause::PluginBug, confidence, sentence), failure);
    if let Some(frames) = Some(message.lines().skip(1).take(3).map(str::trim).collect::<Vec<_>>())
        .filter(|frames| !frames.is_empty())
    {
        finding = finding.shown(
            format!("where it was: {}", frames.join(", ")),
            failure.place.clone(),
        );
    }
    if let Some(crash) = crash {
        finding = finding.shown(
            format!(
                "it crashed last at {} in `{}`: {}",
                time(crash.at),
                crash.function,
                first_line(&crash.message)
            ),
            format!("connection/{}", case.connection.name),
        );
    }
    let finding = finding.all_shown([others(case, failure)]);
    let record = case.record.id.clone();
    let mut commands = vec![OperatorCommand::ShowRecord { record }];
    if failure.stage != Stage::Transform {
        commands.push(OperatorCommand::ShowConnection {
            connection: case.connection.name.clone(),
        });
    }
    commands.extend(again(case));
    Some(finding.then(
        format!(
            "Report it to the plugin's author with the functions that are shown; go back to the release before, if it is new. {}",
            by_itself(case)
        ),
        commands,
    ))
}

fn host(case: &Case, failure: &Failure) -> Finding {
    let no_room = upstream::is_no_room(&failure.reason);
    let sentence = if no_room {
        "The host had no room for the call: all instances or all memory that the tenant may have were taken. Neither the plugin nor the system is \
         at fault."
    } else {
        "The host itself failed; neither the plugin nor the system is at fault."
    };
    let action = if no_room {
        "Raise `calls` or `memory-mib` in the tenant's limits, or give the host more room."
    } else {
        "Look at the host and its log, and report it."
    };
    with_failure(
        Finding::new(Cause::HostBug, Confidence::Certain, sentence),
        failure,
    )
    .then(
        format!("{action} {}", by_itself(case)),
        [OperatorCommand::Doctor].into_iter().chain(again(case)),
    )
}
