//! Who could move to a newer release, and what keeps them from it.

use semver::Version;
use serde::Serialize;
use stecker_registry::PluginName;

use super::{
    Known, Step, Trust,
    choose::{Pinned, Wish, resolve, unusable},
};

/// A use of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InUse {
    /// By what, such as `connection/shop`.
    pub user: String,
    /// What it asks for.
    pub wish: Wish,
    /// What it has.
    pub current: Pinned,
}

/// A use that is behind, or whose release should not be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outdated {
    /// By what.
    pub user: String,
    /// The plugin.
    pub name: PluginName,
    /// What it has.
    pub from: Version,
    /// What it moves to by itself; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub automatic: Option<Version>,
    /// The newest that could be loaded at all, if that is newer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub newest: Option<Version>,
    /// How far the newest one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub step: Option<Step>,
    /// What keeps it from the newest one; empty: it moves there by itself.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub why_not: Vec<String>,
    /// What is wrong with the release in use: yanked, deprecated, not trusted, not known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wrong: Vec<String>,
}

/// The newest release of a plugin that can be loaded and was not yanked; pre-releases count for those who run one.
pub(super) fn newest<'k>(
    name: &PluginName,
    current: &Version,
    known: &'k [Known],
    contracts: &[Version],
) -> Option<&'k Known> {
    known
        .iter()
        .filter(|release| release.name == *name && release.yanked.is_none())
        .filter(|release| release.version.pre.is_empty() || !current.pre.is_empty())
        .filter(|release| unusable(release, contracts).is_empty())
        .max_by(|a, b| a.version.cmp(&b.version))
}

/// Every use that is behind or whose release should be left, in the order given. `contracts` are the versions of the contract that the host offers.
#[must_use]
pub fn outdated(uses: &[InUse], known: &[Known], contracts: &[Version]) -> Vec<Outdated> {
    uses.iter()
        .filter_map(|used| one(used, known, contracts))
        .collect()
}

fn one(used: &InUse, known: &[Known], contracts: &[Version]) -> Option<Outdated> {
    let InUse { user, wish, current } = used;
    let wrong = wrong_with(wish, current, known, contracts);
    let newest = newest(&wish.name, &current.version, known, contracts)
        .filter(|newest| newest.version > current.version);
    let resolution = resolve(wish, Some(current), known, contracts);
    let automatic = resolution
        .chosen
        .as_ref()
        .filter(|choice| choice.component != current.component);
    if newest.is_none() && automatic.is_none() && wrong.is_empty() {
        return None;
    }
    let why_not = newest
        .and_then(|newest| {
            let mut passed = resolution.passed_over.iter();
            passed.find(|passed| passed.component == newest.component)
        })
        .map(|passed| passed.why.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    Some(Outdated {
        user: user.clone(),
        name: wish.name.clone(),
        from: current.version.clone(),
        automatic: automatic.map(|choice| choice.version.clone()),
        newest: newest.map(|newest| newest.version.clone()),
        step: newest.map(|newest| Step::between(&current.version, &newest.version)),
        why_not,
        wrong,
    })
}

fn wrong_with(wish: &Wish, current: &Pinned, known: &[Known], contracts: &[Version]) -> Vec<String> {
    let mut of_plugin = known.iter().filter(|release| release.name == wish.name);
    let Some(release) = of_plugin.find(|release| release.component == current.component) else {
        return vec!["the registry does not list it".to_owned()];
    };
    let mut wrong = Vec::new();
    if let Trust::Refused(reason) = &release.trust {
        wrong.push(format!("not trusted: {reason}"));
    }
    if !release.runs_on(contracts) {
        wrong.push(format!(
            "built against contract {}, which this host does not offer",
            release.contract
        ));
    }
    if !wish.range.matches(&release.version) {
        wrong.push(format!("not within `{}`", wish.range));
    }
    if let Some(reason) = &release.yanked {
        wrong.push(format!("yanked: {reason}"));
    }
    if let Some(deprecation) = &release.deprecated {
        let by = deprecation
            .deadline
            .map_or(String::new(), |deadline| format!(" (until {deadline})"));
        wrong.push(format!("deprecated{by}: {}", deprecation.message));
    }
    wrong
}
