//! Which call is disturbed, and how.
//!
//! A fault is a pure function of the seed, the resource and how often that resource was called before, and not of a
//! global sequence. So concurrent clients that interleave differently still meet the same faults on the same
//! records. The same resource is never disturbed more than [`Faults::max_in_a_row`] times running, so a client that
//! retries always gets through.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::faults::{Fault, Faults};
use crate::http::{Problem, no_answer};
use crate::misconduct::ApiVersion;

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
}

/// Whether the answer of the work will reach the caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Sent,
    Lost,
}

/// The faults in force, and what each resource has met so far.
pub(crate) struct FaultPlan {
    seed: u64,
    state: Mutex<PlanState>,
    stopping: watch::Receiver<bool>,
}

struct PlanState {
    faults: Faults,
    calls: HashMap<String, u64>,
    in_a_row: HashMap<String, u32>,
    injected: BTreeMap<Fault, u64>,
}

impl FaultPlan {
    pub(crate) fn new(seed: u64, faults: Faults, stopping: watch::Receiver<bool>) -> Self {
        let state = PlanState {
            faults,
            calls: HashMap::new(),
            in_a_row: HashMap::new(),
            injected: BTreeMap::new(),
        };
        Self {
            seed,
            state: Mutex::new(state),
            stopping,
        }
    }

    fn state(&self) -> MutexGuard<'_, PlanState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Other faults from now on. What a resource has met so far is forgotten, so that equal calls after this meet equal faults.
    pub(crate) fn set(&self, faults: Faults) {
        let mut state = self.state();
        state.faults = faults;
        state.calls.clear();
        state.in_a_row.clear();
    }

    pub(crate) fn current(&self) -> Faults {
        self.state().faults.clone()
    }

    pub(crate) fn injected(&self) -> BTreeMap<Fault, u64> {
        self.state().injected.clone()
    }

    /// Does the work of a call, disturbed or not. `keys` are the resources that a fault delays; the first one leads the draw.
    pub(crate) async fn around(
        &self,
        access: Access,
        keys: &[String],
        work: impl FnOnce(Answer) -> Response,
    ) -> Response {
        let (fault, faults) = self.draw(access, keys);
        if faults.api == ApiVersion::Retired {
            let detail = "This version of the API is switched off; use the next one.";
            return Problem::new(StatusCode::GONE, "version-retired", detail).into_response();
        }
        match fault {
            None => work(Answer::Sent),
            Some(Fault::Slow) => {
                self.pause(faults.slow_ms).await;
                work(Answer::Sent)
            }
            Some(Fault::TooManyRequests) => {
                let detail = "Too many requests; wait as long as Retry-After says.";
                let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "too-many-requests", detail);
                let mut response = problem.into_response();
                let seconds = HeaderValue::from(faults.retry_after_seconds);
                let headers = response.headers_mut();
                headers.insert(header::RETRY_AFTER, seconds.clone());
                headers.insert("ratelimit-limit", HeaderValue::from(100));
                headers.insert("ratelimit-remaining", HeaderValue::from(0));
                headers.insert("ratelimit-reset", seconds);
                response
            }
            Some(Fault::BareTooManyRequests) => Problem::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-requests",
                "Too many requests.",
            )
            .into_response(),
            Some(Fault::ServerError) => Problem::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "internal",
                "Something went wrong on our side.",
            )
            .into_response(),
            Some(Fault::Unavailable) => Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "We are busy; try again soon.",
            )
            .into_response(),
            Some(Fault::Hang) => {
                self.pause(faults.hang_ms).await;
                no_answer()
            }
            Some(Fault::HangAfterWrite) => {
                drop(work(Answer::Lost));
                self.pause(faults.hang_ms).await;
                no_answer()
            }
            Some(Fault::DropAfterWrite) => {
                drop(work(Answer::Lost));
                no_answer()
            }
            // Reset; the others are faults of items and events, which a call never draws.
            Some(_) => no_answer(),
        }
    }

    fn draw(&self, access: Access, keys: &[String]) -> (Option<Fault>, Faults) {
        let mut guard = self.state();
        let state = &mut *guard;
        let lead = keys.first().map_or("", String::as_str);
        let mut point = chance(self.seed, "call", lead, next_call(&mut state.calls, lead));
        let mut drawn = None;
        for (kind, rate) in state.faults.of_calls(access) {
            if point < rate {
                drawn = Some(kind);
                break;
            }
            point -= rate;
        }
        let limit = state.faults.max_in_a_row;
        let exhausted = keys
            .iter()
            .any(|key| state.in_a_row.get(key).is_some_and(|&times| times >= limit));
        if exhausted && drawn != Some(Fault::Slow) {
            drawn = None;
        }
        match drawn {
            Some(Fault::Slow) | None => keys.iter().for_each(|key| {
                // An item of a batch may still be busy, and that counts on from here.
                if !key.starts_with(ITEM) {
                    state.in_a_row.remove(key);
                }
            }),
            Some(_) => keys
                .iter()
                .for_each(|key| *state.in_a_row.entry(key.clone()).or_default() += 1),
        }
        if let Some(kind) = drawn {
            *state.injected.entry(kind).or_default() += 1;
        }
        (drawn, state.faults.clone())
    }

    /// Whether one item of a batch that is answered is busy this time. `key` is an [`item_key`].
    pub(crate) fn item_is_busy(&self, key: &str) -> bool {
        let mut guard = self.state();
        let state = &mut *guard;
        let nth = next_call(&mut state.calls, &format!("busy {key}"));
        let times = state.in_a_row.get(key).copied().unwrap_or(0);
        let busy =
            times < state.faults.max_in_a_row && chance(self.seed, "busy", key, nth) < state.faults.item_busy;
        if busy {
            state.in_a_row.insert(key.to_owned(), times + 1);
            *state.injected.entry(Fault::ItemBusy).or_default() += 1;
        } else {
            state.in_a_row.remove(key);
        }
        busy
    }

    /// Whether an event is disturbed by `kind`, which is one of the two faults of webhooks.
    pub(crate) fn event_is_disturbed(&self, kind: Fault, event_id: &str) -> bool {
        let mut state = self.state();
        let rate = match kind {
            Fault::WebhookDuplicated => state.faults.webhook_duplicate,
            Fault::WebhookReordered => state.faults.webhook_reorder,
            _ => 0.0,
        };
        let disturbed = chance(self.seed, &kind.to_string(), event_id, 0) < rate;
        if disturbed {
            *state.injected.entry(kind).or_default() += 1;
        }
        disturbed
    }

    /// Waits, but not beyond the end of the simulators.
    async fn pause(&self, milliseconds: u64) {
        let mut stopping = self.stopping.clone();
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(milliseconds)) => {}
            _ = stopping.wait_for(|stop| *stop) => {}
        }
    }
}

