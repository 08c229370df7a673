//! One connection, one choice.

use std::fmt;

use semver::{Op, Version, VersionReq};
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::PluginName;

use super::{Known, Policy, Step, Trust};

/// What a connection asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Wish {
    /// The plugin.
    pub name: PluginName,
    /// Which versions a person accepts. Pre-releases only where the range names one of the same version, as Cargo has it.
    pub range: VersionReq,
    /// Which step is taken without asking.
    #[serde(default)]
    pub policy: Policy,
    /// The component that a person has approved as the next step: neither policy, nor direction, nor wider capabilities are held against it.
    /// Range, trust, contract and yanks still are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved: Option<Digest>,
}

/// The release in use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Pinned {
    /// Its version.
    pub version: Version,
    /// Its component, which is what pins it.
    pub component: Digest,
}

/// The outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Resolution {
    /// What is to run. None: nothing may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub chosen: Option<Choice>,
    /// Every other release of the plugin, descending, with the reasons.
    pub passed_over: Vec<PassedOver>,
}

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Choice {
    /// The version.
    pub version: Version,
    /// Of its component.
    pub component: Digest,
    /// Of its manifest.
    pub manifest: Digest,
    /// How far from the release in use; none if there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// What should be known of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<Note>,
}

/// Something that does not prevent a choice, but should be known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "note")]
pub enum Note {
    /// It goes on because it is in use, or because it and nothing else was asked for.
    Yanked {
        /// Why.
        reason: String,
    },
    /// It is to be left.
    Deprecated {
        /// Why, by when, how.
        deprecation: crate::index::Deprecation,
    },
}

/// A release that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct PassedOver {
    /// The version.
    pub version: Version,
    /// Of its component.
    pub component: Digest,
    /// All that is held against it.
    pub why: Vec<Why>,
}

/// What is held against a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "why")]
#[non_exhaustive]
pub enum Why {
    /// Not a version that was asked for.
    OutOfRange {
        /// The range.
        range: VersionReq,
    },
    /// Within the range but for being a pre-release.
    PreRelease,
    /// It may not be loaded.
    Untrusted {
        /// Why.
        reason: String,
    },
    /// The host does not offer what it was built against.
    Contract {
        /// What it needs.
        needs: Version,
        /// What there is.
        offered: Vec<Version>,
    },
    /// Hidden.
    Yanked {
        /// Why.
        reason: String,
    },
    /// Two components claim this version.
    Ambiguous,
    /// The release in use has this version, and other bytes.
    OtherBytes,
    /// A step back.
    Older {
        /// Than the one in use.
        than: Version,
    },
    /// A larger step than is taken without asking.
    Policy {
        /// The policy.
        policy: Policy,
        /// The step that it would be.
        step: Step,
    },
    /// It asks for more than the release in use.
    NeedsApproval {
        /// For what.
        wider: Vec<String>,
    },
    /// Nothing; another one is newer.
    Lower,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { range } => write!(f, "not within `{range}`"),
            Self::PreRelease => f.write_str("a pre-release, which the range does not name"),
            Self::Untrusted { reason } => write!(f, "not trusted: {reason}"),
            Self::Contract { needs, offered } => {
                let offered: Vec<_> = offered.iter().map(ToString::to_string).collect();
                write!(
                    f,
                    "built against contract {needs}; this host offers {}",
                    offered.join(", ")
                )
            }
            Self::Yanked { reason } => write!(f, "yanked: {reason}"),
            Self::Ambiguous => f.write_str("two different components claim this version"),
            Self::OtherBytes => f.write_str("the release in use has this version and other bytes"),
            Self::Older { than } => write!(f, "older than {than}, which is in use"),
            Self::Policy { policy, step } => {
                write!(f, "a {step} step, which the policy `{policy}` leaves to a person")
            }
            Self::NeedsApproval { wider } => {
                write!(
                    f,
                    "asks for more than the release in use ({}); a person has to approve",
                    wider.join("; ")
                )
            }
            Self::Lower => f.write_str("a newer one was chosen"),
        }
    }
}

impl Resolution {
    /// The outcome in sentences, for people: one line per release.
    #[must_use]
    pub fn explain(&self, name: &PluginName) -> String {
        let mut out = match &self.chosen {
            Some(choice) => format!("{name} {} ({})", choice.version, choice.component.short()),
            None => format!("no release of {name} can be used"),
        };
        if self.passed_over.is_empty() && self.chosen.is_none() {
            out.push_str(": none is known");
        }
        for passed in &self.passed_over {
            let why: Vec<_> = passed.why.iter().map(ToString::to_string).collect();
            out.push_str(&format!(
                "\n  {} ({}): {}",
                passed.version,
                passed.component.short(),
                why.join("; ")
            ));
        }
        out
    }
}

