//! How many requests of an account may go now: by what was configured, by what its system said, and by what it asked for. Pure.
//!
//! The configured budget comes in slices from whoever counts for all nodes; a slice that is not used within a second is given up, so that no
//! node hoards. What the system says is believed, with the requests that are under way taken off: while half of a window is left, requests go
//! as they come; below, the rest is spread over the time until the reset, because a system that has none left refuses everybody.

use stecker_model::{
    Priority, Slice, UpstreamBudget,
    api::{UpstreamHold, UpstreamLearned},
};

use super::headers::{LONGEST_MS, Said, Window};

/// How long a slice is good for, in milliseconds.
const SLICE_MS: i64 = 1_000;
/// How long a window is believed that does not say when it is over.
const UNSAID_RESET_MS: u64 = 5_000;
/// The first pause after a 429 that does not say how long, in milliseconds; it doubles with each in a row.
const FIRST_REFUSAL: u64 = 1_000;
/// The longest of those.
const LONGEST_REFUSAL: u64 = 60_000;
/// A hold that ends so much later than the one before is worth telling others, in milliseconds.
const WORTH_TELLING: i64 = 250;

/// What has to wait for longer than this for its first request should not even begin, in milliseconds: it would run out of its time.
const TOO_LONG: i64 = 5_000;

/// Whether a request may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ready {
    Now,
    /// Not before this moment.
    At(i64),
    /// When so many tokens were asked for.
    Fetch(u32),
}

#[derive(Debug, Clone)]
struct Learned {
    shown: UpstreamLearned,
    each_ms: Option<i64>,
}

/// The bucket of one account in this process.
#[derive(Debug, Clone, Default)]
pub(super) struct Bucket {
    budget: Option<UpstreamBudget>,
    tokens: u32,
    tokens_until: i64,
    /// What whoever counts for all had left, and when.
    left: (u32, i64),
    no_token_before: i64,
    learned: Option<Learned>,
    /// The next one of a window that is spread.
    next_at: i64,
    hold: Option<UpstreamHold>,
    /// Others do not know of the last hold yet.
    pub(super) is_news: bool,
    /// 429 in a row that did not say how long.
    refusals: u32,
    in_flight: u64,
}

impl Bucket {
    pub(super) fn set_budget(&mut self, budget: Option<UpstreamBudget>) {
        if self.budget != budget {
            self.budget = budget;
            (self.tokens, self.no_token_before) = (0, 0);
            self.left = (budget.map_or(0, |budget| budget.burst), 0);
        }
    }

    pub(super) const fn budget(&self) -> Option<&UpstreamBudget> {
        self.budget.as_ref()
    }

    /// Until when nothing goes, if that is asked for.
    pub(super) fn hold(&self, now: i64) -> Option<&UpstreamHold> {
        self.hold.as_ref().filter(|hold| hold.until > now)
    }

    /// As [`Bucket::hold`]; or nothing is left for longer than whoever begins now can wait.
    pub(super) fn rest(&self, now: i64) -> Option<UpstreamHold> {
        if let Some(hold) = self.hold(now) {
            return Some(hold.clone());
        }
        let Ready::At(until) = self.ready(now, None) else {
            return None;
        };
        let (since, reason) = match self.learned(now) {
            Some(learned) if learned.left == 0 => {
                (learned.at, format!("{} says that none are left", learned.header))
            }
            _ => (now, "its budget is used up".to_owned()),
        };
        (until.saturating_sub(now) > TOO_LONG).then_some(UpstreamHold { since, until, reason })
    }

    pub(super) fn learned(&self, now: i64) -> Option<&UpstreamLearned> {
        let learned = self.learned.as_ref().map(|learned| &learned.shown);
        learned.filter(|learned| learned.reset_at > now)
    }

    /// What is left of the configured budget by now, as far as this process knows.
    fn budget_left(&self, budget: &UpstreamBudget, now: i64) -> i64 {
        let (left, at) = self.left;
        let grown = now.saturating_sub(at).max(0).saturating_mul(1_000) / budget.interval_us();
        let there = i64::from(left).saturating_add(grown).min(i64::from(budget.burst));
        there.saturating_add(i64::from(self.tokens))
    }

    /// Whether the next request may go. `keeps`: the priority whose share it has to leave to others, if others are about.
    pub(super) fn ready(&self, now: i64, keeps: Option<Priority>) -> Ready {
        if let Some(hold) = self.hold(now) {
            return Ready::At(hold.until);
        }
        if let Some(learned) = &self.learned
            && learned.shown.reset_at > now
        {
            let (left, reset_at) = (learned.shown.left, learned.shown.reset_at);
            let back_at = learned
                .each_ms
                .map_or(reset_at, |each| now.saturating_add(each).min(reset_at));
            let limit = learned.shown.limit.unwrap_or(0);
            if left == 0 || spares(keeps, left, limit) {
                return Ready::At(back_at);
            }
            if self.next_at > now {
                return Ready::At(self.next_at.min(reset_at));
            }
        }
        let Some(budget) = &self.budget else {
            return Ready::Now;
        };
        let left = u64::try_from(self.budget_left(budget, now)).unwrap_or(0);
        if spares(keeps, left, budget.burst.into()) {
            let soon = budget.interval_us() / 1_000 + 1;
            return Ready::At(now.saturating_add(soon));
        }
        if self.tokens > 0 && self.tokens_until > now {
            return Ready::Now;
        }
        if self.no_token_before > now {
            return Ready::At(self.no_token_before);
        }
        Ready::Fetch(slice_of(budget))
    }

