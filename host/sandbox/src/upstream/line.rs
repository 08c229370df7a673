//! Whose turn it is among the requests of an account that wait. Pure.
//!
//! Each stands in line as if it had come later by the handicap of its priority. So what is urgent passes what is not, and yet nobody waits for
//! more than the handicap behind those that came later: what has waited that long is before all of them, and need not leave anything to
//! them either.

use stecker_model::Priority;

/// After nobody more urgent asked for so long, nothing is kept for them, in milliseconds.
const ABOUT: i64 = 10_000;

const fn handicap(priority: Priority) -> i64 {
    match priority {
        Priority::High => 0,
        Priority::Normal => 3_000,
        Priority::Low => 10_000,
    }
}

#[derive(Debug, Clone, Copy)]
struct Waiter {
    ticket: u64,
    priority: Priority,
    since: i64,
}

impl Waiter {
    const fn place(&self) -> (i64, u64) {
        (self.since.saturating_add(handicap(self.priority)), self.ticket)
    }
}

/// The line of one account in this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Line {
    waiting: Vec<Waiter>,
    tickets: u64,
    /// When somebody of each priority asked last, the most urgent first.
    asked: [i64; 3],
}

impl Line {
    pub(super) fn join(&mut self, priority: Priority, now: i64) -> u64 {
        self.tickets += 1;
        self.waiting.push(Waiter {
            ticket: self.tickets,
            priority,
            since: now,
        });
        for (of, asked) in Priority::ALL.into_iter().zip(&mut self.asked) {
            if of == priority {
                *asked = now;
            }
        }
        self.tickets
    }

    pub(super) fn leave(&mut self, ticket: u64) {
        self.waiting.retain(|waiter| waiter.ticket != ticket);
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    fn first(&self) -> Option<&Waiter> {
        self.waiting.iter().min_by_key(|waiter| waiter.place())
    }

    pub(super) fn is_first(&self, ticket: u64) -> bool {
        self.first().is_some_and(|first| first.ticket == ticket)
    }

    /// Whose share a request of this priority that waits since then has to leave: none once it has waited long enough, or while nobody more
    /// urgent is about.
    pub(super) fn keeps(&self, priority: Priority, since: i64, now: i64) -> Option<Priority> {
        let is_patient = now.saturating_sub(since) < handicap(priority);
        let are_about = Priority::ALL
            .into_iter()
            .zip(self.asked)
            .any(|(of, asked)| of < priority && asked > 0 && now.saturating_sub(asked) < ABOUT);
        (is_patient && are_about).then_some(priority)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use stecker_model::{UpstreamBudget, take_slice};

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    #[test]
    fn the_urgent_pass_until_the_others_have_waited_long_enough() {
        let mut line = Line::default();
        let low = line.join(Priority::Low, NOW);
        let normal = line.join(Priority::Normal, NOW);
        let high = line.join(Priority::High, NOW + 2_999);
        assert!(line.is_first(high));
        line.leave(high);
        assert!(line.is_first(normal));
        let later = line.join(Priority::High, NOW + 3_001);
        assert!(line.is_first(normal), "it has waited long enough");
        line.leave(normal);
        assert!(line.is_first(later));
        line.leave(later);
        assert!(line.is_first(low));
        assert_eq!(line.len(), 1);
    }

    #[test]
    fn something_is_kept_only_for_those_that_are_about() {
        let mut line = Line::default();
        line.join(Priority::Low, NOW);
        assert_eq!(line.keeps(Priority::Low, NOW, NOW), None, "alone");
        line.join(Priority::Normal, NOW);
        assert_eq!(line.keeps(Priority::Low, NOW, NOW), Some(Priority::Low));
        assert_eq!(line.keeps(Priority::Normal, NOW, NOW), None);
        line.join(Priority::High, NOW);
        assert_eq!(line.keeps(Priority::Normal, NOW, NOW), Some(Priority::Normal));
        assert_eq!(line.keeps(Priority::High, NOW, NOW), None);
        assert_eq!(line.keeps(Priority::Low, NOW, NOW + 9_999), Some(Priority::Low));
        assert_eq!(
            line.keeps(Priority::Low, NOW, NOW + 10_000),
            None,
            "it has waited long enough"
        );
        assert_eq!(
            line.keeps(Priority::Low, NOW + 10_000, NOW + 10_000),
            None,
            "nobody asks any more"
        );
    }

    proptest! {
        /// However many urgent requests come, for ever more than the budget has: everybody gets through, and never more than the budget allows.
        #[test]
        fn nobody_starves_and_nobody_exceeds(
            per_second in 1_u32..20, burst in 1_u32..10,
            comers in prop::collection::vec((0_i64..400, 0_usize..3), 1..80),
        ) {
            let budget = UpstreamBudget::new(per_second.into(), Some(burst));
            let (mut line, mut now, mut full_at, mut passed) = (Line::default(), NOW, 0, 0_i64);
            let mut waiting: Vec<(u64, Priority, i64)> = Vec::new();
            let mut comers = comers.into_iter().peekable();
            let mut next_comer = NOW;
            // The urgent keep coming for as long as anybody else waits.
            let mut steps = 0;
            while comers.peek().is_some() || waiting.iter().any(|(_, priority, _)| *priority != Priority::High) {
                steps += 1;
                prop_assert!(steps < 200_000, "somebody starves: {waiting:?}");
                while next_comer <= now {
                    let (pause, priority) = comers.next().unwrap_or((1_000 / i64::from(per_second), 0));
                    let priority = Priority::ALL[priority];
                    waiting.push((line.join(priority, now), priority, now));
                    next_comer += pause.max(1);
                }
                while let Some(place) = waiting.iter().position(|(ticket, ..)| line.is_first(*ticket)) {
                    let (slice, after) = take_slice(&budget, full_at, now * 1_000, 1);
                    full_at = after;
                    if slice.tokens == 0 {
                        break;
                    }
                    passed += 1;
                    prop_assert!(passed <= i64::from(burst) + (now - NOW) * i64::from(per_second) / 1_000);
                    let (ticket, ..) = waiting.remove(place);
                    line.leave(ticket);
                }
                now += 10;
            }
        }
    }
}
