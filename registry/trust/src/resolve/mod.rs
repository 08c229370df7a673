//! Which release a connection runs, and why not another one.
//!
//! Two things decide: the *range* says which versions a person accepts at all, the *policy* says which step is taken without asking. Everything else
//! (trust, the contract, yanks, capabilities that grow) only takes away. A choice comes with the reason for every release that was not chosen, because
//! "why is it still on 1.2?" is the question that gets asked.
//!
//! - [`choose`]: one connection, one choice.
//! - [`mod@outdated`]: who could move, and what keeps them.
//! - [`risk`]: who has to move by a day.

pub mod choose;
pub mod outdated;
pub mod risk;

use std::fmt;

use semver::Version;
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::{PluginName, manifest::Upstream};

pub use choose::{Choice, Note, PassedOver, Pinned, Resolution, Why, Wish, resolve};
pub use outdated::{InUse, Outdated, outdated};
pub use risk::{AtRisk, Hazard, MoveTo, at_risk};

use crate::index::{Deprecation, IndexEntry};

/// Which step is taken without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Policy {
    /// None, ever: the release that was chosen first stays.
    Exact,
    /// Fixes: `1.4.2` to `1.4.3`.
    #[default]
    Patch,
    /// What is compatible: `1.4.2` to `1.5.0`.
    Minor,
    /// None without a person's approval.
    Manual,
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Exact => "exact",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Manual => "manual",
        })
    }
}

impl Policy {
    /// Whether the step is taken without asking.
    #[must_use]
    pub const fn takes(self, step: Step) -> bool {
        match self {
            Self::Exact | Self::Manual => false,
            Self::Patch => matches!(step, Step::Patch),
            Self::Minor => matches!(step, Step::Patch | Step::Minor),
        }
    }
}

/// How far one version is from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// The same.
    Same,
    /// Fixes only.
    Patch,
    /// More, and compatible.
    Minor,
    /// Not compatible.
    Major,
    /// Back to an earlier one.
    Back,
}

impl Step {
    /// The step between two versions. Before 1.0 the number after the leading zero is what breaks (as Cargo reads it): `0.3.1` to `0.3.2` is a fix,
    /// `0.3.2` to `0.4.0` breaks, and so does `0.0.1` to `0.0.2`.
    #[must_use]
    pub fn between(from: &Version, to: &Version) -> Self {
        if to == from {
            return Self::Same;
        }
        if to < from {
            return Self::Back;
        }
        if to.major != from.major {
            return Self::Major;
        }
        if to.major == 0 {
            let compatible = to.minor == from.minor && (to.minor > 0 || to.patch == from.patch);
            return if compatible { Self::Patch } else { Self::Major };
        }
        if to.minor == from.minor {
            Self::Patch
        } else {
            Self::Minor
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Same => "same",
            Self::Patch => "patch",
            Self::Minor => "minor",
            Self::Major => "major",
            Self::Back => "back",
        })
    }
}

/// Whether a release may be loaded, as [`crate::TrustRoot::judge`] has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trust {
    /// It may.
    Trusted,
    /// It may not, for this reason.
    Refused(String),
}

/// A release that can be chosen, with all that the choice depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// The plugin.
    pub name: PluginName,
    /// The release.
    pub version: Version,
    /// Of its component.
    pub component: Digest,
    /// Of its manifest.
    pub manifest: Digest,
    /// The contract that it is built against.
    pub contract: Version,
    /// Why it was yanked, if it was.
    pub yanked: Option<String>,
    /// Why it is to be left, if it is.
    pub deprecated: Option<Deprecation>,
    /// The systems behind it.
    pub upstream: Vec<Upstream>,
    /// Whether it may be loaded.
    pub trust: Trust,
    /// What it asks for beyond the release in use, as [`crate::compat::CapabilityDiff::wider`] words it. Not empty: a person has to approve.
    pub wider: Vec<String>,
}

impl Known {
    /// A release of the index. What it asks for beyond the one in use is for the caller to add.
    #[must_use]
    pub fn of(entry: &IndexEntry, trust: Trust) -> Self {
        Self {
            name: entry.name.clone(),
            version: entry.version.clone(),
            component: entry.component.clone(),
            manifest: entry.manifest.clone(),
            contract: entry.contract.clone(),
            yanked: entry.yanked.as_ref().map(|yank| yank.reason.clone()),
            deprecated: entry.deprecated.clone(),
            upstream: entry.upstream.clone(),
            trust,
            wider: Vec::new(),
        }
    }

    /// Whether one of the contract's versions that a host offers serves it: the same major, at least as new, and no pre-release on either side.
    #[must_use]
    pub fn runs_on(&self, contracts: &[Version]) -> bool {
        self.contract.pre.is_empty()
            && contracts.iter().any(|offered| {
                offered.pre.is_empty() && offered.major == self.contract.major && *offered >= self.contract
            })
    }
}

#[cfg(test)]
pub(crate) mod tests;
