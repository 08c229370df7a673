//! How many calls a connection takes from outside. Anybody on the network can make one, so what is over is turned away before its body is
//! read. Counted in each process: it protects the process, and a limit over all nodes would cost every call a write.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use stecker_model::{Name, WebhookLimits};

const SECOND_US: i64 = 1_000_000;
/// Beyond that many connections, those that have been quiet are forgotten, which changes nothing.
const REMEMBERED: usize = 4_096;

/// A token bucket, kept as the one moment from which it is full again (the generic cell rate algorithm, ITU-T I.371). Pure.
#[derive(Debug, Clone, Copy, Default)]
struct Rate {
    /// Microseconds since 1970.
    full_at: i64,
}

impl Rate {
    /// Takes a token, or says in how many microseconds there is one.
    fn take(&mut self, now: i64, limits: &WebhookLimits) -> Result<(), i64> {
        let interval = SECOND_US / i64::from(limits.per_second.max(1));
        let room = interval * i64::from(limits.burst.max(1));
        // No further ahead than an empty bucket: a clock that was set back must not keep everybody out.
        self.full_at = self.full_at.clamp(now, now.saturating_add(room));
        let full_at = self.full_at.saturating_add(interval);
        let wait = full_at.saturating_sub(now).saturating_sub(room);
        if wait > 0 {
            return Err(wait);
        }
        self.full_at = full_at;
        Ok(())
    }
}

/// The rates of all connections that were called.
#[derive(Debug, Default)]
pub(crate) struct Gate(Mutex<HashMap<(Name, Name), Rate>>);

impl Gate {
    /// Lets a call in, or says after how many whole seconds to come again. Only for connections that there are: others must not be
    /// remembered.
    pub(crate) fn admit(
        &self,
        tenant: &Name,
        connection: &Name,
        limits: &WebhookLimits,
        now_ms: i64,
    ) -> Result<(), u64> {
        let now = now_ms.saturating_mul(1_000);
        let mut rates = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if rates.len() >= REMEMBERED {
            rates.retain(|_, rate| rate.full_at > now);
        }
        let rate = rates.entry((tenant.clone(), connection.clone())).or_default();
        rate.take(now, limits).map_err(|wait| {
            let seconds = wait.div_euclid(SECOND_US) + 1;
            u64::try_from(seconds).unwrap_or(1)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn limits(per_second: u32, burst: u32) -> WebhookLimits {
        WebhookLimits {
            per_second,
            burst,
            ..WebhookLimits::default()
        }
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let (tenant, shop, erp): (Name, Name, Name) = (
            "a".parse().unwrap(),
            "shop".parse().unwrap(),
            "erp".parse().unwrap(),
        );
        let (gate, limits) = (Gate::default(), limits(2, 3));
        let now = 1_700_000_000_000;
        let admitted = |connection: &Name, now| gate.admit(&tenant, connection, &limits, now);
        for _ in 0..3 {
            assert_eq!(admitted(&shop, now), Ok(()));
        }
        assert_eq!(admitted(&shop, now), Err(1));
        assert_eq!(admitted(&erp, now), Ok(()), "another connection has its own");
        assert_eq!(admitted(&shop, now + 499), Err(1));
        assert_eq!(admitted(&shop, now + 500), Ok(()));
        assert_eq!(admitted(&shop, now + 500), Err(1));
        assert_eq!(admitted(&shop, now - 3_600_000), Err(1), "the clock was set back");
        assert_eq!(admitted(&shop, now - 3_600_000 + 500), Ok(()), "and that passes");
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate_allow(
            per_second in 1_u32..2_000, burst in 1_u32..50, pauses in proptest::collection::vec(0_i64..50_000, 1..300),
        ) {
            let limits = limits(per_second, burst);
            let (mut rate, mut now, mut taken) = (Rate::default(), 1_000_000, 0_i64);
            let begun = now;
            for pause in pauses {
                now += pause;
                match rate.take(now, &limits) {
                    Ok(()) => taken += 1,
                    Err(wait) => prop_assert_eq!(rate.clone_and_take(now + wait, &limits), Ok(())),
                }
                let interval = SECOND_US / i64::from(per_second);
                prop_assert!(taken <= i64::from(burst) + (now - begun) / interval);
            }
            prop_assert!(taken >= 1);
        }
    }

    impl Rate {
        fn clone_and_take(mut self, now: i64, limits: &WebhookLimits) -> Result<(), i64> {
            self.take(now, limits)
        }
    }
}
