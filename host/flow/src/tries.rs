//! How often a record was tried in vain, by class of failure, and whether it is worth another try. Pure.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use stecker_model::{Period, RetryClass, RetryPolicy};

/// Failed attempts of a record since it was accepted or a person sent it again, kept with the record.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", default)]
pub(crate) struct Tries {
    /// When the first of them ended, in milliseconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<i64>,
    /// Those that count, by class.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counted: BTreeMap<RetryClass, u32>,
    /// Those that do not: nothing got through at that time, whatever it was.
    #[serde(skip_serializing_if = "is_zero")]
    excused: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for it like this")]
const fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// Why a record is not tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum GivenUp {
    /// After so many attempts.
    Attempts(u32),
    /// After so long.
    Time(Period),
}

impl Tries {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        // Written by this very type; what cannot be read means a fresh start.
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    /// `None` when nothing failed.
    pub(crate) fn to_text(&self) -> Option<String> {
        if *self == Self::default() {
            None
        } else {
            serde_json::to_string(self).ok()
        }
    }

    /// An attempt failed in this class. With `excused`, it says nothing about the record.
    pub(crate) fn failed(&mut self, class: RetryClass, excused: bool, now: i64) {
        // A clock that was set back must not make the time since then look long.
        self.since = Some(self.since.map_or(now, |since| since.min(now)));
        let count = if excused {
            &mut self.excused
        } else {
            self.counted.entry(class).or_default()
        };
        *count = count.saturating_add(1);
    }

    /// How many pauses there were in this class: each is longer than the one before.
    pub(crate) fn of(&self, class: RetryClass) -> u32 {
        let counted = self.counted.get(&class).copied().unwrap_or(0);
        counted.saturating_add(self.excused)
    }

    /// Whether this is the end, after an attempt that failed in this class.
    pub(crate) fn given_up(&self, class: RetryClass, policy: &RetryPolicy, now: i64) -> Option<GivenUp> {
        let budget = policy.budget(class);
        let counted = self.counted.get(&class).copied().unwrap_or(0);
        if budget.max_attempts.is_some_and(|most| counted >= most) {
            return Some(GivenUp::Attempts(counted));
        }
        let longest = i64::try_from(budget.give_up_after.duration().as_millis()).unwrap_or(i64::MAX);
        let since = self.since.unwrap_or(now);
        (now.saturating_sub(since) >= longest).then_some(GivenUp::Time(budget.give_up_after))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn each_class_has_a_budget_of_its_own() {
        let (policy, mut tries) = (RetryPolicy::default(), Tries::default());
        for _ in 0..11 {
            tries.failed(RetryClass::Unavailable, false, 0);
            tries.failed(RetryClass::Missing, false, 0);
        }
        assert_eq!(tries.given_up(RetryClass::Unavailable, &policy, 0), None);
        tries.failed(RetryClass::Unavailable, false, 0);
        assert_eq!(
            tries.given_up(RetryClass::Unavailable, &policy, 0),
            Some(GivenUp::Attempts(12))
        );
        assert_eq!(tries.given_up(RetryClass::Missing, &policy, 0), None);
    }

    #[test]
    fn what_says_nothing_about_the_record_ends_with_time_alone() {
        let (policy, mut tries) = (RetryPolicy::default(), Tries::default());
        for n in 0..500 {
            tries.failed(RetryClass::RateLimited, false, n);
            tries.failed(RetryClass::Unavailable, true, n);
        }
        for class in [RetryClass::RateLimited, RetryClass::Unavailable] {
            assert_eq!(tries.given_up(class, &policy, 71 * HOUR), None);
            assert_eq!(
                tries.given_up(class, &policy, 72 * HOUR),
                Some(GivenUp::Time(policy.give_up_after))
            );
        }
        assert_eq!(
            tries.of(RetryClass::Unavailable),
            500,
            "but the pauses get longer"
        );
    }

    #[test]
    fn a_clock_that_jumps_back_gives_nobody_up_and_nobody_more_time() {
        let (policy, mut tries) = (RetryPolicy::default(), Tries::default());
        tries.failed(RetryClass::Setup, false, 100 * HOUR);
        tries.failed(RetryClass::Setup, false, HOUR);
        assert_eq!(tries.given_up(RetryClass::Setup, &policy, 2 * HOUR), None);
        assert!(tries.given_up(RetryClass::Setup, &policy, 73 * HOUR).is_some());
    }

    #[test]
    fn it_survives_being_stored() {
        let mut tries = Tries::default();
        assert_eq!(tries.to_text(), None);
        tries.failed(RetryClass::RateLimited, false, 5);
        tries.failed(RetryClass::Other, true, 6);
        let text = tries.to_text().unwrap();
        assert_eq!(text, r#"{"since":5,"counted":{"rate-limited":1},"excused":1}"#);
        assert_eq!(Tries::parse(Some(&text)), tries);
        assert_eq!(Tries::parse(Some("no json")), Tries::default());
        assert_eq!(Tries::parse(None), Tries::default());
    }
}
