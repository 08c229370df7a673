//! A key that is not in the ledger: what the host knows of it all the same. Which sources it could come from, whether they are read, and calls
//! that came in and named it.

use stecker_model::{
    OperatorCommand,
    api::{Cause, Confidence, Evidence},
};
use stecker_store::MentioningCall;

use super::{
    causes::Finding,
    surroundings::Source,
    text::{first_line, time},
};

/// What there is to say. `near` are keys that look like it.
pub(crate) fn look(
    key: &str,
    now: i64,
    sources: &[Source],
    calls: &[MentioningCall],
    near: &[String],
) -> Finding {
    let failing: Vec<&Source> = sources
        .iter()
        .filter(|source| source.reader.last_error.is_some())
        .collect();
    let paused: Vec<&Source> = sources
        .iter()
        .filter(|source| source.flow.paused.is_some())
        .collect();
    let behind: Vec<&Source> = sources
        .iter()
        .filter(|source| source.reader.last_read_at.is_none() || !source.reader.caught_up)
        .collect();
    let first = |found: &[&Source]| found.first().map(|source| source.flow.spec.name.clone());
    let check = |source: &Source| OperatorCommand::Check {
        connection: source.flow.spec.source.connection.clone(),
    };
    let unsettled = calls.iter().find(|call| call.state == "received");
    let refused = calls.iter().find(|call| call.state == "refused");
    let (sentence, action, commands) = if let Some(call) = unsettled {
        (
            format!(
                "`{key}` is in no record yet. A call from `{}` that names it came at {} and could not be understood yet; it is tried again.",
                call.connection,
                time(call.received_at)
            ),
            "See whether the connection works; the call is kept and taken in as soon as it does.".to_owned(),
            vec![OperatorCommand::Check {
                connection: call.connection.clone(),
            }],
        )
    } else if let Some(call) = refused {
        (
            format!(
                "`{key}` is in no record. A call from `{}` that names it came at {} and was refused: {}",
                call.connection,
                time(call.received_at),
                why(call)
            ),
            "Whoever refused it took it for forged: look whether the secret for webhooks is the same at both ends.".to_owned(),
            vec![OperatorCommand::Check {
                connection: call.connection.clone(),
            }],
        )
    } else if let Some(source) = failing.first() {
        let error = source.reader.last_error.as_ref();
        (
            format!(
                "`{key}` was not read yet, and the source `{}` of the flow {} cannot be read: {}",
                source.flow.spec.source.connection,
                source.flow.spec.name,
                error.map_or_else(String::new, |error| format!(
                    "{}: {}",
                    error.code,
                    first_line(&error.message)
                ))
            ),
            "Have the source work again, if the key is to come from there.".to_owned(),
            vec![check(source)],
        )
    } else if let Some(flow) = first(&paused) {
        (
            format!("`{key}` was not read yet, and the flow {flow} is paused."),
            "Resume the flow, if the key is to come through it.".to_owned(),
            vec![OperatorCommand::ResumeFlow { flow }],
        )
    } else if let Some(flow) = first(&behind) {
        (
            format!("`{key}` was not read yet; the flow {flow} is not at the end of its source."),
            "Wait until it is, or have it read now.".to_owned(),
            vec![OperatorCommand::RunFlow { flow }],
        )
    } else if sources.is_empty() {
        (
            format!("`{key}` is in no record, and there is no flow that could have read it."),
            "Make connections and a flow with a setup.".to_owned(),
            vec![OperatorCommand::Apply],
        )
    } else {
        let commands = sources
            .iter()
            .take(1)
            .map(|source| OperatorCommand::RunFlow {
                flow: source.flow.spec.name.clone(),
            })
            .collect();
        (
            format!(
                "Nothing like `{key}` is in the ledger, and every source was read to its end: it is not there, or it is called otherwise."
            ),
            "Look it up in the source, or see whether one of the keys that look like it is meant.".to_owned(),
            commands,
        )
    };
    let mut evidence: Vec<Evidence> = calls.iter().take(3).map(of_call).collect();
    evidence.extend(sources.iter().map(|source| of_source(source, now)));
    if evidence.is_empty() {
        evidence.push(Evidence {
            what: "there are no flows, and no call that came in names it".to_owned(),
            place: "setup".to_owned(),
        });
    }
    if !near.is_empty() {
        evidence.push(Evidence {
            what: format!("keys that look like it: {}", near.join(", ")),
            place: "ledger".to_owned(),
        });
    }
    Finding {
        cause: Cause::NotRead,
        // That it is not there is sure; why it is not is not.
        confidence: if unsettled.is_some() || refused.is_some() || sources.is_empty() {
            Confidence::Certain
        } else if failing.is_empty() && paused.is_empty() {
            Confidence::Possible
        } else {
            Confidence::Likely
        },
        sentence,
        evidence,
        field: None,
        action,
        commands,
    }
}

