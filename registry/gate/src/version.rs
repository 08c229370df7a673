//! The version's number: what it may be after those that are released, and what it says about breaking. Pure.

use std::cmp::Ordering;

use semver::{BuildMetadata, Version};
use stecker_trust::resolve::Step;

use crate::{Code, findings::Findings};

/// The release that a new one is to be compared with: the highest below it of its own line, or else the highest below it at all. Releases count before
/// pre-releases.
#[must_use]
pub fn predecessor<'v>(
    version: &Version,
    released: impl IntoIterator<Item = &'v Version>,
) -> Option<&'v Version> {
    released
        .into_iter()
        .filter(|other| other.cmp_precedence(version) == Ordering::Less)
        .max_by(|a, b| {
            let rank = |other: &Version| (Step::between(other, version) != Step::Major, other.pre.is_empty());
            rank(a).cmp(&rank(b)).then_with(|| a.cmp_precedence(b))
        })
}

/// Whether two versions are of one major; before 1.0 the number after the zero is what breaks.
fn same_line(a: &Version, b: &Version) -> bool {
    let (low, high) = if a.cmp_precedence(b) == Ordering::Greater {
        (b, a)
    } else {
        (a, b)
    };
    matches!(
        Step::between(&plain(low), &plain(high)),
        Step::Same | Step::Patch | Step::Minor
    )
}

/// Without build metadata, which does not count.
fn plain(version: &Version) -> Version {
    Version {
        build: BuildMetadata::EMPTY,
        ..version.clone()
    }
}

pub(crate) fn check(
    version: &Version,
    released: &[Version],
    explanation: Option<&str>,
    findings: &mut Findings<'_>,
) {
    if !version.build.is_empty() {
        findings.add(
            Code::VersionBuild,
            &format!(
                "the version is {version}, with the build metadata `{}`",
                version.build
            ),
        );
    }
    if let Some(same) = released
        .iter()
        .find(|other| other.cmp_precedence(version) == Ordering::Equal)
    {
        findings.add(
            Code::VersionExists,
            &format!("{same} is released already, with other content"),
        );
        return;
    }
    let highest = released
        .iter()
        .filter(|other| same_line(version, other))
        .max_by(|a, b| a.cmp_precedence(b))
        .filter(|highest| highest.cmp_precedence(version) == Ordering::Greater);
    match (
        highest,
        explanation.map(str::trim).filter(|text| !text.is_empty()),
    ) {
        (Some(highest), Some(explanation)) => findings.add(
            Code::VersionExplained,
            &format!("{version} comes after {highest} was released: {explanation}"),
        ),
        (Some(highest), None) => findings.add(
            Code::VersionNotHighest,
            &format!("the version is {version}, and {highest} of the same major is released already"),
        ),
        (None, _) => {}
    }
}

/// What the step from the release before says about breaking, and what the manifest says.
pub(crate) fn check_breaking(
    (before, version): (&Version, &Version),
    breaking: usize,
    findings: &mut Findings<'_>,
) {
    match (Step::between(&plain(before), &plain(version)), breaking) {
        (Step::Major, 0) => findings.add(
            Code::BreakingMissing,
            &format!("{before} to {version} is a new major version, and the manifest has no `[[breaking]]`"),
        ),
        (Step::Patch | Step::Minor, 1..) => findings.add(
            Code::BreakingUnexpected,
            &format!("{before} to {version} is no new major version, and the manifest has {breaking} `[[breaking]]`"),
        ),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::GatePolicy;

    fn version(text: &str) -> Version {
        text.parse().unwrap()
    }

    fn codes(check: impl FnOnce(&mut Findings<'_>)) -> Vec<Code> {
        let policy = GatePolicy::publish();
        let mut findings = Findings::new(&policy);
        check(&mut findings);
        findings.into_list().iter().map(|finding| finding.code).collect()
    }

    #[test]
    fn a_version_comes_after_those_of_its_line() {
        let found = |text: &str, released: &[&str], explanation: Option<&str>| {
            let released: Vec<_> = released.iter().map(|text| version(text)).collect();
            codes(|findings| check(&version(text), &released, explanation, findings))
        };
        assert_eq!(found("1.0.0", &[], None), []);
        assert_eq!(found("1.1.0", &["1.0.0", "1.0.9"], None), []);
        assert_eq!(found("1.0.0", &["1.0.0"], None), [Code::VersionExists]);
        assert_eq!(
            found("1.0.0+a", &["1.0.0"], None),
            [Code::VersionBuild, Code::VersionExists]
        );
        assert_eq!(found("1.0.0+a", &[], None), [Code::VersionBuild]);
        assert_eq!(
            found("1.0.1", &["1.0.0", "1.1.0"], None),
            [Code::VersionNotHighest]
        );
        assert_eq!(
            found("1.0.1", &["1.0.0", "1.1.0"], Some(" ")),
            [Code::VersionNotHighest]
        );
        assert_eq!(
            found(
                "1.0.1",
                &["1.0.0", "1.1.0"],
                Some("a leak, for those who cannot move")
            ),
            [Code::VersionExplained]
        );
        // Another major is another line, and before 1.0 so is another minor.
        assert_eq!(found("1.4.0", &["1.3.0", "2.0.0"], None), []);
        assert_eq!(found("0.3.2", &["0.3.1", "0.4.0"], None), []);
        assert_eq!(found("0.3.0", &["0.3.1"], None), [Code::VersionNotHighest]);
        assert_eq!(found("1.1.0-rc.1", &["1.1.0"], None), [Code::VersionNotHighest]);
        assert_eq!(found("1.1.0", &["1.1.0-rc.1"], None), []);
    }

    #[test]
    fn a_new_major_says_what_breaks() {
        let found = |from: &str, to: &str, breaking: usize| {
            codes(|findings| check_breaking((&version(from), &version(to)), breaking, findings))
        };
        assert_eq!(found("1.4.0", "2.0.0", 0), [Code::BreakingMissing]);
        assert_eq!(found("1.4.0", "2.0.0", 1), []);
        assert_eq!(found("0.4.0", "0.5.0", 0), [Code::BreakingMissing]);
        assert_eq!(found("1.4.0", "1.5.0", 1), [Code::BreakingUnexpected]);
        assert_eq!(found("1.4.0", "1.5.0", 0), []);
        assert_eq!(found("2.0.0", "1.5.0", 0), []);
    }

    #[test]
    fn a_release_is_compared_with_the_one_before_in_its_line() {
        let before = |text: &str, released: &[&str]| {
            let released: Vec<_> = released.iter().map(|text| version(text)).collect();
            predecessor(&version(text), &released).map(ToString::to_string)
        };
        let all = ["1.0.0", "1.2.0", "2.0.0", "2.1.0-rc.1"];
        assert_eq!(before("1.3.0", &all).as_deref(), Some("1.2.0"));
        assert_eq!(before("1.1.0", &all).as_deref(), Some("1.0.0"));
        assert_eq!(before("2.1.0", &all).as_deref(), Some("2.0.0"));
        assert_eq!(before("3.0.0", &all).as_deref(), Some("2.0.0"));
        assert_eq!(before("1.0.0", &all), None);
        assert_eq!(before("2.1.0", &["2.1.0-rc.1"]).as_deref(), Some("2.1.0-rc.1"));
        assert_eq!(
            before("2.0.0", &["2.0.0+a"]),
            None,
            "build metadata does not count"
        );
    }
}
