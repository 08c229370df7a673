use std::collections::BTreeSet;

use jiff::{Timestamp, ToSpan as _};
use proptest::prelude::*;
use stecker_model::Name;

use super::{document::PAYLOAD_TYPE, *};
use crate::{
    bundle::Bundle,
    dsse::Envelope,
    key::{Algorithm, SecretKey},
    statement::ReleaseSubject,
    text,
};

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn name(text: &str) -> Name {
    text.parse().unwrap()
}

fn names(texts: &[&str]) -> Vec<Name> {
    texts.iter().map(|text| name(text)).collect()
}

fn quorum(keys: &[&str], threshold: u32) -> Quorum {
    Quorum {
        keys: names(keys),
        threshold,
    }
}

/// Private keys by the names that a document gives them.
pub(crate) struct Keys(Vec<(Name, SecretKey)>);

impl Keys {
    pub(crate) fn new(names: &[&str]) -> Self {
        // Both kinds, in turn.
        let kinds = [Algorithm::Ed25519, Algorithm::EcdsaP256].into_iter().cycle();
        let made = names.iter().zip(kinds);
        Self(
            made.map(|(text, kind)| (name(text), SecretKey::generate(kind).unwrap()))
                .collect(),
        )
    }

    pub(crate) fn get(&self, name: &str) -> &SecretKey {
        &self.0.iter().find(|(known, _)| known.as_str() == name).unwrap().1
    }

    pub(crate) fn all(&self, names: &[&str]) -> Vec<&SecretKey> {
        names.iter().map(|name| self.get(name)).collect()
    }

    pub(crate) fn in_document(&self) -> Vec<RootKey> {
        let keys = self.0.iter().map(|(name, key)| RootKey {
            name: name.clone(),
            key: key.public().clone(),
            valid_from: at("2026-01-01T00:00:00Z"),
            valid_until: None,
            revoked: None,
        });
        keys.collect()
    }
}

/// The operator signs roots (two of three), `acme` its own plugins, `first` everything else, and `list` the index.
pub(crate) fn document(keys: &Keys) -> RootDocument {
    RootDocument {
        tenant: name("default"),
        version: 1,
        issued: at("2026-01-01T00:00:00Z"),
        expires: None,
        keys: keys.in_document(),
        root: quorum(&["op1", "op2", "op3"], 2),
        releases: vec![
            ReleaseScope {
                names: vec!["*".parse().unwrap()],
                quorum: quorum(&["first"], 1),
            },
            ReleaseScope {
                names: vec!["acme/*".parse().unwrap()],
                quorum: quorum(&["acme1", "acme2"], 1),
            },
            ReleaseScope {
                names: vec!["acme/bank".parse().unwrap()],
                quorum: quorum(&["acme1", "acme2"], 2),
            },
        ],
        indexes: vec![IndexScope {
            registry: "registry.example".to_owned(),
            quorum: quorum(&["list"], 1),
        }],
        revoked_releases: Vec::new(),
    }
}

pub(crate) fn keys() -> Keys {
    Keys::new(&["op1", "op2", "op3", "first", "acme1", "acme2", "list"])
}

pub(crate) fn established(document: &RootDocument, keys: &Keys, now: Timestamp) -> TrustRoot {
    let envelope = document.sign(&keys.all(&["op1", "op2"])).unwrap();
    TrustRoot::establish(envelope.to_json().as_bytes(), &document.tenant, now).unwrap()
}

fn key_of<'d>(document: &'d mut RootDocument, name: &str) -> &'d mut RootKey {
    document
        .keys
        .iter_mut()
        .find(|key| key.name.as_str() == name)
        .unwrap()
}

fn subject(plugin: &str) -> ReleaseSubject {
    ReleaseSubject {
        name: plugin.parse().unwrap(),
        version: "1.4.0".parse().unwrap(),
        component: text::digest_of(plugin.as_bytes()),
        manifest: text::digest_of(b"{}"),
        image: None,
    }
}

