//! `stecker reconcile …`

use std::time::Duration;

use stecker_model::{
    Period,
    api::{
        Difference, DifferenceKind, Problem, ReconcileDetail, ReconcileFilter, ReconcileMethod,
        ReconcileMode, ReconcileRequest, ReconcileRun, ReconcileState,
    },
};
use stecker_server::Operations;

use crate::{
    args::{Globals, Reconcile, ReconcileCommand, StartReconcile},
    failure::{Failure, Result, failed},
    output::{Output, Page, bad, bold, dim, good, time, warn},
    progress::Progress,
    target::Target,
};

/// How often a server is asked how far it is.
const ASK: Duration = Duration::from_millis(200);
/// Differences that are shown to a person.
const SHOWN: usize = 20;

pub(crate) async fn reconcile(globals: &Globals, output: Output, command: Reconcile) -> Result<()> {
    let target = Target::find(globals, output, "stecker reconcile").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Reconcile) -> Result<()> {
    let operations = target.operations();
    match (command.command, command.start) {
        (Some(ReconcileCommand::List { flow, limit }), _) => {
            let filter = ReconcileFilter {
                flow,
                limit: Some(limit),
            };
            let runs = operations.reconciles(&filter).await?;
            output.answer(&runs, |page| show_list(page, &runs))?;
        }
        (Some(ReconcileCommand::Show { id }), _) => {
            let detail = operations.reconcile(&id).await?;
            output.answer(&detail, |page| show(page, &detail))?;
        }
        (Some(ReconcileCommand::Abort { id }), _) => {
            let run = operations.abort_reconcile(&id).await?;
            output.answer(&run, |page| {
                page.line(format!("{id} is ended; what it queued stays queued"));
            })?;
        }
        (None, Some(start)) => return compare(target, output, start).await,
        (None, None) => {
            return Err(Failure::Usage(
                "name the flow whose two ends are to be compared, such as `stecker reconcile orders-to-erp`"
                    .to_owned(),
            ));
        }
    }
    Ok(())
}

async fn compare(target: &Target, output: Output, start: StartReconcile) -> Result<()> {
    if start.no_wait && matches!(target, Target::Here { .. }) {
        return Err(Failure::Usage(
            "--no-wait needs a server that does the work; start one with `stecker serve`, or leave --no-wait away".to_owned(),
        ));
    }
    let request = ReconcileRequest {
        mode: if start.full {
            ReconcileMode::Full
        } else {
            ReconcileMode::Ledger
        },
        repair: start.repair,
        rate: start.rate,
    };
    let operations = target.operations();
    let run = match operations.start_reconcile(&start.flow, &request).await {
        Ok(run) => run,
        Err(problem) => left_over(target, &start.flow, &request, problem).await?,
    };
    if start.no_wait {
        output.answer(&run, |page| {
            page.line(format!(
                "{} is being compared; `stecker reconcile show {}` shows how far",
                run.flow, run.id
            ));
        })?;
        return Ok(());
    }
    let progress = Progress::new(output, &format!("comparing {}", run.flow));
    let ended = match target {
        Target::Here { .. } => here(target, &run, start.timeout, &progress).await,
        Target::There(_) => there(operations, &run, start.timeout, &progress).await,
    };
    drop(progress);
    ended?;
    let detail = operations.reconcile(&run.id).await?;
    output.answer(&detail, |page| show(page, &detail))?;
    match detail.run.state {
        ReconcileState::Done => Ok(()),
        // Its report says why, in full.
        _ => Err(Failure::Told),
    }
}

/// Without a server, one that was cut off goes on if it is asked for again in the same words.
async fn left_over(
    target: &Target,
    flow: &stecker_model::Name,
    request: &ReconcileRequest,
    problem: Problem,
) -> Result<ReconcileRun> {
    if let (Target::Here { service, .. }, 409) = (target, problem.status) {
        let filter = ReconcileFilter {
            flow: Some(flow.clone()),
            limit: None,
        };
        let runs = service.reconciles(&filter).await?;
        let open = runs.into_iter().find(|run| run.state.is_open());
        if let Some(open) = open.filter(|open| open.request == *request) {
            return Ok(open);
        }
    }
    Err(problem.into())
}

