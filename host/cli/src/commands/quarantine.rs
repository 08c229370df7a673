//! `stecker quarantine …`

use stecker_model::api::{
    Affected, CauseGroup, Discard, QuarantineGroup, QuarantineSelection, RecordSummary, SelectionPreview,
};
use stecker_server::Operations;

use crate::{
    args::{Decision, Globals, Quarantine, Selection},
    commands::{cause, confirm, edit},
    failure::Result,
    output::{Output, Page, dim, good, time},
    progress::Progress,
    target::Target,
};

/// Records that one request decides on.
const PIECE: u32 = 500;

pub(crate) async fn quarantine(globals: &Globals, output: Output, command: Quarantine) -> Result<()> {
    if let Quarantine::Retry(decision) | Quarantine::Discard { decision, .. } = &command
        && must_ask(decision)
    {
        confirm::can_ask(output, "this decides on many records at once")?;
    }
    let target = Target::find(globals, output, "stecker quarantine").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

/// Records that are named one by one are meant.
fn must_ask(decision: &Decision) -> bool {
    decision.selection.ids.is_empty() && !decision.yes && !decision.dry_run
}

async fn answer(target: &Target, output: Output, command: Quarantine) -> Result<()> {
    let operations = target.operations();
    match command {
        Quarantine::List { flow } => {
            let groups = operations.quarantine(flow.as_ref()).await?;
            output.answer(&groups, |page| list(page, &groups))?;
        }
        Quarantine::Groups { flow } => {
            let groups = operations.cause_groups(flow.as_ref()).await?;
            output.answer(&groups, |page| show_groups(page, &groups))?;
        }
        Quarantine::Edit(words) => edit::edit(target, output, words).await?,
        Quarantine::Retry(decision) => {
            let here = matches!(target, Target::Here { .. });
            let then = if here {
                "will be tried again at the next run"
            } else {
                "are being tried again"
            };
            decide(operations, output, decision, None, then).await?;
        }
        Quarantine::Discard { decision, reason } => {
            decide(operations, output, decision, Some(reason), "given up").await?;
        }
    }
    Ok(())
}

/// Frozen first, then done piece by piece: what goes into quarantine meanwhile is not met, and an interruption leaves whole pieces.
async fn decide(
    operations: &dyn Operations,
    output: Output,
    decision: Decision,
    reason: Option<String>,
    then: &str,
) -> Result<()> {
    let ask = must_ask(&decision);
    let mut selection = chosen(decision.selection);
    let preview = operations.quarantine_preview(&selection).await?;
    if decision.dry_run {
        output.answer(&preview, |page| show_preview(page, &preview))?;
        return Ok(());
    }
    if ask && preview.records > 0 {
        for record in &preview.samples {
            output.note(&format!("  {}", sample(record).join("  ")));
        }
        let verb = if reason.is_some() { "give up" } else { "try again" };
        confirm::ask(output, &format!("{verb} {} record(s)?", preview.records))?;
    }
    selection.until = Some(preview.as_of);
    selection.limit = Some(PIECE);
    let progress = Progress::new(output, &format!("0 of {} records", preview.records));
    let mut sum = Affected {
        records: 0,
        more: preview.records > 0,
    };
    while sum.more {
        let affected = match &reason {
            None => operations.quarantine_retry(&selection).await?,
            Some(reason) => {
                let discard = Discard {
                    selection: selection.clone(),
                    reason: reason.clone(),
                };
                operations.quarantine_discard(&discard).await?
            }
        };
        sum.records += affected.records;
        sum.more = affected.more;
        progress.say(&format!("{} of {} records", sum.records, preview.records));
    }
    drop(progress);
    output.answer(&sum, |page| match sum.records {
        0 => page.line("no record in quarantine is selected by that"),
        n => page.line(format!("{n} record(s) {then}")),
    })?;
    Ok(())
}

fn chosen(selection: Selection) -> QuarantineSelection {
    QuarantineSelection {
        ids: selection.ids,
        flow: selection.flow,
        code: selection.code,
        group: selection.group,
        key: selection.key,
        since: selection.since,
        until: selection.until,
        limit: None,
    }
}

fn list(page: &mut Page, groups: &[QuarantineGroup]) {
    if groups.is_empty() {
        return page.line(good("nothing in quarantine"));
    }
    let rows = groups.iter().map(|group| {
        let place = group.reason.path.clone().unwrap_or_default();
        vec![
            group.flow.to_string(),
            group.count.to_string(),
            group.reason.code.clone(),
            place,
            group.example.to_string(),
            group.reason.message.lines().next().unwrap_or_default().to_owned(),
        ]
    });
    page.table(
        &["FLOW", "RECORDS", "CODE", "AT", "EXAMPLE", "MESSAGE"],
        &rows.collect::<Vec<_>>(),
    );
    page.line(
        "`stecker records show EXAMPLE` tells more; `stecker quarantine groups` tells messages apart; then \
         `stecker quarantine retry`, `edit` or `discard`",
    );
}

fn show_groups(page: &mut Page, groups: &[CauseGroup]) {
    if groups.is_empty() {
        return page.line(good("nothing is stuck"));
    }
    let rows = groups.iter().map(|group| {
        vec![
            group.id.clone(),
            group.flow.to_string(),
            group.quarantined.to_string(),
            group.trying.to_string(),
            time(group.first_seen_at),
            time(group.last_seen_at),
            group.code.clone(),
            group.path.clone().unwrap_or_default(),
            group.message.clone(),
        ]
    });
    page.table(
        &[
            "GROUP",
            "FLOW",
            "QUARANTINED",
            "TRYING",
            "FIRST",
            "LAST",
            "CODE",
            "AT",
            "MESSAGE",
        ],
        &rows.collect::<Vec<_>>(),
    );
    for group in groups {
        let keys: Vec<String> = group
            .samples
            .iter()
            .map(|sample| format!("{} ({})", sample.id, sample.key))
            .collect();
        page.line(dim(&format!("{}: {}", group.id, keys.join(", "))));
    }
    page.line(
        "`stecker quarantine retry --group GROUP` or `discard --group GROUP` decides on those in quarantine",
    );
}

fn sample(record: &RecordSummary) -> Vec<String> {
    vec![
        record.id.to_string(),
        record.key.clone(),
        record.reason.as_ref().map_or_else(String::new, cause),
    ]
}

fn show_preview(page: &mut Page, preview: &SelectionPreview) {
    page.line(format!(
        "{} record(s) in quarantine are selected",
        preview.records
    ));
    if !preview.samples.is_empty() {
        let rows: Vec<_> = preview.samples.iter().map(sample).collect();
        page.table(&["RECORD", "KEY", "REASON"], &rows);
    }
}
