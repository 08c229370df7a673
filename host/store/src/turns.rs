//! Turns at the database's writers, tenant by tenant.
//!
//! SQLite has one writer and a pool of Postgres has a few. Handed out in the order in which they are asked for, a tenant that has a hundred
//! writes waiting would get a hundred turns before its neighbour's next one. So what tenants write all day goes through here: as long as a place
//! is free, whoever comes gets it; else the places go to the tenant that has had least of them lately, in time and for its weight
//! (start-time fair queueing, Goyal, Vin and Cheng, SIGCOMM 1996). Within a tenant, the longest waiting comes first.
//!
//! Nobody starves: whoever waits keeps his start time, and every turn that others get moves theirs on.

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use stecker_model::{Name, TenantLimits};
use tokio::sync::oneshot;

/// What a turn is reckoned to cost until it is known, in nanoseconds.
const RECKONED: i128 = 1_000_000;
/// What a turn costs at least, so that time always goes on.
const LEAST: i128 = 20_000;
/// What a tenant that did not write may make up for: enough for one that comes back again and again to get its part, and too little to take from
/// others for long.
const SAVED_UP: i128 = 20_000_000;
/// However long a turn takes, it is reckoned at most this, in nanoseconds: an hour.
const LONGEST: u128 = 3_600_000_000_000;

/// The turns of all tenants that have something to write.
#[derive(Debug)]
pub(crate) struct Turns(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    places: usize,
    lines: Mutex<Lines>,
}

/// A tenant's turn, for as long as this is kept.
#[derive(Debug)]
pub(crate) struct Turn {
    shared: Arc<Shared>,
    tenant: Name,
    since: Instant,
}

#[derive(Debug, Default)]
struct Lines {
    taken: usize,
    /// The start time of the last turn.
    now: i128,
    by_tenant: HashMap<Name, Line>,
    /// The first of each line that waits, by when its turn begins.
    heads: BTreeSet<(i128, u64, Name)>,
    /// Weights that are not the usual one.
    weights: HashMap<Name, u32>,
    next_ticket: u64,
}

#[derive(Debug, Default)]
struct Line {
    /// When its next turn begins, in nanoseconds of a writer's time at the usual weight.
    start: i128,
    taken: usize,
    waiting: VecDeque<(u64, oneshot::Sender<Turn>)>,
}

impl Turns {
    /// For so many writers.
    pub(crate) fn new(places: usize) -> Self {
        Self(Arc::new(Shared {
            places: places.max(1),
            lines: Mutex::default(),
        }))
    }

    /// Waits until it is the tenant's turn for this one of its writes. Given up by dropping the future.
    pub(crate) async fn of(&self, tenant: &Name) -> Turn {
        loop {
            let waiting = match self.0.enter(tenant) {
                Ok(turn) => return turn,
                Err(waiting) => waiting,
            };
            // Only fails when all lines are gone, and these are kept here.
            if let Ok(turn) = waiting.await {
                return turn;
            }
        }
    }

