//! What makes a call repeatable: which requests it sent and what came back, which time it was told, and where its random bytes came from.
//!
//! A [`Recorder`] collects that of one call while the call goes its usual way. It never fails the call: what does not fit on it only makes it
//! useless ([`Recorded::truncated`]). Requests are taken as whoever answers in place of the network would see them (see
//! [`Answers`](crate::Answers)): without what the host puts in. Requests for tokens are on no tape at all. Answers are taken behind the
//! scrubber, as the guest got them.
//!
//! With [`CallOptions`] a session plays such a call again: the same time, the same random bytes. Both kinds of calls run in an instance of
//! their own, because what a warm one remembers is on no tape.

mod take;

use std::sync::{
    Arc, Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use sha2::{Digest as _, Sha256};
use stecker_model::TapedExchange;

use crate::capability::clock;
pub(crate) use take::Take;

/// Of the time of day, by one call. More of them are nothing that a comparison could rest on.
const MAX_READINGS: usize = 4_096;

/// How much of one call is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TapeBounds {
    /// Requests.
    pub exchanges: usize,
    /// Bytes of bodies, headers and addresses together.
    pub bytes: usize,
}

impl Default for TapeBounds {
    /// 256 requests, 4 MiB.
    fn default() -> Self {
        Self {
            exchanges: 256,
            bytes: 4 << 20,
        }
    }
}

/// What is outside of a call and still decides what comes of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Circumstances {
    /// When it began, in milliseconds since 1970.
    pub clock: u64,
    /// What it was told of the time of day, in milliseconds after `clock`, in the order in which it asked.
    pub readings: Vec<u32>,
    /// Where its random bytes came from.
    pub seed: [u8; 32],
}

/// How a session's calls differ from others.
#[derive(Debug, Clone, Default)]
pub enum CallOptions {
    /// Not at all.
    #[default]
    Usual,
    /// This one call is recorded.
    Recorded(Arc<Recorder>),
    /// Time and random bytes are those of another call. Past its last reading the clock goes on from there.
    Played(Arc<Circumstances>),
}

impl CallOptions {
    pub(crate) const fn is_usual(&self) -> bool {
        matches!(self, Self::Usual)
    }

    pub(crate) fn recorder(&self) -> Option<&Recorder> {
        match self {
            Self::Recorded(recorder) => Some(recorder),
            Self::Usual | Self::Played(_) => None,
        }
    }

    pub(crate) fn seed(&self) -> Option<[u8; 32]> {
        match self {
            Self::Usual => None,
            Self::Recorded(recorder) => Some(recorder.seed),
            Self::Played(of) => Some(of.seed),
        }
    }
}

/// Collects one call.
#[derive(Debug)]
pub struct Recorder {
    bounds: TapeBounds,
    clock: u64,
    seed: [u8; 32],
    so_far: Mutex<SoFar>,
}

#[derive(Debug, Default)]
struct SoFar {
    readings: Vec<u32>,
    /// In the order in which they were asked; none: on its way.
    exchanges: Vec<Option<TapedExchange>>,
    bytes: usize,
    truncated: bool,
}

/// What a recorder has.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// Time and random bytes.
    pub circumstances: Circumstances,
    /// Requests and answers, in the order in which they were asked.
    pub exchanges: Vec<TapedExchange>,
    /// Whether something is missing: it did not fit, it was moved past the guest's memory (blobs), or it was on its way when the call ended.
    pub truncated: bool,
}

impl Recorder {
    /// For a call that begins now.
    #[must_use]
    pub fn new(bounds: TapeBounds) -> Self {
        Self {
            bounds,
            clock: clock::now(),
            seed: rand::random(),
            so_far: Mutex::default(),
        }
    }

