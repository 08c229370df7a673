//! An instance between calls: made for one, or kept for the next.
//!
//! Every instance has a store of its own. A fresh one is dropped when its call is over. A connection that asks for it may keep one warm: it
//! is only ever handed to calls of the same session, and only if the call before ended in order. Whatever else happens to a call (a trap, a
//! time-out, a caller that gave up) drops the store with everything in it, because after an interruption nothing inside of it can be relied
//! on.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use wasmtime::{Store, component::Instance};

use crate::{call::CallState, contract::Loaded};

/// A store and the instance in it.
pub(crate) struct Live {
    pub(crate) store: Store<CallState>,
    pub(crate) instance: Instance,
    /// What was called before.
    pub(crate) loaded: Loaded,
}

/// So that what a guest piles up (memory never shrinks) has an end.
const MAX_CALLS: u32 = 10_000;
/// A warm instance that nobody needs holds memory that somebody could use.
const MAX_IDLE: Duration = Duration::from_secs(60);

/// Where a session keeps its warm instance.
#[derive(Default)]
pub(crate) struct WarmPlace(Mutex<Place>);

#[derive(Default)]
struct Place {
    kept: Option<Kept>,
    /// A task is there that throws away what lies idle too long.
    watched: bool,
}

struct Kept {
    warm: Warm,
    since: Instant,
}

/// An instance that can serve more than one call.
pub(crate) struct Warm {
    pub(crate) live: Box<Live>,
    calls: u32,
    /// Warm instances have room in the pool beyond that of running calls, and this is a part of it.
    _room: OwnedSemaphorePermit,
}

impl fmt::Debug for WarmPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WarmPlace(…)")
    }
}

impl WarmPlace {
    fn with<T>(&self, f: impl FnOnce(&mut Place) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn take(&self) -> Option<Warm> {
        self.with(|place| place.kept.take()).map(|kept| kept.warm)
    }
}

impl Warm {
    /// A new instance that may become warm, if there is room for one more.
    pub(crate) fn new(live: Box<Live>, room: &Arc<Semaphore>) -> Result<Self, Box<Live>> {
        match Arc::clone(room).try_acquire_owned() {
            Ok(room) => Ok(Self {
                live,
                calls: 0,
                _room: room,
            }),
            Err(_) => Err(live),
        }
    }

    /// After a call that ended in order. Whether it is kept is decided here.
    pub(crate) fn put_back(mut self, place: &Arc<WarmPlace>, now: Instant) {
        self.calls += 1;
        let state = self.live.store.data();
        // A handle that the guest still holds belongs to the call that is over; and a guest that has come to half of its memory
        // might not get through the next call.
        if self.calls >= MAX_CALLS
            || !state.holds_nothing()
            || state.memory_used() > state.caller.bound.memory_limit / 2
        {
            return;
        }
        let watch = place.with(|place| {
            // Another call was faster; one is enough.
            if place.kept.is_none() {
                place.kept = Some(Kept {
                    warm: self,
                    since: now,
                });
            }
            !std::mem::replace(&mut place.watched, true)
        });
        if watch {
            tokio::spawn(throw_away_idle(Arc::downgrade(place)));
        }
    }
}

async fn throw_away_idle(place: Weak<WarmPlace>) {
    let mut wake = Instant::now() + MAX_IDLE;
    loop {
        tokio::time::sleep_until(wake).await;
        let Some(place) = place.upgrade() else {
            return;
        };
        let (next, idle) = place.with(|place| match &place.kept {
            Some(kept) if kept.since.elapsed() < MAX_IDLE => (Some(kept.since + MAX_IDLE), None),
            _ => {
                place.watched = false;
                (None, place.kept.take())
            }
        });
        drop(idle);
        match next {
            Some(next) => wake = next,
            None => return,
        }
    }
}
