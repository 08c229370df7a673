use proptest::prelude::*;

use super::*;
use crate::{
    key::Algorithm,
    roots::tests::{Keys, document, established, keys},
};

const REGISTRY: &str = "registry.example";
const NOW: &str = "2026-06-01T00:00:00Z";

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn entry(name: &str, version: &str) -> IndexEntry {
    IndexEntry {
        name: name.parse().unwrap(),
        version: version.parse().unwrap(),
        component: text::digest_of(format!("{name}{version}").as_bytes()),
        manifest: text::digest_of(b"{}"),
        image: None,
        contract: Version::new(1, 0, 0),
        published: at("2026-05-01T00:00:00Z"),
        yanked: None,
        deprecated: None,
        upstream: Vec::new(),
    }
}

fn list(version: u64) -> IndexDocument {
    IndexDocument {
        registry: REGISTRY.to_owned(),
        version,
        issued: at("2026-05-30T00:00:00Z"),
        expires: at("2026-06-10T00:00:00Z"),
        releases: vec![
            entry("acme/shop", "1.10.0"),
            entry("acme/shop", "1.9.0"),
            entry("acme/erp", "2.0.0"),
        ],
    }
}

struct World {
    keys: Keys,
    root: TrustRoot,
}

impl World {
    fn new() -> Self {
        let keys = keys();
        let root = established(&document(&keys), &keys, at(NOW));
        Self { keys, root }
    }

    fn accept(
        &self,
        mut list: IndexDocument,
        by: &[&str],
        seen: Option<&Seen>,
        now: &str,
    ) -> Result<Index, IndexError> {
        let envelope = list.sign(&self.keys.all(by)).unwrap();
        Index::accept(envelope.to_json().as_bytes(), REGISTRY, &self.root, seen, at(now))
    }
}

#[test]
fn a_good_index_is_taken_and_in_order() {
    let world = World::new();
    let index = world.accept(list(7), &["list"], None, NOW).unwrap();
    let labels: Vec<_> = index.document().releases.iter().map(IndexEntry::label).collect();
    assert_eq!(labels, ["acme/erp@2.0.0", "acme/shop@1.9.0", "acme/shop@1.10.0"]);
    assert_eq!(index.releases_of(&"acme/shop".parse().unwrap()).count(), 2);
    // The same again, and a later one.
    assert!(world.accept(list(7), &["list"], Some(index.seen()), NOW).is_ok());
    assert!(world.accept(list(9), &["list"], Some(index.seen()), NOW).is_ok());
}

#[test]
fn every_refusal_has_its_reason() {
    let world = World::new();
    let seen = world
        .accept(list(7), &["list"], None, NOW)
        .unwrap()
        .seen()
        .clone();
    let yanked = {
        let mut other = list(7);
        other.releases[0].yanked = Some(Yank {
            at: at(NOW),
            reason: "wrong totals".to_owned(),
        });
        other
    };
    for (list, by, now, expected) in [
        (list(6), &["list"] as &[_], NOW, "index-rollback"),
        (yanked, &["list"], NOW, "index-changed"),
        (list(8), &["list"], "2026-06-10T00:00:00Z", "index-expired"),
        (list(8), &["list"], "2026-06-09T23:59:59Z", "taken"),
        (
            list(8),
            &["list"],
            "2026-05-29T00:00:00Z",
            "index-from-the-future",
        ),
        // A clock that is a little behind is none of anybody's fault.
        (list(8), &["list"], "2026-05-29T23:58:00Z", "taken"),
        (list(8), &["acme1"], NOW, "index-not-trusted"),
        (
            IndexDocument {
                registry: "other.example".to_owned(),
                ..list(8)
            },
            &["list"],
            NOW,
            "index-other-registry",
        ),
    ] {
        let found = world.accept(list, by, Some(&seen), now);
        let code = found.as_ref().map_or_else(IndexError::code, |_| "taken");
        assert_eq!(code, expected, "{found:?}");
    }
    let json = list(8).sign(&world.keys.all(&["list"])).unwrap().to_json();
    let elsewhere = Index::accept(json.as_bytes(), "other.example", &world.root, None, at(NOW));
    assert_eq!(elsewhere.unwrap_err().code(), "index-no-scope");
}

