//! Who has to move by a day: because a vendor ends the API version that a release speaks, or because the release's author ends it.

use std::collections::BTreeSet;

use jiff::civil::Date;
use semver::Version;
use serde::Serialize;
use stecker_registry::{PluginName, manifest::Sunset};
use url::Url;

use super::{
    Known,
    choose::{resolve, unusable},
    outdated::InUse,
};

/// A use that stops working, or may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct AtRisk {
    /// By what, such as `connection/shop`.
    pub user: String,
    /// The plugin.
    pub name: PluginName,
    /// What it has.
    pub version: Version,
    /// The day; none: unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on: Option<Date>,
    /// What happens then.
    pub hazard: Hazard,
    /// Where to.
    pub move_to: MoveTo,
}

/// What happens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Hazard {
    /// The vendor no longer answers this version of the API.
    Sunset {
        /// The system.
        system: String,
        /// The version of its API.
        api_version: String,
        /// The vendor's page that says so.
        #[serde(skip_serializing_if = "Option::is_none")]
        url: Option<Url>,
    },
    /// The author ends the release.
    Deprecated {
        /// In whose words.
        message: String,
        /// How to leave it.
        #[serde(skip_serializing_if = "Option::is_none")]
        guide: Option<Url>,
    },
    /// The registry does not list the release, so nothing is known of its systems.
    NotListed,
}

/// Where to move.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "how")]
pub enum MoveTo {
    /// It does so by itself.
    Automatic {
        /// To which version.
        version: Version,
    },
    /// A person has to do something first.
    ByHand {
        /// To which version.
        version: Version,
        /// What stands in the way.
        why: Vec<String>,
    },
    /// There is no release without the same end.
    Nowhere,
}

/// Every use with an end on or before the day, the earliest first and what is unknown before all; a use is there once for each reason. A day is given
/// and not a moment, because vendors give days.
#[must_use]
pub fn at_risk(uses: &[InUse], by: Date, known: &[Known], contracts: &[Version]) -> Vec<AtRisk> {
    let mut found = Vec::new();
    for used in uses {
        let mut of_plugin = known.iter().filter(|release| release.name == used.wish.name);
        let release = of_plugin.find(|release| release.component == used.current.component);
        let hazards = release.map_or_else(|| vec![(None, Hazard::NotListed)], |release| hazards(release, by));
        if hazards.is_empty() {
            continue;
        }
        let move_to = way_out(used, by, known, contracts);
        found.extend(hazards.into_iter().map(|(on, hazard)| AtRisk {
            user: used.user.clone(),
            name: used.wish.name.clone(),
            version: used.current.version.clone(),
            on,
            hazard,
            move_to: move_to.clone(),
        }));
    }
    found.sort_by(|a, b| (a.on, &a.user).cmp(&(b.on, &b.user)));
    found
}

fn hazards(release: &Known, by: Date) -> Vec<(Option<Date>, Hazard)> {
    let sunsets = release.upstream.iter().filter_map(|upstream| {
        let on = upstream
            .sunset
            .and_then(Sunset::date)
            .filter(|sunset| *sunset <= by)?;
        let hazard = Hazard::Sunset {
            system: upstream.system.clone(),
            api_version: upstream.api_version.clone(),
            url: upstream.url.clone(),
        };
        Some((Some(on), hazard))
    });
    let deprecated = release.deprecated.iter().filter_map(|deprecation| {
        let on = deprecation.deadline.filter(|deadline| *deadline <= by)?;
        let hazard = Hazard::Deprecated {
            message: deprecation.message.clone(),
            guide: deprecation.guide.clone(),
        };
        Some((Some(on), hazard))
    });
    sunsets.chain(deprecated).collect()
}

/// The release that the use gets to most easily: by itself, if there is one, else the newest. It has to speak to every system that the one in use speaks
/// to, and to have no end of its own by that day.
fn way_out(used: &InUse, by: Date, known: &[Known], contracts: &[Version]) -> MoveTo {
    let of_plugin = || known.iter().filter(|release| release.name == used.wish.name);
    let systems: BTreeSet<&str> = of_plugin()
        .filter(|release| release.component == used.current.component)
        .flat_map(|release| &release.upstream)
        .map(|upstream| upstream.system.as_str())
        .collect();
    let lasts = |release: &Known| {
        let speaks: BTreeSet<&str> = release
            .upstream
            .iter()
            .map(|upstream| upstream.system.as_str())
            .collect();
        systems.is_subset(&speaks) && hazards(release, by).is_empty()
    };
    let resolution = resolve(&used.wish, Some(&used.current), known, contracts);
    let chosen = resolution.chosen.as_ref().filter(|choice| {
        let mut releases = of_plugin();
        choice.component != used.current.component
            && releases.any(|release| release.component == choice.component && lasts(release))
    });
    if let Some(choice) = chosen {
        return MoveTo::Automatic {
            version: choice.version.clone(),
        };
    }
    let candidate = of_plugin()
        .filter(|release| release.component != used.current.component && release.yanked.is_none())
        .filter(|release| release.version.pre.is_empty() || !used.current.version.pre.is_empty())
        .filter(|release| unusable(release, contracts).is_empty() && lasts(release))
        .max_by(|a, b| a.version.cmp(&b.version));
    let Some(candidate) = candidate else {
        return MoveTo::Nowhere;
    };
    let mut passed = resolution.passed_over.iter();
    let why = passed
        .find(|passed| passed.component == candidate.component)
        .map(|passed| passed.why.iter().map(ToString::to_string).collect())
        .unwrap_or_default();
    MoveTo::ByHand {
        version: candidate.version.clone(),
        why,
    }
}
