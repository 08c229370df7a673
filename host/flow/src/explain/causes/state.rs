//! States that are no failure, or whose cause lies beside the record: a pause, a connection that is not called, the way itself.

use stecker_model::{
    OperatorCommand, RecordState,
    api::{Cause, CircuitState, Confidence},
};

use super::{Case, Finding};
use crate::explain::text::{counted, first_line, span, time};

/// A record that waits longer than this without a reason is worth a look.
const LONG_MS: i64 = 300_000;

pub(super) fn look(case: &Case) -> Vec<Finding> {
    let mut findings = Vec::new();
    let goes_on = case.is_open();
    if let Some(pause) = case
        .flow
        .paused
        .as_ref()
        .filter(|_| goes_on || case.is_quarantined())
    {
        let flow = &case.flow.name;
        // What is in quarantine waits for a person anyway.
        let confidence = if goes_on {
            Confidence::Certain
        } else {
            Confidence::Possible
        };
        findings.push(
            Finding::new(
                Cause::FlowPaused,
                confidence,
                format!(
                    "A person paused the flow {flow} at {}: {}. Nothing of it is read or delivered until it is resumed.",
                    time(pause.since),
                    pause.reason
                ),
            )
            .shown(
                format!("paused since {}: {}", time(pause.since), pause.reason),
                format!("flow/{flow}"),
            )
            .then(
                "Resume the flow if the reason is gone.",
                [OperatorCommand::ResumeFlow { flow: flow.clone() }],
            ),
        );
    }
    if goes_on {
        findings.extend(stopped(case));
        findings.extend(waits_for_its_upstream(case));
    }
    findings.extend(by_state(case));
    findings
}

/// It has not been tried, because others found out that it would be in vain.
fn waits_for_its_upstream(case: &Case) -> Option<Finding> {
    let upstream = case.breaker.as_ref().filter(|_| case.failure.is_none())?;
    let connection = &case.connection.name;
    let (cause, what) = if upstream.held {
        (Cause::RateLimit, "asked to be left alone")
    } else {
        (Cause::UpstreamDown, "does not answer")
    };
    let until = upstream.until.map_or_else(String::new, |until| {
        format!(" It is tried again at {}.", time(until))
    });
    Some(
        Finding::new(
            cause,
            Confidence::Certain,
            format!(
                "It waits because `{connection}` {what}, and was not even tried: {}.{until}",
                first_line(&upstream.reason)
            ),
        )
        .shown(
            format!(
                "nothing is asked of {} since {}",
                upstream.upstream,
                time(upstream.since)
            ),
            format!("upstream/{}", upstream.upstream),
        )
        .then(
            format!("Nothing has to be done if `{connection}` comes back by itself; see whether it does."),
            [OperatorCommand::Check {
                connection: connection.clone(),
            }],
        ),
    )
}

