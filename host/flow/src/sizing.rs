//! How many records go into one batch: as many as the destination takes in good time. Pure.
//!
//! The specification says how many at most, and that is where it begins. What took too long is made shorter in proportion; what was cut off, or
//! was refused as a whole, is cut to a part; what went quickly may be a little more the next time. So the size finds the place just below
//! the one where the destination gets slow (additive increase, multiplicative decrease, as in RFC 5681).

use std::time::Duration;

/// A batch may take this part of the time that a call may take.
const PART_OF_DEADLINE: u32 = 4;
/// However long a call may take: a batch that takes longer keeps an operator's stop and the other lanes' news waiting.
const LONGEST: Duration = Duration::from_secs(10);

/// How a batch went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Went {
    /// Every record got an answer.
    Answered,
    /// The destination refused it as a whole, because of some record in it.
    Refused,
    /// It was not over in time.
    CutOff,
}

/// How many records go into the next batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BatchSize {
    now: usize,
    most: usize,
}

impl BatchSize {
    /// Begins with as many as there may be.
    pub(crate) fn new(most: u32) -> Self {
        let most = usize::try_from(most).unwrap_or(usize::MAX).max(1);
        Self { now: most, most }
    }

    pub(crate) const fn get(self) -> usize {
        self.now
    }

    /// After a batch of `records` that took `took` of the `deadline` that a call has.
    pub(crate) fn after(&mut self, records: usize, took: Duration, deadline: Duration, went: Went) {
        let target = (deadline / PART_OF_DEADLINE).min(LONGEST);
        let next = match went {
            Went::CutOff => records / 4,
            Went::Refused => records / 2,
            Went::Answered if took > target => {
                let fitting = target.as_secs_f64() / took.as_secs_f64();
                // At least to a quarter: one slow answer says little about the next.
                scaled(records, fitting.max(0.25))
            }
            // A batch that was not full says nothing about a larger one.
            Went::Answered if took < target / 2 && records >= self.now => {
                self.now.saturating_add((self.now / 4).max(1))
            }
            Went::Answered => return,
        };
        // A small batch that was slow must not make the next one larger than it would have been.
        let next = if went == Went::Answered && took <= target {
            next
        } else {
            next.min(self.now)
        };
        self.now = next.clamp(1, self.most);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a part of a number of at most some thousands"
)]
fn scaled(records: usize, part: f64) -> usize {
    (records as f64 * part) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DEADLINE: Duration = Duration::from_secs(20);

    fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_takes_too_long_gets_smaller_and_what_is_quick_grows_again() {
        let mut size = BatchSize::new(100);
        assert_eq!(size.get(), 100);
        size.after(100, secs(8), DEADLINE, Went::Answered);
        assert_eq!(size.get(), 62, "five of eight seconds");
        size.after(62, secs(4), DEADLINE, Went::Answered);
        assert_eq!(size.get(), 62, "just right");
        size.after(62, secs(20), DEADLINE, Went::CutOff);
        assert_eq!(size.get(), 15);
        size.after(3, secs(1), DEADLINE, Went::Answered);
        assert_eq!(size.get(), 15, "it was not full");
        size.after(15, secs(1), DEADLINE, Went::Answered);
        assert_eq!(size.get(), 18);
        for _ in 0..20 {
            size.after(size.get(), secs(1), DEADLINE, Went::Answered);
        }
        assert_eq!(size.get(), 100, "never more than the specification says");
    }

    #[test]
    fn a_destination_that_refuses_batches_gets_smaller_ones_down_to_one() {
        let mut size = BatchSize::new(50);
        for expected in [25, 12, 6, 3, 1, 1] {
            size.after(size.get(), secs(0), DEADLINE, Went::Refused);
            assert_eq!(size.get(), expected);
        }
        size.after(1, secs(0), DEADLINE, Went::Answered);
        assert_eq!(size.get(), 2);
    }

    #[test]
    fn a_small_batch_that_is_refused_does_not_enlarge_the_next() {
        let mut size = BatchSize::new(100);
        size.after(8, secs(0), DEADLINE, Went::Refused);
        assert_eq!(size.get(), 4);
        size.after(100, secs(0), DEADLINE, Went::Refused);
        assert_eq!(size.get(), 4, "of a lane that had begun before");
    }

    proptest! {
        /// With a destination that needs a fixed time per record, it settles where a batch takes between a half and the whole of its time.
        #[test]
        fn it_settles_below_the_time_that_a_batch_may_take(per_record_ms in 20_u64..2_000) {
            let mut size = BatchSize::new(1_000);
            for _ in 0..200 {
                let took = Duration::from_millis(per_record_ms * size.get() as u64);
                let went = if took > DEADLINE { Went::CutOff } else { Went::Answered };
                size.after(size.get(), took.min(DEADLINE), DEADLINE, went);
            }
            let took = per_record_ms * size.get() as u64;
            prop_assert!(took <= 5_000 || size.get() == 1, "{took} ms");
            prop_assert!(took >= 5_000 / 4 || size.get() == 1_000, "{took} ms");
        }

        #[test]
        fn it_is_always_at_least_one_and_at_most_what_was_said(
            most in 0_u32..2_000, steps in prop::collection::vec((0_usize..3_000, 0_u64..100_000, 0_u8..3), 0..100)
        ) {
            let mut size = BatchSize::new(most);
            for (records, ms, went) in steps {
                let went = [Went::Answered, Went::Refused, Went::CutOff][usize::from(went)];
                size.after(records, Duration::from_millis(ms), DEADLINE, went);
                prop_assert!(size.get() >= 1 && size.get() <= (most as usize).max(1));
            }
        }
    }
}
