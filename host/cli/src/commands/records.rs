//! `stecker records …`

use stecker_model::{
    RecordState,
    api::{RecordDetail, RecordFilter, RecordPage, RecordSummary},
};

use crate::{
    args::{Globals, RecordQuery, Records},
    commands::{cause, steps},
    failure::Result,
    output::{Output, Page, bad, dim, good, time, warn},
    target::Target,
};

pub(crate) async fn records(globals: &Globals, output: Output, command: Records) -> Result<()> {
    let target = Target::find(globals, output, "stecker records").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, command: Records) -> Result<()> {
    match command {
        Records::List(query) => {
            let page = list(target, query).await?;
            output.answer(&page, |out| show_list(out, &page))?;
        }
        Records::Show { id, steps: true } => {
            let steps = target.operations().steps(&id).await?;
            output.answer(&steps, |out| steps::show(out, &steps))?;
        }
        Records::Show { id, steps: false } => {
            let detail = target.operations().record(&id).await?;
            output.answer(&detail, |out| show(out, &detail))?;
        }
    }
    Ok(())
}

async fn list(target: &Target, query: RecordQuery) -> Result<RecordPage> {
    let mut filter = RecordFilter {
        flow: query.flow,
        state: query.state,
        key: query.key,
        reason: query.reason,
        limit: Some(if query.all { 1_000 } else { query.limit }),
        after: query.after,
    };
    let mut all = target.operations().records(&filter).await?;
    while query.all && all.next.is_some() {
        filter.after = all.next.take();
        let mut page = target.operations().records(&filter).await?;
        all.records.append(&mut page.records);
        all.next = page.next;
    }
    Ok(all)
}

fn show_list(out: &mut Page, page: &RecordPage) {
    if page.records.is_empty() {
        return out.line("no such records");
    }
    let row = |record: &RecordSummary| {
        vec![
            record.id.to_string(),
            record.stream.clone(),
            record.key.clone(),
            state(record.state),
            record.attempts.to_string(),
            time(record.updated_at),
            record
                .reason
                .as_ref()
                .map_or_else(|| record.external_id.clone().unwrap_or_default(), cause),
        ]
    };
    let rows: Vec<_> = page.records.iter().map(row).collect();
    out.table(
        &[
            "RECORD",
            "STREAM",
            "KEY",
            "STATE",
            "ATTEMPTS",
            "CHANGED",
            "ID OR REASON",
        ],
        &rows,
    );
    if let Some(next) = &page.next {
        out.line(dim(&format!("more: --after {next}, or --all")));
    }
}

fn state(state: RecordState) -> String {
    let text = state.as_str();
    match state {
        RecordState::Delivered => good(text),
        RecordState::Quarantined => bad(text),
        RecordState::Retrying | RecordState::Unknown => warn(text),
        RecordState::Queued | RecordState::Sending => text.to_owned(),
        RecordState::Dropped | RecordState::Discarded => dim(text),
    }
}

fn show(out: &mut Page, detail: &RecordDetail) {
    let record = &detail.summary;
    out.field("record", record.id.to_string());
    out.field("state", state(record.state));
    out.field("stream", &record.stream);
    out.field("key", &record.key);
    out.field("version", &record.source_version);
    out.field("operation", record.operation.as_str());
    out.field("external id", record.external_id.clone().unwrap_or_default());
    out.field("reason", record.reason.as_ref().map_or_else(String::new, cause));
    out.field("accepted", time(record.accepted_at));
    out.field("changed", time(record.updated_at));
    out.field(
        "tried again",
        record.next_attempt_at.map_or_else(String::new, time),
    );
    out.field("idempotency", &detail.idempotency_key);
    out.field("read by", detail.release.as_str());
    for (key, value) in &detail.attributes {
        out.field(key, value);
    }
    if !detail.attempts.is_empty() {
        out.line("");
        let rows = detail.attempts.iter().map(|attempt| {
            vec![
                attempt.attempt.to_string(),
                time(attempt.started_at),
                attempt.finished_at.map_or_else(
                    || "cut off".to_owned(),
                    |end| format!("{} ms", end - attempt.started_at),
                ),
                attempt.outcome.clone().unwrap_or_default(),
                attempt.request.as_deref().map_or_else(String::new, short),
                attempt.answer.as_deref().map_or_else(String::new, short),
                attempt
                    .replay
                    .as_ref()
                    .map(ToString::to_string)
                    .unwrap_or_default(),
                attempt.reason.as_ref().map_or_else(String::new, cause),
            ]
        });
        out.table(
            &[
                "ATTEMPT", "BEGAN", "TOOK", "OUTCOME", "SENT", "ANSWERED", "REPLAY", "REASON",
            ],
            &rows.collect::<Vec<_>>(),
        );
    }
    for mark in &detail.replays {
        out.line("");
        out.field("replay", mark.replay.as_str());
        out.field("  started by", format!("{}, because {}", mark.actor, mark.reason));
        out.field("  queued it", time(mark.at));
    }
    for edit in &detail.edits {
        out.line("");
        out.field(
            "edit",
            format!("{} by {} at {}", edit.edit, edit.actor, time(edit.at)),
        );
        out.field("  because", &edit.reason);
        out.field(
            "  replaced",
            edit.replaced.as_deref().unwrap_or("(not kept any more)"),
        );
    }
    out.line("");
    match &detail.payload_removed {
        Some(removed) => {
            out.field("payload", format!("not kept since {}", time(removed.removed_at)));
            out.field("  sha-256", &removed.sha256);
            out.field("  bytes", removed.size.to_string());
        }
        None => out.line(serde_json::to_string_pretty(&detail.payload).unwrap_or_default()),
    }
}

/// Enough of a digest to see whether two are the same.
fn short(digest: &str) -> String {
    digest.get(..8).unwrap_or(digest).to_owned()
}