#[test]
fn a_signature_is_judged_before_anything_is_read() {
    let world = World::new();
    let stranger = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let envelope = Envelope::sign(PAYLOAD_TYPE, b"not even JSON".to_vec(), &[&stranger]);
    let found = Index::accept(
        envelope.to_json().as_bytes(),
        REGISTRY,
        &world.root,
        None,
        at(NOW),
    );
    assert_eq!(found.unwrap_err().code(), "index-not-trusted");
    let envelope = Envelope::sign(
        PAYLOAD_TYPE,
        b"not even JSON".to_vec(),
        &world.keys.all(&["list"]),
    );
    let found = Index::accept(
        envelope.to_json().as_bytes(),
        REGISTRY,
        &world.root,
        None,
        at(NOW),
    );
    assert_eq!(found.unwrap_err().code(), "index-invalid");
}

#[test]
fn an_index_that_makes_no_sense_is_not_even_signed() {
    let same = |mut list: IndexDocument| {
        list.releases.push(entry("acme/shop", "1.9.0"));
        list
    };
    let copied = |mut list: IndexDocument| {
        list.releases[0].component = list.releases[1].component.clone();
        list
    };
    for (mut list, word) in [
        (
            IndexDocument {
                version: 0,
                ..list(1)
            },
            "begin with 1",
        ),
        (
            IndexDocument {
                expires: at("2026-05-30T00:00:00Z"),
                ..list(1)
            },
            "expires before",
        ),
        (
            IndexDocument {
                expires: at("2027-05-30T00:00:00Z"),
                ..list(1)
            },
            "90 days",
        ),
        (same(list(1)), "each once"),
        (copied(list(1)), "component of another"),
    ] {
        let error = list.sign(&[]).unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}

#[test]
fn a_published_version_never_changes() {
    let world = World::new();
    let before = world.accept(list(1), &["list"], None, NOW).unwrap();
    let after = |change: &dyn Fn(&mut IndexDocument)| {
        let mut next = list(2);
        change(&mut next);
        world
            .accept(next, &["list"], Some(before.seen()), NOW)
            .unwrap()
            .follows(&before)
    };
    assert_eq!(
        after(&|next| next.releases.push(entry("acme/shop", "1.11.0"))),
        Ok(())
    );
    assert_eq!(
        after(&|next| next.releases[0].yanked = Some(Yank {
            at: at(NOW),
            reason: String::new()
        })),
        Ok(())
    );
    for (change, word) in [
        (
            (&|next: &mut IndexDocument| drop(next.releases.remove(0))) as &dyn Fn(&mut IndexDocument),
            "is gone",
        ),
        (
            &|next| next.releases[0].component = text::digest_of(b"other"),
            "other bytes",
        ),
        (&|next| next.releases[0].published = at(NOW), "another time"),
    ] {
        let error = after(change).unwrap_err();
        assert_eq!(error.code(), "index-rewritten");
        assert!(error.to_string().contains(word), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever is shown in whatever order, and however the clock stands: the version never goes back, and one version is one content.
    #[test]
    fn the_index_never_goes_back(shown in prop::collection::vec((1_u64..6, 0_u8..3, -20_i64..20), 1..12)) {
        let world = World::new();
        let mut seen: Option<Seen> = None;
        for (version, content, days) in shown {
            let mut given = list(version);
            given.releases.truncate(usize::from(content) + 1);
            let now = at(NOW) + SignedDuration::from_hours(24 * days);
            let envelope = given.sign(&world.keys.all(&["list"])).unwrap();
            let found = Index::accept(envelope.to_json().as_bytes(), REGISTRY, &world.root, seen.as_ref(), now);
            if let Ok(index) = found {
                prop_assert!(now < given.expires && now + SignedDuration::from_mins(5) >= given.issued);
                if let Some(seen) = &seen {
                    prop_assert!(index.seen().version >= seen.version);
                    prop_assert!(index.seen().version > seen.version || index.seen() == seen);
                }
                seen = Some(index.seen().clone());
            }
        }
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let world = World::new();
        prop_assert!(Index::accept(&bytes, REGISTRY, &world.root, None, at(NOW)).is_err());
    }
}
