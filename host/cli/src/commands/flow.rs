//! `stecker flow …`

use std::time::Duration;

use stecker_model::{
    Name, OnQuarantine, Period, RecordState,
    api::{FlowHealth, FlowStatus, PauseRequest, Problem, UpstreamWait, Waiting},
};
use stecker_server::{HttpClient, Operations as _};

use crate::{
    args::{Flow, Globals},
    failure::{Failure, Result, failed},
    output::{Output, Page, bad, good, time, warn},
    progress::Progress,
    target::Target,
};

/// How often a server is asked how far it is.
const ASK: Duration = Duration::from_millis(200);
/// Answers without any change, after which what still waits is taken to wait for a decision.
const STILL: u32 = 15;
/// Failed reads in a row, after which whoever waits hears of it. The server goes on trying.
const FAILURES: u32 = 5;
/// The longest that an upstream is waited for, in milliseconds, before whoever waits hears of it. The server goes on waiting.
const LONG_WAIT: i64 = 30_000;

pub(crate) async fn flow(globals: &Globals, output: Output, command: Flow) -> Result<()> {
    let target = Target::find(globals, output, "stecker flow").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Flow) -> Result<()> {
    let operations = target.operations();
    let status = match command {
        Flow::List => {
            let flows = operations.flows().await?;
            output.answer(&flows, |page| show_list(page, &flows))?;
            return Ok(());
        }
        Flow::Run {
            name,
            timeout,
            no_wait,
        } => return run(target, output, &name, timeout, no_wait).await,
        Flow::Status { name } => operations.flow(&name).await?,
        Flow::Pause { name, reason } => operations.pause_flow(&name, &PauseRequest { reason }).await?,
        Flow::Resume { name } => operations.resume_flow(&name).await?,
    };
    output.answer(&status, |page| show(page, &status))?;
    Ok(())
}

async fn run(
    target: &Target,
    output: Output,
    name: &Name,
    timeout: Option<Period>,
    no_wait: bool,
) -> Result<()> {
    if no_wait {
        if let Target::Here { .. } = target {
            return Err(Failure::Usage(
                "--no-wait needs a server that does the work; start one with `stecker serve`, or leave --no-wait away".to_owned(),
            ));
        }
        let status = target.operations().run_flow(name).await?;
        output.answer(&status, |page| {
            page.line(format!(
                "{name} is being read; `stecker flow status {name}` shows how far"
            ));
        })?;
        return Ok(());
    }
    let progress = Progress::new(output, &format!("running {name}"));
    let after = match target {
        Target::Here { .. } => here(target, name, timeout, &progress).await,
        Target::There(client) => there(client, name, timeout, &progress).await,
    };
    drop(progress);
    let after = after?;
    output.answer(&after, |page| show(page, &after))?;
    let upstream = after.upstream.as_ref().filter(|upstream| is_long(upstream));
    match (&after.waiting, upstream, &after.last_error) {
        (Some(waiting), ..) => Err(unfinished(name, &waits(waiting)).into()),
        (None, Some(upstream), _) => Err(unfinished(name, &upstream.message).into()),
        (None, None, Some(error)) => Err(unreadable(name, &after, &error.message).into()),
        (None, None, None) => Ok(()),
    }
}

/// In this process, until ctrl-c.
async fn here(
    target: &Target,
    name: &Name,
    timeout: Option<Period>,
    progress: &Progress,
) -> Result<FlowStatus> {
    let Target::Here { service, .. } = target else {
        return Err(failed("flow", "there is no data folder here").into());
    };
    let stop = tokio_util::sync::CancellationToken::new();
    let mut tell = |status: &FlowStatus| progress.say(&account(status));
    let mut run = std::pin::pin!(service.run_to_the_end(name, stop.clone(), &mut tell));
    let early = tokio::select! {
        ended = &mut run => return Ok(ended?),
        _ = tokio::signal::ctrl_c() => "it was interrupted".to_owned(),
        () = over(timeout) => format!("it was not done after {}", timeout.map(|period| period.to_string()).unwrap_or_default()),
    };
    // Running batches finish, so that nothing is left unsure.
    stop.cancel();
    run.await?;
    Err(unfinished(name, &early).into())
}

