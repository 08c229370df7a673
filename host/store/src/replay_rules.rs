//! Whether a record of a replay's set may be queued again now. Pure, so that every case stands in a table of tests.

use stecker_model::RecordState;

/// What is known of a record when its turn has come. It may have changed since it came into the set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where it stands; none: it is not in the ledger any more.
    pub(crate) state: Option<RecordState>,
    /// Whether its payload is kept.
    pub(crate) payload: bool,
    /// Whether a newer state of the same thing was accepted.
    pub(crate) newer: bool,
}

/// What becomes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It is queued.
    Queue,
    /// A newer state of the same thing would be overwritten.
    Older,
    /// It is on its way, or waits for a person.
    Open,
    /// There is nothing left to send.
    Gone,
}

impl Turn {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queued",
            Self::Older => "older",
            Self::Open => "open",
            Self::Gone => "gone",
        }
    }
}

pub(crate) const fn turn(known: Known, all_versions: bool) -> Turn {
    match known.state {
        None => Turn::Gone,
        Some(RecordState::Delivered | RecordState::Dropped | RecordState::Discarded) => {
            if !known.payload {
                Turn::Gone
            } else if known.newer && !all_versions {
                Turn::Older
            } else {
                Turn::Queue
            }
        }
        Some(
            RecordState::Queued
            | RecordState::Sending
            | RecordState::Retrying
            | RecordState::Unknown
            | RecordState::Quarantined,
        ) => Turn::Open,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_done_and_newest_is_queued() {
        use RecordState::{Delivered, Discarded, Dropped};
        for state in RecordState::ALL {
            let done = matches!(state, Delivered | Discarded | Dropped);
            for (payload, newer, all_versions, expected) in [
                (true, false, false, Turn::Queue),
                (true, true, false, Turn::Older),
                (true, true, true, Turn::Queue),
                (true, false, true, Turn::Queue),
                (false, false, false, Turn::Gone),
                (false, true, true, Turn::Gone),
            ] {
                let known = Known {
                    state: Some(state),
                    payload,
                    newer,
                };
                let expected = if done { expected } else { Turn::Open };
                assert_eq!(turn(known, all_versions), expected, "{known:?} {all_versions}");
            }
        }
        let gone = Known {
            state: None,
            payload: true,
            newer: false,
        };
        assert_eq!(turn(gone, true), Turn::Gone);
    }
}