const NOW: &str = "2026-06-01T00:00:00Z";

/// What a root says about a release that these keys signed.
fn judged(document: &RootDocument, keys: &Keys, plugin: &str, by: &[&str], seen: Option<&str>) -> Verdict {
    let root = TrustRoot::restore(
        document.sign(&[]).map(signed_by_nobody).unwrap().as_bytes(),
        &text::digest_of(&serde_json::to_vec(document).unwrap()),
    )
    .unwrap();
    let subject = subject(plugin);
    let bundles: Vec<String> = by
        .iter()
        .map(|key| Bundle::sign(&subject, keys.get(key), at(NOW)).to_json())
        .collect();
    let bundles: Vec<SignedBundle<'_>> = bundles
        .iter()
        .map(|json| SignedBundle {
            json: json.as_bytes(),
            seen: seen.map(at),
        })
        .collect();
    root.judge(&subject, None, &bundles, at(NOW))
}

/// A document that is restored was judged before, so whose signatures are on it does not matter.
fn signed_by_nobody(mut envelope: Envelope) -> String {
    envelope.add_signature(&SecretKey::generate(Algorithm::Ed25519).unwrap());
    envelope.to_json()
}

fn code(verdict: &Verdict) -> &'static str {
    match verdict {
        Verdict::Trusted(_) => "trusted",
        Verdict::Refused(refusal) => refusal.code(),
    }
}

#[test]
fn the_most_specific_scope_says_whose_signatures_count() {
    let keys = keys();
    let document = document(&keys);
    for (plugin, by, expected) in [
        ("other/erp", &["first"] as &[_], "trusted"),
        ("other/erp", &["acme1"], "key-out-of-scope"),
        ("acme/shop", &["acme1"], "trusted"),
        ("acme/shop", &["acme2"], "trusted"),
        // Whoever may sign for `*` cannot sign for a namespace that has keys of its own.
        ("acme/shop", &["first"], "key-out-of-scope"),
        ("acme/shop", &["first", "acme1"], "trusted"),
        ("acme/bank", &["acme1"], "not-enough-signatures"),
        ("acme/bank", &["acme1", "acme1"], "same-key"),
        ("acme/bank", &["acme1", "acme2"], "trusted"),
        ("acme/shop", &[], "not-signed"),
    ] {
        let verdict = judged(&document, &keys, plugin, by, None);
        assert_eq!(code(&verdict), expected, "{plugin} by {by:?}: {verdict:?}");
    }
}

#[test]
fn without_a_scope_nothing_is_trusted() {
    let keys = keys();
    let mut document = document(&keys);
    document.releases.remove(0);
    assert_eq!(
        code(&judged(&document, &keys, "other/erp", &["first"], None)),
        "no-scope"
    );
}

#[test]
fn a_key_counts_while_it_is_valid_and_what_was_seen_then_goes_on() {
    let keys = keys();
    for (from, until, seen, expected) in [
        ("2026-01-01T00:00:00Z", None, None, "trusted"),
        ("2026-06-01T00:00:01Z", None, None, "key-not-yet-valid"),
        (
            "2026-01-01T00:00:00Z",
            Some("2026-06-01T00:00:00Z"),
            None,
            "key-expired",
        ),
        (
            "2026-01-01T00:00:00Z",
            Some("2026-06-01T00:00:01Z"),
            None,
            "trusted",
        ),
        // Seen before it expired.
        (
            "2026-01-01T00:00:00Z",
            Some("2026-05-01T00:00:00Z"),
            Some("2026-04-30T23:59:59Z"),
            "trusted",
        ),
        (
            "2026-01-01T00:00:00Z",
            Some("2026-05-01T00:00:00Z"),
            Some("2026-05-01T00:00:00Z"),
            "key-expired",
        ),
        // Seen in the future is seen now.
        (
            "2026-06-02T00:00:00Z",
            None,
            Some("2026-07-01T00:00:00Z"),
            "key-not-yet-valid",
        ),
    ] {
        let mut document = document(&keys);
        let key = key_of(&mut document, "acme1");
        key.valid_from = at(from);
        key.valid_until = until.map(at);
        let verdict = judged(&document, &keys, "acme/shop", &["acme1"], seen);
        assert_eq!(code(&verdict), expected, "{from} {until:?} {seen:?}");
    }
}

