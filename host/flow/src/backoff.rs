//! When to try again: exponential back-off with full jitter, see
//! <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>. The jitter spreads the retries of records that
//! failed together, so that they do not come back together.

use rand::Rng;
use stecker_model::RetryBudget;

/// Nobody waits longer than a week for another attempt, in milliseconds, whatever a policy or the other side says. (The store takes what is
/// planned further ahead for the work of a clock that ran ahead.)
const LONGEST: u64 = 7 * 86_400_000;

/// Milliseconds to wait after attempt number `attempt` (from 1) failed.
///
/// Uniform between 0 and min(cap, base · 2^(attempt−1)). What the other side asked for (`retry_after_ms`) is waited for in full,
/// and the jitter comes on top of it, so that nobody comes back early.
pub(crate) fn pause_ms(
    budget: &RetryBudget,
    attempt: u32,
    retry_after_ms: Option<u64>,
    rng: &mut impl Rng,
) -> i64 {
    let ceiling = ceiling_ms(budget, attempt);
    let jitter = rng.random_range(0..=ceiling);
    let pause = match retry_after_ms {
        Some(asked) => asked.saturating_add(jitter.min(asked / 2 + 50)),
        None => jitter,
    };
    i64::try_from(pause.min(LONGEST)).unwrap_or(i64::MAX)
}

/// The longest that [`pause_ms`] can be without a Retry-After.
fn ceiling_ms(budget: &RetryBudget, attempt: u32) -> u64 {
    let base = u64::try_from(budget.base.duration().as_millis()).unwrap_or(u64::MAX);
    let cap = u64::try_from(budget.cap.duration().as_millis()).unwrap_or(u64::MAX);
    let doublings = attempt.saturating_sub(1).min(40);
    base.saturating_mul(1 << doublings).min(cap)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};
    use stecker_model::{Period, RetryClass, RetryPolicy};

    fn budget(base: u64, cap: u64) -> RetryBudget {
        RetryBudget {
            base: Period::from_millis(base),
            cap: Period::from_millis(cap),
            ..RetryPolicy::default().budget(RetryClass::Other)
        }
    }

    proptest! {
        #[test]
        fn a_pause_is_within_its_bounds(base in 0_u64..10_000, more in 0_u64..1_000_000, attempt in 1_u32..200, seed: u64) {
            let cap = base + more;
            let mut rng = StdRng::seed_from_u64(seed);
            let pause = pause_ms(&budget(base, cap), attempt, None, &mut rng);
            prop_assert!(pause >= 0 && pause.unsigned_abs() <= cap);
            if let Some(limit) = base.checked_shl(attempt - 1).filter(|_| attempt < 40) {
                prop_assert!(pause.unsigned_abs() <= limit);
            }
        }

        #[test]
        fn nobody_comes_back_before_retry_after(asked in 0_u64..10_000_000, attempt in 1_u32..200, seed: u64) {
            let mut rng = StdRng::seed_from_u64(seed);
            let pause = pause_ms(&budget(500, 300_000), attempt, Some(asked), &mut rng);
            prop_assert!(pause.unsigned_abs() >= asked);
            prop_assert!(pause.unsigned_abs() <= asked + asked / 2 + 50);
        }
    }

    #[test]
    fn the_ceiling_doubles_up_to_the_cap() {
        let ceilings: Vec<_> = (1..=7)
            .map(|attempt| ceiling_ms(&budget(500, 10_000), attempt))
            .collect();
        assert_eq!(ceilings, [500, 1_000, 2_000, 4_000, 8_000, 10_000, 10_000]);
    }
}