async fn there(
    client: &HttpClient,
    name: &Name,
    timeout: Option<Period>,
    progress: &Progress,
) -> Result<FlowStatus> {
    let before = client.run_flow(name).await?;
    let waiting = async {
        let mut last = before.clone();
        let mut still = 0;
        let mut failures = 0;
        loop {
            tokio::time::sleep(ASK).await;
            let now = client.flow(name).await?;
            progress.say(&account(&now));
            still = if now == last { still + 1 } else { 0 };
            if now.last_error.is_some() && now.last_error != last.last_error {
                failures += 1;
            }
            if let Some(problem) = stuck(name, &before, &now, failures) {
                return Err(problem);
            }
            if now.reads_completed > before.reads_completed && is_over(&now, still) {
                return Ok(now);
            }
            last = now;
        }
    };
    tokio::select! {
        ended = waiting => Ok(ended?),
        () = over(timeout) => Err(unfinished(name, &format!("it was not done after {}", timeout.map(|period| period.to_string()).unwrap_or_default())).into()),
    }
}

async fn over(timeout: Option<Period>) {
    match timeout {
        Some(timeout) => tokio::time::sleep(timeout.duration()).await,
        None => std::future::pending().await,
    }
}

fn unfinished(name: &Name, why: &str) -> Problem {
    failed("unfinished", format!("the run of {name} is not over: {why}")).with_hint(format!(
        "nothing is lost; `stecker flow run {name}` goes on from here, and `stecker flow status {name}` shows how far it is"
    ))
}

/// Nothing moves, and nothing will by itself.
fn stuck(name: &Name, before: &FlowStatus, now: &FlowStatus, failures: u32) -> Option<Problem> {
    if let Some(pause) = &now.paused {
        return Some(unfinished(
            name,
            &format!("it was paused meanwhile ({})", pause.reason),
        ));
    }
    if let Some(waiting) = &now.waiting {
        return Some(unfinished(name, &waits(waiting)));
    }
    if let Some(upstream) = now.upstream.as_ref().filter(|upstream| is_long(upstream)) {
        return Some(unfinished(name, &upstream.message));
    }
    let error = now.last_error.as_ref()?;
    let passes = stecker_model::ErrorCode::parse(&error.code).passes_by_itself();
    let is_new = before.last_error.as_ref() != Some(error);
    (is_new && (!passes || failures >= FAILURES)).then(|| unreadable(name, now, &error.message))
}

/// A short pause is no reason to give up.
fn is_long(upstream: &UpstreamWait) -> bool {
    upstream
        .until
        .saturating_sub(jiff::Timestamp::now().as_millisecond())
        > LONG_WAIT
}

fn waits(waiting: &Waiting) -> String {
    let circuit = &waiting.circuit;
    format!(
        "the circuit of the connection {} is {} since {}, because {}; `stecker connection show {}` tells more",
        waiting.connection,
        circuit.state.as_str(),
        time(circuit.since),
        circuit.reason,
        waiting.connection
    )
}

fn unreadable(name: &Name, status: &FlowStatus, why: &str) -> Problem {
    failed("read-failed", format!("{name} cannot be read: {why}")).with_hint(format!(
        "`stecker connection check {}` tries the source",
        status.spec.source.connection
    ))
}

/// Nothing is open, or only what waits behind a quarantined record of the same key.
fn is_over(now: &FlowStatus, still: u32) -> bool {
    let open = |state: &RecordState| state.is_open() && count(now, *state) > 0;
    let mut open = RecordState::ALL.into_iter().filter(open);
    match (open.next(), open.next()) {
        (None, _) => true,
        (Some(RecordState::Queued), None) => {
            now.spec.delivery.on_quarantine == OnQuarantine::Hold
                && count(now, RecordState::Quarantined) > 0
                && still >= STILL
        }
        _ => false,
    }
}

