//! Faults on purpose: their kinds, their rates, and the presets. Which call meets one is decided in `fault_plan`.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::fault_plan::Access;
use crate::misconduct::{ApiVersion, Paging};

/// How likely each disturbance is, and how long it takes. Rates are shares of calls, from 0 to 1.
///
/// In JSON, absent members are those of [`Faults::off`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// 429 with `Retry-After`, `RateLimit-Limit`, `RateLimit-Remaining` and `RateLimit-Reset`.
    pub too_many_requests: f64,
    /// 429 that does not say how long to wait.
    pub bare_too_many_requests: f64,
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
    /// How the shop pages its list of orders.
    pub paging: Paging,
    /// What became of the version of both APIs.
    pub api: ApiVersion,
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
            bare_too_many_requests: 0.0,
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
            paging: Paging::Right,
            api: ApiVersion::Current,
        }
    }

    /// A bad day: about a third of the calls are disturbed, and 1,000 orders still arrive within seconds. A 429 is rarer than the rest, because
    /// it speaks for the whole account: whoever honours it sends nothing at all for as long as it says.
    #[must_use]
    pub fn demo() -> Self {
        Self {
            too_many_requests: 0.02,
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

    pub(crate) fn of_calls(&self, access: Access) -> Vec<(Fault, f64)> {
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
        // Last, so that what a seed draws of the others does not depend on it.
        rates.push((Fault::BareTooManyRequests, self.bare_too_many_requests));
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
    BareTooManyRequests,
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
            Self::BareTooManyRequests => "bare_too_many_requests",
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
