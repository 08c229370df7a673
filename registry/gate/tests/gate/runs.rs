//! Plugins that do in the sandbox what no host can make up for, and some that only say the wrong thing.

use std::time::Duration;

use stecker_gate::{Check, CheckOutcome, Code, ConformancePolicy, GatePolicy, GateReport, Severity};

use crate::support::{Plugin, apply, codes, dropping, report};

fn policy() -> GatePolicy {
    GatePolicy {
        conformance: Some(ConformancePolicy {
            call: Duration::from_secs(2),
            ..ConformancePolicy::default()
        }),
        ..GatePolicy::publish()
    }
}

async fn run(plugin: &Plugin) -> GateReport {
    report(&plugin.build(), None, &policy()).await
}

fn outcome(report: &GateReport, check: Check) -> CheckOutcome {
    report.conformance.as_ref().unwrap().outcome(check).unwrap()
}

fn transform(body: &str) -> Plugin {
    Plugin {
        code: apply(body),
        ..Plugin::default()
    }
}

#[tokio::test]
async fn a_plugin_that_keeps_to_the_contract_passes() {
    let report = run(&Plugin {
        code: dropping(),
        ..Plugin::default()
    })
    .await;
    assert_eq!(codes(&report, Severity::Refusal), [], "{report:?}");
    assert_eq!(codes(&report, Severity::Warning), [], "{report:?}");
    for check in [
        Check::NoTrap,
        Check::BoundsKept,
        Check::SameKeys,
        Check::DescribedAlike,
    ] {
        assert_eq!(outcome(&report, check), CheckOutcome::Passed, "{check}");
    }
    assert_eq!(outcome(&report, Check::AuthTold), CheckOutcome::NotApplicable);
}

#[tokio::test]
async fn traps_endless_loops_and_wrong_counts_are_refused() {
    for (body, check) in [
        ("unreachable", Check::NoTrap),
        ("(loop $for_ever (br $for_ever)) (unreachable)", Check::NoTimeout),
        // Ok, with an empty list for a batch of three.
        ("(i32.const 2048)", Check::BoundsKept),
    ] {
        let mut policy = policy();
        if let Some(run) = &mut policy.conformance {
            run.call = Duration::from_millis(200);
        }
        let report = report(&transform(body).build(), None, &policy).await;
        assert_eq!(
            codes(&report, Severity::Refusal),
            [Code::ConformanceMandatory],
            "{check}"
        );
        assert_eq!(outcome(&report, check), CheckOutcome::Failed, "{check}");
    }
}

#[tokio::test]
async fn what_is_mandatory_is_the_policys() {
    let mut lenient = policy();
    if let Some(run) = &mut lenient.conformance {
        run.mandatory.clear();
    }
    let report = report(&transform("unreachable").build(), None, &lenient).await;
    assert!(report.passes);
    assert_eq!(codes(&report, Severity::Warning), [Code::ConformanceFailed]);
}

#[tokio::test]
async fn a_run_ends_with_its_time_and_says_so() {
    let mut short = policy();
    if let Some(run) = &mut short.conformance {
        run.call = Duration::from_millis(200);
        run.total = Duration::from_millis(100);
    }
    let report = report(
        &transform("(loop $for_ever (br $for_ever)) (unreachable)").build(),
        None,
        &short,
    )
    .await;
    assert!(report.has(Code::ConformancePartial), "{report:?}");
    assert_eq!(report.conformance.unwrap().calls, 1);
}

