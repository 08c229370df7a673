use serde_json::json;
use stecker_sandbox::{AskedRequest, Asker};

use super::*;

const MANIFEST: &str = r#"
    name = "a/b"
    version = "1.0.0"
    title = "B"
    contract = "1.0.0"
    [[capabilities.http]]
    hosts = ["a.example"]
    methods = ["GET", "POST"]
    purpose = "p"
    [credentials.hooks]
    kind = "hmac-secret"
    description = "d"
    [[upstream]]
    system = "A"
    api-version = "1"
    idempotency-header = "Idempotency-Key"
"#;

fn run(function: &'static str, behaviour: Behaviour, ended: Ended) -> Run {
    Run {
        function,
        stream: Some("orders".to_owned()),
        behaviour,
        round: 0,
        ended,
        requests: vec![request("GET", &[])],
        denied: Vec::new(),
    }
}

fn request(method: &str, headers: &[&str]) -> AskedRequest {
    AskedRequest {
        by: Asker::Guest,
        method: method.to_owned(),
        url: "https://a.example/orders".parse().unwrap(),
        headers: headers
            .iter()
            .map(|name| ((*name).to_owned(), "1".to_owned()))
            .collect(),
        body: None,
        credential: None,
        idempotency_header: None,
    }
}

fn error(code: &str) -> PluginError {
    PluginError {
        code: code.to_owned(),
        message: "m".to_owned(),
        retry_after_ms: None,
        details: Vec::new(),
    }
}

fn later(code: &str) -> PluginError {
    PluginError {
        retry_after_ms: Some(7_000),
        ..error(code)
    }
}

fn outcome(check: Check, runs: &[Run]) -> CheckOutcome {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let description = json!({ "title": "B", "config": { "type": "object" } });
    let facts = Facts {
        manifest: &manifest,
        description: &description,
        again: &Ok(description.clone()),
    };
    let all = all(&facts, runs, &[check].into());
    let result = all.iter().find(|result| result.check == check).unwrap();
    assert!(result.mandatory);
    assert_eq!(
        result.outcome == CheckOutcome::Failed,
        !result.seen.is_empty(),
        "{result:?}"
    );
    result.outcome
}

