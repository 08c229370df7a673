//! How failures are repeated: what kind of failure it was decides whose fault it is, and so how long it is worth trying.
//!
//! A record that is refused twelve times is most likely at fault itself. A record that meets a closed door twelve times says nothing about
//! itself: a shop that is down for a weekend must not fill the quarantine with every order of that weekend. So attempts are counted by class,
//! and each class has a budget of its own.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{ErrorCode, Period, SpecError};

/// What kind of failure an attempt ended with.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum RetryClass {
    /// The system asked for fewer requests.
    RateLimited,
    /// The system could not be reached, was out of order, or did not answer in time.
    Unavailable,
    /// The credentials or the configuration do not work: a person has to do something, and no record is at fault.
    Setup,
    /// Somebody else changed the thing at the same time.
    Conflict,
    /// Something that it refers to is not there (yet).
    Missing,
    /// Anything else.
    Other,
}

impl RetryClass {
    /// Every class.
    pub const ALL: [Self; 6] = [
        Self::RateLimited,
        Self::Unavailable,
        Self::Setup,
        Self::Conflict,
        Self::Missing,
        Self::Other,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate-limited",
            Self::Unavailable => "unavailable",
            Self::Setup => "setup",
            Self::Conflict => "conflict",
            Self::Missing => "missing",
            Self::Other => "other",
        }
    }

    /// The class of a reason's code: one of [`ErrorCode`], or one of the host's own.
    #[must_use]
    pub fn of(code: &str) -> Self {
        if matches!(code, "looked-up" | "interrupted") {
            return Self::Unavailable;
        }
        match ErrorCode::parse(code) {
            ErrorCode::RateLimited => Self::RateLimited,
            ErrorCode::Transient => Self::Unavailable,
            ErrorCode::Auth | ErrorCode::Config => Self::Setup,
            ErrorCode::Conflict => Self::Conflict,
            ErrorCode::NotFound => Self::Missing,
            ErrorCode::Schema
            | ErrorCode::Data
            | ErrorCode::Unsupported
            | ErrorCode::Denied
            | ErrorCode::Fatal => Self::Other,
        }
    }

    /// Whether it says something about the way to the system and nothing about the record.
    #[must_use]
    pub const fn is_on_the_way(self) -> bool {
        matches!(self, Self::RateLimited | Self::Unavailable | Self::Setup)
    }
}

/// How failures are repeated: exponential back-off with full jitter, and an end that depends on the class of the failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts that fail in the same class before quarantine, the first one included, 1 to 100. Attempts that were turned away for the
    /// rate of requests or for the credentials do not count, nor do those that found the whole system unreachable.
    pub max_attempts: u32,
    /// The ceiling of the first pause; it doubles with each attempt.
    pub base: Period,
    /// The ceiling of every pause.
    pub cap: Period,
    /// How long after its first failure a record is given up in any case, 1 minute to 90 days.
    pub give_up_after: Period,
    /// Other budgets for single classes.
    #[serde(skip_serializing_if = "RetryClasses::is_empty")]
    pub class: RetryClasses,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 12,
            base: Period::from_millis(500),
            cap: Period::from_secs(300),
            give_up_after: Period::from_secs(3 * 24 * 60 * 60),
            class: RetryClasses::default(),
        }
    }
}

/// Budgets of single classes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RetryClasses {
    /// The system asked for fewer requests.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited: Option<ClassBudget>,
    /// The system could not be reached, was out of order, or did not answer in time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<ClassBudget>,
    /// The credentials or the configuration do not work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub setup: Option<ClassBudget>,
    /// Somebody else changed the thing at the same time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub conflict: Option<ClassBudget>,
    /// Something that it refers to is not there (yet).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<ClassBudget>,
    /// Anything else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub other: Option<ClassBudget>,
}

impl RetryClasses {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    const fn of(&self, class: RetryClass) -> Option<ClassBudget> {
        match class {
            RetryClass::RateLimited => self.rate_limited,
            RetryClass::Unavailable => self.unavailable,
            RetryClass::Setup => self.setup,
            RetryClass::Conflict => self.conflict,
            RetryClass::Missing => self.missing,
            RetryClass::Other => self.other,
        }
    }
}

/// What is different for one class; what is not given is as for the whole policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClassBudget {
    /// Attempts that fail in this class before quarantine, 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The ceiling of the first pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub base: Option<Period>,
    /// The ceiling of every pause.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cap: Option<Period>,
    /// How long after its first failure a record is given up when an attempt fails in this class, 1 minute to 90 days.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub give_up_after: Option<Period>,
}

