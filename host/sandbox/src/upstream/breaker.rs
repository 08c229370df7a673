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
#[path = "breaker_tests.rs"]
mod tests;
