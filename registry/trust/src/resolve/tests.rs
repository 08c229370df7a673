use std::collections::BTreeSet;

use jiff::civil::Date;
use proptest::prelude::*;
use semver::VersionReq;

use super::*;
use crate::text;

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn known(text: &str) -> Known {
    Known {
        name: "acme/shop".parse().unwrap(),
        version: version(text),
        component: text::digest_of(text.as_bytes()),
        manifest: text::digest_of(b"{}"),
        contract: Version::new(1, 0, 0),
        yanked: None,
        deprecated: None,
        upstream: Vec::new(),
        trust: Trust::Trusted,
        wider: Vec::new(),
    }
}

fn all(texts: &[&str]) -> Vec<Known> {
    texts.iter().map(|text| known(text)).collect()
}

fn wish(range: &str, policy: Policy) -> Wish {
    Wish {
        name: "acme/shop".parse().unwrap(),
        range: range.parse().unwrap(),
        policy,
        approved: None,
    }
}

fn pinned(text: &str) -> Pinned {
    let known = known(text);
    Pinned {
        version: known.version,
        component: known.component,
    }
}

fn offered() -> [Version; 1] {
    [Version::new(1, 2, 0)]
}

fn chosen(wish: &Wish, current: Option<&str>, known: &[Known]) -> Option<String> {
    let resolution = resolve(wish, current.map(pinned).as_ref(), known, &offered());
    resolution.chosen.map(|choice| choice.version.to_string())
}