#[test]
fn a_revoked_key_counts_for_nothing_or_for_what_was_seen_before() {
    let keys = keys();
    for (since, seen, expected) in [
        (None, None, "key-revoked"),
        (None, Some("2026-01-02T00:00:00Z"), "key-revoked"),
        (Some("2026-05-01T00:00:00Z"), None, "key-revoked"),
        (
            Some("2026-05-01T00:00:00Z"),
            Some("2026-05-01T00:00:00Z"),
            "key-revoked",
        ),
        (
            Some("2026-05-01T00:00:00Z"),
            Some("2026-04-30T00:00:00Z"),
            "trusted",
        ),
    ] {
        let mut document = document(&keys);
        key_of(&mut document, "acme1").revoked = Some(KeyRevocation {
            since: since.map(at),
            reason: "lost on a train".to_owned(),
        });
        let verdict = judged(&document, &keys, "acme/shop", &["acme1"], seen);
        assert_eq!(code(&verdict), expected, "{since:?} {seen:?}");
        if let Verdict::Refused(refusal) = verdict {
            assert!(refusal.to_string().contains("lost on a train"), "{refusal}");
        }
    }
}

#[test]
fn a_revoked_release_is_refused_whoever_signed_it() {
    let keys = keys();
    for digest in [subject("acme/shop").component, subject("acme/shop").manifest] {
        let mut document = document(&keys);
        document.revoked_releases.push(RevokedRelease {
            digest,
            since: at("2026-05-01T00:00:00Z"),
            reason: "deletes orders".to_owned(),
        });
        let verdict = judged(&document, &keys, "acme/shop", &["acme1", "acme2"], None);
        assert_eq!(code(&verdict), "release-revoked");
    }
}

#[test]
fn an_expired_root_trusts_nothing() {
    let keys = keys();
    let mut document = document(&keys);
    document.expires = Some(at(NOW));
    assert_eq!(
        code(&judged(&document, &keys, "acme/shop", &["acme1"], None)),
        "root-expired"
    );
}

#[test]
fn a_stranger_and_a_forger_are_told_apart() {
    let keys = keys();
    let document = document(&keys);
    let root = established(&document, &keys, at(NOW));
    let stranger = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let judge = |bundle: &Bundle| {
        let json = bundle.to_json();
        let signed = [SignedBundle {
            json: json.as_bytes(),
            seen: None,
        }];
        root.judge(&subject("acme/shop"), None, &signed, at(NOW))
    };
    let mut bundle = Bundle::sign(&subject("acme/shop"), &stranger, at(NOW));
    assert_eq!(code(&judge(&bundle)), "unknown-key");
    bundle.hint = keys.get("acme1").public().id().hint();
    assert_eq!(code(&judge(&bundle)), "bad-signature");
    let other = Bundle::sign(&subject("acme/till"), keys.get("acme1"), at(NOW));
    assert_eq!(code(&judge(&other)), "signature-for-something-else");
    let signed = [SignedBundle {
        json: b"{}",
        seen: None,
    }];
    assert_eq!(
        code(&root.judge(&subject("acme/shop"), None, &signed, at(NOW))),
        "bad-bundle"
    );
}

