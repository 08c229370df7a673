//! Facts for the tests of the rules, each the usual with something changed.

use std::collections::BTreeSet;

use stecker_model::{
    Name, Operation, RecordId, RecordState,
    api::{AttemptInfo, Circuit, DenialInfo, Reason, RecordSummary},
};

use crate::explain::facts::{
    Case, ConnectionFacts, CredentialFacts, Elsewhere, Failure, FieldFacts, FieldFound, FlowFacts, Kept,
    KnownThing, Named, Others, Stage,
};

pub(crate) const NOW: i64 = 1_700_000_000_000;
pub(crate) const CRASH: &str = "the plugin crashed: wasm `unreachable` instruction executed. This is a fault of the plugin; report it to its author with the \
                     functions below\n  in apply\n  in main";

pub(crate) fn name(text: &str) -> Name {
    text.parse().unwrap()
}

pub(crate) fn id(seq: i64) -> RecordId {
    RecordId {
        flow: name("orders"),
        seq,
    }
}

pub(crate) fn summary(state: RecordState) -> RecordSummary {
    RecordSummary {
        id: id(7),
        stream: "orders".to_owned(),
        key: "SO-7".to_owned(),
        source_version: "1".to_owned(),
        operation: Operation::Upsert,
        state,
        attempts: 1,
        accepted_at: NOW - 60_000,
        updated_at: NOW - 30_000,
        next_attempt_at: None,
        external_id: None,
        reason: None,
    }
}

pub(crate) fn attempt(n: u32, outcome: &str, code: &str, message: &str) -> AttemptInfo {
    AttemptInfo {
        attempt: n,
        started_at: NOW - 60_000 + i64::from(n) * 1_000,
        finished_at: Some(NOW - 60_000 + i64::from(n) * 1_000 + 10),
        release: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
        replay: None,
        outcome: Some(outcome.to_owned()),
        reason: Some(reason(code, message, None)),
        node: None,
        request: Some("r".repeat(64)),
        answer: None,
    }
}

pub(crate) fn reason(code: &str, message: &str, path: Option<&str>) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        path: path.map(str::to_owned),
    }
}

pub(crate) fn hosts(host: &str) -> BTreeSet<String> {
    BTreeSet::from([host.to_owned()])
}

/// A record that was refused by the destination, alone.
pub(crate) fn refused(code: &str, message: &str) -> Case {
    at(RecordState::Quarantined, "rejected", code, message)
}

/// A record that is tried again.
pub(crate) fn retrying(code: &str, message: &str) -> Case {
    let mut case = at(RecordState::Retrying, "retry", code, message);
    case.record.next_attempt_at = Some(NOW + 10_000);
    case
}

pub(crate) fn at(state: RecordState, outcome: &str, code: &str, message: &str) -> Case {
    Case {
        failure: Some(Failure {
            stage: Stage::Writing,
            reason: reason(code, message, None),
            outcome: Some(outcome.to_owned()),
            first_at: NOW - 40_000,
            last_at: NOW - 30_000,
            times: 3,
            place: "record/orders/7, attempt 3".to_owned(),
        }),
        ..quiet(state)
    }
}

pub(crate) fn quiet(state: RecordState) -> Case {
    Case {
        now: NOW,
        record: summary(state),
        waiting: None,
        failure: None,
        flow: FlowFacts {
            name: name("orders"),
            paused: None,
            open: 3,
        },
        connection: ConnectionFacts {
            name: name("erp"),
            plugin: "acme/erp@1.3.0".to_owned(),
            hosts: hosts("erp.example"),
            circuit: Circuit::default(),
            credentials: vec![CredentialFacts {
                name: name("api"),
                kind: Some("basic".to_owned()),
                kept: Kept::Vault,
                username: Some("it".to_owned()),
                set_at: Some(NOW - 9_000_000),
                tokens_at: None,
                expires_at: None,
            }],
        },
        others: Others::default(),
        same_cause: None,
        elsewhere: Vec::new(),
        denials: Vec::new(),
        field: None,
        named: Vec::new(),
        delivered_before: Vec::new(),
        changes: Vec::new(),
        given_up_by: None,
        breaker: None,
        waiting_too: None,
    }
}

pub(crate) fn with(mut case: Case, change: impl FnOnce(&mut Case)) -> Case {
    change(&mut case);
    case
}

/// Others of the flow went through since.
pub(crate) fn others_go_through(case: Case) -> Case {
    with(case, |case| {
        case.others.good_since = 5;
        case.others.latest_good = Some(("SO-9".to_owned(), NOW - 1_000));
    })
}

pub(crate) fn stage(case: Case, stage: Stage) -> Case {
    with(case, |case| {
        if let Some(failure) = &mut case.failure {
            failure.stage = stage;
        }
    })
}

pub(crate) fn path(case: Case, path: &str) -> Case {
    with(case, |case| {
        if let Some(failure) = &mut case.failure {
            failure.reason.path = Some(path.to_owned());
        }
    })
}

pub(crate) fn names(case: Case, text: &str, known: &[RecordState]) -> Case {
    with(case, |case| {
        case.named.push(Named {
            text: text.to_owned(),
            known: known
                .iter()
                .map(|state| KnownThing {
                    id: RecordId {
                        flow: name("items"),
                        seq: 3,
                    },
                    state: *state,
                    since: NOW - 50_000,
                })
                .collect(),
        });
    })
}

pub(crate) fn field(case: Case, found: FieldFound) -> Case {
    with(case, |case| {
        case.field = Some(FieldFacts {
            path: "/total".to_owned(),
            found,
            peers: 3,
        });
    })
}

pub(crate) fn elsewhere(case: Case, code: &str, message: &str, host: &str) -> Case {
    with(case, |case| {
        case.elsewhere.push(Elsewhere {
            flow: name("stock"),
            connection: name("erp"),
            hosts: hosts(host),
            reason: reason(code, message, None),
            count: 4,
            since: NOW - 39_000,
            reading: false,
        });
    })
}

pub(crate) fn denied(case: Case, layer: &str, grant: &str) -> Case {
    with(case, |case| {
        case.denials.push(DenialInfo {
            id: "3f1c0d9a5b7e2468".to_owned(),
            connection: Some(name("erp")),
            flow: None,
            release: format!("sha256:{}", "a".repeat(64)).parse().unwrap(),
            plugin: "acme/erp@1.3.0".to_owned(),
            rule: "http.host".to_owned(),
            layer: layer.to_owned(),
            asked: "GET https://erp.example/v2".to_owned(),
            smallest_grant: grant.to_owned(),
            goes_into: "the setup file".to_owned(),
            first_seen_at: NOW - 40_000,
            last_seen_at: NOW - 30_000,
            count: 3,
        });
    })
}
