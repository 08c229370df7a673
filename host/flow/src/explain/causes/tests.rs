//! Every family of causes with cases that are it, and cases that only look so.

pub(crate) mod cases;
mod table;

use stecker_model::{
    OperatorCommand, RecordState,
    api::{Cause, Circuit, CircuitState, Confidence, Crash, Pause},
};
use stecker_store::StuckCause;

use super::of;
use crate::explain::facts::{Case, ChangeFact, Kept, UpstreamBreaker};
use cases::{CRASH, NOW, at, id, name, others_go_through, quiet, reason, refused, retrying, with};

#[test]
fn states_that_are_no_failure_are_told_as_such() {
    let stopped = |by: Option<&str>| Circuit {
        state: CircuitState::Open,
        since: NOW - 1_000,
        reason: "stock-taking".to_owned(),
        opened_by: by.map(str::to_owned),
        ..Circuit::default()
    };
    let upstream = |held| {
        Some(UpstreamBreaker {
            held,
            upstream: "erp.example".to_owned(),
            since: NOW - 1_000,
            until: Some(NOW + 9_000),
            reason: "5 calls in a row failed".to_owned(),
        })
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
            "not even tried, because its upstream is down",
            with(quiet(RecordState::Queued), |case| case.breaker = upstream(false)),
            Cause::UpstreamDown,
            Confidence::Certain,
        ),
        (
            "not even tried, because its upstream asked for patience",
            with(quiet(RecordState::Queued), |case| case.breaker = upstream(true)),
            Cause::RateLimit,
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
