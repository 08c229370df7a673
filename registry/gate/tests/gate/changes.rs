//! What changed since the release before, and what the manifest says about vendors and versions.

use semver::Version;
use stecker_gate::{Code, GatePolicy, GateReport, Previous, Severity};

use crate::support::{Plugin, codes, dropping, quick, report};

async fn against(old: &Plugin, new: &Plugin, policy: &GatePolicy) -> GateReport {
    let before = old.build();
    let released: [Version; 1] = [old.version.parse().unwrap()];
    let previous = Previous {
        component: Some(&before),
        released: &released,
    };
    report(&new.build(), Some(previous), policy).await
}

async fn found(old: &Plugin, new: &Plugin) -> (Vec<Code>, Vec<Code>) {
    let report = against(old, new, &quick()).await;
    (
        codes(&report, Severity::Refusal),
        codes(&report, Severity::Warning),
    )
}

/// A plugin of the roles of `transform` and an interface of its own.
fn with_extra(version: &str, interface: &str, functions: &str) -> Plugin {
    let plain = Plugin::version(version);
    Plugin {
        world: format!("{} export acme:guest/extra@{interface};", plain.world),
        packages: format!("package acme:guest@{interface} {{ interface extra {{ {functions} }} }}"),
        code: plain.code.clone()
            + &functions
                .split_terminator(';')
                .map(|function| {
                    let (name, signature) = function.trim().split_once(':').unwrap();
                    let param = if signature.contains("u64") {
                        "(param i64)"
                    } else {
                        "(param i32)"
                    };
                    format!("(func (export \"acme:guest/extra@{interface}#{name}\") {param})")
                })
                .collect::<String>(),
        ..plain
    }
}