fn count(status: &FlowStatus, state: RecordState) -> u64 {
    status.counts.get(&state).copied().unwrap_or_default()
}

fn account(status: &FlowStatus) -> String {
    let read: u64 = status.counts.values().sum();
    let open: u64 = RecordState::ALL
        .into_iter()
        .filter(|state| state.is_open())
        .map(|state| count(status, state))
        .sum();
    let error = status
        .last_error
        .as_ref()
        .map_or_else(String::new, |error| format!(", reading fails: {}", error.message));
    format!(
        "{read} read, {} delivered, {open} open, {} retried, {} quarantined{error}",
        count(status, RecordState::Delivered),
        status.retried,
        count(status, RecordState::Quarantined)
    )
}

fn health(status: &FlowStatus) -> String {
    match status.health {
        FlowHealth::Idle => "idle".to_owned(),
        FlowHealth::Running => good("running"),
        FlowHealth::Paused => warn("paused"),
        FlowHealth::Failing => bad("failing"),
        FlowHealth::Waiting => bad("waiting"),
    }
}

fn show_list(page: &mut Page, flows: &[FlowStatus]) {
    if flows.is_empty() {
        return page.line("no flows yet; `stecker apply -f FILE` makes them");
    }
    let rows = flows.iter().map(|flow| {
        let open: u64 = RecordState::ALL
            .into_iter()
            .filter(|state| state.is_open())
            .map(|state| count(flow, state))
            .sum();
        vec![
            flow.spec.name.to_string(),
            health(flow),
            flow.counts.values().sum::<u64>().to_string(),
            count(flow, RecordState::Delivered).to_string(),
            open.to_string(),
            count(flow, RecordState::Quarantined).to_string(),
            flow.last_read_at.map_or_else(|| "never".to_owned(), time),
        ]
    });
    page.table(
        &[
            "FLOW",
            "HEALTH",
            "READ",
            "DELIVERED",
            "OPEN",
            "QUARANTINED",
            "LAST READ",
        ],
        &rows.collect::<Vec<_>>(),
    );
}

fn show(page: &mut Page, status: &FlowStatus) {
    let spec = &status.spec;
    page.field("flow", spec.name.as_str());
    let end = |end: &stecker_model::StreamRef| format!("{}/{}", end.connection, end.stream);
    page.field(
        "path",
        format!("{} → {}", end(&spec.source), end(&spec.destination)),
    );
    page.field("health", health(status));
    if let Some(pause) = &status.paused {
        page.field("paused", format!("{} since {}", pause.reason, time(pause.since)));
    }
    if let Some(waiting) = &status.waiting {
        page.field("waiting", waits(waiting));
    }
    if let Some(upstream) = &status.upstream {
        page.field("waiting", &upstream.message);
    }
    if let Some(held) = &status.held_back {
        page.field(
            "not read",
            format!(
                "{} records of the tenant wait, and it may have {} (`max-waiting` of its limits)",
                held.waiting, held.max_waiting
            ),
        );
    }
    if let Some(error) = &status.last_error {
        page.field(
            "reading fails",
            format!("{} ({}, {})", error.message, error.code, time(error.at)),
        );
        page.field("tried again", error.next_try_at.map_or_else(String::new, time));
    }
    page.field(
        "last read",
        status.last_read_at.map_or_else(|| "never".to_owned(), time),
    );
    page.field("cursor", status.cursor.clone().unwrap_or_default());
    page.field("read", status.counts.values().sum::<u64>().to_string());
    for (state, count) in status.counts.iter().filter(|(_, count)| **count > 0) {
        page.field(&format!("  {}", state.as_str()), count.to_string());
    }
    page.field("retried", status.retried.to_string());
    page.field("duplicates", status.duplicates.to_string());
    if count(status, RecordState::Quarantined) > 0 {
        page.line(format!(
            "`stecker quarantine list --flow {}` shows why records are in quarantine",
            spec.name
        ));
    }
}
