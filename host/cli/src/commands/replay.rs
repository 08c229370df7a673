//! `stecker replay …`

use std::time::Duration;

use serde::Serialize;
use stecker_model::{
    Name,
    api::{
        Compared, ComparedRecord, PreviewReplay, ReplayEvent, ReplayFinding, ReplayInfo, ReplaySelection,
        ReplaySkipped, ReplayState, StartReplay,
    },
};
use stecker_server::Operations;

use crate::{
    args::{Globals, Replay, StartReplay as Words},
    commands::cause,
    failure::{Failure, Result},
    output::{Output, Page, bold, dim, good, time, warn},
    progress::Progress,
    target::Target,
};

/// Records that one question of a dry run is about.
const PIECE: u32 = 200;
/// How often a server is asked how far a replay is.
const ASK: Duration = Duration::from_millis(300);
/// Records that a dry run shows to people.
const SHOWN: usize = 20;

pub(crate) async fn replay(globals: &Globals, output: Output, command: Replay) -> Result<()> {
    let target = Target::find(globals, output, "stecker replay").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Replay) -> Result<()> {
    let operations = target.operations();
    let here = matches!(target, Target::Here { .. });
    let info = match command {
        Replay::Start(words) if words.dry_run => return dry_run(operations, output, words).await,
        Replay::Start(words) => {
            let progress = Progress::new(output, "putting the set together");
            let info = operations.start_replay(&start(words)).await?;
            drop(progress);
            if here && !info.state.is_over() {
                output.note(&format!(
                    "it is worked on by the next `stecker flow run {}`, or by `stecker serve`",
                    info.selection.flow
                ));
            }
            info
        }
        Replay::List { flow } => {
            let all = operations.replays(flow.as_ref()).await?;
            output.answer(&all, |page| list(page, &all))?;
            return Ok(());
        }
        Replay::Show { name, wait: true } => {
            if here {
                return Err(Failure::Usage(
                    "--wait needs a server that does the work; start one with `stecker serve`, or leave --wait away".to_owned(),
                ));
            }
            until_over(operations, output, &name).await?
        }
        Replay::Show { name, wait: false } => operations.replay(&name).await?,
        Replay::Pause { name } => operations.switch_replay(&name, ReplayEvent::Pause).await?,
        Replay::Resume { name } => operations.switch_replay(&name, ReplayEvent::Resume).await?,
        Replay::Abort { name } => operations.switch_replay(&name, ReplayEvent::Abort).await?,
    };
    output.answer(&info, |page| show(page, &info))?;
    Ok(())
}

async fn until_over(operations: &dyn Operations, output: Output, name: &Name) -> Result<ReplayInfo> {
    let progress = Progress::new(output, &format!("waiting for {name}"));
    loop {
        let info = operations.replay(name).await?;
        progress.say(&format!(
            "{name}: {} queued, {} left out, {} left, {} not done",
            info.queued,
            info.skipped.sum(),
            info.left,
            info.not_done.values().sum::<u64>()
        ));
        let on_their_way = info.not_done.keys().any(|state| state.is_open());
        if info.state == ReplayState::Paused || (info.state.is_over() && !on_their_way) {
            return Ok(info);
        }
        tokio::time::sleep(ASK).await;
    }
}

fn selection(words: &Words) -> ReplaySelection {
    let range = &words.range;
    ReplaySelection {
        flow: words.flow.clone(),
        since: range.since,
        until: range.until,
        key: range.key.clone(),
        from_seq: range.from_seq,
        to_seq: range.to_seq,
        states: words.only_state.clone(),
        all_versions: words.all_versions,
    }
}

fn start(words: Words) -> StartReplay {
    StartReplay {
        selection: selection(&words),
        name: words.name,
        reason: words.reason.unwrap_or_default(),
        rate: words.rate,
    }
}

/// What a dry run found, over all its questions.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
struct DryRun {
    /// Whether every record of the set was looked at.
    complete: bool,
    records: u64,
    skipped: ReplaySkipped,
    would_queue: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    compared: Option<Compared>,
    samples: Vec<ComparedRecord>,
}

async fn dry_run(operations: &dyn Operations, output: Output, words: Words) -> Result<()> {
    let mut request = PreviewReplay {
        selection: selection(&words),
        compare: !words.no_compare,
        limit: Some(PIECE),
        after: None,
    };
    let progress = Progress::new(output, "looking");
    let mut found = DryRun::default();
    let mut compared = Compared::default();
    loop {
        let preview = operations.preview_replay(&request).await?;
        found.records += preview.records;
        found.would_queue += preview.would_queue;
        found.skipped.older += preview.skipped.older;
        found.skipped.open += preview.skipped.open;
        found.skipped.gone += preview.skipped.gone;
        compared.add(&preview.compared);
        let room = MOST_SAMPLES.saturating_sub(found.samples.len());
        found.samples.extend(preview.samples.into_iter().take(room));
        progress.say(&format!("{} records looked at", found.records));
        request.after = preview.next;
        if preview.next.is_none() || found.records >= words.limit {
            break;
        }
    }
    drop(progress);
    found.complete = request.after.is_none();
    found.compared = request.compare.then_some(compared);
    output.answer(&found, |page| show_dry_run(page, &found))?;
    Ok(())
}