#[tokio::test]
async fn a_description_that_changes_is_told() {
    let random = Plugin {
        world: "import stecker:plugin/random@1.0.0; export stecker:plugin/transform@1.0.0;".to_owned(),
        imports: "(import \"stecker:plugin/random@1.0.0\" \"bytes\" (func $bytes (param i32 i32)))"
            .to_owned(),
        // The title is eight letters by eight random bytes; `{"title":"` has ten characters.
        description: r#"{"title":"Whatever","config":{"type":"object"}}"#.to_owned(),
        describe: Some(
            "(func (export \"stecker:plugin/meta@1.0.0#describe\") (result i32) (local $i i32)
                (call $bytes (i32.const 8) (i32.const 3000))
                (loop $each
                    (i32.store8 (i32.add (i32.const 70010) (local.get $i))
                        (i32.add (i32.const 97) (i32.and (i32.const 15)
                            (i32.load8_u (i32.add (i32.load (i32.const 3000)) (local.get $i))))))
                    (local.set $i (i32.add (local.get $i) (i32.const 1)))
                    (br_if $each (i32.lt_u (local.get $i) (i32.const 8))))
                (i32.const 1024))"
                .to_owned(),
        ),
        code: dropping(),
        ..Plugin::default()
    };
    let report = run(&random).await;
    assert_eq!(codes(&report, Severity::Warning), [Code::ConformanceFailed]);
    assert_eq!(outcome(&report, Check::DescribedAlike), CheckOutcome::Failed);
    assert_eq!(outcome(&report, Check::DescriptionFits), CheckOutcome::Passed);
}

#[tokio::test]
async fn a_description_without_a_schema_of_its_configuration_does_not_fit() {
    let report = run(&Plugin {
        description: r#"{"title":"Guest"}"#.to_owned(),
        code: dropping(),
        ..Plugin::default()
    })
    .await;
    assert_eq!(outcome(&report, Check::DescriptionFits), CheckOutcome::Failed);
}

#[tokio::test]
async fn a_configuration_that_cannot_be_made_can_be_given() {
    let plugin = Plugin {
        description: r#"{"title":"Guest","config":{"type":"object","properties":{"code":{"type":"string","pattern":"^[A-Z]{3}$"}},"required":["code"]}}"#
            .to_owned(),
        code: dropping(),
        ..Plugin::default()
    };
    let partial = run(&plugin).await;
    assert_eq!(codes(&partial, Severity::Warning), [Code::ConformancePartial]);
    for (config, expected) in [("EUR", vec![]), ("euro", vec![Code::ConformancePartial])] {
        let mut given = policy();
        if let Some(run) = &mut given.conformance {
            run.config = Some(serde_json::json!({ "code": config }));
        }
        let report = report(&plugin.build(), None, &given).await;
        assert_eq!(codes(&report, Severity::Warning), expected, "{config}");
    }
}