fn stopped(case: &Case) -> Option<Finding> {
    let circuit = &case.connection.circuit;
    if !matches!(circuit.state, CircuitState::Open | CircuitState::Probing) {
        return None;
    }
    let connection = &case.connection.name;
    let by = circuit.opened_by.as_ref().map_or_else(
        || "it crashed again and again".to_owned(),
        |person| format!("{person} stopped it"),
    );
    let until = circuit.until.map_or_else(
        || "It stays so until a person closes its circuit.".to_owned(),
        |until| format!("It is tried again at {}.", time(until)),
    );
    // By crashes: that it is not called is what comes of them, and what caused them is the better answer.
    let confidence = if circuit.by_hand() || case.failure.is_none() {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    Some(
        Finding::new(
            Cause::ConnectionStopped,
            confidence,
            format!(
                "Nothing of `{connection}` is called since {}, because {by}: {}. {until}",
                time(circuit.since),
                first_line(&circuit.reason)
            ),
        )
        .shown(
            format!(
                "circuit {} since {}: {}",
                circuit.state.as_str(),
                time(circuit.since),
                first_line(&circuit.reason)
            ),
            format!("connection/{connection}"),
        )
        .then(
            "Look at the last crash; close the circuit once the reason is gone.",
            [
                OperatorCommand::ShowConnection {
                    connection: connection.clone(),
                },
                OperatorCommand::CloseCircuit {
                    connection: connection.clone(),
                    reason: "looked at".to_owned(),
                },
            ],
        ),
    )
}

fn by_state(case: &Case) -> Option<Finding> {
    let record = &case.record;
    let place = format!("record/{}", record.id);
    let flow = &case.flow.name;
    let show = OperatorCommand::ShowRecord {
        record: record.id.clone(),
    };
    let reason = record.reason.as_ref();
    let why = reason.map_or("no reason was given", |reason| reason.message.as_str());
    match record.state {
        RecordState::Delivered => {
            let as_what = record
                .external_id
                .as_ref()
                .map_or_else(String::new, |id| format!(" as {id}"));
            Some(
                Finding::new(
                    Cause::Delivered,
                    Confidence::Certain,
                    format!(
                        "It is in `{}`{as_what} since {}; nothing hangs.",
                        case.connection.name,
                        time(record.updated_at)
                    ),
                )
                .shown(
                    format!("delivered at {}{as_what}", time(record.updated_at)),
                    place,
                )
                .then(
                    format!("Nothing. If it is not to be found in `{}`, compare the flow's two ends.", case.connection.name),
                    [OperatorCommand::Reconcile { flow: flow.clone() }],
                ),
            )
        }
        RecordState::Dropped => Some(
            Finding::new(
                Cause::Dropped,
                Confidence::Certain,
                format!("A transform of the flow {flow} left it out on purpose: {}", first_line(why)),
            )
            .shown(format!("dropped at {}: {}", time(record.updated_at), first_line(why)), place)
            .then(
                "Nothing, if that is right. If it is not, see what each transform makes of it, and correct the transform.",
                [OperatorCommand::Steps {
                    record: record.id.clone(),
                }],
            ),
        ),
        RecordState::Discarded => {
            let who = case
                .given_up_by
                .as_ref()
                .map_or_else(|| "A person".to_owned(), Clone::clone);
            Some(
                Finding::new(
                    Cause::Discarded,
                    Confidence::Certain,
                    format!("{who} gave it up at {}: {}", time(record.updated_at), first_line(why)),
                )
                .shown(
                    format!("discarded at {}: {}", time(record.updated_at), first_line(why)),
                    place,
                )
                .then(
                    "Nothing, if that is right. If it is to be sent after all, have it replayed.",
                    [
                        show,
                        OperatorCommand::Replay {
                            flow: flow.clone(),
                            key: record.key.clone(),
                            reason: "given up by mistake".to_owned(),
                        },
                    ],
                ),
            )
        }
        RecordState::Queued | RecordState::Sending | RecordState::Retrying | RecordState::Unknown
            if case.failure.is_none() =>
        {
            Some(on_its_way(case, place))
        }
        _ => None,
    }
}

fn on_its_way(case: &Case, place: String) -> Finding {
    let record = &case.record;
    let since = case.now - record.updated_at;
    let open = counted(case.flow.open, "record");
    let sentence = match (record.state, record.next_attempt_at) {
        (RecordState::Sending, _) => format!("It is being sent to `{}` right now.", case.connection.name),
        (_, Some(at)) if at > case.now => format!("It is not due yet: the next attempt is at {}.", time(at)),
        _ => format!(
            "It waits for its turn since {}: {open} of the flow are not done.",
            span(since)
        ),
    };
    // Seconds are the way things are. Minutes without any attempt are not, if nothing else is before it.
    let long = since > LONG_MS && record.state != RecordState::Retrying;
    let confidence = if long {
        Confidence::Possible
    } else {
        Confidence::Certain
    };
    let finding = Finding::new(Cause::InProgress, confidence, sentence)
        .shown(
            format!("{} since {}", record.state.as_str(), time(record.updated_at)),
            place,
        )
        .shown(
            format!("{open} of the flow open"),
            format!("flow/{}", case.flow.name),
        );
    let status = OperatorCommand::FlowStatus {
        flow: case.flow.name.clone(),
    };
    if long {
        return finding.then(
            "That is long. See whether a host runs and whether the connection can be used at all: a secret or a plugin may be missing.",
            [
                status,
                OperatorCommand::Check {
                    connection: case.connection.name.clone(),
                },
                OperatorCommand::Doctor,
            ],
        );
    }
    finding.then("Nothing; look again in a moment.", [status])
}