#[tokio::test]
async fn a_role_stays_within_a_major() {
    let both = Plugin {
        world: "export stecker:plugin/transform@1.0.0; export stecker:plugin/webhook@1.0.0;".to_owned(),
        code: dropping()
            + "(func (export \"stecker:plugin/webhook@1.0.0#receive\") (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
               (func (export \"stecker:plugin/webhook@1.0.0#subscribe\") (param i32 i32 i32 i32 i32 i32) (result i32) (i32.const 2048))
               (func (export \"stecker:plugin/webhook@1.0.0#unsubscribe\") (param i32 i32 i32 i32) (result i32) (i32.const 2048))",
        ..Plugin::default()
    };
    let fewer = |version: &str| Plugin {
        code: dropping(),
        ..Plugin::version(version)
    };
    assert_eq!(found(&both, &fewer("1.1.0")).await.0, [Code::RoleRemoved]);
    assert_eq!(found(&both, &fewer("1.0.1")).await.0, [Code::RoleRemoved]);
    assert_eq!(found(&both, &fewer("2.0.0")).await.0, [Code::BreakingMissing]);
    let more = Plugin {
        version: "1.1.0".to_owned(),
        ..both.clone()
    };
    assert_eq!(found(&fewer("1.0.0"), &more).await, (vec![], vec![]));
}

#[tokio::test]
async fn another_export_stays_what_it_is() {
    let old = with_extra("1.0.0", "1.0.0", "go: func(a: u32);");
    for (new, expected) in [
        (Plugin::version("1.1.0"), vec![Code::ExportRemoved]),
        (
            with_extra("1.1.0", "1.0.0", "go: func(a: u64);"),
            vec![Code::ExportChanged],
        ),
        (
            with_extra("1.1.0", "1.0.0", "stop: func(a: u32);"),
            vec![Code::ExportChanged],
        ),
        (
            with_extra("1.1.0", "1.0.0", "go: func(a: u32); stop: func(a: u32);"),
            vec![],
        ),
        (with_extra("1.1.0", "1.1.0", "go: func(a: u32);"), vec![]),
        (
            with_extra("1.1.0", "2.0.0", "go: func(a: u32);"),
            vec![Code::ExportRemoved],
        ),
        (
            with_extra("2.0.0", "1.0.0", "go: func(a: u64);"),
            vec![Code::BreakingMissing],
        ),
    ] {
        assert_eq!(
            found(&old, &new).await.0,
            expected,
            "{} {}",
            new.version,
            new.packages
        );
    }
}

#[tokio::test]
async fn imports_may_grow_and_are_told() {
    let new = Plugin {
        world: "import stecker:plugin/clock@1.0.0; export stecker:plugin/transform@1.0.0;".to_owned(),
        imports: "(import \"stecker:plugin/clock@1.0.0\" \"monotonic-ms\" (func (result i64)))".to_owned(),
        ..Plugin::version("1.1.0")
    };
    let report = against(&Plugin::default(), &new, &quick()).await;
    assert!(report.passes);
    let note = report.of(Severity::Note).next().unwrap();
    assert_eq!(note.code, Code::ImportsGrew);
    assert!(note.seen.contains("stecker:plugin/clock"), "{}", note.seen);
}

fn configured(version: &str, config: &str) -> Plugin {
    Plugin {
        description: format!("{{\"title\":\"Guest\",\"config\":{config}}}"),
        ..Plugin::version(version)
    }
}

#[tokio::test]
async fn a_configuration_stays_valid_within_a_major() {
    let url = r#""url":{"type":"string"}"#;
    let one = format!(r#"{{"type":"object","properties":{{{url}}},"required":["url"]}}"#);
    let more = format!(r#"{{"type":"object","properties":{{{url},"page":{{}}}},"required":["url","page"]}}"#);
    let odd =
        r#"{"type":"object","properties":{"url":{"type":"string","pattern":"^https"}},"required":["url"]}"#;
    let usual = r#"{"type":"object","properties":{"url":{"type":"string","default":"https://a.example"}},"required":["url"]}"#;
    let old = configured("1.0.0", &one);
    assert_eq!(
        found(&old, &configured("1.1.0", &more)).await.0,
        [Code::ConfigBroken]
    );
    assert_eq!(
        found(&old, &configured("1.1.0", odd)).await,
        (vec![], vec![Code::ConfigUnclear])
    );
    let strict = quick().with(Code::ConfigUnclear, Severity::Refusal);
    let report = against(&old, &configured("1.1.0", odd), &strict).await;
    assert_eq!(codes(&report, Severity::Refusal), [Code::ConfigUnclear]);
    let noted = against(&old, &configured("1.1.0", usual), &quick()).await;
    assert_eq!(codes(&noted, Severity::Note), [Code::ConfigNote]);
    let major = Plugin {
        manifest: "[[breaking]]\nmessage = \"`page` has to be given\"".to_owned(),
        ..configured("2.0.0", &more)
    };
    assert_eq!(found(&old, &major).await, (vec![], vec![]));
}

fn asking(version: &str, host: &str, upstream: &str) -> Plugin {
    Plugin {
        manifest: format!(
            "[[capabilities.http]]\nhosts = [\"{host}\"]\nmethods = [\"GET\"]\npurpose = \"reads\"\n{upstream}"
        ),
        ..Plugin::version(version)
    }
}

const UPSTREAM: &str = "[[upstream]]\nsystem = \"Acme\"\napi-version = \"v1\"\n";

#[tokio::test]
async fn wider_capabilities_are_told() {
    let upstream = format!("{UPSTREAM}sunset = \"none\"");
    let (narrow, wide) = (
        asking("1.0.0", "a.example", &upstream),
        asking("1.1.0", "*.example.net", &upstream),
    );
    let report = against(&narrow, &wide, &quick()).await;
    assert_eq!(codes(&report, Severity::Warning), [Code::CapabilitiesWider]);
    assert_eq!(codes(&report, Severity::Note), [Code::CapabilitiesNarrower]);
}

#[tokio::test]
async fn vendors_have_days_at_which_they_end() {
    for (upstream, at_publish, at_install) in [
        ("sunset = \"none\"".to_owned(), None, None),
        (
            String::new(),
            Some(Code::SunsetMissing),
            Some(Code::SunsetMissing),
        ),
        (
            "sunset = 2026-05-31\nurl = \"https://a.example\"".to_owned(),
            Some(Code::SunsetPast),
            Some(Code::SunsetPast),
        ),
        ("sunset = 2027-05-31".to_owned(), None, Some(Code::SunsetUnproven)),
    ] {
        let component = asking("1.0.0", "a.example", &format!("{UPSTREAM}{upstream}")).build();
        let refused = codes(&report(&component, None, &quick()).await, Severity::Refusal);
        assert_eq!(refused, Vec::from_iter(at_publish), "{upstream}");
        let installed = report(&component, None, &GatePolicy::install()).await;
        assert!(installed.passes);
        assert_eq!(
            codes(&installed, Severity::Warning),
            Vec::from_iter(at_install),
            "{upstream}"
        );
    }
    let silent = report(&asking("1.0.0", "a.example", "").build(), None, &quick()).await;
    assert_eq!(codes(&silent, Severity::Warning), [Code::UpstreamUndeclared]);
}

#[tokio::test]
async fn a_version_is_new_and_comes_after_the_others() {
    let old = Plugin {
        code: dropping(),
        ..Plugin::version("1.2.0")
    };
    assert_eq!(
        found(&old, &Plugin::version("1.2.0")).await.0,
        [Code::VersionExists]
    );
    assert_eq!(
        found(&old, &Plugin::version("1.1.9")).await.0,
        [Code::VersionNotHighest]
    );
    assert_eq!(
        found(&old, &Plugin::version("1.3.0+7")).await.0,
        [Code::VersionBuild]
    );
    assert_eq!(
        found(&old, &Plugin::version("2.0.0")).await.0,
        [Code::BreakingMissing]
    );
    assert_eq!(
        found(&old, &old).await,
        (vec![], vec![]),
        "the same bytes are the same release"
    );
    let explained = GatePolicy {
        explanation: Some("a fix for those who stay".to_owned()),
        ..quick()
    };
    let report = against(&old, &Plugin::version("1.1.9"), &explained).await;
    assert!(report.passes);
    assert_eq!(codes(&report, Severity::Note), [Code::VersionExplained]);
    let breaking = Plugin {
        manifest: "[[breaking]]\nmessage = \"it drops everything\"".to_owned(),
        ..Plugin::version("1.2.1")
    };
    assert_eq!(
        found(&old, &breaking).await,
        (vec![], vec![Code::BreakingUnexpected])
    );
}

#[tokio::test]
async fn versions_count_also_where_there_is_nothing_to_compare_with() {
    let released: [Version; 1] = ["1.0.0".parse().unwrap()];
    let component = Plugin::default().build();
    for (previous, expected) in [
        (None, Code::VersionExists),
        (Some(&b"gone"[..]), Code::PreviousUnreadable),
    ] {
        let previous = Previous {
            component: previous,
            released: &released,
        };
        let report = report(&component, Some(previous), &quick()).await;
        assert!(report.has(expected) && report.has(Code::VersionExists));
        assert_eq!(report.compared_with, None);
    }
}

#[tokio::test]
async fn another_plugins_release_is_nothing_to_compare_with() {
    let other = Plugin {
        name: "tests/other".to_owned(),
        ..Plugin::default()
    };
    assert_eq!(
        found(&other, &Plugin::version("1.1.0")).await.0,
        [Code::OtherPlugin]
    );
}
