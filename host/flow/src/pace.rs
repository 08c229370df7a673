//! How fast a replay goes: a token bucket that holds one second's worth. Pure; the loop that waits is in [`crate::replaying`].

/// Milliseconds times records a second.
const TOKEN: i64 = 1_000;

/// What may be queued by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pace {
    rate: i64,
    /// In thousandths of a record.
    tokens: i64,
    at: i64,
}

impl Pace {
    /// For `rate` records a second, at least one. It begins with nothing, so that a process that is killed again and again gets no
    /// second's worth at each start.
    pub(crate) fn new(rate: u32, now: i64) -> Self {
        Self {
            rate: i64::from(rate.max(1)),
            tokens: 0,
            at: now,
        }
    }

    /// Records that are worth a transaction of their own: a tenth of a second's.
    pub(crate) fn piece(&self) -> u32 {
        u32::try_from(self.rate / 10).unwrap_or(u32::MAX).max(1)
    }

    /// How many records may be queued now.
    pub(crate) fn ready(&mut self, now: i64) -> u32 {
        // A clock that jumped back gives nothing and takes nothing.
        let passed = now.saturating_sub(self.at).max(0);
        self.at = now;
        let most = self.rate * TOKEN;
        self.tokens = passed
            .saturating_mul(self.rate)
            .saturating_add(self.tokens)
            .min(most);
        u32::try_from(self.tokens / TOKEN).unwrap_or(u32::MAX)
    }

    /// That many were queued.
    pub(crate) fn spend(&mut self, records: u64) {
        let spent = i64::try_from(records).unwrap_or(i64::MAX).saturating_mul(TOKEN);
        self.tokens = self.tokens.saturating_sub(spent).max(0);
    }

    /// Milliseconds until that many records may be queued; at least one, at most a second.
    pub(crate) fn wait_ms(&self, records: u32) -> i64 {
        let missing = i64::from(records)
            .saturating_mul(TOKEN)
            .saturating_sub(self.tokens);
        // Rounded up, so that it is enough.
        let wait = missing.max(0).saturating_add(self.rate - 1) / self.rate;
        wait.clamp(1, TOKEN)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_begins_empty_and_holds_a_second() {
        let mut pace = Pace::new(10, 0);
        assert_eq!(pace.ready(0), 0);
        assert_eq!((pace.piece(), pace.wait_ms(1), pace.wait_ms(3)), (1, 100, 300));
        assert_eq!(pace.ready(100), 1);
        pace.spend(1);
        assert_eq!(pace.ready(150), 0);
        assert_eq!(pace.wait_ms(1), 50);
        assert_eq!(pace.ready(1_000_000), 10);
        pace.spend(10);
        assert_eq!(pace.ready(900_000), 0, "a clock that jumped back");
        assert_eq!(pace.ready(900_100), 1);
    }

    #[test]
    fn a_fast_one_goes_in_pieces() {
        let mut pace = Pace::new(300, 0);
        assert_eq!(pace.piece(), 30);
        assert_eq!(pace.wait_ms(30), 100);
        assert_eq!(pace.ready(100), 30);
        assert_eq!(Pace::new(1, 0).wait_ms(5), 1_000);
        assert_eq!(Pace::new(10_000, 0).wait_ms(1), 1);
    }

    proptest! {
        #[test]
        fn never_faster_than_told(rate in 1_u32..10_000, steps in prop::collection::vec((0_i64..5_000, 0_u32..500), 1..50)) {
            let mut pace = Pace::new(rate, 0);
            let (mut now, mut queued) = (0_i64, 0_i64);
            for (passed, wanted) in steps {
                now += passed;
                let taken = pace.ready(now).min(wanted);
                pace.spend(u64::from(taken));
                queued += i64::from(taken);
                prop_assert!(queued * 1_000 <= now * i64::from(rate));
            }
        }
    }
}