#[test]
fn documents_that_leave_something_open_are_not_taken() {
    let keys = keys();
    type Change<'a> = &'a dyn Fn(&mut RootDocument);
    for (change, word) in [
        (
            (&|d: &mut RootDocument| d.version = 0) as Change<'_>,
            "begin with 1",
        ),
        (&|d| d.expires = Some(d.issued), "expires before"),
        (&|d| d.root.threshold = 0, "at least one"),
        (&|d| d.root.threshold = 4, "asks for 4 of 3"),
        (&|d| d.root.keys.push(name("op1")), "a key twice"),
        (&|d| d.root.keys.push(name("nobody")), "`nobody`"),
        (&|d| d.keys[1].name = name("op1"), "two keys are called"),
        (&|d| d.keys[1].key = d.keys[0].key.clone(), "the same key"),
        (
            &|d| d.keys[0].valid_until = Some(d.keys[0].valid_from),
            "ends before it begins",
        ),
        (&|d| d.releases[1].names.push("*".parse().unwrap()), "twice"),
        (&|d| d.releases[1].names.clear(), "names no plugins"),
        (&|d| d.indexes.push(d.indexes[0].clone()), "there twice"),
    ] {
        let mut document = document(&keys);
        change(&mut document);
        let error = document.check().unwrap_err();
        assert!(error.contains(word), "{error}");
        assert_eq!(document.sign(&[]).unwrap_err(), error);
    }
}

#[test]
fn a_document_is_taken_by_its_quorum_for_its_tenant_in_its_time() {
    let keys = keys();
    let document = document(&keys);
    let taken = |document: &RootDocument, by: &[&str], now: &str| {
        let envelope = document.sign(&keys.all(by)).unwrap();
        let root = TrustRoot::establish(envelope.to_json().as_bytes(), &name("default"), at(now));
        root.map(|_| ()).map_err(|error| error.code())
    };
    assert_eq!(taken(&document, &["op3", "op1"], NOW), Ok(()));
    assert_eq!(taken(&document, &["op1"], NOW), Err("root-not-enough-signatures"));
    assert_eq!(
        taken(&document, &["op1", "acme1"], NOW),
        Err("root-not-enough-signatures")
    );
    assert_eq!(
        taken(&document, &["op1", "op2"], "2025-12-31T00:00:00Z"),
        Err("root-untimely")
    );
    let theirs = RootDocument {
        tenant: name("acme"),
        ..document.clone()
    };
    assert_eq!(taken(&theirs, &["op1", "op2"], NOW), Err("root-other-tenant"));
    let over = RootDocument {
        expires: Some(at(NOW)),
        ..document
    };
    assert_eq!(taken(&over, &["op1", "op2"], NOW), Err("root-expired"));
    // The index's signature is by a good key, and for something else.
    let envelope = Envelope::sign("text/plain", b"{}".to_vec(), &keys.all(&["op1", "op2"]));
    let root = TrustRoot::establish(envelope.to_json().as_bytes(), &name("default"), at(NOW));
    assert_eq!(root.unwrap_err().code(), "root-envelope");
}

#[test]
fn what_was_kept_is_restored_and_what_was_altered_is_not() {
    let keys = keys();
    let document = document(&keys);
    let json = document.sign(&keys.all(&["op1", "op2"])).unwrap().to_json();
    let root = TrustRoot::establish(json.as_bytes(), &name("default"), at(NOW)).unwrap();
    assert_eq!(
        TrustRoot::restore(json.as_bytes(), root.digest()).as_ref(),
        Ok(&root)
    );
    let other = RootDocument {
        version: 2,
        ..document
    }
    .sign(&keys.all(&["op1"]))
    .unwrap();
    let error = TrustRoot::restore(other.to_json().as_bytes(), root.digest()).unwrap_err();
    assert_eq!(error.code(), "root-altered");
}

