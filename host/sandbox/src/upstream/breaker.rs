//! Whether a host is down, by how its answers were lately. Pure; the clock and the dice are the caller's. Why it decides so is in
//! `docs/decisions/0017-budgets-and-breakers-of-upstreams.md`.

use rand::Rng;
use stecker_model::{
    Name,
    api::{Breaker, BreakerState},
};

/// Failures in a row that open it.
const ROW: u32 = 5;
/// Requests within [`WINDOW`] before their share of failures says anything.
const SAMPLE: u32 = 20;
/// Milliseconds that a share is counted over, in two halves.
const WINDOW: i64 = 30_000;
/// Answers that close it, half-open.
const ENOUGH: u32 = 3;
/// The first time that it stays open, in milliseconds; it doubles each time that a trial fails.
const FIRST_OPEN: i64 = 1_000;
/// The longest.
const LONGEST_OPEN: i64 = 60_000;
/// Connections that are remembered of a host.
const CONNECTIONS: usize = 64;

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// An answer, whatever it says: also one that refuses (4xx) or asks for patience (429).
    Answered,
    /// An error of the server's, which may be about this request only.
    Faulty,
    /// No answer, or one that says that there is nobody to answer: 502, 503, 504.
    Down,
}

impl Ending {
    pub(super) const fn of_status(status: u16) -> Self {
        match status {
            502..=504 => Self::Down,
            500.. => Self::Faulty,
            _ => Self::Answered,
        }
    }
}

/// Who tries a host that was down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Trial {
    pub(super) connection: Name,
    /// Who within this process, such as `deliver/orders-to-erp`.
    pub(super) unit: String,
}

/// Whether a request may be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Admission {
    Yes,
    /// Not before this moment.
    No(i64),
}

#[derive(Debug, Clone, Copy, Default)]
struct Half {
    all: u32,
    failed: u32,
}

/// One host: what everybody knows of it, and what only this process does.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch {
    pub(super) breaker: Breaker,
    row: u32,
    halves: [Half; 2],
    half_began: i64,
    /// Answers since it is half-open.
    answers: u32,
    trial: Option<Trial>,
    /// A request of the trial is under way.
    trying: bool,
    /// Others do not know of the last change yet.
    pub(super) is_news: bool,
    pub(super) used_at: i64,
}

impl Watch {
    pub(super) fn new(breaker: Breaker) -> Self {
        Self {
            breaker,
            ..Self::default()
        }
    }

    /// Nothing is lost if it is forgotten.
    pub(super) fn is_quiet(&self) -> bool {
        self.breaker.state == BreakerState::Closed && self.row == 0 && !self.is_news
    }

    pub(super) fn used_by(&mut self, connection: &Name, now: i64) {
        self.used_at = now;
        let known = &mut self.breaker.connections;
        if !known.contains(connection) && known.len() < CONNECTIONS {
            known.push(connection.clone());
        }
    }

    pub(super) fn is_used_by(&self, connection: &Name) -> bool {
        self.breaker.connections.contains(connection)
    }

    /// Whether a trial is this unit's.
    pub(super) fn is_tried_by(&self, connection: &Name, unit: &str, now: i64) -> bool {
        self.breaker.state == BreakerState::HalfOpen
            && self.breaker.until.is_some_and(|until| until > now)
            && self
                .trial
                .as_ref()
                .is_some_and(|trial| trial.connection == *connection && trial.unit == unit)
    }

    /// Whether a request of a connection may be sent now. Half-open, one at a time of the connection that tries it.
    pub(super) fn admission(&self, connection: &Name, now: i64) -> Admission {
        let until = self.breaker.until.unwrap_or(now);
        match self.breaker.state {
            BreakerState::Closed => Admission::Yes,
            BreakerState::HalfOpen
                if until > now
                    && !self.trying
                    && self
                        .trial
                        .as_ref()
                        .is_some_and(|trial| trial.connection == *connection) =>
            {
                Admission::Yes
            }
            BreakerState::HalfOpen | BreakerState::Open => Admission::No(until),
        }
    }

    /// A request leaves.
    pub(super) fn sent(&mut self) {
        self.trying |= self.breaker.state == BreakerState::HalfOpen;
    }

