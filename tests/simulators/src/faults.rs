//! Faults on purpose: which call is disturbed, and how.
//!
//! A fault is a pure function of the seed, the resource and how often that resource was called before, and not of a global
//! sequence. So concurrent clients that interleave differently still meet the same faults on the same records. The
//! same resource is never disturbed more than [`Faults::max_in_a_row`] times running, so a client that retries
//! always gets through.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::watch;

use crate::http::{Problem, no_answer};

/// How likely each disturbance is, and how long it takes. Rates are shares of calls, from 0 to 1.
///
/// In JSON, absent members are those of [`Faults::off`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 429 with `Retry-After`.
    pub too_many_requests: f64,
    /// 500, nothing was done.
    pub server_error: f64,
    /// 503, nothing was done.
    pub unavailable: f64,
    /// The connection closes before anything was done.
    pub reset: f64,
    /// No answer for [`Faults::hang_ms`], then the connection closes. A write HAS been done.
    pub hang: f64,
    /// A write has been done and the connection closes at once, without an answer. Reads are not affected.
    pub drop_after_write: f64,
    /// A right answer, [`Faults::slow_ms`] late.
    pub slow: f64,
    /// One item of an ERP batch is `busy`, the others are not.
    pub item_busy: f64,
    /// An event of a webhook is sent twice.
    pub webhook_duplicate: f64,
    /// An event of a webhook is held back until a newer one of the same order is out, or for [`Faults::webhook_hold_ms`].
    pub webhook_reorder: f64,
    /// The value of `Retry-After`, in seconds.
    pub retry_after_seconds: u32,
    /// How long a hanging call hangs, in milliseconds.
    pub hang_ms: u64,
    /// How late a slow answer is, in milliseconds.
    pub slow_ms: u64,
    /// How long an event may be held back, in milliseconds.
    pub webhook_hold_ms: u64,
    /// The most faults that one resource meets in a row. A huge value with a rate of 1 is an outage.
    pub max_in_a_row: u32,
}

impl Default for Faults {
    fn default() -> Self {
        Self::off()
    }
}

impl Faults {
    /// No faults at all.
    #[must_use]
    pub fn off() -> Self {
        Self {
            too_many_requests: 0.0,
            server_error: 0.0,
            unavailable: 0.0,
            reset: 0.0,
            hang: 0.0,
            drop_after_write: 0.0,
            slow: 0.0,
            item_busy: 0.0,
            webhook_duplicate: 0.0,
            webhook_reorder: 0.0,
            retry_after_seconds: 1,
            hang_ms: 1500,
            slow_ms: 200,
            webhook_hold_ms: 300,
            max_in_a_row: 3,
        }
    }

    /// A bad day: about a third of the calls are disturbed, and 1,000 orders still arrive within seconds.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            too_many_requests: 0.06,
            server_error: 0.05,
            unavailable: 0.04,
            reset: 0.05,
            hang: 0.03,
            drop_after_write: 0.06,
            slow: 0.05,
            item_busy: 0.03,
            webhook_duplicate: 0.15,
            webhook_reorder: 0.15,
            ..Self::off()
        }
    }

    /// A terrible day: two thirds of the calls are disturbed.
    #[must_use]
    pub fn harsh() -> Self {
        Self {
            too_many_requests: 0.12,
            server_error: 0.10,
            unavailable: 0.08,
            reset: 0.12,
            hang: 0.05,
            drop_after_write: 0.14,
            slow: 0.05,
            item_busy: 0.15,
            webhook_duplicate: 0.4,
            webhook_reorder: 0.4,
            ..Self::off()
        }
    }

    /// The preset of a name: `off`, `demo` (also `on`) or `harsh`.
    ///
    /// # Errors
    /// Any other name.
    pub fn preset(name: &str) -> Result<Self, InvalidFaults> {
        match name {
            "off" => Ok(Self::off()),
            "on" | "demo" => Ok(Self::demo()),
            "harsh" => Ok(Self::harsh()),
            other => Err(InvalidFaults(format!(
                "`{other}` is not a preset of faults; there are off, demo (or on) and harsh"
            ))),
        }
    }

    pub(crate) fn check(&self) -> Result<(), InvalidFaults> {
        let calls = self.of_calls(Access::Write);
        let others = [
            (Fault::ItemBusy, self.item_busy),
            (Fault::WebhookDuplicated, self.webhook_duplicate),
            (Fault::WebhookReordered, self.webhook_reorder),
        ];
        for (kind, rate) in calls.iter().chain(&others) {
            if !(0.0..=1.0).contains(rate) {
                return Err(InvalidFaults(format!(
                    "the rate of {kind} is {rate}; a rate is from 0 to 1"
                )));
            }
        }
        let sum: f64 = calls.iter().map(|(_, rate)| rate).sum();
        if sum > 1.0 + f64::EPSILON {
            return Err(InvalidFaults(format!(
                "the rates of the faults of a call add up to {sum}, which is more than 1"
            )));
        }
        Ok(())
    }

    fn of_calls(&self, access: Access) -> Vec<(Fault, f64)> {
        let mut rates = vec![
            (Fault::TooManyRequests, self.too_many_requests),
            (Fault::ServerError, self.server_error),
            (Fault::Unavailable, self.unavailable),
            (Fault::Reset, self.reset),
            (Fault::Slow, self.slow),
        ];
        match access {
            Access::Read => rates.push((Fault::Hang, self.hang)),
            Access::Write => {
                rates.push((Fault::HangAfterWrite, self.hang));
                rates.push((Fault::DropAfterWrite, self.drop_after_write));
            }
        }
        rates
    }
}

/// Rates out of range, or a preset that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these faults cannot be set: {0}")]
pub struct InvalidFaults(String);

/// What was injected; the keys of [`crate::Account::faults`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[allow(
    missing_docs,
    reason = "each variant is the fault of the same name in `Faults`"
)]
pub enum Fault {
    TooManyRequests,
    ServerError,
    Unavailable,
    Reset,
    /// A read that was never answered.
    Hang,
    /// A write that was done and answered too late or never.
    HangAfterWrite,
    DropAfterWrite,
    Slow,
    ItemBusy,
    WebhookDuplicated,
    WebhookReordered,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooManyRequests => "too_many_requests",
            Self::ServerError => "server_error",
            Self::Unavailable => "unavailable",
            Self::Reset => "reset",
            Self::Hang => "hang",
            Self::HangAfterWrite => "hang_after_write",
            Self::DropAfterWrite => "drop_after_write",
            Self::Slow => "slow",
            Self::ItemBusy => "item_busy",
            Self::WebhookDuplicated => "webhook_duplicated",
            Self::WebhookReordered => "webhook_reordered",
        })
    }
}

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
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                response
            }
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