fn why(call: &MentioningCall) -> String {
    call.reason.as_ref().map_or_else(
        || "no reason was given".to_owned(),
        |reason| first_line(&reason.message),
    )
}

fn of_call(call: &MentioningCall) -> Evidence {
    let what = match call.state.as_str() {
        "received" => format!("is not understood yet, after {} tries", call.tries),
        state => format!("was {state}: {}", why(call)),
    };
    Evidence {
        what: format!(
            "a call to `{}` at {} names it and {what}",
            call.connection,
            time(call.received_at)
        ),
        place: format!("connection/{}, webhook", call.connection),
    }
}

fn of_source(source: &Source, now: i64) -> Evidence {
    let spec = &source.flow.spec;
    let reader = &source.reader;
    let mut what = match reader.last_read_at {
        None => "was never read".to_owned(),
        Some(at) if reader.caught_up => format!("was read to its end at {}", time(at)),
        Some(at) => format!("was read at {} and not to its end", time(at)),
    };
    if let Some(error) = &reader.last_error {
        what.push_str(&format!("; it fails since {}: {}", time(error.at), error.code));
        if let Some(next) = error.next_try_at.filter(|next| *next > now) {
            what.push_str(&format!(", tried again at {}", time(next)));
        }
    }
    if let Some(pause) = &source.flow.paused {
        what.push_str(&format!("; the flow is paused since {}", time(pause.since)));
    }
    Evidence {
        what: format!("{}/{} {what}", spec.source.connection, spec.source.stream),
        place: format!("flow/{}", spec.name),
    }
}

#[cfg(test)]
mod tests {
    use stecker_model::api::{FlowError, Pause, Reason};
    use stecker_store::{FlowRow, ReaderState};

    use super::*;
    use crate::explain::causes::tests::cases::NOW;

    fn source(reader: ReaderState, paused: Option<Pause>) -> Source {
        let spec = serde_json::json!({
            "name": "orders",
            "source": { "connection": "shop", "stream": "orders" },
            "destination": { "connection": "erp", "stream": "orders" },
        });
        Source {
            flow: FlowRow {
                spec: serde_json::from_value(spec).unwrap(),
                generation: 1,
                updated_at: NOW,
                created_at: NOW,
                paused,
                run_requested: 0,
            },
            reader,
        }
    }

    fn call(state: &str) -> MentioningCall {
        MentioningCall {
            connection: "shop".parse().unwrap(),
            received_at: NOW - 1_000,
            state: state.to_owned(),
            tries: 2,
            reason: Some(Reason {
                code: "webhook".to_owned(),
                message: "the signature does not fit".to_owned(),
                path: None,
            }),
        }
    }

    #[test]
    fn the_nearest_reason_is_told_first() {
        let read = |caught_up| ReaderState {
            caught_up,
            last_read_at: Some(NOW - 5_000),
            ..ReaderState::default()
        };
        let failing = ReaderState {
            last_error: Some(FlowError {
                at: NOW - 1_000,
                code: "auth".to_owned(),
                message: "401".to_owned(),
                next_try_at: None,
            }),
            ..read(true)
        };
        let pause = Pause {
            since: NOW - 9_000,
            reason: "stock-taking".to_owned(),
        };
        for (what, sources, calls, said, confidence) in [
            ("nothing", vec![], vec![], "there is no flow", Confidence::Certain),
            (
                "refused",
                vec![source(read(true), None)],
                vec![call("refused")],
                "was refused",
                Confidence::Certain,
            ),
            (
                "not understood yet",
                vec![source(failing.clone(), None)],
                vec![call("refused"), call("received")],
                "could not be understood yet",
                Confidence::Certain,
            ),
            (
                "ignored is no reason",
                vec![source(read(true), None)],
                vec![call("ignored")],
                "every source was read to its end",
                Confidence::Possible,
            ),
            (
                "failing",
                vec![source(failing, None)],
                vec![],
                "cannot be read",
                Confidence::Likely,
            ),
            (
                "paused",
                vec![source(read(true), Some(pause))],
                vec![],
                "is paused",
                Confidence::Likely,
            ),
            (
                "behind",
                vec![source(read(false), None)],
                vec![],
                "not at the end",
                Confidence::Possible,
            ),
        ] {
            let finding = look("SO-7", NOW, &sources, &calls, &[]);
            assert!(finding.sentence.contains(said), "{what}: {}", finding.sentence);
            assert_eq!(finding.confidence, confidence, "{what}");
            assert!(
                !finding.evidence.is_empty() && !finding.commands.is_empty(),
                "{what}"
            );
        }
        let near = look(
            "SO-7",
            NOW,
            &[source(read(true), None)],
            &[],
            &["SO-70".to_owned()],
        );
        assert!(near.evidence.iter().any(|shown| shown.what.contains("SO-70")));
    }
}