    /// Whether the time to try it has come: it is open or a trial was given up, and the moment is there.
    pub(super) fn is_over(&self, now: i64) -> bool {
        self.breaker.state != BreakerState::Closed && self.breaker.until.is_none_or(|until| until <= now)
    }

    /// Somebody of this process tries it from now on.
    pub(super) fn tried(&mut self, breaker: Breaker, trial: Trial) {
        // Whoever tries it was told by all the others.
        self.is_news = false;
        self.learn(breaker);
        self.answers = 0;
        self.trying = false;
        self.trial = Some(trial);
    }

    /// What another process says of it, unless this one has news itself.
    pub(super) fn learn(&mut self, breaker: Breaker) {
        if self.is_news {
            return;
        }
        if breaker.state != self.breaker.state {
            self.row = 0;
            self.halves = [Half::default(); 2];
        }
        if breaker.state != BreakerState::HalfOpen || breaker.until != self.breaker.until {
            self.trial = None;
            self.trying = false;
        }
        let connections = std::mem::take(&mut self.breaker.connections);
        self.breaker = breaker;
        for connection in connections {
            if !self.breaker.connections.contains(&connection) {
                self.breaker.connections.push(connection);
            }
        }
    }

    /// A request ended. `not_before`: until when the host asked to be left alone, in milliseconds from now. Whether the breaker changed.
    pub(super) fn ended(
        &mut self,
        ending: Ending,
        reason: impl FnOnce() -> String,
        not_before: Option<u64>,
        now: i64,
        rng: &mut impl Rng,
    ) -> bool {
        match self.breaker.state {
            // Of a request that left before it opened, here or elsewhere.
            BreakerState::Open => false,
            BreakerState::HalfOpen if self.trial.is_none() => false,
            BreakerState::HalfOpen => {
                self.trying = false;
                if ending != Ending::Answered {
                    self.open(reason(), not_before, now, rng);
                    return true;
                }
                self.answers += 1;
                if self.answers < ENOUGH {
                    return false;
                }
                self.close();
                true
            }
            BreakerState::Closed => {
                self.count(ending, now);
                let [older, newer] = self.halves;
                let (all, failed) = (older.all + newer.all, older.failed + newer.failed);
                let is_bad = all >= SAMPLE && failed * 4 >= all * 3;
                if ending == Ending::Answered || !(is_bad || self.row >= ROW) {
                    return false;
                }
                let reason = if self.row >= ROW {
                    format!("{ROW} requests in a row failed; the last: {}", reason())
                } else {
                    format!(
                        "{failed} of the last {all} requests failed; the last: {}",
                        reason()
                    )
                };
                self.open(reason, not_before, now, rng);
                true
            }
        }
    }

    fn count(&mut self, ending: Ending, now: i64) {
        let passed = now.saturating_sub(self.half_began);
        if !(0..WINDOW).contains(&passed) {
            self.halves = [Half::default(); 2];
            self.half_began = now;
        } else if passed >= WINDOW / 2 {
            self.halves = [self.halves[1], Half::default()];
            self.half_began = now;
        }
        let [_, half] = &mut self.halves;
        half.all = half.all.saturating_add(1);
        half.failed = half.failed.saturating_add(u32::from(ending != Ending::Answered));
        match ending {
            Ending::Answered => self.row = 0,
            Ending::Down => self.row = self.row.saturating_add(1),
            // Somebody is there, but nothing says that all is well.
            Ending::Faulty => {}
        }
    }

    fn open(&mut self, reason: String, not_before: Option<u64>, now: i64, rng: &mut impl Rng) {
        let breaker = &mut self.breaker;
        if breaker.state == BreakerState::Closed {
            breaker.since = now;
            breaker.trips = 0;
        }
        breaker.trips = breaker.trips.saturating_add(1);
        let doublings = breaker.trips.saturating_sub(1).min(16);
        let pause = (FIRST_OPEN << doublings).min(LONGEST_OPEN);
        let pause = pause + rng.random_range(0..=pause / 4);
        let asked = not_before.map_or(0, |ms| i64::try_from(ms).unwrap_or(i64::MAX));
        breaker.until = Some(now.saturating_add(pause.max(asked)));
        breaker.state = BreakerState::Open;
        breaker.reason = reason;
        self.row = 0;
        self.halves = [Half::default(); 2];
        self.trial = None;
        self.trying = false;
        self.is_news = true;
    }

