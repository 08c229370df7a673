//! Versions: which of two states of a thing is the later one.
//!
//! Stripe's objects carry no version and no time of change; the event that brought a state has its time, in whole seconds. Several things
//! happen to a payment within one second (it is created, confirmed and paid), so behind the second stands how far the state is, then an
//! amount that only grows, then the event's id. The same event has the same version whether it came by a webhook or by a poll.
//!
//! A state that was listed is as of the moment at which the listing began, and counts as older than any event of that second or later: it may be newer
//! than some of them, and then they lead to it again.

use stecker_sdk::prelude::*;

/// How far a state is, within one second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rank {
    /// 1 to 99.
    pub(crate) state: u8,
    /// In the smallest unit.
    pub(crate) amount: u64,
}

pub(crate) fn of_event(created: u64, rank: Rank, event: &str) -> String {
    format!(
        "{}.{:02}.{}.{event}",
        source_version::counter(created),
        rank.state,
        source_version::counter(rank.amount)
    )
}

pub(crate) fn of_listing(began: u64) -> String {
    format!("{}.00", source_version::counter(began))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_states_compare_greater() {
        let rank = |state, amount| Rank { state, amount };
        let ordered = [
            of_listing(100),
            of_event(100, rank(1, 0), "evt_z"),
            of_event(100, rank(9, 500), "evt_b"),
            of_event(100, rank(9, 1_000), "evt_a"),
            of_listing(101),
            of_event(101, rank(1, 0), "evt_a"),
            of_event(1_000, rank(1, 0), "evt_a"),
        ];
        assert!(ordered.is_sorted(), "{ordered:?}");
    }
}
