//! Whose guest runs next, when there are more guests that want to compute than processors.
//!
//! Guests share the threads of the embedder's runtime. A runtime takes tasks in turn, so a tenant with a hundred endless loops would get a
//! hundred turns for each turn of its neighbour. So every stretch of computing (from one yield to the next, at most a tick of the engine) needs
//! a slot first, and slots are handed out tenant by tenant:
//!
//! - as long as slots are free, whoever comes gets one. A tenant that is alone has as many as there are processors; among several, one
//!   processor is left to the host itself, whose work for all of them would otherwise queue behind whoever computes most;
//! - a tenant of which nothing runs gets one of a few more, at once: the operating system then shares the processors, and a neighbour that
//!   computes little hardly notices those who compute all the time;
//! - else it waits, and a slot that becomes free goes to the tenant with the fewest slots for its weight, and among those to the one that has
//!   computed least since it has been waiting, for its weight. Within a tenant, the longest waiting comes first.
//!
//! A waiting guest costs no thread, and a slot is only held while guest code or a host function really runs, never while a call waits for
//! another system.

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    hash::{BuildHasherDefault, Hasher},
    pin::Pin,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

/// What a tenant that did not compute may make up for: 50 milliseconds at the usual weight. Enough for one that comes back again and again to get
/// its part, and too little to take from others for long.
const SAVED_UP: u128 = 50_000_000 * 100;

/// Names a tenant within one sandbox.
pub(crate) type TenantId = u64;

/// A tenant, and its weight among the others.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Party {
    pub(crate) id: TenantId,
    pub(crate) weight: u32,
}

/// The slots of one sandbox.
#[derive(Debug)]
pub(crate) struct Cpu {
    /// Given to a tenant that is alone; among several it is one less.
    slots: usize,
    /// Given beyond those, each to a tenant of which nothing runs.
    reserve: usize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    running: usize,
    tenants: HashMap<TenantId, Share, BuildHasherDefault<Itself>>,
    next_ticket: u64,
    /// The start of the last stretch that began, in nanoseconds of computing at a weight of 10,000.
    now: u128,
    /// Who came last, and when that was another tenant than before.
    last: Option<TenantId>,
    turned: Option<Instant>,
    /// Given to anybody, at this moment.
    free: usize,
}

/// Hashes a [`TenantId`] to itself: they are counted up by the sandbox, so nobody can choose any that meet.
#[derive(Debug, Default)]
struct Itself(u64);

impl Hasher for Itself {
    fn finish(&self) -> u64 {
        // The map looks at the topmost bits as well as at the lowest.
        self.0 | self.0 << 57
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }

    fn write_u64(&mut self, id: u64) {
        self.0 = id;
    }
}

/// For how long a tenant counts as present after it has computed.
const PRESENT: Duration = Duration::from_secs(1);

/// What one tenant has, waits for, and had.
#[derive(Debug, Default)]
struct Share {
    weight: u32,
    running: usize,
    waiting: VecDeque<Waiting>,
    /// When its next stretch begins, reckoned like [`State::now`]: what it computed moves this on, for its weight (start-time fair queueing,
    /// Goyal, Vin and Cheng, SIGCOMM 1996).
    start: u128,
}

#[derive(Debug)]
struct Waiting {
    ticket: u64,
    waker: Waker,
    /// A slot was handed over; the task has to come and take it, or give it back.
    granted: bool,
}

/// How a stretch of computing stands with the slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Outside,
    InLine(u64),
}

