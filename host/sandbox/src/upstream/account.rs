//! One account in this process: its bucket, its line, its hosts. Pure, but for the dice.

use std::collections::BTreeMap;

use rand::Rng;
use stecker_model::{
    Name, Priority, Slice, UpstreamBudget,
    api::{Breaker, BreakerState, UpstreamHold, UpstreamLearned},
};

use super::{
    breaker::{Admission, Ending, Trial, Watch},
    bucket::{Bucket, Ready},
    headers::Said,
    line::Line,
};

/// Hosts that are watched at the same time. A grant with a wildcard lets a plugin name as many as it likes.
const HOSTS: usize = 64;

/// How it stands with an account, for a connection that wants to begin something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look {
    /// Nothing is in the way.
    Clear,
    /// Nothing is sent before this is over: the system asked for that, or the budget is used up for long.
    Held(UpstreamHold),
    /// A host that the connection uses is down, and it is not the time or not the asker's business to try it.
    Down {
        /// Which.
        host: String,
        /// Its breaker.
        breaker: Breaker,
    },
    /// A host that the connection uses is down, and the time to try it has come.
    Due {
        /// Which.
        host: String,
        /// Its breaker.
        breaker: Breaker,
    },
    /// The asker is the one that tries a host.
    Trying {
        /// Which.
        host: String,
        /// Its breaker.
        breaker: Breaker,
    },
}

/// What this process knows of an account, for people.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct UpstreamView {
    /// Until when nothing is sent.
    pub hold: Option<UpstreamHold>,
    /// What was configured.
    pub budget: Option<UpstreamBudget>,
    /// What was learned.
    pub learned: Option<UpstreamLearned>,
    /// The hosts that requests went to, with their breakers.
    pub hosts: Vec<(String, Breaker)>,
    /// Requests that wait now.
    pub waiting: u64,
    /// Requests that had to wait.
    pub waited: u64,
    /// Milliseconds that they waited in all.
    pub waited_ms: u64,
}

/// Whether a request may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    Now,
    /// Not before this moment, as far as is known; none: others are first.
    Wait(Option<i64>),
    Fetch(u32),
    /// Its host is down.
    Down(Breaker),
}

/// A request that waits.
#[derive(Debug, Clone, Copy)]
pub(super) struct Waiting {
    pub(super) ticket: u64,
    pub(super) priority: Priority,
    pub(super) since: i64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Account {
    bucket: Bucket,
    line: Line,
    hosts: BTreeMap<String, Watch>,
    /// Somebody asks for tokens.
    pub(super) is_fetching: bool,
    waited: u64,
    waited_ms: u64,
}

impl Account {
    pub(super) fn set_budget(&mut self, budget: Option<UpstreamBudget>) {
        self.bucket.set_budget(budget);
    }

    pub(super) const fn budget(&self) -> Option<&UpstreamBudget> {
        self.bucket.budget()
    }

    pub(super) fn join(&mut self, priority: Priority, now: i64) -> Waiting {
        Waiting {
            ticket: self.line.join(priority, now),
            priority,
            since: now,
        }
    }

    pub(super) fn leave(&mut self, waiting: Waiting) {
        self.line.leave(waiting.ticket);
    }

    /// Whether a host may be asked, whatever the budget says.
    pub(super) fn may_ask(&self, connection: &Name, host: &str, now: i64) -> Result<(), Breaker> {
        let watch = self.hosts.get(host);
        match watch.map(|watch| (watch, watch.admission(connection, now))) {
            Some((watch, Admission::No(_))) => Err(watch.breaker.clone()),
            _ => Ok(()),
        }
    }

    /// Whether a request that waits may go now.
    pub(super) fn turn(&self, waiting: Waiting, connection: &Name, host: &str, now: i64) -> Turn {
        if let Err(breaker) = self.may_ask(connection, host, now) {
            return Turn::Down(breaker);
        }
        if !self.line.is_first(waiting.ticket) {
            return Turn::Wait(self.bucket.hold(now).map(|hold| hold.until));
        }
        let keeps = self.line.keeps(waiting.priority, waiting.since, now);
        match self.bucket.ready(now, keeps) {
            Ready::Now => Turn::Now,
            Ready::At(at) => Turn::Wait(Some(at)),
            Ready::Fetch(_) if self.is_fetching => Turn::Wait(None),
            Ready::Fetch(wanted) => Turn::Fetch(wanted),
        }
    }

    /// A request whose turn it is goes.
    pub(super) fn go(&mut self, waiting: Waiting, connection: &Name, host: &str, now: i64) {
        self.line.leave(waiting.ticket);
        let waited = u64::try_from(now.saturating_sub(waiting.since)).unwrap_or(0);
        if waited > 0 {
            self.waited += 1;
            self.waited_ms = self.waited_ms.saturating_add(waited);
        }
        self.bucket.sent(now);
        self.ask(connection, host, now);
    }