/// In this process, until ctrl-c.
async fn here(
    target: &Target,
    run: &ReconcileRun,
    timeout: Option<Period>,
    progress: &Progress,
) -> Result<()> {
    let Target::Here { service, .. } = target else {
        return Err(failed("reconcile", "there is no data folder here").into());
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tell = |run: &ReconcileRun| progress.say(&step(run));
    let mut work = std::pin::pin!(service.reconcile_to_the_end(&run.id, stop.clone(), &mut tell));
    let early = tokio::select! {
        ended = &mut work => {
            ended?;
            return Ok(());
        }
        _ = tokio::signal::ctrl_c() => "it was interrupted".to_owned(),
        () = over(timeout) => waited(timeout),
    };
    stop.cancel();
    work.await?;
    Err(unfinished(run, &early, "the same command begins it anew").into())
}

async fn there(
    operations: &dyn Operations,
    run: &ReconcileRun,
    timeout: Option<Period>,
    progress: &Progress,
) -> Result<()> {
    let waiting = async {
        loop {
            let now = operations.reconcile(&run.id).await?.run;
            if !now.state.is_open() {
                return Ok::<_, Problem>(());
            }
            progress.say(&step(&now));
            tokio::time::sleep(ASK).await;
        }
    };
    tokio::select! {
        ended = waiting => Ok(ended?),
        () = over(timeout) => Err(unfinished(run, &waited(timeout), "the server goes on").into()),
    }
}

async fn over(timeout: Option<Period>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.duration()).await,
        None => std::future::pending().await,
    }
}

fn waited(timeout: Option<Period>) -> String {
    let period = timeout.map(|period| period.to_string()).unwrap_or_default();
    format!("it was not done after {period}")
}

fn unfinished(run: &ReconcileRun, why: &str, then: &str) -> Problem {
    failed(
        "unfinished",
        format!("the comparison {} is not over: {why}", run.id),
    )
    .with_hint(format!(
        "{then}; `stecker reconcile show {}` shows how far it is, `stecker reconcile abort {}` ends it",
        run.id, run.id
    ))
}

fn step(run: &ReconcileRun) -> String {
    let step = run.report.step.clone();
    step.unwrap_or_else(|| match run.state {
        ReconcileState::Requested => "waiting for the holder of the flow's lease".to_owned(),
        state => state.as_str().to_owned(),
    })
}

fn state(run: &ReconcileRun) -> String {
    let text = run.state.as_str();
    match run.state {
        ReconcileState::Done => good(text),
        ReconcileState::Failed => bad(text),
        ReconcileState::Aborted => warn(text),
        ReconcileState::Requested | ReconcileState::Running => text.to_owned(),
    }
}

fn show_list(page: &mut Page, runs: &[ReconcileRun]) {
    if runs.is_empty() {
        return page.line("no comparisons yet; `stecker reconcile FLOW` makes one");
    }
    let rows = runs.iter().map(|run| {
        let counts = &run.report.counts;
        vec![
            run.id.clone(),
            run.flow.to_string(),
            state(run),
            run.request.mode.as_str().to_owned(),
            counts.equal.to_string(),
            counts.missing.to_string(),
            counts.different.to_string(),
            counts.extra.to_string(),
            counts.doubled.to_string(),
            run.report.repaired.to_string(),
            run.requested_by.clone(),
            time(run.requested_at),
        ]
    });
    page.table(
        &[
            "ID",
            "FLOW",
            "STATE",
            "BY",
            "EQUAL",
            "MISSING",
            "DIFFERENT",
            "EXTRA",
            "DOUBLED",
            "REPAIRED",
            "ASKED BY",
            "ASKED",
        ],
        &rows.collect::<Vec<_>>(),
    );
    page.line("`stecker reconcile show ID` tells what differs");
}

