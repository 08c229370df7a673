//! Rollouts: connections moved to another release while they work.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Fault;
use crate::{Digest, Name, Period, SpecError};

/// How many of a hundred connections are moved first, unless told otherwise.
const USUAL_CANARY: u8 = 10;
/// For how long those that were moved are watched, unless told otherwise, in seconds.
const USUAL_BAKE: u64 = 900;
/// The longest that they may be watched, in seconds: a week.
const LONGEST_BAKE: u64 = 7 * 86_400;

/// What is moved where, and how carefully.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartRollout {
    /// Its name, unique within the tenant; made up if it is not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub name: Option<Name>,
    /// One connection …
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<Name>,
    /// … or every connection that runs this plugin, such as `acme/shop`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub all_of: Option<String>,
    /// The release: a digest, or a range of versions of the same plugin as Cargo writes them (`=2.0.0`, `^2`), of which the newest is taken.
    pub to: String,
    /// How many of a hundred connections are moved first, 1 to 100; the others follow when those did well. Which ones they are is decided by a
    /// hash of their names. At least one is.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub canary: Option<u8>,
    /// For how long they are watched. 15 minutes if it is not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bake: Option<Period>,
    /// How many recorded calls of each connection are played to the new release before anything is moved; none: it is not tried out on recordings.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub shadow: Option<u32>,
    /// The configuration for the new release, where that is another one. Only with one connection.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(value_type = Option<Object>)]
    pub config: Option<serde_json::Value>,
    /// What otherwise waits for a person's approval has it already: wider capabilities, a way that does not lead back.
    #[serde(skip_serializing_if = "std::ops::Not::not", default)]
    pub approved: bool,
    /// Why.
    pub reason: String,
}

impl StartRollout {
    /// How many of a hundred are moved first.
    #[must_use]
    pub fn canary(&self) -> u8 {
        self.canary.unwrap_or(USUAL_CANARY)
    }

    /// For how long they are watched, in milliseconds.
    #[must_use]
    pub fn bake_ms(&self) -> i64 {
        let usual = std::time::Duration::from_secs(USUAL_BAKE);
        let bake = self.bake.map_or(usual, Period::duration);
        i64::try_from(bake.as_millis()).unwrap_or(i64::MAX)
    }

    /// Every fault with its place.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut fault = |path: &str, reason: &str| faults.push(SpecError::new(path, reason).into());
        if self.connection.is_some() == self.all_of.is_some() {
            fault("connection", "give one of `connection` and `all-of`");
        }
        if self.canary.is_some_and(|canary| !(1..=100).contains(&canary)) {
            fault("canary", "is a share in percent, 1 to 100");
        }
        if self
            .bake
            .is_some_and(|bake| bake.duration().as_secs() > LONGEST_BAKE)
        {
            fault("bake", "is a week at most");
        }
        if self.config.is_some() && self.all_of.is_some() {
            fault("config", "is for one connection; move them one by one");
        }
        if self.config.as_ref().is_some_and(|config| !config.is_object()) {
            fault("config", "has to be a JSON object");
        }
        if self.reason.trim().is_empty() {
            fault("reason", "is missing: say why, for whoever looks into it later");
        }
        faults
    }
}

/// Where a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RolloutState {
    /// The release is loaded, checked, and tried with each connection's configuration on an instance that is thrown away.
    Preparing,
    /// A person has to approve of it; nothing was moved yet.
    NeedsApproval,
    /// The release is played what the running one was answered, without a network.
    Shadowing,
    /// Connections are being moved, at a checkpoint each.
    Moving,
    /// Those that were moved are watched.
    Baking,
    /// All are moved and did well.
    Promoted,
    /// Those that were moved go back.
    RollingBack,
    /// All are back where they were.
    RolledBack,
    /// A person ended it before anything was moved.
    Aborted,
    /// It did not get as far as moving anything: what is in the way stands in its events.
    Failed,
}

/// What happens to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RolloutEvent {
    /// The release can be moved to.
    Prepared,
    /// It can, and somebody has to approve of it.
    WantsApproval,
    /// Something is in the way, before anything was moved.
    Unfit,
    /// A person approves.
    Approve,
    /// It did on recordings what the running one does, or there was nothing to be played.
    Shadowed,
    /// All connections of this wave are moved.
    Moved,
    /// Those that were moved did well, and there are more.
    DidWell,
    /// Those that were moved did well, and there are no more.
    AllDidWell,
    /// Something is wrong with those that were moved.
    WentWrong,
    /// All are back.
    Restored,
    /// A person ends it; nothing was moved.
    AbortUnmoved,
    /// A person ends it; what was moved goes back.
    AbortMoved,
}