/// Why a release was not chosen, in words.
fn against(resolution: &Resolution, text: &str) -> String {
    let mut passed = resolution.passed_over.iter();
    let passed = passed.find(|passed| passed.version == version(text)).unwrap();
    passed
        .why
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

#[test]
fn steps_between_versions() {
    for (from, to, expected) in [
        ("1.4.2", "1.4.2", Step::Same),
        ("1.4.2", "1.4.3", Step::Patch),
        ("1.4.2", "1.5.0", Step::Minor),
        ("1.4.2", "2.0.0", Step::Major),
        ("1.4.2", "1.4.1", Step::Back),
        ("1.0.0-rc.1", "1.0.0", Step::Patch),
        ("0.3.1", "0.3.2", Step::Patch),
        ("0.3.1", "0.4.0", Step::Major),
        ("0.0.1", "0.0.2", Step::Major),
        ("0.9.0", "1.0.0", Step::Major),
    ] {
        assert_eq!(
            Step::between(&version(from), &version(to)),
            expected,
            "{from} {to}"
        );
    }
}

#[test]
fn the_range_says_which_and_the_policy_how_far() {
    let there = all(&["1.4.2", "1.4.10", "1.5.0", "1.6.0-rc.1", "2.0.0", "2.1.0-rc.1"]);
    for (range, policy, current, expected) in [
        // At first, the highest that the range admits.
        ("^1", Policy::Patch, None, Some("1.5.0")),
        ("^1", Policy::Exact, None, Some("1.5.0")),
        ("*", Policy::Patch, None, Some("2.0.0")),
        ("^3", Policy::Patch, None, None),
        ("=1.4.2", Policy::Minor, None, Some("1.4.2")),
        ("^2.1.0-rc.0", Policy::Minor, None, Some("2.1.0-rc.1")),
        // Then in steps.
        ("*", Policy::Exact, Some("1.4.2"), Some("1.4.2")),
        ("*", Policy::Manual, Some("1.4.2"), Some("1.4.2")),
        ("*", Policy::Patch, Some("1.4.2"), Some("1.4.10")),
        ("*", Policy::Minor, Some("1.4.2"), Some("1.5.0")),
        ("~1.4", Policy::Minor, Some("1.4.2"), Some("1.4.10")),
        // Never back by itself.
        ("*", Policy::Minor, Some("2.0.0"), Some("2.0.0")),
        // A range that no longer admits what is in use is a person's decision.
        ("^1", Policy::Patch, Some("2.0.0"), Some("1.5.0")),
        ("^2", Policy::Exact, Some("1.4.2"), Some("2.0.0")),
    ] {
        let found = chosen(&wish(range, policy), current, &there);
        assert_eq!(found.as_deref(), expected, "{range} {policy} {current:?}");
    }
}

#[test]
fn what_is_held_against_a_release_is_said() {
    let mut there = all(&["1.0.0", "1.1.0", "1.2.0", "1.3.0", "1.4.0-rc.1", "1.5.0", "2.0.0"]);
    there[1].yanked = Some("wrong totals".to_owned());
    there[2].trust = Trust::Refused("the key is revoked".to_owned());
    there[3].contract = Version::new(1, 3, 0);
    there[5].wider = vec!["POST https://api.acme.example/".to_owned()];
    let resolution = resolve(
        &wish("^1", Policy::Minor),
        Some(&pinned("1.0.0")),
        &there,
        &offered(),
    );
    assert_eq!(resolution.chosen.as_ref().unwrap().version, version("1.0.0"));
    assert_eq!(against(&resolution, "1.1.0"), "yanked: wrong totals");
    assert_eq!(against(&resolution, "1.2.0"), "not trusted: the key is revoked");
    assert_eq!(
        against(&resolution, "1.3.0"),
        "built against contract 1.3.0; this host offers 1.2.0"
    );
    assert!(against(&resolution, "1.4.0-rc.1").starts_with("a pre-release"));
    assert!(against(&resolution, "1.5.0").contains("POST https://api.acme.example/"));
    assert!(against(&resolution, "2.0.0").starts_with("not within `^1`"));
    let text = resolution.explain(&"acme/shop".parse().unwrap());
    assert_eq!(text.lines().count(), 7, "{text}");
}

#[test]
fn what_keeps_a_release_is_told_apart() {
    let there = all(&["0.9.0", "1.0.0", "1.1.0"]);
    let resolution = resolve(
        &wish("*", Policy::Patch),
        Some(&pinned("1.0.0")),
        &there,
        &offered(),
    );
    assert_eq!(against(&resolution, "0.9.0"), "older than 1.0.0, which is in use");
    assert_eq!(
        against(&resolution, "1.1.0"),
        "a minor step, which the policy `patch` leaves to a person"
    );
    let resolution = resolve(
        &wish("*", Policy::Minor),
        Some(&pinned("1.0.0")),
        &there,
        &offered(),
    );
    assert_eq!(against(&resolution, "1.0.0"), "a newer one was chosen");
}

#[test]
fn a_yanked_release_goes_on_where_it_is_in_use_and_only_there() {
    let mut there = all(&["1.0.0"]);
    there[0].yanked = Some("wrong totals".to_owned());
    assert_eq!(chosen(&wish("^1", Policy::Patch), None, &there), None);
    let resolution = resolve(
        &wish("^1", Policy::Patch),
        Some(&pinned("1.0.0")),
        &there,
        &offered(),
    );
    let choice = resolution.chosen.unwrap();
    assert_eq!(
        choice.notes,
        [Note::Yanked {
            reason: "wrong totals".to_owned()
        }]
    );
}

#[test]
fn approval_lifts_what_a_person_decides_and_nothing_else() {
    let mut there = all(&["1.0.0", "2.0.0", "0.9.0"]);
    there[1].wider = vec!["more".to_owned()];
    let approve = |text: &str| Wish {
        approved: Some(known(text).component),
        ..wish("*", Policy::Manual)
    };
    assert_eq!(
        chosen(&approve("2.0.0"), Some("1.0.0"), &there).as_deref(),
        Some("2.0.0")
    );
    there[1].trust = Trust::Refused("revoked".to_owned());
    assert_eq!(
        chosen(&approve("2.0.0"), Some("1.0.0"), &there).as_deref(),
        Some("1.0.0")
    );
}

#[test]
fn two_components_of_one_version_are_a_swap() {
    let mut there = all(&["1.0.0", "1.1.0", "1.1.0"]);
    there[2].component = text::digest_of(b"other");
    let resolution = resolve(&wish("^1", Policy::Minor), None, &there, &offered());
    assert_eq!(resolution.chosen.as_ref().unwrap().version, version("1.0.0"));
    assert!(against(&resolution, "1.1.0").contains("two different components"));
    // Whoever runs one of them keeps it.
    let resolution = resolve(
        &wish("^1", Policy::Minor),
        Some(&pinned("1.1.0")),
        &there,
        &offered(),
    );
    assert_eq!(resolution.chosen.unwrap().component, known("1.1.0").component);
    let swapped = [there[2].clone()];
    let resolution = resolve(
        &wish("^1", Policy::Minor),
        Some(&pinned("1.1.0")),
        &swapped,
        &offered(),
    );
    assert_eq!(resolution.chosen, None);
    assert!(against(&resolution, "1.1.0").contains("other bytes"));
}

fn used(user: &str, range: &str, policy: Policy, current: &str) -> InUse {
    InUse {
        user: user.to_owned(),
        wish: wish(range, policy),
        current: pinned(current),
    }
}

#[test]
fn who_is_outdated_and_what_keeps_them() {
    let mut there = all(&["1.0.0", "1.0.1", "2.0.0"]);
    there[0].yanked = Some("wrong totals".to_owned());
    let uses = [
        used("connection/a", "^1", Policy::Patch, "1.0.0"),
        used("connection/b", "*", Policy::Manual, "1.0.1"),
        used("connection/c", "*", Policy::Minor, "2.0.0"),
        used("connection/d", "*", Policy::Minor, "1.0.2"),
    ];
    let found = outdated(&uses, &there, &offered());
    let users: Vec<_> = found.iter().map(|outdated| outdated.user.as_str()).collect();
    assert_eq!(users, ["connection/a", "connection/b", "connection/d"]);
    assert_eq!(found[0].automatic, Some(version("1.0.1")));
    assert_eq!(found[0].wrong, ["yanked: wrong totals"]);
    assert_eq!(found[0].step, Some(Step::Major));
    assert!(found[0].why_not[0].contains("not within"));
    assert_eq!(found[1].automatic, None);
    assert!(found[1].why_not[0].contains("`manual`"));
    assert_eq!(found[2].wrong, ["the registry does not list it"]);
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["why-not"][0], found[0].why_not[0]);
}