    /// A host is asked.
    pub(super) fn ask(&mut self, connection: &Name, host: &str, now: i64) {
        if !self.hosts.contains_key(host) && self.hosts.len() >= HOSTS {
            let oldest = self
                .hosts
                .iter()
                .filter(|(_, watch)| watch.is_quiet())
                .min_by_key(|(_, watch)| watch.used_at)
                .map(|(host, _)| host.clone());
            // Where all of them are in trouble, one more is not watched.
            let Some(oldest) = oldest else { return };
            self.hosts.remove(&oldest);
        }
        let watch = self.hosts.entry(host.to_owned()).or_default();
        watch.used_by(connection, now);
        watch.sent();
    }

    pub(super) fn filled(&mut self, slice: Option<Slice>, now: i64) {
        self.is_fetching = false;
        match slice {
            Some(slice) => self.bucket.filled(slice, now),
            None => self.bucket.unfilled(now),
        }
    }

    /// A request was answered.
    pub(super) fn answered(
        &mut self,
        host: &str,
        (status, said): (u16, &Said),
        counts: bool,
        now: i64,
        rng: &mut impl Rng,
    ) {
        if counts {
            self.bucket.answered(status, said, now);
        }
        if let Some(watch) = self.hosts.get_mut(host) {
            let reason = || format!("it answered {status}");
            watch.ended(Ending::of_status(status), reason, said.retry_after_ms, now, rng);
        }
    }

    /// A request ended without an answer.
    pub(super) fn lost(&mut self, host: &str, reason: &str, counts: bool, now: i64, rng: &mut impl Rng) {
        if counts {
            self.bucket.ended();
        }
        if let Some(watch) = self.hosts.get_mut(host) {
            watch.ended(Ending::Down, || reason.to_owned(), None, now, rng);
        }
    }

    /// A request was not sent after all, or its ending says nothing about its host.
    pub(super) fn unsent(&mut self, host: &str, counts: bool) {
        if counts {
            self.bucket.ended();
        }
        if let Some(watch) = self.hosts.get_mut(host) {
            watch.unsent();
        }
    }

    pub(super) fn look(&self, connection: &Name, unit: &str, now: i64) -> Look {
        if let Some(rest) = self.bucket.rest(now) {
            return Look::Held(rest);
        }
        let mut trying = Look::Clear;
        for (host, watch) in &self.hosts {
            if watch.breaker.state == BreakerState::Closed || !watch.is_used_by(connection) {
                continue;
            }
            let (host, breaker) = (host.clone(), watch.breaker.clone());
            if watch.is_tried_by(connection, unit, now) {
                trying = Look::Trying { host, breaker };
            } else if watch.is_over(now) {
                return Look::Due { host, breaker };
            } else {
                return Look::Down { host, breaker };
            }
        }
        trying
    }

    pub(super) fn tried(&mut self, host: &str, breaker: Breaker, connection: &Name, unit: &str) {
        let trial = Trial {
            connection: connection.clone(),
            unit: unit.to_owned(),
        };
        self.hosts
            .entry(host.to_owned())
            .or_default()
            .tried(breaker, trial);
    }

    /// What others know now: `hosts` are all that are not closed.
    pub(super) fn learn(&mut self, hold: Option<UpstreamHold>, hosts: Vec<(String, Breaker)>) {
        self.bucket.learn_hold(hold);
        for (host, watch) in &mut self.hosts {
            if watch.breaker.state != BreakerState::Closed && !hosts.iter().any(|(known, _)| known == host) {
                watch.learn(Breaker::default());
            }
        }
        for (host, breaker) in hosts {
            match self.hosts.get_mut(&host) {
                Some(watch) => watch.learn(breaker),
                None => {
                    self.hosts.insert(host, Watch::new(breaker));
                }
            }
        }
    }

    /// What others do not know yet; they are as good as told from now on.
    pub(super) fn news(&mut self, now: i64) -> (Option<UpstreamHold>, Vec<(String, Breaker)>) {
        let is_held = std::mem::take(&mut self.bucket.is_news);
        let hold = self.bucket.hold(now).filter(|_| is_held).cloned();
        let mut hosts = Vec::new();
        for (host, watch) in &mut self.hosts {
            if std::mem::take(&mut watch.is_news) {
                hosts.push((host.clone(), watch.breaker.clone()));
            }
        }
        (hold, hosts)
    }

    pub(super) fn has_news(&self) -> bool {
        self.bucket.is_news || self.hosts.values().any(|watch| watch.is_news)
    }

    /// Nothing is held, and no host is down.
    pub(super) fn is_quiet(&self, now: i64) -> bool {
        let mut watches = self.hosts.values();
        self.bucket.rest(now).is_none() && watches.all(|watch| watch.breaker.state == BreakerState::Closed)
    }

    pub(super) fn forget(&mut self) {
        self.bucket.forget();
        for watch in self.hosts.values_mut() {
            watch.close();
            watch.is_news = false;
        }
    }

    pub(super) fn view(&self, now: i64) -> UpstreamView {
        UpstreamView {
            hold: self.bucket.hold(now).cloned(),
            budget: self.bucket.budget().copied(),
            learned: self.bucket.learned(now).cloned(),
            hosts: self
                .hosts
                .iter()
                .map(|(host, watch)| (host.clone(), watch.breaker.clone()))
                .collect(),
            waiting: u64::try_from(self.line.len()).unwrap_or(u64::MAX),
            waited: self.waited,
            waited_ms: self.waited_ms,
        }
    }
}
