//! `stecker explain`: on one screen what is the matter, what to do, and how it came to that.

use stecker_model::{
    RecordState,
    api::{Confidence, EventKind, ExplainRequest, Explanation, FoundBy, Hypothesis, StoryEvent, Whereabouts},
};

use crate::{
    args::{Explain, Globals},
    failure::Result,
    output::{Output, Page, bad, bold, dim, good, warn},
    target::Target,
};

/// Evidence that is shown of a hypothesis, and hypotheses that are, unless everything is wanted.
const SHOWN: usize = 4;
/// Events that are shown at each end of a story, unless everything is wanted.
const BEGINNING: usize = 4;
const END: usize = 8;
/// Characters of an event's text, unless everything is wanted.
const WIDE: usize = 120;

pub(crate) async fn explain(globals: &Globals, output: Output, words: Explain) -> Result<()> {
    let target = Target::find(globals, output, "stecker explain").await?;
    let result = answer(&target, output, words).await;
    target.close().await;
    result
}

async fn answer(target: &Target, output: Output, words: Explain) -> Result<()> {
    let full = words.full;
    let request = ExplainRequest {
        key: words.key.clone(),
        flow: words.flow,
        full,
    };
    let explanation = target.operations().explain(&request).await?;
    output.answer(&explanation, |page| show(page, &words.key, &explanation, full))?;
    Ok(())
}

fn show(page: &mut Page, asked: &str, explanation: &Explanation, full: bool) {
    page.line(bold(&explanation.summary));
    match explanation.found_by {
        FoundBy::Key | FoundBy::Nothing => {}
        FoundBy::ExternalId => page.line(dim(&format!(
            "`{asked}` is an id at a destination; the key is `{}`",
            explanation.key
        ))),
        FoundBy::Payload => page.line(dim(&format!(
            "`{asked}` stands in the payload of `{}`",
            explanation.key
        ))),
        FoundBy::PartOfKey => page.line(dim(&format!(
            "`{asked}` was taken for `{}`, the only key that fits",
            explanation.key
        ))),
    }
    if !explanation.places.is_empty() {
        page.line("");
        let rows: Vec<Vec<String>> = explanation.places.iter().map(place).collect();
        page.table(&["FLOW", "FROM → TO", "RECORD", "STATE", "SINCE", "NEXT"], &rows);
    }
    let most = if full { usize::MAX } else { 1 };
    for hypothesis in explanation.hypotheses.iter().take(most) {
        page.line("");
        why(page, hypothesis, full);
    }
    if !full {
        let others: Vec<String> = explanation
            .hypotheses
            .iter()
            .skip(1)
            .map(|other| {
                let flow = other
                    .flow
                    .as_ref()
                    .filter(|flow| {
                        explanation
                            .hypotheses
                            .first()
                            .and_then(|first| first.flow.as_ref())
                            != Some(*flow)
                    })
                    .map_or_else(String::new, |flow| format!(", {flow}"));
                format!("{} ({}{flow})", other.cause.as_str(), other.confidence.as_str())
            })
            .collect();
        if !others.is_empty() {
            page.line(dim(&format!("  also: {}; --full tells why", others.join(", "))));
        }
    }
    if !explanation.story.is_empty() {
        page.line("");
        story(page, &explanation.story, full);
    }
    if !explanation.left_out.is_empty() {
        page.line("");
    }
    for left_out in &explanation.left_out {
        page.line(dim(&format!("not told: {left_out}")));
    }
}

fn place(place: &Whereabouts) -> Vec<String> {
    let next = if let Some(held) = &place.held_behind {
        format!("after {held}")
    } else {
        match place.state {
            RecordState::Quarantined => "a person decides".to_owned(),
            RecordState::Delivered => place
                .external_id
                .as_ref()
                .map_or_else(String::new, |id| format!("is {id} there")),
            _ => place.next_attempt_at.map_or_else(String::new, time),
        }
    };
    let text = place.state.as_str();
    let state = match place.state {
        RecordState::Delivered => good(text),
        RecordState::Quarantined => bad(text),
        RecordState::Retrying | RecordState::Unknown => warn(text),
        RecordState::Queued | RecordState::Sending => text.to_owned(),
        RecordState::Dropped | RecordState::Discarded => dim(text),
    };
    vec![
        place.flow.to_string(),
        format!("{} → {}", place.from, place.to),
        place.record.to_string(),
        state,
        time(place.since),
        next,
    ]
}