/// What holds for a failure of one class, with everything filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryBudget {
    /// Attempts that count before quarantine; none: only time ends it.
    pub max_attempts: Option<u32>,
    /// The ceiling of the first pause; it doubles with each attempt.
    pub base: Period,
    /// The ceiling of every pause.
    pub cap: Period,
    /// How long after its first failure a record is given up.
    pub give_up_after: Period,
}

const SHORTEST: Period = Period::from_secs(60);
const LONGEST: Period = Period::from_secs(90 * 24 * 60 * 60);

impl RetryPolicy {
    /// What holds for a failure of this class.
    #[must_use]
    pub fn budget(&self, class: RetryClass) -> RetryBudget {
        let own = self.class.of(class).unwrap_or_default();
        let usual = match class {
            RetryClass::RateLimited | RetryClass::Setup => None,
            _ => Some(self.max_attempts),
        };
        RetryBudget {
            max_attempts: own.max_attempts.or(usual),
            base: own.base.unwrap_or(self.base),
            cap: own.cap.unwrap_or(self.cap),
            give_up_after: own.give_up_after.unwrap_or(self.give_up_after),
        }
    }

    /// Everything that is out of its bounds, with places that `at` completes.
    pub(crate) fn faults(&self, at: impl Fn(&str) -> String) -> Vec<SpecError> {
        let mut errors = Vec::new();
        let mut count = |path: &str, value: u32, high: u32| {
            if !(1..=high).contains(&value) {
                let reason = format!("{value} is out of bounds; use 1 to {high}");
                errors.push(SpecError::new(at(path), reason));
            }
        };
        count("retry.max-attempts", self.max_attempts, 100);
        for class in RetryClass::ALL {
            if let Some(most) = self.class.of(class).and_then(|own| own.max_attempts) {
                count(
                    &format!("retry.class.{}.max-attempts", class.as_str()),
                    most,
                    1_000,
                );
            }
        }
        let mut of = |path: &str, base: Period, cap: Period, end: Period| {
            if base > cap {
                let reason = format!("must not be longer than the cap of {cap}");
                errors.push(SpecError::new(at(&format!("{path}.base")), reason));
            }
            if !(SHORTEST..=LONGEST).contains(&end) {
                let reason = format!("{end} is out of bounds; use 1m to 90d");
                errors.push(SpecError::new(at(&format!("{path}.give-up-after")), reason));
            }
        };
        of("retry", self.base, self.cap, self.give_up_after);
        for class in RetryClass::ALL {
            if self.class.of(class).is_some() {
                let budget = self.budget(class);
                let path = format!("retry.class.{}", class.as_str());
                of(&path, budget.base, budget.cap, budget.give_up_after);
            }
        }
        errors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_class() {
        for (code, class) in [
            ("rate-limited", RetryClass::RateLimited),
            ("transient", RetryClass::Unavailable),
            ("looked-up", RetryClass::Unavailable),
            ("interrupted", RetryClass::Unavailable),
            ("auth", RetryClass::Setup),
            ("config", RetryClass::Setup),
            ("conflict", RetryClass::Conflict),
            ("not-found", RetryClass::Missing),
            ("denied", RetryClass::Other),
            ("schema", RetryClass::Other),
            ("brand-new", RetryClass::Other),
        ] {
            assert_eq!(RetryClass::of(code), class, "{code}");
        }
    }

    #[test]
    fn a_class_takes_what_is_not_said_from_the_whole() {
        let policy: RetryPolicy = serde_json::from_value(serde_json::json!({
            "max-attempts": 5,
            "cap": "1m",
            "class": { "missing": { "max-attempts": 40, "give-up-after": "7d" }, "rate-limited": { "max-attempts": 3 } },
        }))
        .unwrap();
        let missing = policy.budget(RetryClass::Missing);
        assert_eq!(missing.max_attempts, Some(40));
        assert_eq!(
            (missing.cap, missing.base),
            (Period::from_secs(60), Period::from_millis(500))
        );
        assert_eq!(missing.give_up_after, "7d".parse().unwrap());
        assert_eq!(policy.budget(RetryClass::Other).max_attempts, Some(5));
        assert_eq!(policy.budget(RetryClass::Setup).max_attempts, None);
        assert_eq!(policy.budget(RetryClass::RateLimited).max_attempts, Some(3));
        assert!(policy.faults(str::to_owned).is_empty());
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let policy: RetryPolicy = serde_json::from_value(serde_json::json!({
            "max-attempts": 0,
            "give-up-after": "1s",
            "class": { "unavailable": { "max-attempts": 1_001, "base": "2h" } },
        }))
        .unwrap();
        let faults = policy.faults(str::to_owned);
        let paths: Vec<_> = faults.iter().map(|fault| fault.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "retry.max-attempts",
                "retry.class.unavailable.max-attempts",
                "retry.give-up-after",
                "retry.class.unavailable.base",
                "retry.class.unavailable.give-up-after",
            ]
        );
    }
}
