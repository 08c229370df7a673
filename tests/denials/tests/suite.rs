//! The denial suite as part of `cargo test`, with fewer repetitions than `cargo xtask denials`.

use std::{fmt::Write as _, fs, path::Path};

use stecker_denials::{Settings, page, run};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_gets_out() {
    let settings = Settings {
        filter: None,
        max_times: 2_000,
        compiler: env!("CARGO_BIN_EXE_denials").into(),
        cache: None,
    };
    let report = run(&settings, &mut |_| {}).await.unwrap();
    let mut failures = String::new();
    for outcome in &report.failures {
        let (scenario, contract, via) = (&outcome.scenario, &outcome.contract, &outcome.via);
        let lifted = if outcome.lifted { ", protection lifted" } else { "" };
        writeln!(failures, "{scenario} (contract {contract} {via}{lifted})").unwrap();
        for failure in &outcome.failures {
            writeln!(failures, "  - {failure}").unwrap();
        }
    }
    assert!(
        report.is_clean(),
        "{} of {} scenarios failed, {} canary connections\n{failures}",
        report.failed,
        report.scenarios,
        report.canary_connections
    );
}

#[test]
fn the_page_is_up_to_date() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/denials.md");
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page().unwrap(),
        "docs/denials.md is not what the scenarios say: run `cargo xtask denials --list --markdown > docs/denials.md`"
    );
}