impl RolloutState {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Preparing,
        Self::NeedsApproval,
        Self::Shadowing,
        Self::Moving,
        Self::Baking,
        Self::Promoted,
        Self::RollingBack,
        Self::RolledBack,
        Self::Aborted,
        Self::Failed,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Preparing => "preparing",
            Self::NeedsApproval => "needs-approval",
            Self::Shadowing => "shadowing",
            Self::Moving => "moving",
            Self::Baking => "baking",
            Self::Promoted => "promoted",
            Self::RollingBack => "rolling-back",
            Self::RolledBack => "rolled-back",
            Self::Aborted => "aborted",
            Self::Failed => "failed",
        }
    }

    /// The reverse.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Nothing happens any more.
    #[must_use]
    pub const fn is_over(self) -> bool {
        matches!(
            self,
            Self::Promoted | Self::RolledBack | Self::Aborted | Self::Failed
        )
    }

    /// What an event makes of it; none: the event means nothing here.
    #[must_use]
    pub const fn after(self, event: RolloutEvent) -> Option<Self> {
        use RolloutEvent as Event;
        Some(match (self, event) {
            (Self::Preparing, Event::Prepared) | (Self::NeedsApproval, Event::Approve) => Self::Shadowing,
            (Self::Preparing, Event::WantsApproval) => Self::NeedsApproval,
            (Self::Preparing | Self::Shadowing, Event::Unfit) => Self::Failed,
            (Self::Shadowing, Event::Shadowed) | (Self::Baking, Event::DidWell) => Self::Moving,
            (Self::Moving, Event::Moved) => Self::Baking,
            (Self::Baking, Event::AllDidWell) => Self::Promoted,
            (Self::Moving | Self::Baking, Event::WentWrong | Event::AbortMoved) => Self::RollingBack,
            (Self::RollingBack, Event::Restored) => Self::RolledBack,
            (Self::Preparing | Self::NeedsApproval | Self::Shadowing | Self::Moving, Event::AbortUnmoved) => {
                Self::Aborted
            }
            _ => return None,
        })
    }
}

/// What a person does to a rollout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RolloutAction {
    /// Has it wait.
    Pause,
    /// Has it go on.
    Resume,
    /// Approves of it, or has what is watched count as done well.
    Promote,
    /// Ends it; what was moved goes back.
    Abort,
}

impl RolloutAction {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Promote => "promote",
            Self::Abort => "abort",
        }
    }
}

/// Bars a release, so that no rollout moves to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BarRelease {
    /// Why.
    pub reason: String,
}

/// Where one connection of a rollout is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MoveState {
    /// It runs the release that it always ran.
    Waiting,
    /// It runs the new one.
    Moved,
    /// It is back.
    Restored,
    /// Somebody changed it meanwhile, so that it is left as it is.
    Left,
}

impl MoveState {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Moved => "moved",
            Self::Restored => "restored",
            Self::Left => "left",
        }
    }

    /// The reverse.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Waiting, Self::Moved, Self::Restored, Self::Left]
            .into_iter()
            .find(|state| state.as_str() == text)
    }
}

/// One connection of a rollout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutConnection {
    /// Which one.
    pub connection: Name,
    /// In which wave it is moved, from 1.
    pub wave: u32,
    /// Where it is.
    pub state: MoveState,
    /// The release that it ran before.
    pub from: Digest,
    /// When it was moved, or moved back.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub moved_at: Option<i64>,
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutNote {
    /// When.
    pub at: i64,
    /// What, in words.
    pub what: String,
}

/// A rollout and how far it is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutInfo {
    /// Its name.
    pub name: Name,
    /// Where it is.
    pub state: RolloutState,
    /// A person has it wait.
    pub paused: bool,
    /// How many waves were begun.
    pub wave: u32,
    /// What was asked for.
    pub request: StartRollout,
    /// The release that is moved to.
    pub to: Digest,
    /// Who asked for it.
    pub actor: String,
    /// When.
    pub created_at: i64,
    /// When it changed last.
    pub updated_at: i64,
    /// Since when it is where it is.
    pub state_since: i64,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ended_at: Option<i64>,
    /// Its connections, by wave and name.
    pub connections: Vec<RolloutConnection>,
    /// What happened, the oldest first.
    pub events: Vec<RolloutNote>,
    /// What the last look at those that were moved found.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub watch: Option<RolloutWatch>,
}

