//! Replays: sending records of the ledger again, on purpose.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fault;
use crate::{Name, RecordState, SpecError};

/// Records a second that a replay queues unless told otherwise.
const USUAL_RATE: u32 = 100;
/// The most records a second that a replay may be told to queue.
const HIGHEST_RATE: u32 = 10_000;

/// Which records of a flow are sent again: done ones, all that is given having to hold. What the host accepts after the moment of asking
/// is never among them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ReplaySelection {
    /// The flow.
    pub flow: Name,
    /// Accepted at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub since: Option<i64>,
    /// Accepted before this moment.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub until: Option<i64>,
    /// Of exactly this key.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub key: Option<String>,
    /// With this number or a higher one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_seq: Option<i64>,
    /// With this number or a lower one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub to_seq: Option<i64>,
    /// In one of these states: delivered, dropped, discarded. Not given: delivered.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub states: Vec<RecordState>,
    /// Also records of which a newer state of the same thing is there: they overwrite it at the destination, until the newer one is sent
    /// again. Not given: they are skipped and counted.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub all_versions: bool,
}

impl ReplaySelection {
    /// The states, with the usual one.
    #[must_use]
    pub fn states(&self) -> &[RecordState] {
        if self.states.is_empty() {
            &[RecordState::Delivered]
        } else {
            &self.states
        }
    }

    /// Every fault with its place.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        let mut fault = |path: &str, reason: &str| faults.push(SpecError::new(path, reason).into());
        let anything = self.since.is_some()
            || self.until.is_some()
            || self.key.is_some()
            || self.from_seq.is_some()
            || self.to_seq.is_some();
        if !anything {
            let reason = "selects the whole flow; give a time (`since`, `until`), a key or numbers (`from-seq`, `to-seq`)";
            fault("selection", reason);
        }
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since >= until
        {
            fault("selection.until", "has to be after `since`");
        }
        if self.from_seq.is_some_and(|from| from < 1) {
            fault("selection.from-seq", "numbers count from 1");
        }
        if let (Some(from), Some(to)) = (self.from_seq, self.to_seq)
            && from > to
        {
            fault("selection.to-seq", "must not be lower than `from-seq`");
        }
        if self
            .states
            .iter()
            .any(|state| state.is_open() || *state == RecordState::Quarantined)
        {
            let reason = "only what is done can be sent again: delivered, dropped, discarded. Records in quarantine are retried with \
                          `stecker quarantine retry`, and open ones are on their way";
            fault("selection.states", reason);
        }
        faults
    }
}

/// Starting a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartReplay {
    /// Its name, unique within the tenant; not given: one is made.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<Name>,
    /// Which records.
    pub selection: ReplaySelection,
    /// Why; kept with the job and shown with each record.
    pub reason: String,
    /// Records a second at most, 1 to 10,000; 100 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub rate: Option<u32>,
}

impl StartReplay {
    /// The rate, with the usual one.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(USUAL_RATE)
    }

    /// Every fault with its place; the reason is for others to look at.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults = self.selection.faults();
        if let Some(rate) = self.rate.filter(|rate| !(1..=HIGHEST_RATE).contains(rate)) {
            let reason = format!("{rate} is out of bounds; use 1 to {HIGHEST_RATE}");
            faults.push(SpecError::new("rate", reason).into());
        }
        faults
    }
}

/// Where a replay stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayState {
    /// Records are being collected or queued, by whoever holds the flow.
    Running,
    /// A person stopped it for a while.
    Paused,
    /// Everything was queued or skipped.
    Done,
    /// A person ended it; what was queued before goes its way.
    Aborted,
}

/// What happens to a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayEvent {
    /// A person pauses it.
    Pause,
    /// A person has it go on.
    Resume,
    /// A person ends it.
    Abort,
    /// Nothing is left to be queued.
    Exhausted,
}

impl ReplayState {
    /// Every state.
    pub const ALL: [Self; 4] = [Self::Running, Self::Paused, Self::Done, Self::Aborted];