    /// As if nothing had been.
    pub(super) fn close(&mut self) {
        self.breaker = Breaker {
            connections: std::mem::take(&mut self.breaker.connections),
            ..Breaker::default()
        };
        self.row = 0;
        self.halves = [Half::default(); 2];
        self.trial = None;
        self.trying = false;
        self.is_news = true;
    }

    /// A request of a trial was never sent after all.
    pub(super) fn unsent(&mut self) {
        self.trying = false;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    const NOW: i64 = 1_700_000_000_000;

    fn erp() -> Name {
        "erp".parse().unwrap()
    }

    fn ended(watch: &mut Watch, ending: Ending, now: i64) -> bool {
        let mut rng = StdRng::seed_from_u64(1);
        watch.ended(ending, || "no connection".to_owned(), None, now, &mut rng)
    }

    fn open() -> Watch {
        let mut watch = Watch::default();
        watch.used_by(&erp(), NOW);
        for _ in 0..ROW {
            ended(&mut watch, Ending::Down, NOW);
        }
        watch.is_news = false;
        watch
    }

    fn trial(watch: &mut Watch, now: i64) {
        assert!(watch.is_over(now));
        let half_open = Breaker {
            state: BreakerState::HalfOpen,
            until: Some(now + 90_000),
            ..watch.breaker.clone()
        };
        let trial = Trial {
            connection: erp(),
            unit: "deliver/orders".to_owned(),
        };
        watch.tried(half_open, trial);
    }

    #[test]
    fn what_an_answer_means() {
        for (status, ending) in [
            (200, Ending::Answered),
            (404, Ending::Answered),
            (429, Ending::Answered),
            (500, Ending::Faulty),
            (501, Ending::Faulty),
            (502, Ending::Down),
            (503, Ending::Down),
            (504, Ending::Down),
            (599, Ending::Faulty),
        ] {
            assert_eq!(Ending::of_status(status), ending, "{status}");
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_an_answer_ends_the_row() {
        let mut watch = Watch::default();
        for _ in 0..ROW - 1 {
            assert!(!ended(&mut watch, Ending::Down, NOW));
        }
        assert!(!ended(&mut watch, Ending::Faulty, NOW), "does not end the row");
        assert!(!ended(&mut watch, Ending::Answered, NOW));
        for _ in 0..ROW - 1 {
            assert!(!ended(&mut watch, Ending::Down, NOW));
        }
        assert_eq!(watch.admission(&erp(), NOW), Admission::Yes);
        assert!(ended(&mut watch, Ending::Down, NOW));
        assert_eq!(
            (watch.breaker.state, watch.breaker.since),
            (BreakerState::Open, NOW)
        );
        assert!(watch.breaker.reason.contains("no connection") && watch.is_news);
        let until = watch.breaker.until.unwrap();
        assert!((NOW + FIRST_OPEN..=NOW + FIRST_OPEN * 5 / 4).contains(&until));
        assert_eq!(watch.admission(&erp(), NOW + 10), Admission::No(until));
        assert!(
            !ended(&mut watch, Ending::Answered, NOW),
            "a late answer changes nothing"
        );
        assert!(!watch.is_over(until - 1) && watch.is_over(until));
    }

    #[test]
    fn so_does_a_share_of_many() {
        let mut watch = Watch::default();
        for n in 0..SAMPLE - 1 {
            let ending = if n % 4 == 0 {
                Ending::Answered
            } else {
                Ending::Faulty
            };
            assert!(!ended(&mut watch, ending, NOW), "{n}");
        }
        assert!(ended(&mut watch, Ending::Faulty, NOW));
        assert!(
            watch.breaker.reason.contains("15 of the last 20"),
            "{}",
            watch.breaker.reason
        );
        // The same within a longer time says nothing.
        let mut watch = Watch::default();
        for n in 0..200 {
            let ending = if n % 4 == 0 {
                Ending::Answered
            } else {
                Ending::Faulty
            };
            assert!(!ended(&mut watch, ending, NOW + n * 2_000), "{n}");
        }
    }

    #[test]
    fn one_request_at_a_time_tries_it_and_a_few_answers_close_it() {
        let mut watch = open();
        let now = watch.breaker.until.unwrap();
        trial(&mut watch, now);
        let other: Name = "other".parse().unwrap();
        assert!(matches!(watch.admission(&other, now), Admission::No(_)));
        assert!(watch.is_tried_by(&erp(), "deliver/orders", now));
        assert!(!watch.is_tried_by(&erp(), "deliver/stock", now));
        for answer in 1..=ENOUGH {
            assert_eq!(watch.admission(&erp(), now), Admission::Yes);
            watch.sent();
            assert!(
                matches!(watch.admission(&erp(), now), Admission::No(_)),
                "one is under way"
            );
            assert_eq!(ended(&mut watch, Ending::Answered, now), answer == ENOUGH);
        }
        assert_eq!(watch.breaker.state, BreakerState::Closed);
        assert_eq!((watch.breaker.trips, watch.breaker.connections.len()), (0, 1));
    }

    #[test]
    fn a_trial_that_fails_doubles_the_pause_up_to_a_minute() {
        let mut watch = open();
        for trip in 1..12_u32 {
            let now = watch.breaker.until.unwrap();
            trial(&mut watch, now);
            watch.sent();
            let ending = if trip % 2 == 0 {
                Ending::Down
            } else {
                Ending::Faulty
            };
            assert!(ended(&mut watch, ending, now));
            watch.is_news = false;
            let pause = (FIRST_OPEN << trip).min(LONGEST_OPEN);
            let waits = watch.breaker.until.unwrap() - now;
            assert!((pause..=pause * 5 / 4).contains(&waits), "{trip}: {waits}");
            assert_eq!((watch.breaker.since, watch.breaker.trips), (NOW, trip + 1));
        }
    }

    #[test]
    fn a_host_that_asks_for_time_gets_it() {
        let mut watch = open();
        let now = watch.breaker.until.unwrap();
        trial(&mut watch, now);
        let mut rng = StdRng::seed_from_u64(1);
        watch.ended(Ending::Down, || "503".to_owned(), Some(600_000), now, &mut rng);
        assert_eq!(watch.breaker.until, Some(now + 600_000));
    }

    #[test]
    fn a_trial_elsewhere_is_not_this_ones() {
        let mut watch = open();
        let now = watch.breaker.until.unwrap();
        let half_open = Breaker {
            state: BreakerState::HalfOpen,
            until: Some(now + 5_000),
            ..watch.breaker.clone()
        };
        watch.learn(half_open);
        assert_eq!(watch.admission(&erp(), now), Admission::No(now + 5_000));
        assert!(!ended(&mut watch, Ending::Answered, now));
        assert!(
            !watch.is_over(now + 4_999) && watch.is_over(now + 5_000),
            "given up"
        );
        watch.learn(Breaker::default());
        assert_eq!(watch.admission(&erp(), now), Admission::Yes);
        assert!(watch.is_used_by(&erp()));
    }

    proptest! {
        /// Whatever happens: nothing is admitted while it is open, its time always comes, and it never stays open for longer than asked.
        #[test]
        fn it_never_locks_anybody_out_for_good(
            steps in prop::collection::vec((0_u8..4, 0_i64..20_000), 1..300), seed in any::<u64>(),
        ) {
            let (mut watch, mut now, mut rng) = (Watch::default(), NOW, StdRng::seed_from_u64(seed));
            for (what, passed) in steps {
                now += passed;
                watch.is_news = false;
                if watch.is_over(now) {
                    trial(&mut watch, now);
                }
                match watch.admission(&erp(), now) {
                    Admission::Yes => {
                        watch.sent();
                        let ending = match what {
                            0 => Ending::Answered,
                            1 => Ending::Faulty,
                            _ => Ending::Down,
                        };
                        watch.ended(ending, String::new, None, now, &mut rng);
                    }
                    Admission::No(until) => {
                        prop_assert_eq!(watch.breaker.state, BreakerState::Open);
                        prop_assert!(until > now && until - now <= LONGEST_OPEN * 5 / 4);
                    }
                }
            }
        }
    }
}
