//! What becomes of an event after an attempt. Pure: the answer, the moment and the dice come in.
//!
//! | answer | the event | the webhook |
//! |---|---|---|
//! | 2xx | delivered | its failures are forgotten |
//! | 410 Gone | waits for a person | disabled at once: the receiver wants nothing more |
//! | 429, 503 with Retry-After | again, not before that, and not before its time | |
//! | anything else, or none | again, by the schedule; given up at its end | |
//! | a failure after five days of nothing but failures | as above | disabled |
//!
//! The schedule is the one that the specification of Standard Webhooks recommends: ten attempts within a little more than three days. An event
//! that one receiver refuses for ever is given up long before its webhook is disabled, if others get through.

use rand::Rng;
use stecker_store::{Disabling, WhatNext};

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;

/// The pause after each failed attempt, in milliseconds; there is none after the last one.
const SCHEDULE: [i64; 9] = [
    5 * SECOND,
    300 * SECOND,
    1_800 * SECOND,
    2 * HOUR,
    5 * HOUR,
    10 * HOUR,
    14 * HOUR,
    20 * HOUR,
    24 * HOUR,
];
/// The longest that a receiver can ask for.
const LONGEST_WISH: i64 = 24 * HOUR;
/// After which nothing but failures is taken for the end of a receiver.
const GIVEN_UP_AFTER: i64 = 5 * 24 * HOUR;

/// What came of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// This status, with the header `retry-after`.
    Status(u16, Option<&'a str>),
    /// None.
    Nothing,
}

/// How things stood before the attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Standing {
    /// Attempts of the event before this one.
    pub(super) tries: u32,
    /// Since when the webhook has answered nothing but failures.
    pub(super) failing_since: Option<i64>,
}

/// What becomes of the event and, perhaps, of its webhook.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Decision {
    pub(super) next: WhatNext,
    pub(super) disable: Option<Disabling>,
    /// Why it counts as a failure, if it does and the status alone does not say it.
    pub(super) error: Option<&'static str>,
}

pub(super) fn decide(answer: Answer<'_>, standing: Standing, now: i64, rng: &mut impl Rng) -> Decision {
    let (status, wish) = match answer {
        Answer::Status(200..=299, _) => {
            return Decision {
                next: WhatNext::Delivered,
                disable: None,
                error: None,
            };
        }
        Answer::Status(410, _) => {
            return Decision {
                // It is there when a person has found out why.
                next: WhatNext::Retry { at: now },
                disable: Some(Disabling {
                    reason: "the receiver answered 410 Gone: it wants nothing more".to_owned(),
                    at_once: true,
                }),
                error: Some("410 Gone: the receiver wants nothing more"),
            };
        }
        Answer::Status(status @ (429 | 503), wish) => (Some(status), wish),
        Answer::Status(status, _) => (Some(status), None),
        Answer::Nothing => (None, None),
    };
    let next = match pause_ms(standing.tries, wish, now, rng) {
        Some(pause) => WhatNext::Retry {
            at: now.saturating_add(pause),
        },
        None => WhatNext::Failed,
    };
    let failing_for = standing
        .failing_since
        .map_or(0, |since| now.saturating_sub(since));
    let last = status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
    Decision {
        next,
        disable: (failing_for >= GIVEN_UP_AFTER).then(|| Disabling {
            reason: format!("nothing but failures for five days, the last one: {last}"),
            at_once: false,
        }),
        error: match status {
            Some(300..=399) => Some("a redirect, which is not followed: give the address that it leads to"),
            _ => None,
        },
    }
}

/// Milliseconds until the next attempt; none: there is none. Up to a fifth is added at random, so that events which failed together do not
/// come back together, and nobody comes back early.
fn pause_ms(tries: u32, wish: Option<&str>, now: i64, rng: &mut impl Rng) -> Option<i64> {
    let tries = usize::try_from(tries).unwrap_or(usize::MAX);
    let scheduled = *SCHEDULE.get(tries)?;
    let wished = wish.and_then(|text| retry_after_ms(text, now)).unwrap_or(0);
    let pause = scheduled.max(wished.min(LONGEST_WISH));
    Some(pause + rng.random_range(0..=pause / 5))
}