    /// What was recorded until now.
    #[must_use]
    pub fn recorded(&self) -> Recorded {
        self.with(|so_far| Recorded {
            circumstances: Circumstances {
                clock: self.clock,
                readings: so_far.readings.clone(),
                seed: self.seed,
            },
            exchanges: so_far.exchanges.iter().flatten().cloned().collect(),
            truncated: so_far.truncated || so_far.exchanges.iter().any(Option::is_none),
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut SoFar) -> T) -> T {
        work(&mut self.so_far.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn truncate(&self) {
        self.with(|so_far| so_far.truncated = true);
    }

    /// A place for a request that is on its way. None: there is no room.
    fn begin(&self) -> Option<usize> {
        self.with(|so_far| {
            if so_far.exchanges.len() >= self.bounds.exchanges {
                so_far.truncated = true;
                return None;
            }
            so_far.exchanges.push(None);
            Some(so_far.exchanges.len() - 1)
        })
    }

    fn put(&self, place: usize, exchange: TapedExchange, bytes: usize) {
        self.with(|so_far| {
            let bytes = so_far.bytes.saturating_add(bytes);
            if bytes > self.bounds.bytes {
                so_far.truncated = true;
                return;
            }
            if let Some(there) = so_far.exchanges.get_mut(place) {
                so_far.bytes = bytes;
                *there = Some(exchange);
            }
        });
    }

    fn read(&self) -> u64 {
        let now = clock::now();
        let after = u32::try_from(now.saturating_sub(self.clock));
        self.with(|so_far| match after {
            Ok(after) if so_far.readings.len() < MAX_READINGS => so_far.readings.push(after),
            _ => so_far.truncated = true,
        });
        now
    }
}

/// What one call takes for the time of day.
#[derive(Debug)]
pub(crate) struct TimeOfDay {
    options: CallOptions,
    next: AtomicUsize,
    /// Of a call that is played again: when that was.
    begun: u64,
}

impl TimeOfDay {
    pub(crate) fn of(options: &CallOptions) -> Self {
        Self {
            options: options.clone(),
            next: AtomicUsize::new(0),
            begun: match options {
                CallOptions::Played(_) => clock::now(),
                CallOptions::Usual | CallOptions::Recorded(_) => 0,
            },
        }
    }

    /// Milliseconds since 1970.
    pub(crate) fn now(&self) -> u64 {
        match &self.options {
            CallOptions::Usual => clock::now(),
            CallOptions::Recorded(recorder) => recorder.read(),
            CallOptions::Played(of) => {
                let next = self.next.fetch_add(1, Ordering::Relaxed);
                match (of.readings.get(next), of.readings.last()) {
                    (Some(after), _) => of.clock.saturating_add((*after).into()),
                    (None, last) => {
                        let last = last.copied().unwrap_or(0).into();
                        let passed = clock::now().saturating_sub(self.begun);
                        of.clock.saturating_add(passed.max(last))
                    }
                }
            }
        }
    }
}

/// Bytes that follow from a seed: SHA-256 of the seed and a counter, block by block. The same on every version of this host, which a random
/// generator of a library would not promise.
#[derive(Debug)]
pub(crate) struct SeededBytes {
    seed: [u8; 32],
    block: u64,
    left: Vec<u8>,
}

impl SeededBytes {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self {
            seed,
            block: 0,
            left: Vec::new(),
        }
    }

    pub(crate) fn fill(&mut self, bytes: &mut [u8]) {
        for byte in bytes {
            if self.left.is_empty() {
                let mut hash = Sha256::new();
                hash.update(self.seed);
                hash.update(self.block.to_le_bytes());
                self.left = hash.finalize().to_vec();
                self.block += 1;
            }
            *byte = self.left.pop().unwrap_or_default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_bytes_however_they_are_asked_for() {
        let (mut one, mut other) = (SeededBytes::new([7; 32]), SeededBytes::new([7; 32]));
        let (mut whole, mut parts) = ([0; 100], [0; 100]);
        one.fill(&mut whole);
        for part in parts.chunks_mut(7) {
            other.fill(part);
        }
        assert_eq!(whole, parts);
        let mut different = [0; 100];
        SeededBytes::new([8; 32]).fill(&mut different);
        assert_ne!(whole, different);
    }

    #[test]
    fn a_played_clock_repeats_what_was_read_and_goes_on_from_there() {
        let of = Circumstances {
            clock: 1_000,
            readings: vec![0, 3, 9],
            seed: [0; 32],
        };
        let time = TimeOfDay::of(&CallOptions::Played(Arc::new(of)));
        assert_eq!([time.now(), time.now(), time.now()], [1_000, 1_003, 1_009]);
        let after = time.now();
        assert!((1_009..11_000).contains(&after), "{after}");
    }

    #[test]
    fn a_recorder_says_when_something_is_missing() {
        let recorder = Recorder::new(TapeBounds {
            exchanges: 1,
            bytes: 10,
        });
        assert!(!recorder.recorded().truncated);
        let place = recorder.begin();
        assert!(recorder.recorded().truncated, "it is on its way");
        assert_eq!(place, Some(0));
        assert_eq!(recorder.begin(), None);
        assert!(recorder.recorded().truncated, "there was no room for another");
    }
}