/// Chooses the highest release that nothing is held against.
///
/// The release in use stays before all others that are not newer: yanking does not take it away, and nothing older replaces it by itself. If its range was changed
/// so that it is out of it, a person has decided that it goes: then steps and direction do not matter. `contracts` are the versions of the contract
/// that the host offers. Releases of other plugins are passed over without a word.
#[must_use]
pub fn resolve(wish: &Wish, current: Option<&Pinned>, known: &[Known], contracts: &[Version]) -> Resolution {
    let mut releases: Vec<&Known> = known.iter().filter(|known| known.name == wish.name).collect();
    releases.sort_by(|a, b| (&b.version, &b.component).cmp(&(&a.version, &a.component)));
    releases.dedup_by(|a, b| a.component == b.component);
    let mut chosen: Option<&Known> = None;
    let mut passed_over = Vec::new();
    for release in &releases {
        let mut why = held_against(release, wish, current, &releases, contracts);
        if why.is_empty() {
            if chosen.is_none() {
                chosen = Some(release);
                continue;
            }
            why.push(Why::Lower);
        }
        passed_over.push(PassedOver {
            version: release.version.clone(),
            component: release.component.clone(),
            why,
        });
    }
    Resolution {
        chosen: chosen.map(|release| choice(release, current)),
        passed_over,
    }
}

/// Whether a range is a single complete version, `=1.4.2`.
fn names_one(range: &VersionReq) -> bool {
    let [only] = range.comparators.as_slice() else {
        return false;
    };
    only.op == Op::Exact && only.minor.is_some() && only.patch.is_some()
}

fn choice(release: &Known, current: Option<&Pinned>) -> Choice {
    let yanked = release.yanked.iter().map(|reason| Note::Yanked {
        reason: reason.clone(),
    });
    let deprecated = release.deprecated.iter().map(|deprecation| Note::Deprecated {
        deprecation: deprecation.clone(),
    });
    Choice {
        version: release.version.clone(),
        component: release.component.clone(),
        manifest: release.manifest.clone(),
        step: current.map(|current| Step::between(&current.version, &release.version)),
        notes: yanked.chain(deprecated).collect(),
    }
}

/// All that is held against a release; nothing: it can be chosen.
fn held_against(
    release: &Known,
    wish: &Wish,
    current: Option<&Pinned>,
    releases: &[&Known],
    contracts: &[Version],
) -> Vec<Why> {
    let mut why = unusable(release, contracts);
    if !wish.range.matches(&release.version) {
        let plain = Version::new(
            release.version.major,
            release.version.minor,
            release.version.patch,
        );
        let only_for_that = !release.version.pre.is_empty() && wish.range.matches(&plain);
        why.push(if only_for_that {
            Why::PreRelease
        } else {
            Why::OutOfRange {
                range: wish.range.clone(),
            }
        });
    }
    let is_current = current.is_some_and(|current| current.component == release.component);
    if is_current {
        return why;
    }
    // Whoever names one version and no other has decided; the choice says that it was yanked.
    if let Some(reason) = release.yanked.as_ref().filter(|_| !names_one(&wish.range)) {
        why.push(Why::Yanked {
            reason: reason.clone(),
        });
    }
    let same_version = releases.iter().filter(|other| other.version == release.version);
    if same_version.count() > 1 {
        why.push(Why::Ambiguous);
    }
    let Some(current) = current else {
        return why;
    };
    if current.version == release.version {
        why.push(Why::OtherBytes);
        return why;
    }
    if wish.approved.as_ref() == Some(&release.component) {
        return why;
    }
    if wish.range.matches(&current.version) {
        match Step::between(&current.version, &release.version) {
            Step::Back => why.push(Why::Older {
                than: current.version.clone(),
            }),
            step if !wish.policy.takes(step) => why.push(Why::Policy {
                policy: wish.policy,
                step,
            }),
            _ => {}
        }
    }
    if !release.wider.is_empty() {
        why.push(Why::NeedsApproval {
            wider: release.wider.clone(),
        });
    }
    why
}

/// What is held against a release whoever asks for it.
pub(super) fn unusable(release: &Known, contracts: &[Version]) -> Vec<Why> {
    let mut why = Vec::new();
    if let Trust::Refused(reason) = &release.trust {
        why.push(Why::Untrusted {
            reason: reason.clone(),
        });
    }
    if !release.runs_on(contracts) {
        why.push(Why::Contract {
            needs: release.contract.clone(),
            offered: contracts.to_vec(),
        });
    }
    why
}