    /// As it is stored and shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Aborted => "aborted",
        }
    }

    /// Reads what [`ReplayState::as_str`] wrote.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether nothing happens to it any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Done | Self::Aborted)
    }

    /// The state after an event; the same state if there is nothing to do.
    ///
    /// # Errors
    /// Why this cannot happen now: a job that is over stays so.
    pub const fn after(self, event: ReplayEvent) -> Result<Self, &'static str> {
        match (self, event) {
            (Self::Running | Self::Paused, ReplayEvent::Pause) => Ok(Self::Paused),
            (Self::Running | Self::Paused, ReplayEvent::Resume) => Ok(Self::Running),
            (Self::Running | Self::Paused | Self::Aborted, ReplayEvent::Abort) => Ok(Self::Aborted),
            (Self::Running, ReplayEvent::Exhausted) => Ok(Self::Done),
            (Self::Paused, ReplayEvent::Exhausted) => Err("it is paused"),
            (Self::Done, _) => Err("it is done"),
            (Self::Aborted, _) => Err("it was aborted"),
        }
    }
}

/// A replay and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplayInfo {
    /// Its name.
    pub name: Name,
    /// Where it stands.
    pub state: ReplayState,
    /// Whether the set is still being put together; nothing is queued before it is complete.
    pub collecting: bool,
    /// Which records.
    pub selection: ReplaySelection,
    /// Why.
    pub reason: String,
    /// Who started it.
    pub actor: String,
    /// Records a second at most.
    pub rate: u32,
    /// When it was started.
    pub created_at: i64,
    /// When something happened to it last.
    pub updated_at: i64,
    /// When it was over.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<i64>,
    /// Records in the set.
    pub total: u64,
    /// Queued again so far.
    pub queued: u64,
    /// Left out so far.
    pub skipped: ReplaySkipped,
    /// Neither yet.
    pub left: u64,
    /// Of the queued ones those that are not done, by state; only where one replay is shown.
    #[schema(value_type = BTreeMap<String, u64>)]
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub not_done: BTreeMap<RecordState, u64>,
}

/// What a replay left out, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReplaySkipped {
    /// A newer state of the same thing is there.
    pub older: u64,
    /// It is on its way or in quarantine.
    pub open: u64,
    /// Its payload is not kept any more, or it is not.
    pub gone: u64,
}

impl ReplaySkipped {
    /// All of them.
    #[must_use]
    pub const fn sum(&self) -> u64 {
        self.older.saturating_add(self.open).saturating_add(self.gone)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_that_is_over_stays_so() {
        use ReplayEvent::{Abort, Exhausted, Pause, Resume};
        use ReplayState::{Aborted, Done, Paused, Running};
        for (state, event, after) in [
            (Running, Pause, Some(Paused)),
            (Running, Resume, Some(Running)),
            (Running, Abort, Some(Aborted)),
            (Running, Exhausted, Some(Done)),
            (Paused, Pause, Some(Paused)),
            (Paused, Resume, Some(Running)),
            (Paused, Abort, Some(Aborted)),
            (Paused, Exhausted, None),
            (Done, Pause, None),
            (Done, Resume, None),
            (Done, Abort, None),
            (Done, Exhausted, None),
            (Aborted, Pause, None),
            (Aborted, Resume, None),
            (Aborted, Abort, Some(Aborted)),
            (Aborted, Exhausted, None),
        ] {
            assert_eq!(state.after(event).ok(), after, "{state:?} {event:?}");
        }
        for state in ReplayState::ALL {
            assert_eq!(ReplayState::parse(state.as_str()), Some(state));
        }
    }

    #[test]
    fn selections_are_bounded_and_name_every_fault() {
        let start = |selection: serde_json::Value| -> Vec<String> {
            let start: StartReplay = serde_json::from_value(serde_json::json!({
                "selection": selection, "reason": "why not", "rate": 0,
            }))
            .unwrap();
            start.faults().into_iter().map(|fault| fault.path).collect()
        };
        assert_eq!(start(serde_json::json!({"flow": "a"})), ["selection", "rate"]);
        assert_eq!(
            start(serde_json::json!({
                "flow": "a", "since": 5, "until": 5, "from-seq": 0, "to-seq": -1, "states": ["queued"],
            })),
            [
                "selection.until",
                "selection.from-seq",
                "selection.to-seq",
                "selection.states",
                "rate"
            ]
        );
        assert_eq!(start(serde_json::json!({"flow": "a", "key": "k"})), ["rate"]);
    }
}