#[test]
fn each_check_fails_for_its_own_reason() {
    use Behaviour::{Broken, Plain, TooMany, Unauthorized};
    use CheckOutcome::{Failed, NotApplicable, Passed};
    let records = |key: &str| Ended::Records(vec![Some((key.to_owned(), "1".to_owned())), None]);
    let written = |all: &[Written]| Ended::Outcomes(all.to_vec());
    let read = "source.read";
    let write = "destination.write";
    let check = "connection.check";
    for (of, function, behaviour, ended, expected) in [
        (Check::NoTrap, read, Plain, records("1"), Passed),
        (
            Check::NoTrap,
            read,
            Plain,
            Ended::Crashed("unreachable".to_owned()),
            Failed,
        ),
        (
            Check::NoTrap,
            read,
            Plain,
            Ended::NotRun("busy".to_owned()),
            NotApplicable,
        ),
        (Check::NoTimeout, read, Plain, Ended::TimedOut, Failed),
        (Check::NoTimeout, read, Plain, Ended::Error(error("data")), Passed),
        (
            Check::BoundsKept,
            read,
            Plain,
            Ended::Broke("6 records".to_owned()),
            Failed,
        ),
        (
            Check::BoundsKept,
            read,
            Plain,
            Ended::Crashed(String::new()),
            Passed,
        ),
        (Check::ProbesAnswer, check, Plain, Ended::Probes(vec![]), Failed),
        (
            Check::ProbesAnswer,
            check,
            Plain,
            Ended::Probes(vec![false]),
            Passed,
        ),
        (
            Check::ProbesAnswer,
            check,
            Plain,
            Ended::Error(error("config")),
            NotApplicable,
        ),
        (
            Check::ProbesHonest,
            check,
            Broken,
            Ended::Probes(vec![true, true]),
            Failed,
        ),
        (
            Check::ProbesHonest,
            check,
            Broken,
            Ended::Probes(vec![true, false]),
            Passed,
        ),
        (
            Check::ProbesHonest,
            check,
            Plain,
            Ended::Probes(vec![true]),
            NotApplicable,
        ),
        (
            Check::KnownCodes,
            read,
            Plain,
            Ended::Error(error("oops")),
            Failed,
        ),
        (
            Check::KnownCodes,
            read,
            Plain,
            Ended::Error(error("fatal")),
            Passed,
        ),
        (
            Check::KnownCodes,
            write,
            Plain,
            written(&[Written::Unknown(error("Auth"))]),
            Failed,
        ),
        (
            Check::AuthTold,
            read,
            Unauthorized,
            Ended::Error(error("auth")),
            Passed,
        ),
        (
            Check::AuthTold,
            read,
            Unauthorized,
            Ended::Error(error("data")),
            Failed,
        ),
        (Check::AuthTold, read, Unauthorized, records("1"), Failed),
        (
            Check::AuthTold,
            read,
            Broken,
            Ended::Error(error("data")),
            NotApplicable,
        ),
        (
            Check::AuthTold,
            write,
            Unauthorized,
            written(&[Written::Retry(error("auth"))]),
            Passed,
        ),
        (
            Check::AuthTold,
            write,
            Unauthorized,
            written(&[Written::Rejected]),
            Failed,
        ),
        (
            Check::AuthTold,
            "destination.lookup",
            Unauthorized,
            Ended::Findings(vec![false]),
            Passed,
        ),
        (
            Check::AuthTold,
            "destination.lookup",
            Unauthorized,
            Ended::Findings(vec![true]),
            Failed,
        ),
        (
            Check::RateTold,
            read,
            TooMany,
            Ended::Error(later("rate-limited")),
            Passed,
        ),
        (
            Check::RateTold,
            read,
            TooMany,
            Ended::Error(error("rate-limited")),
            Failed,
        ),
        (
            Check::RateTold,
            read,
            TooMany,
            Ended::Error(later("transient")),
            Failed,
        ),
        (
            Check::TransientTold,
            read,
            Broken,
            Ended::Error(error("transient")),
            Passed,
        ),
        (
            Check::TransientTold,
            read,
            Broken,
            Ended::Error(error("fatal")),
            Failed,
        ),
        (
            Check::TransientTold,
            write,
            Broken,
            written(&[Written::Unknown(error("transient"))]),
            Passed,
        ),
        (
            Check::NothingInvented,
            write,
            Broken,
            written(&[Written::Delivered]),
            Failed,
        ),
        (
            Check::NothingInvented,
            write,
            Broken,
            written(&[Written::Retry(error("transient"))]),
            Passed,
        ),
        (
            Check::NothingInvented,
            write,
            Plain,
            written(&[Written::Delivered]),
            Passed,
        ),
        (
            Check::ForgeryRefused,
            "webhook.receive",
            Plain,
            Ended::Webhook(Verdict::Accept),
            Failed,
        ),
        (
            Check::ForgeryRefused,
            "webhook.receive",
            Plain,
            Ended::Webhook(Verdict::Refuse),
            Passed,
        ),
        (Check::WithinManifest, read, Plain, records("1"), Passed),
        (Check::SameKeys, read, Plain, records("1"), NotApplicable),
    ] {
        let one = run(function, behaviour, ended);
        assert_eq!(outcome(of, std::slice::from_ref(&one)), expected, "{of}: {one:?}");
    }
}

#[test]
fn nothing_is_delivered_without_a_request() {
    let mut silent = run(
        "destination.write",
        Behaviour::Plain,
        Ended::Outcomes(vec![Written::Duplicate]),
    );
    silent.requests.clear();
    assert_eq!(outcome(Check::NothingInvented, &[silent]), CheckOutcome::Failed);
}

#[test]
fn what_asked_nothing_says_nothing_of_the_upstream() {
    let mut silent = run(
        "source.read",
        Behaviour::Unauthorized,
        Ended::Error(error("config")),
    );
    silent.requests.clear();
    assert_eq!(outcome(Check::AuthTold, &[silent]), CheckOutcome::NotApplicable);
}