/// What a look at the connections that were moved found.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutWatch {
    /// When.
    pub at: i64,
    /// Calls of the new release.
    pub calls: u64,
    /// Calls of the running one that they are held against.
    pub baseline_calls: u64,
    /// What is wrong; empty: nothing.
    pub signals: Vec<RolloutSignal>,
    /// How many looks in a row found the same.
    pub in_a_row: u32,
}

/// Something that the new release does worse than the running one, beyond chance.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutSignal {
    /// What, such as `crash`, `auth`, `quarantine`, `latency`, `stall`, `record-rate`.
    pub signal: String,
    /// In words, with the figures.
    pub what: String,
}

/// What a rollout would do. Nothing is changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RolloutPlan {
    /// The plugin.
    pub plugin: String,
    /// The version that is moved to.
    pub version: String,
    /// Its digest.
    pub to: Digest,
    /// The connections, by wave and name.
    pub connections: Vec<PlannedMove>,
    /// What the new release asks for and an old one does not.
    pub wider: Vec<String>,
    /// What it does not ask for any more.
    pub narrower: Vec<String>,
    /// What its author says will break.
    pub breaking: Vec<String>,
    /// The upstream APIs that it speaks, with the day on which they end.
    pub upstream: Vec<String>,
    /// What needs a person's approval; empty: nothing.
    pub approvals: Vec<String>,
    /// What is in the way; empty: nothing.
    pub faults: Vec<Fault>,
    /// What happens, in order.
    pub steps: Vec<String>,
    /// How it goes back.
    pub back: String,
}

/// One connection of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PlannedMove {
    /// Which one.
    pub connection: Name,
    /// In which wave, from 1.
    pub wave: u32,
    /// What it runs now.
    pub from: Digest,
    /// The version of that, if the host knows it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub from_version: Option<String>,
    /// The flows that read from it or write to it.
    pub flows: Vec<Name>,
}

/// A release that no rollout moves to until a person lifts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct BarredRelease {
    /// Which one.
    pub digest: Digest,
    /// Why.
    pub reason: String,
    /// Who barred it: a person, or the rollout that went wrong.
    pub actor: String,
    /// When.
    pub barred_at: i64,
}

/// How often something came to what: by what it was (a function, `record`, a time) and what it came to (`ok`, the code of an error, a bucket).
pub type CallNumbers = BTreeMap<String, BTreeMap<String, u64>>;

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: [RolloutEvent; 12] = [
        RolloutEvent::Prepared,
        RolloutEvent::WantsApproval,
        RolloutEvent::Unfit,
        RolloutEvent::Approve,
        RolloutEvent::Shadowed,
        RolloutEvent::Moved,
        RolloutEvent::DidWell,
        RolloutEvent::AllDidWell,
        RolloutEvent::WentWrong,
        RolloutEvent::Restored,
        RolloutEvent::AbortUnmoved,
        RolloutEvent::AbortMoved,
    ];

    #[test]
    fn what_is_over_stays_over_and_what_is_not_can_end() {
        for state in RolloutState::ALL {
            assert_eq!(RolloutState::parse(state.as_str()), Some(state));
            let next: Vec<_> = EVENTS.iter().filter_map(|event| state.after(*event)).collect();
            assert_eq!(next.is_empty(), state.is_over(), "{state:?}");
        }
    }

    #[test]
    fn nothing_is_promoted_that_was_not_watched_and_nothing_moved_is_simply_left() {
        for state in RolloutState::ALL {
            for event in EVENTS {
                let after = state.after(event);
                if after == Some(RolloutState::Promoted) {
                    assert_eq!(state, RolloutState::Baking);
                }
                if after == Some(RolloutState::Failed) {
                    assert!(matches!(state, RolloutState::Preparing | RolloutState::Shadowing));
                }
                if after == Some(RolloutState::RolledBack) {
                    assert_eq!(state, RolloutState::RollingBack);
                }
            }
        }
    }

    #[test]
    fn faults_name_their_place() {
        let good = StartRollout {
            name: None,
            connection: Some("shop".parse().unwrap()),
            all_of: None,
            to: "^2".to_owned(),
            canary: None,
            bake: None,
            shadow: None,
            config: None,
            approved: false,
            reason: "v1 ends".to_owned(),
        };
        assert_eq!(good.faults(), []);
        let bad = StartRollout {
            all_of: Some("acme/shop".to_owned()),
            canary: Some(0),
            config: Some(serde_json::json!([])),
            reason: " ".to_owned(),
            ..good
        };
        let places: Vec<_> = bad.faults().into_iter().map(|fault| fault.path).collect();
        assert_eq!(places, ["connection", "canary", "config", "config", "reason"]);
    }
}