impl Cpu {
    pub(crate) fn new(slots: usize) -> Self {
        let slots = slots.max(1);
        Self {
            slots,
            reserve: slots.max(2),
            state: Mutex::new(State {
                running: 0,
                tenants: HashMap::default(),
                next_ticket: 0,
                now: 0,
                last: None,
                turned: None,
                free: slots,
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the stretch may begin now; if not, `waker` is called once it may.
    fn enter(&self, party: Party, place: &mut Place, waker: &Waker, now: Instant) -> bool {
        let tenant = party.id;
        let mut state = self.lock();
        state.see(tenant, now, self.slots);
        let State {
            running,
            tenants,
            next_ticket,
            free,
            now: virtual_now,
            ..
        } = &mut *state;
        let share = tenants.entry(tenant).or_default();
        share.weight = party.weight;
        share.start = share.start.max(virtual_now.saturating_sub(SAVED_UP));
        if let Place::InLine(ticket) = *place {
            let Some(at) = share.waiting.iter().position(|waiting| waiting.ticket == ticket) else {
                // Never so; but a guest that waits for ever would be the worse answer.
                *place = Place::Outside;
                share.running += 1;
                *running += 1;
                return true;
            };
            if share.waiting.get(at).is_some_and(|waiting| waiting.granted) {
                share.waiting.remove(at);
                *place = Place::Outside;
                return true;
            }
            if let Some(waiting) = share.waiting.get_mut(at) {
                waiting.waker.clone_from(waker);
            }
            return false;
        }
        // Who waits already goes first.
        let in_turn = share.waiting.iter().all(|waiting| waiting.granted);
        let free = *running < *free;
        let reserved = share.running == 0 && *running < self.slots + self.reserve;
        if in_turn && (free || reserved) {
            *virtual_now = share.start;
            share.running += 1;
            *running += 1;
            return true;
        }
        let ticket = *next_ticket;
        *next_ticket += 1;
        share.waiting.push_back(Waiting {
            ticket,
            waker: waker.clone(),
            granted: false,
        });
        *place = Place::InLine(ticket);
        false
    }

    /// The stretch is over.
    fn leave(&self, tenant: TenantId, computed: Duration) {
        let wakers = {
            let mut state = self.lock();
            state.book(tenant, computed);
            state.give_back(tenant, self.slots + self.reserve)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// A task that was in line is gone.
    fn abandon(&self, tenant: TenantId, ticket: u64) {
        let wakers = {
            let mut state = self.lock();
            let granted = state.tenants.get_mut(&tenant).and_then(|share| {
                let at = share
                    .waiting
                    .iter()
                    .position(|waiting| waiting.ticket == ticket)?;
                share.waiting.remove(at).map(|waiting| waiting.granted)
            });
            match granted {
                Some(true) => state.give_back(tenant, self.slots + self.reserve),
                _ => Vec::new(),
            }
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    #[cfg(test)]
    fn is_idle(&self) -> bool {
        let state = self.lock();
        state.running == 0 && state.is_unwanted()
    }
}

impl Share {
    /// What it has for its weight, when its turn is, and who of it came first; none if nobody of it waits.
    fn turn(&self) -> Option<(u64, u128, u64)> {
        let first = self.waiting.iter().find(|waiting| !waiting.granted)?;
        let running = u64::try_from(self.running).unwrap_or(u64::MAX);
        let has = running.saturating_mul(1_000_000) / u64::from(self.weight.max(1));
        Some((has, self.start, first.ticket))
    }
}

impl State {
    /// Notes who comes, and from that how many slots are anybody's.
    fn see(&mut self, tenant: TenantId, now: Instant, slots: usize) {
        if self.last.replace(tenant).is_some_and(|last| last != tenant) {
            self.turned = Some(now);
        }
        let several = self
            .turned
            .is_some_and(|turned| now.saturating_duration_since(turned) < PRESENT);
        self.free = if several { (slots - 1).max(1) } else { slots };
    }

    /// Takes a slot back and hands on what is free now. Returns whom to wake, outside of the lock.
    fn give_back(&mut self, tenant: TenantId, most: usize) -> Vec<Waker> {
        self.running = self.running.saturating_sub(1);
        if let Some(share) = self.tenants.get_mut(&tenant) {
            share.running = share.running.saturating_sub(1);
        }
        let wakers: Vec<Waker> = std::iter::from_fn(|| self.hand_on(most)).collect();
        if self.running == 0 && self.is_unwanted() {
            // A busy time is over, and nobody has to make up for it in the next one.
            self.tenants.clear();
        }
        wakers
    }

    fn is_unwanted(&self) -> bool {
        self.tenants.values().all(|share| share.waiting.is_empty())
    }

    /// A tenant has computed.
    fn book(&mut self, tenant: TenantId, computed: Duration) {
        if let Some(share) = self.tenants.get_mut(&tenant) {
            share.start += computed.as_nanos().max(1) * 10_000 / u128::from(share.weight.max(1));
        }
    }

    fn hand_on(&mut self, most: usize) -> Option<Waker> {
        let (free, reserved) = (self.running < self.free, self.running < most);
        let (_, share) = self
            .tenants
            .values_mut()
            .filter(|share| free || (reserved && share.running == 0))
            .filter_map(|share| Some((share.turn()?, share)))
            .min_by_key(|(turn, _)| *turn)?;
        self.now = self.now.max(share.start);
        let waiting = share.waiting.iter_mut().find(|waiting| !waiting.granted)?;
        waiting.granted = true;
        let waker = waiting.waker.clone();
        share.running += 1;
        self.running += 1;
        Some(waker)
    }
}

/// A future whose every poll needs a slot. Counts how long the polls took.
pub(crate) struct Paced<'a, F> {
    cpu: &'a Cpu,
    party: Party,
    place: Place,
    busy: &'a AtomicU64,
    inner: Pin<Box<F>>,
}

impl<'a, F: Future> Paced<'a, F> {
    /// `busy` is where the microseconds are added to that a thread was busy with `inner`.
    pub(crate) fn new(cpu: &'a Cpu, party: Party, busy: &'a AtomicU64, inner: Pin<Box<F>>) -> Self {
        Self {
            cpu,
            party,
            place: Place::Outside,
            busy,
            inner,
        }
    }
}

/// Gives the slot back however the poll ends; it may panic.
struct Stretch<'a> {
    cpu: &'a Cpu,
    tenant: TenantId,
    busy: &'a AtomicU64,
    since: Instant,
}

impl Drop for Stretch<'_> {
    fn drop(&mut self) {
        let computed = self.since.elapsed();
        let nanos = u64::try_from(computed.as_nanos()).unwrap_or(u64::MAX);
        self.busy.fetch_add(nanos, Ordering::Relaxed);
        self.cpu.leave(self.tenant, computed);
    }
}

impl<F: Future> Future for Paced<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        // Everything in here can be moved; what cannot is boxed.
        let this = self.get_mut();
        let now = Instant::now();
        if !this.cpu.enter(this.party, &mut this.place, cx.waker(), now) {
            return Poll::Pending;
        }
        let _stretch = Stretch {
            cpu: this.cpu,
            tenant: this.party.id,
            busy: this.busy,
            since: now,
        };
        this.inner.as_mut().poll(cx)
    }
}

impl<F> Drop for Paced<'_, F> {
    fn drop(&mut self) {
        if let Place::InLine(ticket) = self.place {
            self.cpu.abandon(self.party.id, ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::task::noop_waker;
    use proptest::prelude::*;

    use super::*;

    fn usual(id: TenantId) -> Party {
        Party { id, weight: 100 }
    }

    fn enter(cpu: &Cpu, tenant: TenantId) -> Result<(), Place> {
        let mut place = Place::Outside;
        if cpu.enter(usual(tenant), &mut place, &noop_waker(), Instant::now()) {
            Ok(())
        } else {
            Err(place)
        }
    }

    #[test]
    fn nobody_waits_while_a_slot_is_free() {
        let cpu = Cpu::new(3);
        for _ in 0..3 {
            assert!(enter(&cpu, 1).is_ok(), "one tenant may use all of them");
        }
        assert!(enter(&cpu, 1).is_err());
    }

    #[test]
    fn among_several_tenants_one_processor_is_left_to_the_host() {
        let start = Instant::now();
        let third_after = |pause: Duration| {
            let cpu = Cpu::new(3);
            let enter = |tenant, at| cpu.enter(usual(tenant), &mut Place::Outside, &noop_waker(), at);
            assert!(enter(1, start) && enter(2, start));
            cpu.leave(2, Duration::ZERO);
            assert!(enter(1, start), "two of three");
            enter(1, start + pause)
        };
        assert!(!third_after(Duration::from_millis(999)));
        assert!(third_after(PRESENT), "the other one is gone");
    }

    #[test]
    fn a_tenant_that_runs_nothing_does_not_wait_for_one_that_runs_all_the_time() {
        let cpu = Cpu::new(2);
        assert!(enter(&cpu, 1).is_ok() && enter(&cpu, 1).is_ok());
        assert!(enter(&cpu, 1).is_err());
        assert!(enter(&cpu, 2).is_ok(), "from the reserve");
        assert!(enter(&cpu, 2).is_err(), "the reserve is for one each");
        assert!(enter(&cpu, 3).is_ok());
        assert!(enter(&cpu, 4).is_err(), "and it has an end");
    }

    #[test]
    fn a_free_slot_goes_to_whoever_has_fewest_and_computed_least() {
        let cpu = Cpu::new(1);
        let waker = noop_waker();
        let in_line = |tenant| enter(&cpu, tenant).unwrap_err();
        assert!(enter(&cpu, 1).is_ok() && enter(&cpu, 2).is_ok() && enter(&cpu, 3).is_ok());
        let (mut hog, mut four) = (in_line(1), in_line(4));
        cpu.leave(1, Duration::from_millis(10));
        assert!(
            cpu.enter(usual(4), &mut four, &waker, Instant::now()),
            "it has computed nothing so far"
        );
        assert!(!cpu.enter(usual(1), &mut hog, &waker, Instant::now()));
        let mut two = in_line(2);
        cpu.leave(3, Duration::ZERO);
        assert!(
            cpu.enter(usual(1), &mut hog, &waker, Instant::now()),
            "of tenant 2, something runs"
        );
        assert!(!cpu.enter(usual(2), &mut two, &waker, Instant::now()));
    }

    #[test]
    fn a_heavier_tenant_gets_more_of_it() {
        let cpu = Cpu::new(1);
        let waker = noop_waker();
        let party = |id| Party {
            id,
            weight: if id == 1 { 300 } else { 100 },
        };
        let now = Instant::now();
        // More than there are slots and reserve, so that there is always somebody who waits.
        let mut running = VecDeque::new();
        let mut waiting = Vec::new();
        let mut served = [0; 9];
        for id in 1..=8 {
            let mut place = Place::Outside;
            if cpu.enter(party(id), &mut place, &waker, now) {
                running.push_back(id);
            } else {
                waiting.push((id, place));
            }
        }
        for _ in 0..2_000 {
            let done: TenantId = running.pop_front().unwrap();
            cpu.leave(done, Duration::from_millis(1));
            served[usize::try_from(done).unwrap()] += 1;
            waiting.push((done, Place::Outside));
            waiting.retain_mut(|(id, place)| {
                let in_now = cpu.enter(party(*id), place, &waker, now);
                if in_now {
                    running.push_back(*id);
                }
                !in_now
            });
        }
        assert!(served[1] > 2 * served[2], "{served:?}");
        assert!(served[2..].iter().all(|turns| *turns > 150), "{served:?}");
    }

    #[test]
    fn a_granted_slot_that_nobody_takes_goes_on() {
        let cpu = Cpu::new(1);
        assert!(enter(&cpu, 1).is_ok());
        let Err(Place::InLine(first)) = enter(&cpu, 1) else {
            panic!("it had to wait");
        };
        let mut second = enter(&cpu, 1).unwrap_err();
        cpu.leave(1, Duration::ZERO);
        cpu.abandon(1, first);
        assert!(cpu.enter(usual(1), &mut second, &noop_waker(), Instant::now()));
        cpu.leave(1, Duration::ZERO);
        assert!(cpu.is_idle());
    }

    proptest! {
        /// Whatever happens in whatever order: no more run than there are slots, nobody is forgotten, and at the end nothing is left over.
        #[test]
        fn slots_are_neither_lost_nor_invented(steps in prop::collection::vec((0_u64..4, 0_u8..4), 1..400)) {
            let cpu = Cpu::new(2);
            let waker = noop_waker();
            let mut running: Vec<TenantId> = Vec::new();
            let mut waiting: Vec<(TenantId, Place)> = Vec::new();
            for (tenant, what) in steps {
                match what {
                    0 | 1 => match enter(&cpu, tenant) {
                        Ok(()) => running.push(tenant),
                        Err(place) => waiting.push((tenant, place)),
                    },
                    2 => if let Some(tenant) = running.pop() { cpu.leave(tenant, Duration::from_millis(tenant)); },
                    _ => if let Some((tenant, Place::InLine(ticket))) = waiting.pop() { cpu.abandon(tenant, ticket); },
                }
                waiting.retain_mut(|(tenant, place)| {
                    let in_now = cpu.enter(usual(*tenant), place, &waker, Instant::now());
                    if in_now { running.push(*tenant); }
                    !in_now
                });
                prop_assert!(running.len() <= cpu.slots + cpu.reserve);
                prop_assert!(waiting.is_empty() || running.len() >= cpu.slots - 1, "somebody waits although a slot is free");
            }
            while !(running.is_empty() && waiting.is_empty()) {
                let tenant = running.pop();
                prop_assert!(tenant.is_some(), "somebody waits for ever");
                cpu.leave(tenant.unwrap_or_default(), Duration::ZERO);
                waiting.retain_mut(|(tenant, place)| {
                    let in_now = cpu.enter(usual(*tenant), place, &waker, Instant::now());
                    if in_now { running.push(*tenant); }
                    !in_now
                });
            }
            prop_assert!(cpu.is_idle());
        }
    }
}