#[test]
fn writes_carry_the_key_that_the_vendor_takes() {
    let with = |requests: Vec<AskedRequest>| Run {
        requests,
        ..run("destination.write", Behaviour::Plain, Ended::Outcomes(Vec::new()))
    };
    let check = Check::IdempotencySent;
    assert_eq!(
        outcome(check, &[with(vec![request("GET", &[])])]),
        CheckOutcome::NotApplicable
    );
    assert_eq!(
        outcome(check, &[with(vec![request("POST", &["idempotency-key"])])]),
        CheckOutcome::Passed
    );
    let one_of_two = vec![
        request("POST", &["idempotency-key"]),
        request("PUT", &["content-type"]),
    ];
    assert_eq!(outcome(check, &[with(one_of_two)]), CheckOutcome::Failed);
}

#[test]
fn the_second_time_is_like_the_first() {
    let time = |round: u32, key: &str| Run {
        round,
        ..run(
            "source.read",
            Behaviour::Plain,
            Ended::Records(vec![Some((key.to_owned(), "1".to_owned()))]),
        )
    };
    assert_eq!(
        outcome(
            Check::SameKeys,
            &[time(0, "a"), time(0, "b"), time(1, "a"), time(1, "b")]
        ),
        CheckOutcome::Passed
    );
    for other in [[time(0, "a"), time(1, "b")], [time(0, "a"), time(1, "")]] {
        assert_eq!(outcome(Check::SameKeys, &other), CheckOutcome::Failed);
    }
}

#[test]
fn a_denial_is_a_manifest_that_forgot_something() {
    let denied = Run {
        denied: vec!["GET https://other.example/ by http.host".to_owned()],
        ..run("source.read", Behaviour::Plain, Ended::Error(error("denied")))
    };
    assert_eq!(outcome(Check::WithinManifest, &[denied]), CheckOutcome::Failed);
}

#[test]
fn a_description_is_the_same_and_fits() {
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let good = json!({ "title": "B", "config": { "type": "object" } });
    let of = |description: &Value, again: &Result<Value, CallError>, check: Check| {
        let facts = Facts {
            manifest: &manifest,
            description,
            again,
        };
        let all = all(&facts, &[], &BTreeSet::new());
        all.iter().find(|result| result.check == check).unwrap().outcome
    };
    let other = Ok(json!({ "title": "C", "config": null }));
    let crashed = Err(CallError::Trap {
        message: "unreachable".to_owned(),
        backtrace: Vec::new(),
    });
    assert_eq!(
        of(&good, &Ok(good.clone()), Check::DescribedAlike),
        CheckOutcome::Passed
    );
    assert_eq!(of(&good, &other, Check::DescribedAlike), CheckOutcome::Failed);
    assert_eq!(of(&good, &crashed, Check::DescribedAlike), CheckOutcome::Failed);
    for (description, expected) in [
        (good, CheckOutcome::Passed),
        (json!({ "title": "B" }), CheckOutcome::Failed),
        (json!({ "title": 7, "config": {} }), CheckOutcome::Failed),
        (
            json!({ "title": "B", "config": { "type": "nothing" } }),
            CheckOutcome::Failed,
        ),
    ] {
        assert_eq!(
            of(&description, &other, Check::DescriptionFits),
            expected,
            "{description}"
        );
    }
}

#[test]
fn what_is_shown_is_bounded() {
    let many: Vec<Run> = (0..100)
        .map(|_| {
            run(
                "source.read",
                Behaviour::Plain,
                Ended::Crashed("x".repeat(10_000)),
            )
        })
        .collect();
    let manifest = Manifest::from_toml(MANIFEST).unwrap();
    let facts = Facts {
        manifest: &manifest,
        description: &json!({}),
        again: &Ok(json!({})),
    };
    let all = all(&facts, &many, &BTreeSet::new());
    assert_eq!((all[0].times, all[0].seen.len()), (100, SHOWN));
    assert!(all[0].seen.iter().all(|text| text.len() < 400));
}