fn show(page: &mut Page, detail: &ReconcileDetail) {
    let run = &detail.run;
    let (report, counts) = (&run.report, &run.report.counts);
    page.field("comparison", &run.id);
    page.field("flow", run.flow.as_str());
    page.field("state", state(run));
    page.field("step", report.step.clone().unwrap_or_default());
    page.field(
        "against",
        match run.request.mode {
            ReconcileMode::Ledger => "the ledger: what was delivered last",
            ReconcileMode::Full => "the source, read again from its beginning",
        },
    );
    page.field("asked by", &run.requested_by);
    page.field(
        "by way of",
        match report.method {
            None => "",
            Some(ReconcileMethod::Digest) => "sums, and lists where they differ",
            Some(ReconcileMethod::List) => "a list of everything",
            Some(ReconcileMethod::Lookup) => "looking up every known key; what else is there stays unknown",
        },
    );
    page.field("compared", report.fields.join(" "));
    page.field("began", run.started_at.map_or_else(String::new, time));
    page.field("ended", run.finished_at.map_or_else(String::new, time));
    page.field(
        "calls",
        format!(
            "{} sums, {} lists, {} look-ups",
            report.calls.digest, report.calls.list, report.calls.lookup
        ),
    );
    page.field("expected", counts.expected.to_string());
    page.field("  equal", counts.equal.to_string());
    for (name, count) in [
        ("  missing", counts.missing),
        ("  different", counts.different),
        ("  extra", counts.extra),
        ("  doubled", counts.doubled),
        ("  pending", counts.pending),
        ("  undecided", counts.undecided),
    ] {
        if count > 0 {
            page.field(name, count.to_string());
        }
    }
    page.field("repaired", report.repaired.to_string());
    if let Some(error) = &report.error {
        page.field("broke off", bad(&format!("{} ({})", error.message, error.code)));
    }
    differences(page, detail);
    next_steps(page, detail);
}

fn differences(page: &mut Page, detail: &ReconcileDetail) {
    if detail.differences.is_empty() {
        return;
    }
    page.line("");
    page.line(bold("Differences"));
    for one in detail.differences.iter().take(SHOWN) {
        page.line(told(one));
        for field in &one.fields {
            let side = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
            page.line(format!(
                "    {}: {} {} {}",
                field.path,
                side(&field.expected),
                dim("here; there"),
                side(&field.found)
            ));
        }
    }
    let counts = &detail.run.report.counts;
    let all = counts.missing + counts.different + counts.extra + counts.doubled;
    let more = all.saturating_sub(detail.differences.len().min(SHOWN) as u64);
    if more > 0 {
        page.line(dim(&format!("and {more} more; --json shows up to 1,000")));
    }
}

fn told(one: &Difference) -> String {
    let kind = match one.kind {
        DifferenceKind::Missing | DifferenceKind::Different => bad(one.kind.as_str()),
        DifferenceKind::Extra | DifferenceKind::Doubled => warn(one.kind.as_str()),
    };
    let record = one
        .record
        .as_ref()
        .map_or_else(String::new, |record| format!(" {}", dim(&record.to_string())));
    let id = one
        .external_id
        .as_ref()
        .map_or_else(String::new, |id| format!(" {}", dim(&format!("({id})"))));
    let repair = one
        .repair
        .as_ref()
        .map_or_else(String::new, |repair| format!(": {repair}"));
    format!("  {kind} {}{record}{id}{repair}", one.key)
}

fn next_steps(page: &mut Page, detail: &ReconcileDetail) {
    let run = &detail.run;
    if run.state != ReconcileState::Done {
        return;
    }
    let counts = &run.report.counts;
    page.line("");
    let full = match run.request.mode {
        ReconcileMode::Ledger => "",
        ReconcileMode::Full => " --full",
    };
    if run.report.repaired > 0 {
        page.line(format!(
            "`stecker flow status {}` shows how far the repair is; then `stecker reconcile {}{full}` looks again",
            run.flow, run.flow
        ));
    } else if counts.missing + counts.different > 0 {
        page.line(format!(
            "`stecker reconcile {}{full} --repair missing,different` delivers them again",
            run.flow
        ));
    }
    if counts.extra > 0 {
        page.line(format!(
            "what is extra is nobody's here: look at it there first; `stecker reconcile {}{full} --repair extra-delete` deletes it",
            run.flow
        ));
    }
    if counts.doubled > 0 {
        page.line("what is doubled has to be put right there, by hand");
    }
    if counts.pending > 0 {
        page.line(format!(
            "what is pending is on its way or in quarantine: `stecker quarantine list --flow {}`",
            run.flow
        ));
    }
    if counts.missing + counts.different + counts.extra + counts.doubled == 0 {
        page.line(good("no difference found"));
    }
}