const ITEM: &str = "item:";

/// The resource that an item of a batch is, whichever batch it comes in.
pub(crate) fn item_key(reference: &str) -> String {
    format!("{ITEM}{reference}")
}

fn next_call(calls: &mut HashMap<String, u64>, key: &str) -> u64 {
    let count = calls.entry(key.to_owned()).or_default();
    *count += 1;
    *count
}

/// A number in [0, 1) that depends on nothing but its arguments.
fn chance(seed: u64, site: &str, key: &str, nth: u64) -> f64 {
    let digest = Sha256::new()
        .chain_update(seed.to_le_bytes())
        .chain_update(site)
        .chain_update([0])
        .chain_update(key)
        .chain_update([0])
        .chain_update(nth.to_le_bytes())
        .finalize();
    let mut head = [0; 8];
    head.copy_from_slice(&digest[..8]);
    // 53 bits are what a double holds exactly.
    (u64::from_le_bytes(head) >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(seed: u64, faults: Faults) -> FaultPlan {
        FaultPlan::new(seed, faults, watch::channel(false).1)
    }

    #[test]
    fn the_same_seed_disturbs_the_same_calls_whatever_happens_in_between() {
        let draws = |seed, noise: bool| {
            let plan = plan(seed, Faults::demo());
            (0..300)
                .map(|_| {
                    if noise {
                        plan.draw(Access::Write, &["somebody else".to_owned()]);
                    }
                    plan.draw(Access::Read, &["orders".to_owned()]).0
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(draws(7, false), draws(7, true));
        assert_ne!(draws(7, false), draws(8, false));
    }

    #[test]
    fn no_resource_is_disturbed_more_often_in_a_row_than_allowed() {
        let plan = plan(
            1,
            Faults {
                server_error: 1.0,
                item_busy: 1.0,
                ..Faults::off()
            },
        );
        let keys = [item_key("a"), item_key("b")];
        for _ in 0..3 {
            assert_eq!(plan.draw(Access::Write, &keys).0, Some(Fault::ServerError));
        }
        assert_eq!(plan.draw(Access::Write, &keys).0, None);
        assert!(
            !plan.item_is_busy(&keys[0]),
            "three failed calls use up the patience for the item too"
        );
        assert!(!plan.item_is_busy(&keys[1]));
        assert_eq!(plan.draw(Access::Write, &keys).0, Some(Fault::ServerError));
    }

    #[test]
    fn rates_come_out_as_given_and_impossible_ones_are_refused() {
        let plan = plan(
            3,
            Faults {
                reset: 0.25,
                max_in_a_row: u32::MAX,
                ..Faults::off()
            },
        );
        let hits = (0..4000)
            .filter(|n| plan.draw(Access::Read, &[n.to_string()]).0.is_some())
            .count();
        assert!(
            (900..1100).contains(&hits),
            "{hits} of 4000 at a rate of a quarter"
        );
        for preset in ["off", "on", "demo", "harsh"] {
            Faults::preset(preset).unwrap().check().unwrap();
        }
        assert!(Faults::preset("none").is_err());
        assert!(
            Faults {
                slow: 1.1,
                ..Faults::off()
            }
            .check()
            .is_err()
        );
        assert!(
            Faults {
                slow: f64::NAN,
                ..Faults::off()
            }
            .check()
            .is_err()
        );
        assert!(
            Faults {
                slow: 0.6,
                reset: 0.6,
                ..Faults::off()
            }
            .check()
            .is_err()
        );
    }
}