    /// A slice came.
    pub(super) fn filled(&mut self, slice: Slice, now: i64) {
        if self.tokens_until <= now {
            self.tokens = 0;
        }
        self.tokens = self.tokens.saturating_add(slice.tokens);
        self.tokens_until = now.saturating_add(SLICE_MS);
        self.left = (slice.left, now);
        self.no_token_before = now.saturating_add(slice.wait_ms.max(0));
    }

    /// None came, for some reason that passes.
    pub(super) const fn unfilled(&mut self, now: i64) {
        self.no_token_before = now.saturating_add(SLICE_MS);
    }

    /// A request goes.
    pub(super) fn sent(&mut self, now: i64) {
        self.tokens = self.tokens.saturating_sub(1);
        self.in_flight = self.in_flight.saturating_add(1);
        if let Some(learned) = &mut self.learned
            && learned.shown.reset_at > now
        {
            let shown = &mut learned.shown;
            shown.left = shown.left.saturating_sub(1);
            if shown
                .limit
                .is_some_and(|limit| shown.left.saturating_mul(2) < limit)
            {
                let left = i64::try_from(shown.left).unwrap_or(i64::MAX);
                let spread = shown.reset_at.saturating_sub(now) / left.saturating_add(1);
                self.next_at = now.saturating_add(learned.each_ms.unwrap_or(spread));
            }
        }
    }

    /// A request ended without an answer, or was never sent.
    pub(super) const fn ended(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }

    /// A request was answered.
    pub(super) fn answered(&mut self, status: u16, said: &Said, now: i64) {
        self.ended();
        if let Some(window) = &said.window {
            self.believe(window, now);
        }
        if status != 429 && !(status == 503 && said.retry_after_ms.is_some()) {
            self.refusals = 0;
            return;
        }
        let used_up = said.window.as_ref().filter(|window| window.left == 0);
        let asked = said
            .retry_after_ms
            .or_else(|| used_up.and_then(|window| window.reset_ms));
        let (pause, how) = match asked {
            Some(pause) => (pause, format!("{status}, which asked for {pause} ms")),
            None => {
                let pause = (FIRST_REFUSAL << self.refusals.min(6)).min(LONGEST_REFUSAL);
                self.refusals = self.refusals.saturating_add(1);
                (pause, format!("{status}, which did not say how long"))
            }
        };
        let until = now.saturating_add(i64::try_from(pause).unwrap_or(i64::MAX));
        let before = self.hold(now).cloned();
        if before.as_ref().is_none_or(|before| until > before.until) {
            self.is_news |= before
                .as_ref()
                .is_none_or(|before| until > before.until.saturating_add(WORTH_TELLING));
            self.hold = Some(UpstreamHold {
                since: before.map_or(now, |before| before.since),
                until,
                reason: how,
            });
        }
    }

    fn believe(&mut self, window: &Window, now: i64) {
        let reset_ms = window.reset_ms.unwrap_or(UNSAID_RESET_MS).min(LONGEST_MS);
        let before = self.learned(now).and_then(|learned| learned.limit);
        // Who does not say how much a whole window is has at least as much as it ever said was left.
        let limit = window
            .limit
            .or_else(|| Some(before.unwrap_or(0).max(window.left)));
        self.learned = Some(Learned {
            shown: UpstreamLearned {
                header: window.header.to_owned(),
                limit,
                left: window.left.saturating_sub(self.in_flight),
                reset_at: now.saturating_add(i64::try_from(reset_ms).unwrap_or(i64::MAX)),
                at: now,
            },
            each_ms: window.each_ms.and_then(|ms| i64::try_from(ms).ok()),
        });
    }

    /// What others know of a hold, unless this process has news itself.
    pub(super) fn learn_hold(&mut self, hold: Option<UpstreamHold>) {
        if !self.is_news {
            self.hold = hold;
        }
    }

    /// Everything that was learned is forgotten.
    pub(super) fn forget(&mut self) {
        self.hold = None;
        self.is_news = false;
        self.learned = None;
        self.next_at = 0;
        self.refusals = 0;
    }
}

/// Half a second's worth, so that a busy account asks twice a second and no more.
fn slice_of(budget: &UpstreamBudget) -> u32 {
    let half_second = 500_000 / budget.interval_us();
    u32::try_from(half_second)
        .unwrap_or(u32::MAX)
        .clamp(1, budget.burst.max(1))
}

/// Whether what is left is spared for what is more urgent.
fn spares(keeps: Option<Priority>, left: u64, limit: u64) -> bool {
    match keeps {
        None | Some(Priority::High) => false,
        Some(Priority::Normal) => left.saturating_mul(5) < limit,
        Some(Priority::Low) => left.saturating_mul(2) < limit,
    }
}

#[cfg(test)]
#[path = "bucket_tests.rs"]
mod tests;