fn why(page: &mut Page, hypothesis: &Hypothesis, full: bool) {
    let cause = hypothesis.cause.as_str();
    let cause = if hypothesis.cause.is_no_failure() {
        good(cause)
    } else {
        bad(cause)
    };
    let sure = match hypothesis.confidence {
        Confidence::Certain => hypothesis.confidence.as_str().to_owned(),
        Confidence::Likely | Confidence::Possible => warn(hypothesis.confidence.as_str()),
    };
    let field = hypothesis
        .field
        .as_ref()
        .map_or_else(String::new, |field| format!(", field {}", bold(field)));
    page.line(format!("{} {cause}, {sure}{field}", bold("WHY")));
    if full {
        page.line(format!("  {}", hypothesis.sentence));
    }
    let most = if full { usize::MAX } else { SHOWN };
    for evidence in hypothesis.evidence.iter().take(most) {
        page.line(format!(
            "  - {} {}",
            cut(&evidence.what, full),
            dim(&format!("[{}]", evidence.place))
        ));
    }
    if let Some(same) = &hypothesis.same_cause {
        page.line(format!("  {}", same_cause(same)));
    }
    page.line(format!("  {} {}", good("→"), hypothesis.action.sentence));
    for command in &hypothesis.action.commands {
        page.line(format!("    {}", bold(command)));
    }
}

fn same_cause(same: &stecker_model::api::SameCause) -> String {
    if same.count <= 1 {
        return "same cause: no other record".to_owned();
    }
    let more = if same.or_more { " or more" } else { "" };
    let flows: Vec<&str> = same.flows.iter().map(stecker_model::Name::as_str).collect();
    let since = same
        .since
        .map_or_else(String::new, |since| format!(" since {}", time(since)));
    format!(
        "same cause: {}{more} records in {}{since}: {}{}",
        same.count,
        flows.join(", "),
        same.keys.join(", "),
        if same.count > same.keys.len() as u64 {
            ", …"
        } else {
            ""
        }
    )
}

fn story(page: &mut Page, events: &[StoryEvent], full: bool) {
    let (first, last) = if full || events.len() <= BEGINNING + END + 1 {
        (events, &[][..])
    } else {
        (
            events.get(..BEGINNING).unwrap_or_default(),
            events.get(events.len() - END..).unwrap_or_default(),
        )
    };
    let mut rows: Vec<Vec<String>> = first.iter().flat_map(|event| row(event, full)).collect();
    if !last.is_empty() {
        let between = events.len() - first.len() - last.len();
        let note = dim(&format!("… {between} events in between; --full tells them"));
        rows.push(vec![String::new(), String::new(), String::new(), note]);
        rows.extend(last.iter().flat_map(|event| row(event, full)));
    }
    page.table(&["WHEN", "AT", "RECORD", "WHAT"], &rows);
}

/// The event, and under it that it repeated.
fn row(event: &StoryEvent, full: bool) -> Vec<Vec<String>> {
    let text = cut(&event.text, full);
    let text = match event.kind {
        EventKind::Delivered => good(&text),
        EventKind::Quarantined | EventKind::Denial => bad(&text),
        EventKind::Attempt | EventKind::Reading | EventKind::Circuit => warn(&text),
        EventKind::Transform | EventKind::Retention => dim(&text),
        _ => text,
    };
    let mut by = Vec::new();
    by.extend(event.actor.iter().map(|actor| format!("by {actor}")));
    by.extend(event.release.iter().map(|release| short(release)));
    if full {
        by.extend(event.node.iter().map(|node| format!("on {node}")));
        by.extend(
            event
                .details
                .iter()
                .map(|(name, value)| format!("{name} {}", short(value))),
        );
    }
    let by = if by.is_empty() {
        String::new()
    } else {
        dim(&format!(" ({})", by.join(", ")))
    };
    let record = event
        .record
        .as_ref()
        .map(ToString::to_string)
        .or_else(|| event.flow.as_ref().map(ToString::to_string))
        .unwrap_or_default();
    let mut rows = vec![vec![
        time(event.at),
        event.system.clone(),
        record,
        format!("{text}{by}"),
    ]];
    if let (Some(last), true) = (event.last_at, event.times > 1) {
        let again = format!(
            "  … {} more, the same, the last at {}",
            event.times - 1,
            time(last)
        );
        rows.push(vec![String::new(), String::new(), String::new(), dim(&again)]);
    }
    rows
}

/// Enough of a digest to see whether two are the same; anything else as it is.
fn short(text: &str) -> String {
    let hex = text.strip_prefix("sha256:").unwrap_or(text);
    if hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return hex.get(..12).unwrap_or(hex).to_owned();
    }
    text.to_owned()
}

fn cut(text: &str, full: bool) -> String {
    if full || text.chars().count() <= WIDE {
        return text.to_owned();
    }
    let short: String = text.chars().take(WIDE).collect();
    format!("{short}…")
}

/// RFC 3339, UTC.
fn time(millis: i64) -> String {
    jiff::Timestamp::from_millisecond(millis).map_or_else(
        |_| millis.to_string(),
        |time| time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
    )
}
