//! How strict the gate is, and where it stands.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Check, Code, Severity, Step};

/// Where the gate stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// In front of a registry.
    Publish,
    /// In front of a host.
    Install,
}

/// What is asked of a release.
#[derive(Debug, Clone, PartialEq)]
pub struct GatePolicy {
    /// Where the gate stands.
    pub stage: Stage,
    /// Why a version comes below the highest one of its major, in the words of whoever publishes it.
    pub explanation: Option<String>,
    /// The run in the sandbox; none: left out.
    pub conformance: Option<ConformancePolicy>,
    /// What counts otherwise than usual (see [`GatePolicy::with`]).
    pub severities: BTreeMap<Code, Severity>,
}

/// How a release is run.
#[derive(Debug, Clone, PartialEq)]
pub struct ConformancePolicy {
    /// The configuration to run with. None: one is made from the plugin's own schema.
    pub config: Option<Value>,
    /// How long one call may take.
    pub call: Duration,
    /// How long everything may take. What is left then is not run, which the report says.
    pub total: Duration,
    /// The checks that a release may not fail.
    pub mandatory: BTreeSet<Check>,
}

impl Default for ConformancePolicy {
    /// Ten seconds a call and two minutes in all; no trap, no time-out, and bounds kept.
    fn default() -> Self {
        Self {
            config: None,
            call: Duration::from_secs(10),
            total: Duration::from_secs(120),
            mandatory: [Check::NoTrap, Check::NoTimeout, Check::BoundsKept].into(),
        }
    }
}

impl GatePolicy {
    /// Of a registry: everything.
    #[must_use]
    pub fn publish() -> Self {
        Self {
            stage: Stage::Publish,
            explanation: None,
            conformance: Some(ConformancePolicy::default()),
            severities: BTreeMap::new(),
        }
    }

    /// Of a host: what protects it. Nothing is run but `meta.describe`.
    #[must_use]
    pub fn install() -> Self {
        Self {
            stage: Stage::Install,
            explanation: None,
            conformance: None,
            severities: BTreeMap::new(),
        }
    }

    /// Has something count more or less than usual, for example [`Code::ConfigUnclear`] as a refusal. What keeps a component from being loaded stays a
    /// refusal whatever is said here.
    #[must_use]
    pub fn with(mut self, code: Code, severity: Severity) -> Self {
        self.severities.insert(code, severity);
        self
    }

    /// How much something counts.
    #[must_use]
    pub fn severity(&self, code: Code) -> Severity {
        let usual = match self.stage {
            Stage::Publish => code.at_publish(),
            Stage::Install => code.at_install(),
        };
        if code.step() <= Step::Link {
            return usual;
        }
        self.severities.get(&code).copied().unwrap_or(usual)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_loaded_is_refused_whatever_the_policy() {
        for policy in [GatePolicy::publish(), GatePolicy::install()] {
            let lenient = Code::ALL
                .iter()
                .fold(policy, |policy, code| policy.with(*code, Severity::Note));
            for code in Code::ALL {
                let loads = code.step() > Step::Link;
                assert_eq!(lenient.severity(*code) == Severity::Note, loads, "{code}");
            }
        }
    }

    #[test]
    fn a_host_warns_of_what_a_registry_refuses() {
        for code in [Code::SunsetMissing, Code::SunsetPast, Code::BreakingMissing] {
            assert_eq!(GatePolicy::publish().severity(code), Severity::Refusal);
            assert_eq!(GatePolicy::install().severity(code), Severity::Warning);
        }
        let strict = GatePolicy::publish().with(Code::ConfigUnclear, Severity::Refusal);
        assert_eq!(strict.severity(Code::ConfigUnclear), Severity::Refusal);
    }
}
