//! A token bucket as the one moment from which it is full again (the generic cell rate algorithm, ITU-T I.371), from which tokens are
//! taken several at a time. Pure: what time it is and where the moment is kept is the caller's business, so that the same few lines count for
//! one process and, in a database, for all.

use crate::UpstreamBudget;

/// What was taken out of a bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Slice {
    /// Tokens that are the taker's now.
    pub tokens: u32,
    /// Tokens that are left for others.
    pub left: u32,
    /// Milliseconds until there is another one, rounded up; 0 while some are left.
    pub wait_ms: i64,
}

/// Takes up to `wanted` tokens of a bucket that is full again at `full_at` (microseconds, as `now`): what was taken, and from when on the
/// bucket is full now.
#[must_use]
pub fn take_slice(budget: &UpstreamBudget, full_at: i64, now: i64, wanted: u32) -> (Slice, i64) {
    let interval = budget.interval_us();
    let room = interval.saturating_mul(i64::from(budget.burst));
    // No further ahead than an empty bucket: a clock that was set back must not keep everybody waiting.
    let full_at = full_at.clamp(now, now.saturating_add(room));
    let there = (now.saturating_add(room) - full_at) / interval;
    let tokens = there.min(i64::from(wanted)).max(0);
    let full_at = full_at.saturating_add(tokens.saturating_mul(interval));
    let left = there - tokens;
    let missing = full_at
        .saturating_add(interval)
        .saturating_sub(now.saturating_add(room));
    let slice = Slice {
        tokens: u32::try_from(tokens).unwrap_or(0),
        left: u32::try_from(left).unwrap_or(0),
        wait_ms: if left > 0 {
            0
        } else {
            missing.max(0).saturating_add(999) / 1_000
        },
    };
    (slice, full_at)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_burst_and_then_the_rate() {
        let budget = UpstreamBudget::new(2.0, Some(4));
        let now = 1_700_000_000_000_000;
        let (slice, full_at) = take_slice(&budget, 0, now, 3);
        assert_eq!(
            slice,
            Slice {
                tokens: 3,
                left: 1,
                wait_ms: 0
            }
        );
        let (slice, full_at) = take_slice(&budget, full_at, now, 3);
        assert_eq!(
            slice,
            Slice {
                tokens: 1,
                left: 0,
                wait_ms: 500
            }
        );
        let (slice, full_at) = take_slice(&budget, full_at, now + 499_000, 3);
        assert_eq!(
            slice,
            Slice {
                tokens: 0,
                left: 0,
                wait_ms: 1
            }
        );
        let (slice, full_at) = take_slice(&budget, full_at, now + 500_000, 3);
        assert_eq!((slice.tokens, slice.wait_ms), (1, 500));
        let (slice, _) = take_slice(&budget, full_at, now - 3_600_000_000, 1);
        assert_eq!(
            (slice.tokens, slice.wait_ms),
            (0, 500),
            "a clock that was set back"
        );
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(
            per_second in 0.01_f64..5_000.0, burst in 1_u32..100,
            steps in prop::collection::vec((0_i64..2_000_000, 0_u32..50), 1..200),
        ) {
            let budget = UpstreamBudget::new(per_second, Some(burst));
            let begun = 1_700_000_000_000_000;
            let (mut now, mut full_at, mut taken) = (begun, 0, 0_i64);
            for (passed, wanted) in steps {
                now += passed;
                let (slice, after) = take_slice(&budget, full_at, now, wanted);
                full_at = after;
                taken += i64::from(slice.tokens);
                prop_assert!(slice.tokens <= wanted);
                prop_assert!(taken <= i64::from(burst) + (now - begun) / budget.interval_us());
                if slice.tokens < wanted {
                    let (next, _) = take_slice(&budget, full_at, now + slice.wait_ms * 1_000, 1);
                    prop_assert_eq!(next.tokens, 1, "the wait is long enough");
                }
            }
        }
    }
}
