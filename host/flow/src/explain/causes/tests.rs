//! Every family of causes with cases that are it, and cases that only look so.

use std::collections::BTreeSet;

use stecker_model::{
    Name, Operation, OperatorCommand, RecordId, RecordState,
    api::{
        AttemptInfo, Cause, Circuit, CircuitState, Confidence, Crash, DenialInfo, Pause, Reason,
        RecordSummary,
    },
};
use stecker_store::StuckCause;

use super::of;
use crate::explain::facts::{
    Case, ChangeFact, ConnectionFacts, CredentialFacts, DeliveredBefore, Elsewhere, Failure, FieldFacts,
    FieldFound, FlowFacts, Kept, KnownThing, Named, Others, Stage, UpstreamBreaker,
};

pub(crate) const NOW: i64 = 1_700_000_000_000;

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn id(seq: i64) -> RecordId {
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

fn reason(code: &str, message: &str, path: Option<&str>) -> Reason {
    Reason {
        code: code.to_owned(),
        message: message.to_owned(),
        path: path.map(str::to_owned),
    }
}

fn hosts(host: &str) -> BTreeSet<String> {
    BTreeSet::from([host.to_owned()])
}

/// A record that was refused by the destination, alone.
fn refused(code: &str, message: &str) -> Case {
    at(RecordState::Quarantined, "rejected", code, message)
}

/// A record that is tried again.
fn retrying(code: &str, message: &str) -> Case {
    let mut case = at(RecordState::Retrying, "retry", code, message);
    case.record.next_attempt_at = Some(NOW + 10_000);
    case
}

fn at(state: RecordState, outcome: &str, code: &str, message: &str) -> Case {
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

fn quiet(state: RecordState) -> Case {
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
    }
}

fn with(mut case: Case, change: impl FnOnce(&mut Case)) -> Case {
    change(&mut case);
    case
}

/// Others of the flow went through since.
fn others_go_through(case: Case) -> Case {
    with(case, |case| {
        case.others.good_since = 5;
        case.others.latest_good = Some(("SO-9".to_owned(), NOW - 1_000));
    })
}

fn stage(case: Case, stage: Stage) -> Case {
    with(case, |case| {
        if let Some(failure) = &mut case.failure {
            failure.stage = stage;
        }
    })
}

fn path(case: Case, path: &str) -> Case {
    with(case, |case| {
        if let Some(failure) = &mut case.failure {
            failure.reason.path = Some(path.to_owned());
        }
    })
}

fn names(case: Case, text: &str, known: &[RecordState]) -> Case {
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

fn field(case: Case, found: FieldFound) -> Case {
    with(case, |case| {
        case.field = Some(FieldFacts {
            path: "/total".to_owned(),
            found,
            peers: 3,
        });
    })
}

fn elsewhere(case: Case, code: &str, message: &str, host: &str) -> Case {
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

fn denied(case: Case, layer: &str, grant: &str) -> Case {
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

const SAYS_401: &str =
    "POST https://erp.example/v2/x was answered with 401: This user or password is not valid.";
const CRASH: &str = "the plugin crashed: wasm `unreachable` instruction executed. This is a fault of the plugin; report it to its author with the \
                     functions below\n  in apply\n  in main";

/// Which cause is named first, and how sure.
#[test]
fn the_first_cause_is_the_right_one() {
    use Cause::{
        AuthExpired, BusinessRule, Configuration, Denial, Duplicate, HostBug, MissingDependency, PluginBug,
        RateLimit, SchemaMismatch, TransformError, Unknown, UpstreamDown,
    };
    use Confidence::{Certain, Likely, Possible};
    let string_became_number = FieldFound::TypeChanged {
        was: "a string",
        is: "a number",
    };
    let cases: Vec<(&str, Case, Cause, Confidence)> = vec![
        // Credentials.
        ("a code", retrying("auth", "no"), AuthExpired, Certain),
        (
            "a status behind another code",
            retrying("data", SAYS_401),
            AuthExpired,
            Certain,
        ),
        (
            "a refresh token",
            retrying("transient", "the token endpoint said invalid_grant"),
            AuthExpired,
            Certain,
        ),
        (
            "a source",
            stage(retrying("auth", "no"), Stage::Reading),
            AuthExpired,
            Certain,
        ),
        (
            "a right for one thing",
            others_go_through(refused("auth", "was answered with 403: not for this branch")),
            AuthExpired,
            Possible,
        ),
        (
            "an order number that looks like a status",
            others_go_through(refused("credit-limit", "order 401 is over the credit limit")),
            BusinessRule,
            Certain,
        ),
        // Too many requests.
        (
            "a code",
            retrying("rate-limited", "slow down"),
            RateLimit,
            Certain,
        ),
        (
            "a status",
            retrying("transient", "was answered with 429"),
            RateLimit,
            Certain,
        ),
        (
            "given up, long after",
            at(
                RecordState::Quarantined,
                "retry",
                "rate-limited",
                "given up after 12 attempts; the last: was answered with 429",
            ),
            RateLimit,
            Certain,
        ),
        (
            "in words only",
            retrying("data", "API call quota exceeded"),
            RateLimit,
            Likely,
        ),
        (
            "a quantity that looks like a status",
            others_go_through(refused("quantity", "429 pieces are more than a pallet")),
            BusinessRule,
            Certain,
        ),
        // The system is away.
        (
            "a 503",
            retrying("transient", "was answered with 503"),
            UpstreamDown,
            Certain,
        ),
        (
            "nobody answers",
            retrying("transient", "connection refused"),
            UpstreamDown,
            Certain,
        ),
        (
            "its own word for it",
            retrying("transient", "We are busy; try again soon."),
            UpstreamDown,
            Likely,
        ),
        (
            "another flow to the same host fails too",
            elsewhere(
                retrying("transient", "We are busy."),
                "transient",
                "502",
                "erp.example",
            ),
            UpstreamDown,
            Certain,
        ),
        (
            "another flow to another host does not count",
            elsewhere(
                retrying("transient", "We are busy."),
                "transient",
                "502",
                "shop.example",
            ),
            UpstreamDown,
            Likely,
        ),
        (
            "others go through",
            others_go_through(retrying("transient", "was answered with 503")),
            UpstreamDown,
            Possible,
        ),
        (
            "it is left alone",
            with(retrying("transient", "We are busy."), |case| {
                case.breaker = Some(UpstreamBreaker {
                    held: false,
                    upstream: "erp.example".to_owned(),
                    since: NOW - 1_000,
                    until: Some(NOW + 9_000),
                    reason: "5 calls in a row failed".to_owned(),
                });
            }),
            UpstreamDown,
            Certain,
        ),
        (
            "it was looked up in vain",
            retrying(
                "looked-up",
                "looked up after an answer that never came: it is not at the destination",
            ),
            UpstreamDown,
            Likely,
        ),
        (
            "an answer that never came",
            at(
                RecordState::Unknown,
                "unknown",
                "transient",
                "the plugin was stopped after 60s, while it was waiting. Raise `limits.deadline`",
            ),
            UpstreamDown,
            Likely,
        ),
        // The shape.
        (
            "a parser, and others have it otherwise",
            field(
                path(
                    refused(
                        "payload",
                        "does not fit at `/total`: invalid type: floating point `39.8`, expected a string",
                    ),
                    "/total",
                ),
                string_became_number,
            ),
            SchemaMismatch,
            Certain,
        ),
        (
            "a parser alone",
            path(
                refused("payload", "does not fit at `/total`: invalid type: null"),
                "/total",
            ),
            SchemaMismatch,
            Likely,
        ),
        (
            "a vendor's own code, and the field is new",
            others_go_through(field(
                path(refused("E-4711", "bad request"), "/total"),
                FieldFound::New,
            )),
            SchemaMismatch,
            Likely,
        ),
        (
            "what the system answered",
            retrying(
                "schema",
                "GET /x: the answer does not fit at `/data/id`: missing field `id`",
            ),
            SchemaMismatch,
            Likely,
        ),
        (
            "a field that does not exist is no thing that does not exist",
            refused("unknown-field", "the field `colour` does not exist"),
            SchemaMismatch,
            Likely,
        ),
        (
            "a value that is wrong is no shape",
            others_go_through(field(
                path(
                    refused("total-mismatch", "The lines add up to 5.00, the total is 6.00."),
                    "/total",
                ),
                FieldFound::SameType,
            )),
            BusinessRule,
            Certain,
        ),
        // Rules.
        (
            "a code of its own, and others go through",
            others_go_through(refused("period-closed", "the period 2026-10 is closed")),
            BusinessRule,
            Certain,
        ),
        (
            "a code of its own, and nothing else was tried",
            refused("period-closed", "the period 2026-10 is closed"),
            BusinessRule,
            Likely,
        ),
        (
            "a bare 422",
            refused("data", "was answered with 422: unprocessable"),
            BusinessRule,
            Possible,
        ),
        // What is not there yet.
        (
            "the ledger has it, stuck",
            names(
                refused("unknown-item", "There is no item `A-1`."),
                "A-1",
                &[RecordState::Quarantined],
            ),
            MissingDependency,
            Certain,
        ),
        (
            "nobody ever carried it",
            others_go_through(names(
                refused("unknown-item", "There is no item `A-1`."),
                "A-1",
                &[],
            )),
            MissingDependency,
            Certain,
        ),
        (
            "in words, while it is on its way",
            names(
                refused("E17", "customer `C-9` does not exist"),
                "C-9",
                &[RecordState::Retrying],
            ),
            MissingDependency,
            Certain,
        ),
        (
            "it is tried again until it comes",
            names(
                retrying("not-found", "customer `C-9` not found"),
                "C-9",
                &[RecordState::Queued],
            ),
            MissingDependency,
            Certain,
        ),
        (
            "in words alone",
            names(refused("E17", "customer `C-9` does not exist"), "C-9", &[]),
            MissingDependency,
            Likely,
        ),
        (
            "an address that is not there for anybody",
            retrying("not-found", "POST https://erp.example/v1/x was answered with 404"),
            Configuration,
            Likely,
        ),
        // There already.
        (
            "by its own code",
            refused("already-exists", "order SO-7 exists"),
            Duplicate,
            Certain,
        ),
        (
            "the key of another delivery",
            refused(
                "idempotency-key-reused",
                "the key was used for an item with other content",
            ),
            Duplicate,
            Certain,
        ),
        (
            "in words",
            refused("E9", "reference must be unique"),
            Duplicate,
            Likely,
        ),
        (
            "a conflict, and the ledger delivered it before",
            with(refused("conflict", "was answered with 409"), |case| {
                case.delivered_before.push(DeliveredBefore {
                    id: id(2),
                    external_id: Some("SALE-2".to_owned()),
                    at: NOW - 90_000,
                });
            }),
            Duplicate,
            Possible,
        ),
        (
            "that something does not exist is no duplicate",
            names(refused("E17", "item `A` does not exist"), "A", &[]),
            MissingDependency,
            Likely,
        ),
        // Transforms.
        (
            "its own error",
            stage(
                refused("transform-error", "no VAT rate for `XX`"),
                Stage::Transform,
            ),
            TransformError,
            Certain,
        ),
        (
            "words of a transform are not words of a system",
            stage(
                refused("transform-error", "customer does not exist, 401 Unauthorized"),
                Stage::Transform,
            ),
            TransformError,
            Certain,
        ),
        // Refused by the sandbox.
        (
            "by the grants",
            denied(retrying("denied", "not granted"), "grant", "grants.http = []"),
            Denial,
            Certain,
        ),
        (
            "without a row of it",
            retrying("denied", "not granted"),
            Denial,
            Certain,
        ),
        (
            "a refusal beside another failure is not its cause",
            others_go_through(denied(refused("period-closed", "closed"), "grant", "x")),
            BusinessRule,
            Certain,
        ),
        // Our own faults.
        (
            "a transform that crashes",
            stage(
                refused("fatal", &format!("transform 1 of the flow: {CRASH}")),
                Stage::Transform,
            ),
            PluginBug,
            Certain,
        ),
        (
            "a destination that crashes",
            at(RecordState::Unknown, "unknown", "fatal", CRASH),
            PluginBug,
            Certain,
        ),
        (
            "it computes without end",
            at(
                RecordState::Unknown,
                "unknown",
                "transient",
                "the plugin was stopped after 60s, while it was computing. Raise `limits.deadline`",
            ),
            PluginBug,
            Certain,
        ),
        (
            "it says so itself",
            retrying("fatal", "an item was left without an outcome"),
            PluginBug,
            Likely,
        ),
        (
            "the host",
            at(
                RecordState::Unknown,
                "unknown",
                "fatal",
                "the host failed during the call: no room. This is not the plugin's fault; see the host's log",
            ),
            HostBug,
            Certain,
        ),
        (
            "no room on this side is no fault of the other",
            retrying(
                "transient",
                "all instances that the tenant may have, or all of the sandbox, were busy for 60s, so the plugin was not called. Nothing was done",
            ),
            HostBug,
            Certain,
        ),
        // Set up wrongly.
        (
            "it says so",
            retrying("config", "base_url is no URL"),
            Configuration,
            Certain,
        ),
        (
            "what it cannot do",
            refused("delete-unsupported", "the ERP cannot delete a booked sale"),
            Configuration,
            Certain,
        ),
        // Nobody knows.
        (
            "a code from nowhere",
            retrying("strange", "hm"),
            Unknown,
            Possible,
        ),
    ];
    let mut wrong = Vec::new();
    for (what, case, cause, confidence) in cases {
        let findings = of(&case);
        let first = findings.first().unwrap();
        if (first.cause, first.confidence) != (cause, confidence) {
            let seen: Vec<_> = findings.iter().map(|f| (f.cause, f.confidence)).collect();
            wrong.push(format!("{cause:?}, {confidence:?}, {what}: {seen:?}"));
        }
        assert!(!first.evidence.is_empty(), "{what}: nothing is shown for it");
        assert!(!first.action.is_empty() && !first.sentence.is_empty(), "{what}");
        assert!(!first.commands.is_empty(), "{what}: no command");
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn states_that_are_no_failure_are_told_as_such() {
    let stopped = |by: Option<&str>| Circuit {
        state: CircuitState::Open,
        since: NOW - 1_000,
        reason: "stock-taking".to_owned(),
        opened_by: by.map(str::to_owned),
        ..Circuit::default()
    };
    for (what, case, cause, confidence) in [
        (
            "done",
            quiet(RecordState::Delivered),
            Cause::Delivered,
            Confidence::Certain,
        ),
        (
            "left out",
            quiet(RecordState::Dropped),
            Cause::Dropped,
            Confidence::Certain,
        ),
        (
            "given up",
            quiet(RecordState::Discarded),
            Cause::Discarded,
            Confidence::Certain,
        ),
        (
            "on its way",
            quiet(RecordState::Queued),
            Cause::InProgress,
            Confidence::Certain,
        ),
        (
            "being sent",
            quiet(RecordState::Sending),
            Cause::InProgress,
            Confidence::Certain,
        ),
        (
            "waiting for long, and nothing says why",
            with(quiet(RecordState::Queued), |case| {
                case.record.updated_at = NOW - 900_000;
            }),
            Cause::InProgress,
            Confidence::Possible,
        ),
        (
            "paused, whatever went wrong before",
            with(retrying("transient", "503"), |case| {
                case.flow.paused = Some(Pause {
                    since: NOW - 1_000,
                    reason: "stock-taking".to_owned(),
                });
            }),
            Cause::FlowPaused,
            Confidence::Certain,
        ),
        (
            "in quarantine in a paused flow: the quarantine is the matter",
            with(refused("period-closed", "closed"), |case| {
                case.flow.paused = Some(Pause {
                    since: NOW - 1_000,
                    reason: "stock-taking".to_owned(),
                });
            }),
            Cause::BusinessRule,
            Confidence::Likely,
        ),
        (
            "stopped by a person",
            with(quiet(RecordState::Queued), |case| {
                case.connection.circuit = stopped(Some("ada"));
            }),
            Cause::ConnectionStopped,
            Confidence::Certain,
        ),
        (
            "stopped by its crashes",
            with(at(RecordState::Unknown, "unknown", "fatal", CRASH), |case| {
                case.connection.circuit = Circuit {
                    last_crash: Some(Crash {
                        at: NOW - 2_000,
                        function: "write".to_owned(),
                        message: CRASH.to_owned(),
                        backtrace: Vec::new(),
                        plugin: "acme/erp@1.3.0".to_owned(),
                    }),
                    trips: 1,
                    ..stopped(None)
                };
            }),
            Cause::PluginBug,
            Confidence::Certain,
        ),
    ] {
        let findings = of(&case);
        let first = findings.first().unwrap();
        assert_eq!((first.cause, first.confidence), (cause, confidence), "{what}");
        assert!(!first.commands.is_empty() && !first.evidence.is_empty(), "{what}");
    }
}

#[test]
fn what_is_stuck_together_is_sent_again_together() {
    let group = |count| {
        with(others_go_through(refused("period-closed", "closed")), |case| {
            case.same_cause = Some(StuckCause {
                id: "4df508ddcd79".to_owned(),
                flow: name("orders"),
                reason: reason("period-closed", "closed", None),
                count,
                or_more: false,
                since: NOW,
                keys: Vec::new(),
            });
        })
    };
    let last = |case: &Case| of(case)[0].commands.last().cloned().unwrap();
    assert_eq!(
        last(&group(13)),
        OperatorCommand::RetryGroup {
            group: "4df508ddcd79".to_owned()
        }
    );
    assert_eq!(last(&group(1)), OperatorCommand::RetryRecord { record: id(7) });
    // What the host tries by itself needs nobody.
    let by_itself = of(&retrying("rate-limited", "429"));
    assert_eq!(
        by_itself[0].commands,
        [OperatorCommand::FlowStatus { flow: name("orders") }]
    );
}

#[test]
fn a_change_right_before_is_evidence() {
    let case = with(retrying("transient", "503"), |case| {
        case.changes.push(ChangeFact {
            at: NOW - 280_000,
            what: "connection/erp was changed: release acme/erp@1.2.0 → acme/erp@1.3.0, by ada".to_owned(),
            place: "audit, connection/erp".to_owned(),
        });
    });
    let findings = of(&case);
    let told = findings[0].evidence.last().unwrap();
    assert!(
        told.what.starts_with("it began 4 minutes after this: "),
        "{told:?}"
    );
    assert!(told.what.contains("1.2.0 → acme/erp@1.3.0"), "{told:?}");
}

#[test]
fn how_to_renew_depends_on_where_the_secret_is() {
    let kept = |kind: &str, kept: Kept| {
        with(retrying("auth", "no"), |case| {
            for credential in &mut case.connection.credentials {
                credential.kind = Some(kind.to_owned());
                credential.kept = kept.clone();
            }
        })
    };
    let first = |case: &Case| of(case)[0].commands[0].clone();
    let set = |refresh_token| OperatorCommand::SetSecret {
        connection: name("erp"),
        credential: name("api"),
        refresh_token,
        username: Some("it".to_owned()),
    };
    let check = OperatorCommand::Check {
        connection: name("erp"),
    };
    assert_eq!(first(&kept("basic", Kept::Vault)), set(false));
    assert_eq!(first(&kept("oauth2-refresh-token", Kept::Vault)), set(true));
    assert_eq!(
        first(&kept("oauth2-authorization-code", Kept::Vault)),
        OperatorCommand::Authorize {
            connection: name("erp"),
            credential: name("api"),
        }
    );
    let file = kept("basic", Kept::File("/etc/erp".to_owned()));
    assert_eq!(first(&file), check);
    assert!(of(&file)[0].action.contains("/etc/erp"));
}

proptest::proptest! {
    /// Whatever a stranger's system says, there is an answer with evidence, a sentence and a command.
    #[test]
    fn every_failure_has_an_answer(
        code in "[a-z-]{0,12}|auth|transient|data|fatal|conflict|not-found|schema|denied",
        message in "\\PC{0,200}|given up after .{0,20}; the last: .{0,40}|.{0,20}(401|429|503|not found|already exists).{0,20}",
        outcome in "rejected|retry|unknown",
        quarantined: bool,
        good in 0_u64..3,
    ) {
        let state = if quarantined { RecordState::Quarantined } else { RecordState::Retrying };
        let case = with(at(state, &outcome, &code, &message), |case| case.others.good_since = good);
        let findings = of(&case);
        proptest::prop_assert!(!findings.is_empty());
        for finding in &findings {
            proptest::prop_assert!(!finding.evidence.is_empty() && !finding.commands.is_empty());
            proptest::prop_assert!(!finding.sentence.is_empty() && !finding.action.is_empty());
        }
        proptest::prop_assert!(findings.windows(2).all(|pair| pair[0].confidence >= pair[1].confidence));
    }
}