    /// What a tenant may have, from what was read of it a moment ago.
    pub(crate) fn weigh(&self, tenant: &Name, weight: u32) {
        let mut lines = self.0.lock();
        if weight == TenantLimits::USUAL_WEIGHT {
            lines.weights.remove(tenant);
        } else {
            lines.weights.insert(tenant.clone(), weight);
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        self.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(self: &Arc<Self>, tenant: &Name) -> Result<Turn, oneshot::Receiver<Turn>> {
        let mut lines = self.lock();
        if lines.taken < self.places {
            lines.begin(tenant);
            return Ok(self.turn(tenant));
        }
        Err(lines.wait(tenant))
    }

    fn turn(self: &Arc<Self>, tenant: &Name) -> Turn {
        Turn {
            shared: Arc::clone(self),
            tenant: tenant.clone(),
            since: Instant::now(),
        }
    }

    fn leave(self: &Arc<Self>, tenant: &Name, took: Duration) {
        let next = {
            let mut lines = self.lock();
            lines.end(tenant, took);
            if lines.taken >= self.places {
                return;
            }
            lines.next()
        };
        if let Some((next, sender)) = next {
            // If nobody waits for it any more, it ends at once, and goes on from there.
            drop(sender.send(self.turn(&next)));
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.shared.leave(&self.tenant, self.since.elapsed());
    }
}

impl Lines {
    /// Nanoseconds of a writer's time at the tenant's weight.
    fn cost(&self, tenant: &Name, nanos: i128) -> i128 {
        let usual = TenantLimits::USUAL_WEIGHT;
        let weight = self.weights.get(tenant).copied().unwrap_or(usual);
        nanos * i128::from(usual) / i128::from(weight.max(1))
    }

    /// Changes a tenant's line, and its place among those who wait.
    fn change(&mut self, tenant: &Name, change: impl FnOnce(&mut Line)) {
        let line = self.by_tenant.entry(tenant.clone()).or_default();
        if let Some(head) = line.head(tenant) {
            self.heads.remove(&head);
        }
        change(line);
        if let Some(head) = line.head(tenant) {
            self.heads.insert(head);
        }
    }

    fn wait(&mut self, tenant: &Name) -> oneshot::Receiver<Turn> {
        let (sender, receiver) = oneshot::channel();
        let (ticket, now) = (self.next_ticket, self.now);
        self.next_ticket += 1;
        self.change(tenant, |line| {
            line.start = line.start.max(now - SAVED_UP);
            line.waiting.push_back((ticket, sender));
        });
        receiver
    }

    fn begin(&mut self, tenant: &Name) {
        let (cost, mut now) = (self.cost(tenant, RECKONED), self.now);
        self.change(tenant, |line| {
            let start = line.start.max(now - SAVED_UP);
            line.start = start + cost;
            now = start.max(now);
            line.taken += 1;
        });
        self.now = now;
        self.taken += 1;
    }

    fn end(&mut self, tenant: &Name, took: Duration) {
        let nanos = i128::try_from(took.as_nanos().min(LONGEST)).unwrap_or(RECKONED);
        let correction = self.cost(tenant, nanos.max(LEAST)) - self.cost(tenant, RECKONED);
        self.taken = self.taken.saturating_sub(1);
        self.change(tenant, |line| {
            line.start += correction;
            line.taken = line.taken.saturating_sub(1);
        });
        if self.taken == 0 && self.heads.is_empty() {
            // A busy time is over, and nobody has to make up for it in the next one.
            self.by_tenant.clear();
        }
    }

    /// Begins the turn of whoever comes next of those who wait.
    fn next(&mut self) -> Option<(Name, oneshot::Sender<Turn>)> {
        loop {
            let (_, _, tenant) = self.heads.first()?.clone();
            let mut sender = None;
            self.change(&tenant, |line| sender = line.waiting.pop_front());
            if let Some((_, sender)) = sender
                && !sender.is_closed()
            {
                self.begin(&tenant);
                return Some((tenant, sender));
            }
        }
    }
}

impl Line {
    /// Its place among those who wait, if it does.
    fn head(&self, tenant: &Name) -> Option<(i128, u64, Name)> {
        let (ticket, _) = self.waiting.front()?;
        Some((self.start, *ticket, tenant.clone()))
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;
    use proptest::prelude::*;

    use super::*;

    fn name(text: &str) -> Name {
        text.parse().unwrap()
    }

    fn is_idle(turns: &Turns) -> bool {
        let lines = turns.0.lock();
        lines.taken == 0 && lines.heads.is_empty()
    }

    #[tokio::test]
    async fn nobody_waits_while_a_place_is_free() {
        let turns = Turns::new(2);
        let (a, b) = (name("a"), name("b"));
        let (first, second) = (turns.of(&a).await, turns.of(&a).await);
        let mut third = Box::pin(turns.of(&b));
        assert!((&mut third).now_or_never().is_none());
        drop(first);
        assert!((&mut third).now_or_never().is_some());
        drop(second);
        assert!(is_idle(&turns));
    }

    #[tokio::test]
    async fn a_newcomer_does_not_wait_for_everything_that_others_have_waiting() {
        let turns = Turns::new(1);
        let (noisy, quiet) = (name("noisy"), name("quiet"));
        let held = turns.of(&noisy).await;
        let mut many: Vec<_> = (0..100).map(|_| Box::pin(turns.of(&noisy))).collect();
        for waiting in &mut many {
            assert!(waiting.now_or_never().is_none());
        }
        let mut newcomer = Box::pin(turns.of(&quiet));
        assert!((&mut newcomer).now_or_never().is_none());
        drop(held);
        assert!((&mut newcomer).now_or_never().is_some(), "it had none so far");
    }

    #[tokio::test]
    async fn who_does_not_wait_any_more_is_passed_over() {
        let turns = Turns::new(1);
        let [a, b, c, d] = ["a", "b", "c", "d"].map(name);
        let held = turns.of(&a).await;
        let mut gone = Box::pin(turns.of(&b));
        let mut next = Box::pin(turns.of(&c));
        assert!((&mut gone).now_or_never().is_none() && (&mut next).now_or_never().is_none());
        drop(gone);
        drop(held);
        let granted_and_gone = next;
        drop(granted_and_gone);
        assert!(turns.of(&d).now_or_never().is_some());
        assert!(is_idle(&turns));
    }

    #[tokio::test]
    async fn lines_in_which_nobody_stands_are_forgotten() {
        let turns = Turns::new(1);
        for n in 0..10_000 {
            drop(turns.of(&name(&format!("tenant-{n}"))).await);
        }
        let lines = turns.0.lock();
        assert!(lines.by_tenant.is_empty(), "{}", lines.by_tenant.len());
    }

    /// Turns that each tenant gets of `turns`, when all of them always have something waiting and every write takes as long as is said.
    fn served(tenants: &[(u32, u64)], turns: usize) -> Vec<usize> {
        let names: Vec<Name> = (0..tenants.len()).map(|n| name(&format!("t{n}"))).collect();
        let mut lines = Lines::default();
        for (name, (weight, _)) in names.iter().zip(tenants) {
            lines.weights.insert(name.clone(), *weight);
        }
        let mut receivers: Vec<_> = names.iter().map(|name| lines.wait(name)).collect();
        let mut counts = vec![0; tenants.len()];
        for _ in 0..turns {
            let (tenant, sender) = lines.next().unwrap();
            let n = names.iter().position(|name| *name == tenant).unwrap();
            counts[n] += 1;
            lines.end(&tenant, Duration::from_micros(tenants[n].1));
            receivers[n] = lines.wait(&tenant);
            drop(sender);
        }
        counts
    }

    #[test]
    fn time_is_shared_by_weight() {
        assert_eq!(served(&[(100, 1_000), (100, 1_000)], 100), [50, 50]);
        let counts = served(&[(100, 1_000), (300, 1_000)], 400);
        assert!(counts[0].abs_diff(100) <= 2, "{counts:?}");
        // Whoever writes ten times as long gets a tenth of the turns.
        let counts = served(&[(100, 10_000), (100, 1_000)], 1_100);
        assert!(counts[0].abs_diff(100) <= 12, "{counts:?}");
    }

    proptest! {
        /// However heavy the others are: a tenant gets at least nearly its part of the time, so nobody starves.
        #[test]
        fn nobody_starves(tenants in prop::collection::vec((1_u32..10_000, 1_u64..50_000), 2..8)) {
            let all: u64 = tenants.iter().map(|(weight, _)| u64::from(*weight)).sum();
            let turns = 4_000;
            let counts = served(&tenants, turns);
            let time = |n: usize| counts[n] as u64 * tenants[n].1.max(20);
            let total: u64 = (0..tenants.len()).map(time).sum();
            for (n, (weight, took)) in tenants.iter().enumerate() {
                let part = total * u64::from(*weight) / all;
                // What it may be short of: one write of each of the others, and one of its own.
                let slack: u64 = tenants.iter().map(|(_, took)| (*took).max(1_000) * 2 + 20_000).sum::<u64>() + took;
                prop_assert!(time(n) + slack >= part, "{n}: {} of {part}, {counts:?}", time(n));
            }
        }
    }
}