fn upstream(system: &str, api_version: &str, sunset: Option<&str>) -> Upstream {
    let mut json = serde_json::json!({ "system": system, "api-version": api_version });
    if let Some(sunset) = sunset {
        json["sunset"] = sunset.into();
    }
    serde_json::from_value(json).unwrap()
}

#[test]
fn who_has_to_move_by_a_day() {
    let day = |text: &str| text.parse::<Date>().unwrap();
    let mut there = all(&["1.0.0", "1.1.0", "2.0.0"]);
    there[0].upstream = vec![
        upstream("Shop", "v1", Some("2026-09-01")),
        upstream("Mail", "v9", None),
    ];
    there[1].upstream = vec![
        upstream("Shop", "v1", Some("2026-09-01")),
        upstream("Mail", "v9", None),
    ];
    there[2].upstream = vec![upstream("Shop", "v2", None), upstream("Mail", "v9", None)];
    there[1].deprecated = Some(Deprecation {
        message: "use 2".to_owned(),
        deadline: Some(day("2026-08-01")),
        guide: None,
    });
    let uses = [
        used("connection/a", "*", Policy::Minor, "1.0.0"),
        used("connection/b", "*", Policy::Minor, "1.1.0"),
        used("connection/c", "*", Policy::Minor, "2.0.0"),
        used("connection/d", "*", Policy::Minor, "1.2.3"),
    ];
    let risks = |by: &str, there: &[Known]| -> Vec<(String, Option<String>)> {
        at_risk(&uses, day(by), there, &offered())
            .into_iter()
            .map(|risk| (risk.user, risk.on.map(|on| on.to_string())))
            .collect()
    };
    let entry = |user: &str, on: Option<&str>| (format!("connection/{user}"), on.map(str::to_owned));
    assert_eq!(risks("2026-07-31", &there), [entry("d", None)]);
    assert_eq!(
        risks("2026-09-01", &there),
        [
            entry("d", None),
            entry("b", Some("2026-08-01")),
            entry("a", Some("2026-09-01")),
            entry("b", Some("2026-09-01")),
        ]
    );
    let way_out = |there: &[Known]| {
        at_risk(&uses[..1], day("2026-09-01"), there, &offered())[0]
            .move_to
            .clone()
    };
    let MoveTo::ByHand { version: to, why } = way_out(&there) else {
        panic!("a major step is a person's");
    };
    assert_eq!((to, why.len()), (version("2.0.0"), 1));
    there[1].deprecated = None;
    there[1].upstream[0] = upstream("Shop", "v2", Some("2027-09-01"));
    assert_eq!(
        way_out(&there),
        MoveTo::Automatic {
            version: version("1.1.0")
        }
    );
    // A release that no longer speaks to the system is no way out.
    there.truncate(2);
    there[1].upstream.remove(0);
    assert_eq!(way_out(&there), MoveTo::Nowhere);
}