#[test]
fn a_lost_key_is_rotated_out() {
    let keys = keys();
    let document = document(&keys);
    let root = established(&document, &keys, at(NOW));
    let mut next = RootDocument {
        version: 2,
        issued: at(NOW),
        ..document
    };
    key_of(&mut next, "acme1").revoked = Some(KeyRevocation {
        since: None,
        reason: "lost".to_owned(),
    });
    let envelope = next.sign(&keys.all(&["op2", "op3"])).unwrap();
    let root = root.rotate(envelope.to_json().as_bytes(), at(NOW)).unwrap();
    assert_eq!(root.document().version, 2);
    assert_eq!(
        code(&judged(root.document(), &keys, "acme/shop", &["acme1"], None)),
        "key-revoked"
    );
    assert_eq!(
        code(&judged(root.document(), &keys, "acme/shop", &["acme2"], None)),
        "trusted"
    );
}

#[test]
fn there_is_a_way_out_of_an_expired_root() {
    let keys = keys();
    let first = RootDocument {
        expires: Some(at("2026-05-01T00:00:00Z")),
        ..document(&keys)
    };
    let root = established(&first, &keys, at("2026-04-01T00:00:00Z"));
    let next = RootDocument {
        version: 2,
        issued: at(NOW),
        expires: None,
        ..first
    };
    let envelope = next.sign(&keys.all(&["op1", "op2"])).unwrap();
    assert!(root.rotate(envelope.to_json().as_bytes(), at(NOW)).is_ok());
}

/// The quorum of one document of a chain: which of five keys, and how many.
fn some_quorum() -> impl Strategy<Value = (BTreeSet<usize>, usize)> {
    prop::collection::btree_set(0_usize..5, 1..=5).prop_flat_map(|members| {
        let all = members.len();
        (Just(members), 1..=all)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// A chain of documents is taken link by link, exactly where old and new quorum have signed and the version is the next one.
    #[test]
    fn rotation_takes_both_quorums_and_no_version_is_left_out(
        first in some_quorum(),
        links in prop::collection::vec((some_quorum(), prop::collection::btree_set(0_usize..5, 0..=5), 0_u64..4), 1..5),
    ) {
        let labels = ["op1", "op2", "op3", "first", "acme1"];
        let keys = Keys::new(&labels);
        let with = |members: &BTreeSet<usize>, threshold: usize, version: u64| RootDocument {
            root: Quorum {
                keys: members.iter().map(|member| name(labels[*member])).collect(),
                threshold: u32::try_from(threshold).unwrap(),
            },
            version,
            releases: Vec::new(),
            indexes: Vec::new(),
            ..document(&keys)
        };
        let sign = |document: &RootDocument, by: &BTreeSet<usize>| {
            let by: Vec<_> = by.iter().map(|member| labels[*member]).collect();
            let payload = serde_json::to_vec(document).unwrap();
            Envelope::sign(PAYLOAD_TYPE, payload, &keys.all(&by)).to_json()
        };
        let start = with(&first.0, first.1, 1);
        let mut root = TrustRoot::establish(sign(&start, &first.0).as_bytes(), &name("default"), at(NOW)).unwrap();
        let mut quorum = first;
        for (next, by, ahead) in links {
            let version = root.document().version + ahead;
            let given = with(&next.0, next.1, version);
            let signed = |quorum: &(BTreeSet<usize>, usize)| quorum.0.intersection(&by).count() >= quorum.1;
            let expected = ahead == 1 && signed(&quorum) && signed(&next);
            let found = root.rotate(sign(&given, &by).as_bytes(), at(NOW) + 1.hour());
            prop_assert_eq!(found.is_ok(), expected, "{:?}", found);
            if let Ok(rotated) = found {
                root = rotated;
                quorum = next;
            }
        }
    }

    #[test]
    fn arbitrary_documents_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), text in "\\PC{0,40}") {
        let _ = TrustRoot::establish(&bytes, &name("default"), at(NOW));
        let _ = text.parse::<NamePattern>();
        let keys = Keys::new(&["op1"]);
        let envelope = Envelope::sign(PAYLOAD_TYPE, bytes, &keys.all(&["op1"]));
        let found = TrustRoot::establish(envelope.to_json().as_bytes(), &name("default"), at(NOW));
        prop_assert!(matches!(found, Err(RootError::Invalid(_))));
    }
}
