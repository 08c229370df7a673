//! Upstream accounts: whose budget a connection's requests come out of, and who goes first when it is scarce.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Name;

/// The account that a connection has at its system, as far as the system counts requests. What the system itself says about its limits is
/// learned from its answers; this is for what it does not say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct UpstreamSpec {
    /// Connections of a tenant that name the same account share one budget, over all flows and nodes. Unless it is given, a connection is
    /// an account of its own, under its own name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<Name>,
    /// Requests a second of the account, 0.001 to 10,000, over all nodes; more wait their turn. Where connections of one account say
    /// different things, the least counts. `limits.http.per-second` stays a bound of this connection in one process.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_second: Option<f64>,
    /// Requests that may go at once after a quiet time, 1 to 100,000; one second's worth unless it is given. Only with `per-second`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub burst: Option<u32>,
}

impl UpstreamSpec {
    /// Nothing is said.
    #[must_use]
    pub fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The account of a connection.
    #[must_use]
    pub fn account_of<'a>(&'a self, connection: &'a Name) -> &'a Name {
        self.account.as_ref().unwrap_or(connection)
    }

    /// What the account may send, if that is given.
    #[must_use]
    pub fn budget(&self) -> Option<UpstreamBudget> {
        self.per_second
            .map(|per_second| UpstreamBudget::new(per_second, self.burst))
    }

    /// Each field that is out of its bounds, with what is wrong.
    #[must_use]
    pub fn faults(&self) -> Vec<(&'static str, String)> {
        let mut faults = Vec::new();
        if let Some(rate) = self.per_second.filter(|rate| !(0.001..=10_000.0).contains(rate)) {
            let reason = format!("{rate} is out of bounds; use 0.001 to 10000");
            faults.push(("per-second", reason));
        }
        if let Some(burst) = self.burst {
            if !(1..=100_000).contains(&burst) {
                faults.push(("burst", format!("{burst} is out of bounds; use 1 to 100000")));
            }
            if self.per_second.is_none() {
                faults.push(("burst", "says nothing without `per-second`; give both".to_owned()));
            }
        }
        faults
    }
}

/// A token bucket that was configured for an account.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UpstreamBudget {
    /// Requests a second.
    pub per_second: f64,
    /// What it holds when it is full.
    pub burst: u32,
}

impl UpstreamBudget {
    /// Within the bounds of [`UpstreamSpec`], whatever is given.
    #[must_use]
    pub fn new(per_second: f64, burst: Option<u32>) -> Self {
        // What is no number counts as the least.
        let per_second = if per_second.is_nan() {
            0.001
        } else {
            per_second.clamp(0.001, 10_000.0)
        };
        let second = u32::try_from(to_i64(per_second.ceil())).unwrap_or(1);
        Self {
            per_second,
            burst: burst.unwrap_or(second).clamp(1, 100_000),
        }
    }

    /// The lesser of two, in both respects.
    #[must_use]
    pub fn least(self, other: Self) -> Self {
        Self {
            per_second: self.per_second.min(other.per_second),
            burst: self.burst.min(other.burst),
        }
    }

    /// Microseconds in which one token comes back, 100 to 1,000,000,000.
    #[must_use]
    pub fn interval_us(&self) -> i64 {
        to_i64((1_000_000.0 / self.per_second).round()).clamp(100, 1_000_000_000)
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the values are bounded, and the cast saturates"
)]
const fn to_i64(value: f64) -> i64 {
    value as i64
}

/// Who goes first where the requests of an account are scarce.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Default,
    Serialize,
    Deserialize,
    JsonSchema,
    ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Priority {
    /// Orders and stock: goes before the others.
    High,
    /// Leaves the last fifth of a budget to what is more urgent.
    #[default]
    Normal,
    /// A catalogue, a backfill: leaves half of a budget to what is more urgent, but is never kept waiting for ever.
    Low,
}

impl Priority {
    /// The most urgent first.
    pub const ALL: [Self; 3] = [Self::High, Self::Normal, Self::Low];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Normal => "normal",
            Self::Low => "low",
        }
    }

    pub(crate) fn is_usual(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_its_own_account_unless_it_names_one() {
        let (shop, main): (Name, Name) = ("shop".parse().unwrap(), "shopify-main".parse().unwrap());
        let mut spec = UpstreamSpec::default();
        assert!(spec.is_usual());
        assert_eq!((spec.account_of(&shop), spec.budget()), (&shop, None));
        spec.account = Some(main.clone());
        assert_eq!(spec.account_of(&shop), &main);
    }

    #[test]
    fn budgets_stay_within_their_bounds() {
        for (per_second, burst, expected) in [
            (2.0, None, (500_000, 2)),
            (2.5, None, (400_000, 3)),
            (0.0056, Some(20), (178_571_429, 20)),
            (f64::NAN, None, (1_000_000_000, 1)),
            (f64::INFINITY, Some(0), (100, 1)),
        ] {
            let budget = UpstreamBudget::new(per_second, burst);
            assert_eq!((budget.interval_us(), budget.burst), expected, "{per_second}");
        }
    }

    #[test]
    fn what_is_out_of_bounds_is_named() {
        let faults = |per_second, burst| {
            let spec = UpstreamSpec {
                per_second,
                burst,
                ..UpstreamSpec::default()
            };
            spec.faults()
                .into_iter()
                .map(|(field, _)| field)
                .collect::<Vec<_>>()
        };
        assert_eq!(faults(Some(2.0), Some(4)), [""; 0]);
        assert_eq!(faults(Some(0.0), None), ["per-second"]);
        assert_eq!(faults(Some(f64::NAN), Some(0)), ["per-second", "burst"]);
        assert_eq!(faults(None, Some(4)), ["burst"]);
    }
}