/// Records that a dry run keeps for programs.
const MOST_SAMPLES: usize = 1_000;

fn show_dry_run(page: &mut Page, found: &DryRun) {
    page.field("records", found.records.to_string());
    skipped(page, &found.skipped);
    page.field("would be sent", found.would_queue.to_string());
    if let Some(compared) = &found.compared {
        page.line("");
        page.line(bold("at the destination"));
        page.field(
            "  absent",
            format!("{} (or only in an earlier state)", compared.absent),
        );
        page.field("  equal", compared.equal.to_string());
        page.field("  different", compared.different.to_string());
        page.field("  undecided", compared.undecided.to_string());
        page.field("  not sendable", compared.unsendable.to_string());
        for record in found.samples.iter().take(SHOWN) {
            page.line("");
            show_compared(page, record);
        }
        if found.samples.len() > SHOWN {
            page.line(dim(&format!(
                "{} more; --json has them",
                found.samples.len() - SHOWN
            )));
        }
    }
    if !found.complete {
        page.line(warn("not everything was looked at: --limit was reached"));
    }
}

fn show_compared(page: &mut Page, record: &ComparedRecord) {
    let finding = match record.finding {
        ReplayFinding::Absent => warn("absent"),
        ReplayFinding::Equal => good("equal"),
        ReplayFinding::Different => warn("different"),
        ReplayFinding::Undecided => "undecided".to_owned(),
        ReplayFinding::Unsendable => warn("not sendable"),
    };
    page.line(format!(
        "{} {} {finding}",
        bold(&record.id.to_string()),
        record.key
    ));
    if let Some(reason) = &record.reason {
        page.line(format!("  {}", cause(reason)));
    }
    for place in &record.differences {
        let value = |value: &Option<String>| value.clone().unwrap_or_else(|| "nothing".to_owned());
        page.line(format!(
            "  {}: {} → {}",
            place.path,
            value(&place.there),
            value(&place.sent)
        ));
    }
    let told = record.differences.len() as u64;
    if record.places > told {
        page.line(dim(&format!("  and {} more places", record.places - told)));
    }
}

fn skipped(page: &mut Page, skipped: &ReplaySkipped) {
    let reasons = [
        (skipped.older, "left out: a newer state is there"),
        (skipped.open, "left out: on their way or in quarantine"),
        (skipped.gone, "left out: not kept any more"),
    ];
    for (count, reason) in reasons.into_iter().filter(|(count, _)| *count > 0) {
        page.line(format!("  {count} {reason}"));
    }
}

fn list(page: &mut Page, all: &[ReplayInfo]) {
    if all.is_empty() {
        return page.line("no replays; `stecker replay start FLOW` starts one");
    }
    let rows = all.iter().map(|info| {
        vec![
            info.name.to_string(),
            info.selection.flow.to_string(),
            state(info),
            info.total.to_string(),
            info.queued.to_string(),
            info.skipped.sum().to_string(),
            info.left.to_string(),
            time(info.created_at),
            info.actor.clone(),
            info.reason.clone(),
        ]
    });
    page.table(
        &[
            "REPLAY", "FLOW", "STATE", "RECORDS", "QUEUED", "LEFT OUT", "LEFT", "STARTED", "BY", "BECAUSE",
        ],
        &rows.collect::<Vec<_>>(),
    );
}

fn state(info: &ReplayInfo) -> String {
    match info.state {
        ReplayState::Running if info.collecting => good("collecting"),
        ReplayState::Running => good("running"),
        ReplayState::Paused => warn("paused"),
        ReplayState::Done => "done".to_owned(),
        ReplayState::Aborted => warn("aborted"),
    }
}

fn show(page: &mut Page, info: &ReplayInfo) {
    page.field("replay", info.name.as_str());
    page.field("flow", info.selection.flow.as_str());
    page.field("state", state(info));
    page.field("because", &info.reason);
    page.field("started", format!("{} by {}", time(info.created_at), info.actor));
    page.field("ended", info.ended_at.map_or_else(String::new, time));
    page.field("rate", format!("{} a second at most", info.rate));
    page.field("records", info.total.to_string());
    page.field("queued", info.queued.to_string());
    skipped(page, &info.skipped);
    page.field("left", info.left.to_string());
    for (state, count) in &info.not_done {
        page.field(&format!("  {}", state.as_str()), count.to_string());
    }
    if info.selection.all_versions {
        page.line(warn(
            "older states are sent too: they overwrite newer ones until those are sent again",
        ));
    }
}
