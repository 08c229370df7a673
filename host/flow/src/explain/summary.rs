//! The one sentence that stands above everything else. Pure.

use stecker_model::{
    RecordState,
    api::{Confidence, Hypothesis, Whereabouts},
};

use super::text::time;

/// Where the key is, why, and what happens next.
pub(crate) fn of(key: &str, places: &[Whereabouts], hypotheses: &[Hypothesis]) -> String {
    let first = hypotheses.first();
    let why = first.map_or_else(String::new, |hypothesis| {
        let doubt = match hypothesis.confidence {
            Confidence::Certain => "",
            Confidence::Likely => "Probably: ",
            Confidence::Possible => "Possibly: ",
        };
        format!("{doubt}{}", hypothesis.sentence)
    });
    let about = first
        .and_then(|hypothesis| hypothesis.flow.as_ref())
        .and_then(|flow| places.iter().find(|place| place.flow == *flow));
    let Some(place) = about else { return why };
    let (flow, since) = (&place.flow, time(place.since));
    let here = match place.state {
        RecordState::Delivered | RecordState::Dropped | RecordState::Discarded => {
            return format!("`{key}`: {why}");
        }
        RecordState::Quarantined => format!("is in quarantine in {flow} since {since}"),
        _ if place.held_behind.is_some() => format!("is held back in {flow}"),
        RecordState::Retrying => place.next_attempt_at.map_or_else(
            || format!("is tried again in {flow}"),
            |at| format!("is tried again in {flow}, next at {}", time(at)),
        ),
        RecordState::Unknown => format!("was sent in {flow}, and nobody knows whether it arrived"),
        RecordState::Sending => format!("is being sent in {flow}"),
        RecordState::Queued => format!("waits in {flow} since {since}"),
    };
    format!("`{key}` {here}. {why}")
}