fn some_known() -> impl Strategy<Value = Known> {
    (
        (0_u64..3, 0_u64..3, 0_u64..3, any::<bool>()),
        (any::<bool>(), any::<bool>(), 0_u64..4, any::<bool>(), 0_u8..2),
    )
        .prop_map(
            |((major, minor, patch, pre), (yanked, refused, contract, wider, bytes))| {
                let text = format!("{major}.{minor}.{patch}{}", if pre { "-rc.1" } else { "" });
                Known {
                    component: text::digest_of(format!("{text}/{bytes}").as_bytes()),
                    yanked: yanked.then(|| "yanked".to_owned()),
                    trust: if refused {
                        Trust::Refused("no".to_owned())
                    } else {
                        Trust::Trusted
                    },
                    contract: Version::new(1, contract, 0),
                    wider: if wider {
                        vec!["more".to_owned()]
                    } else {
                        Vec::new()
                    },
                    ..known(&text)
                }
            },
        )
}

fn some_range() -> impl Strategy<Value = VersionReq> {
    ("(\\^|~|=|>=|<)[0-2]\\.[0-2]\\.[0-2]|\\*|\\^[0-2]").prop_map(|text| text.parse().unwrap())
}

proptest! {
    /// Whatever is on offer: what is chosen breaks no rule, everything else has a reason, and the order of the list does not matter.
    #[test]
    fn nothing_is_chosen_that_should_not_be(
        mut there in prop::collection::vec(some_known(), 0..12),
        range in some_range(),
        policy in prop::sample::select(vec![Policy::Exact, Policy::Patch, Policy::Minor, Policy::Manual]),
        current in prop::option::of(any::<prop::sample::Index>()),
        rotation in 0_usize..12,
    ) {
        let current = current.filter(|_| !there.is_empty()).map(|index| {
            let known = &there[index.index(there.len())];
            Pinned { version: known.version.clone(), component: known.component.clone() }
        });
        let wish = Wish { range, ..wish("*", policy) };
        let resolution = resolve(&wish, current.as_ref(), &there, &offered());
        let components: BTreeSet<_> = there.iter().map(|known| &known.component).collect();
        let accounted = resolution.passed_over.len() + usize::from(resolution.chosen.is_some());
        prop_assert_eq!(accounted, components.len());
        prop_assert!(resolution.passed_over.iter().all(|passed| !passed.why.is_empty()));
        if let Some(choice) = &resolution.chosen {
            let is_current = current.as_ref().is_some_and(|current| current.component == choice.component);
            let any = |rule: &dyn Fn(&Known) -> bool| {
                there.iter().filter(|known| known.component == choice.component).any(rule)
            };
            prop_assert!(any(&|known| known.trust == Trust::Trusted));
            prop_assert!(any(&|known| known.contract <= offered()[0]));
            // Whoever names one version and no other gets it.
            let one = wish.range.comparators.len() == 1
                && wish.range.comparators.iter().all(|part| part.op == semver::Op::Exact && part.patch.is_some());
            prop_assert!(any(&|known| known.yanked.is_none()) || is_current || one);
            prop_assert!(wish.range.matches(&choice.version));
            if let Some(current) = current.as_ref().filter(|current| wish.range.matches(&current.version)) {
                prop_assert!(choice.version >= current.version);
                prop_assert!(is_current || policy.takes(Step::between(&current.version, &choice.version)));
                prop_assert!(is_current || any(&|known| known.wider.is_empty()));
            }
        }
        // The same list with each component once, turned round.
        let mut seen = BTreeSet::new();
        there.retain(|known| seen.insert(known.component.clone()));
        let straight = resolve(&wish, current.as_ref(), &there, &offered());
        let turn = rotation % there.len().max(1);
        there.rotate_left(turn);
        prop_assert_eq!(resolve(&wish, current.as_ref(), &there, &offered()), straight);
    }
}
