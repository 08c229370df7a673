//! `stecker plugin check`: what the gate would say.

use std::{fs, path::Path};

use serde_json::Value;
use stecker_server::gate::{CheckOutcome, GatePolicy, GateReport, Severity};

use crate::{
    args::{CheckPlugin, Globals, Stage},
    failure::{Failure, Result, failed, file},
    output::{Output, Page, bad, bold, dim, good, warn},
    progress::Progress,
    target,
};

pub(crate) async fn check(globals: &Globals, output: Output, check: CheckPlugin) -> Result<()> {
    let read = |path: &Path| {
        fs::read(path).map_err(|error| file("read", path, error, "`stecker plugin build` makes components"))
    };
    let component = read(&check.file)?;
    let previous = check.previous.as_deref().map(read).transpose()?;
    let mut policy = match check.stage {
        Stage::Publish => GatePolicy::publish(),
        Stage::Install => GatePolicy::install(),
    };
    policy.explanation = check.explain;
    if let (Some(path), Some(run)) = (&check.config, &mut policy.conformance) {
        run.config = Some(configuration(path)?);
    }
    let progress = Progress::new(output, &format!("examining {}", check.file.display()));
    // The cache only if there is a data folder already: a look changes nothing.
    let cache = target::data(globals)
        .ok()
        .map(|data| data.join("cache"))
        .filter(|cache| cache.is_dir());
    let report = stecker_server::check_component(&component, previous.as_deref(), &policy, cache.as_deref())
        .await
        .map_err(|mut problem| {
            problem.detail = format!("{}: {}", check.file.display(), problem.detail);
            problem
        })?;
    drop(progress);
    output.answer(&report, |page| show(page, &report))?;
    if report.passes { Ok(()) } else { Err(Failure::Told) }
}

fn configuration(path: &Path) -> Result<Value> {
    let text = fs::read_to_string(path).map_err(|error| {
        file(
            "read",
            path,
            error,
            "write the configuration of a connection into it, as JSON",
        )
    })?;
    let value: Value = serde_json::from_str(&text)
        .map_err(|error| failed("invalid", format!("{} is not JSON: {error}", path.display())))?;
    if !value.is_object() {
        return Err(failed("invalid", format!("{} is not a JSON object", path.display()))
            .with_hint("write the configuration of a connection into it, for example {\"base_url\": \"https://shop.example\"}")
            .into());
    }
    Ok(value)
}

fn show(page: &mut Page, report: &GateReport) {
    if let (Some(plugin), Some(version)) = (&report.plugin, &report.version) {
        page.field("plugin", format!("{plugin}@{version}"));
    }
    if let Some(digest) = &report.digest {
        page.field("digest", digest.as_str());
    }
    if let Some(contract) = &report.contract {
        let linked: Vec<String> = report.linked.iter().map(ToString::to_string).collect();
        page.field(
            "contract",
            format!("{contract}, linked against {}", linked.join(", ")),
        );
    }
    if let Some(before) = &report.compared_with {
        page.field("compared with", before.as_str());
    }
    for finding in &report.findings {
        let mark = match finding.severity {
            Severity::Refusal => bad("✗"),
            Severity::Warning => warn("!"),
            Severity::Note => dim("·"),
        };
        page.line(format!(
            "{mark} {} {}",
            bold(finding.code.as_str()),
            finding.seen.trim_end()
        ));
        if finding.severity > Severity::Note {
            page.line(format!("    {}", dim(&finding.why)));
            page.line(format!("    {} {}", good("→"), finding.todo));
        }
    }
    if let Some(run) = &report.conformance {
        page.line(bold(&format!(
            "run in the sandbox: {} calls, {} requests answered by a script",
            run.calls, run.requests
        )));
        for result in &run.checks {
            let mark = match (result.outcome, result.mandatory) {
                (CheckOutcome::Passed, _) => good("✓"),
                (CheckOutcome::Failed, true) => bad("✗"),
                (CheckOutcome::Failed, false) => warn("!"),
                (CheckOutcome::NotApplicable, _) => dim("–"),
            };
            let times = match result.outcome {
                CheckOutcome::NotApplicable => "not applicable".to_owned(),
                _ => format!("looked at {} times", result.times),
            };
            page.line(format!("{mark} {} {}", result.check, dim(&times)));
            for seen in &result.seen {
                page.line(format!("    {seen}"));
            }
        }
    }
    let count = |severity, of: &str| match report.of(severity).count() {
        0 => None,
        1 => Some(format!("one {of}")),
        n => Some(format!("{n} {of}s")),
    };
    page.line(match count(Severity::Refusal, "reason") {
        Some(reasons) => bad(&format!("refused, for {reasons}")),
        None => match count(Severity::Warning, "warning") {
            Some(warnings) => format!("{}, with {warnings}", good("passes")),
            None => good("passes"),
        },
    });
}