const HTTP: &str = "[[capabilities.http]]
    hosts = [\"shop.example\"]
    methods = [\"GET\", \"POST\"]
    purpose = \"p\"
    [[upstream]]
    system = \"Shop\"
    api-version = \"1\"
    sunset = \"none\"
    idempotency-header = \"Idempotency-Key\"
    [credentials.hooks]
    kind = \"hmac-secret\"
    description = \"signs\"
";

/// Sends a POST without looking at the answer, reads nothing, and calls everything delivered.
fn careless(url: &str) -> Plugin {
    asking(url, HTTP, "")
}

/// The same with this in the request.
fn asking(url: &str, manifest: &str, more: &str) -> Plugin {
    Plugin {
        manifest: manifest.to_owned(),
        description: r#"{"title":"Guest","config":{"type":"object"},"streams":[{"name":"orders","title":"Orders","modes":["read","write"]}]}"#
            .to_owned(),
        world: "import stecker:plugin/http@1.0.0; export stecker:plugin/source@1.0.0; export stecker:plugin/destination@1.0.0;
                export stecker:plugin/webhook@1.0.0;"
            .to_owned(),
        imports: "(import \"stecker:plugin/http@1.0.0\" \"send\" (func $send (param i32 i32)))".to_owned(),
        code: format!(
            "(data (i32.const 4096) \"POST{url}\")
             (func $ask
                (i32.store (i32.const 5000) (i32.const 4096)) (i32.store (i32.const 5004) (i32.const 4))
                (i32.store (i32.const 5008) (i32.const 4100)) (i32.store (i32.const 5012) (i32.const {})) {more}
                (call $send (i32.const 5000) (i32.const 6000)))
             (func (export \"stecker:plugin/source@1.0.0#read\") (param i32 i32 i32 i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32) (call $ask) (i32.const 2048))
             (func (export \"stecker:plugin/source@1.0.0#acknowledge\") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
             (func (export \"stecker:plugin/destination@1.0.0#write\") (param i32 i32 i32 i32 i32 i32) (result i32)
                (call $ask)
                (i32.store (i32.const 3008) (i32.const 8192)) (i32.store (i32.const 3012) (local.get 5)) (i32.const 3000))
             (func (export \"stecker:plugin/destination@1.0.0#lookup\") (param i32 i32 i32 i32 i32 i32) (result i32) (unreachable))
             (func (export \"stecker:plugin/webhook@1.0.0#receive\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
             (func (export \"stecker:plugin/webhook@1.0.0#subscribe\") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
             (func (export \"stecker:plugin/webhook@1.0.0#unsubscribe\") (param i32 i32 i32 i32) (result i32) (i32.const 2048))",
            url.len()
        ),
        ..Plugin::default()
    }
}

#[tokio::test]
async fn a_plugin_that_looks_at_no_answer_is_seen_through() {
    let report = run(&careless("https://shop.example/orders")).await;
    let run = report.conformance.as_ref().unwrap();
    assert!(run.requests > 10, "{run:?}");
    for check in [
        Check::NoTrap,
        Check::AuthTold,
        Check::RateTold,
        Check::TransientTold,
        Check::NothingInvented,
        Check::IdempotencySent,
        Check::ForgeryRefused,
    ] {
        assert_eq!(outcome(&report, check), CheckOutcome::Failed, "{check}: {run:?}");
    }
    for check in [Check::NoTimeout, Check::WithinManifest] {
        assert_eq!(outcome(&report, check), CheckOutcome::Passed, "{check}: {run:?}");
    }
}

#[tokio::test]
async fn a_host_that_the_manifest_does_not_name_is_seen() {
    let report = run(&careless("https://elsewhere.example/")).await;
    assert_eq!(outcome(&report, Check::WithinManifest), CheckOutcome::Failed);
    assert_eq!(report.conformance.as_ref().unwrap().requests, 0);
    assert_eq!(outcome(&report, Check::NothingInvented), CheckOutcome::Failed);
}

/// The credential's option in the request: a discriminant, and the name `api`.
const CREDENTIAL: &str = "(i32.store (i32.const 4800) (i32.const 0x697061))
    (i32.store8 (i32.const 5036) (i32.const 1)) (i32.store (i32.const 5040) (i32.const 4800)) (i32.store (i32.const 5044) (i32.const 3))";

#[tokio::test]
async fn credentials_of_every_kind_are_there() {
    let oauth = "[credentials.api.oauth]\ntoken-url = \"https://login.example/token\"\n";
    let code = format!("{oauth}authorize-url = \"https://login.example/authorize\"\n");
    let signing = "[credentials.api.signing]\nalgorithm = \"sha256\"\nencoding = \"hex\"\nmessage = \"{method}\"\n\
                   headers = { x-signature = \"{signature}\" }\n";
    for (kind, more) in [
        ("bearer", ""),
        ("basic", ""),
        ("oauth2-client-credentials", oauth),
        ("oauth2-refresh-token", oauth),
        ("oauth2-authorization-code", &code),
        ("hmac-request", signing),
    ] {
        let manifest = format!("{HTTP}[credentials.api]\nkind = \"{kind}\"\ndescription = \"d\"\n{more}");
        let report = run(&asking("https://shop.example/orders", &manifest, CREDENTIAL)).await;
        let run = report.conformance.as_ref().unwrap();
        assert!(run.requests > 10, "{kind}: {run:?}");
        assert_eq!(
            outcome(&report, Check::WithinManifest),
            CheckOutcome::Passed,
            "{kind}: {run:?}"
        );
    }
}