/// Retry-After (RFC 9110, section 10.2.3): seconds, or a date.
fn retry_after_ms(text: &str, now: i64) -> Option<i64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        let seconds: i64 = text.parse().unwrap_or(i64::MAX);
        return Some(seconds.saturating_mul(SECOND));
    }
    let date = jiff::fmt::rfc2822::parse(text).ok()?;
    Some(date.timestamp().as_millisecond().saturating_sub(now).max(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    const NOW: i64 = 1_700_000_000_000;
    const FRESH: Standing = Standing {
        tries: 0,
        failing_since: None,
    };

    fn decided(answer: Answer<'_>, standing: Standing) -> Decision {
        decide(answer, standing, NOW, &mut StdRng::seed_from_u64(7))
    }

    #[test]
    fn every_2xx_is_success_and_nothing_else_is() {
        for status in 100..=999 {
            let decision = decided(Answer::Status(status, None), FRESH);
            let delivered = decision.next == WhatNext::Delivered;
            assert_eq!(delivered, (200..=299).contains(&status), "{status}");
        }
        assert_ne!(decided(Answer::Nothing, FRESH).next, WhatNext::Delivered);
    }

    #[test]
    fn gone_disables_at_once_and_keeps_the_event() {
        let decision = decided(Answer::Status(410, None), FRESH);
        assert_eq!(decision.next, WhatNext::Retry { at: NOW });
        assert!(decision.disable.unwrap().at_once);
    }

    #[test]
    fn the_schedule_of_the_specification_ends_with_the_tenth_attempt() {
        for (tries, least) in (0_u32..).zip(SCHEDULE) {
            let standing = Standing { tries, ..FRESH };
            let WhatNext::Retry { at } = decided(Answer::Status(500, None), standing).next else {
                panic!("given up after {tries}");
            };
            assert!(
                (least..=least + least / 5).contains(&(at - NOW)),
                "{tries}: {}",
                at - NOW
            );
        }
        let last = Standing { tries: 9, ..FRESH };
        assert_eq!(decided(Answer::Nothing, last).next, WhatNext::Failed);
        assert_eq!(
            decided(Answer::Status(429, Some("60")), last).next,
            WhatNext::Failed
        );
        assert_eq!(SCHEDULE.iter().sum::<i64>() / HOUR, 75);
    }

    #[test]
    fn five_days_of_nothing_but_failures_disable() {
        let day = 24 * HOUR;
        for (failing_for, disabled) in [(None, false), (Some(5 * day - 1), false), (Some(5 * day), true)] {
            let standing = Standing {
                tries: 3,
                failing_since: failing_for.map(|time| NOW - time),
            };
            let decision = decided(Answer::Status(503, None), standing);
            assert_eq!(decision.disable.is_some(), disabled, "{failing_for:?}");
            assert!(
                decision
                    .disable
                    .is_none_or(|disable| !disable.at_once && disable.reason.contains("503"))
            );
            let success = decided(Answer::Status(204, None), standing);
            assert_eq!(success.disable, None, "one success is enough");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_only_of_429_and_503() {
        for (status, text, seconds) in [
            (429, "120", 120),
            (503, " 7 ", 7),
            (503, "Tue, 14 Nov 2023 22:15:20 GMT", 120),
            (503, "Tue, 14 Nov 2023 22:00:00 GMT", 5),
            (429, "99999999999999999999", 24 * 3_600),
            (429, "soon", 5),
            (429, "", 5),
            (429, "-1", 5),
            (500, "120", 5),
        ] {
            let WhatNext::Retry { at } = decided(Answer::Status(status, Some(text)), FRESH).next else {
                panic!("{status} {text}");
            };
            let pause = at - NOW;
            let least = seconds * SECOND;
            assert!(
                (least..=least + least / 5).contains(&pause),
                "{status} {text}: {pause}"
            );
        }
    }

    #[test]
    fn a_redirect_says_what_to_do() {
        assert!(
            decided(Answer::Status(301, None), FRESH)
                .error
                .unwrap()
                .contains("address")
        );
    }

    proptest! {
        #[test]
        fn nothing_comes_back_before_its_time_nor_much_later(
            tries in 0_u32..9, status in 300_u16..600, wish in proptest::option::of("[0-9]{1,12}|\\PC{0,20}"), seed: u64,
        ) {
            prop_assume!(status != 410);
            let standing = Standing { tries, failing_since: None };
            let decision = decide(
                Answer::Status(status, wish.as_deref()), standing, NOW, &mut StdRng::seed_from_u64(seed),
            );
            let WhatNext::Retry { at } = decision.next else { return Err(TestCaseError::fail("given up")) };
            let least = SCHEDULE[tries as usize];
            prop_assert!(at - NOW >= least);
            prop_assert!(at - NOW <= LONGEST_WISH + LONGEST_WISH / 5);
        }
    }
}
