//! Which cause is named first: for each family what is it, and what only looks so.

use stecker_model::{
    RecordState,
    api::{Cause, Confidence},
};

use super::cases::*;
use crate::explain::{
    causes::of,
    facts::{Case, DeliveredBefore, FieldFound, Stage, UpstreamBreaker},
};

const SAYS_401: &str =
    "POST https://erp.example/v2/x was answered with 401: This user or password is not valid.";

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
