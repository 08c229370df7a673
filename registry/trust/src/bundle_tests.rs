use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::{
    key::Algorithm,
    statement::{COSIGN_PREDICATE, PAYLOAD_TYPE},
};

const COMPONENT: &[u8] = b"\0asm and so on";

fn subject() -> ReleaseSubject {
    ReleaseSubject {
        name: "acme/shop".parse().unwrap(),
        version: "1.4.0".parse().unwrap(),
        component: text::digest_of(COMPONENT),
        manifest: text::digest_of(b"{}"),
        image: Some(text::digest_of(b"image")),
    }
}

fn now() -> Timestamp {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// A bundle over any payload, as another tool would make it.
fn over(payload: &Value, key: &SecretKey) -> Bundle {
    Bundle {
        hint: key.public().id().hint(),
        content: Content::Statement(Envelope::sign(
            PAYLOAD_TYPE,
            payload.to_string().into_bytes(),
            &[key],
        )),
    }
}

fn cosign(digest: &stecker_model::Digest) -> Value {
    json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "digest": { "sha256": digest.hex() }, "annotations": {} }],
        "predicateType": COSIGN_PREDICATE,
        "predicate": {},
    })
}

#[test]
fn a_release_is_signed_and_verified_by_either_kind_of_key() {
    for algorithm in [Algorithm::Ed25519, Algorithm::EcdsaP256] {
        let key = SecretKey::generate(algorithm).unwrap();
        let json = Bundle::sign(&subject(), &key, now()).to_json();
        let bundle = Bundle::from_json(json.as_bytes()).unwrap();
        assert_eq!(
            bundle.verify(&subject(), None, key.public()),
            Ok(Coverage::Release)
        );
        let other = SecretKey::generate(algorithm).unwrap();
        assert_eq!(
            bundle.verify(&subject(), None, other.public()),
            Err(BundleError::BadSignature)
        );
    }
}

#[test]
fn the_form_is_that_of_the_specification() {
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let json: Value = serde_json::from_str(&Bundle::sign(&subject(), &key, now()).to_json()).unwrap();
    assert_eq!(json["mediaType"], "application/vnd.dev.sigstore.bundle.v0.3+json");
    assert_eq!(
        json["verificationMaterial"]["publicKey"]["hint"],
        key.public().id().hint()
    );
    assert_eq!(json["verificationMaterial"]["tlogEntries"], json!([]));
    assert_eq!(
        json["dsseEnvelope"]["payloadType"],
        "application/vnd.in-toto+json"
    );
    let payload = text::from_base64(json["dsseEnvelope"]["payload"].as_str().unwrap()).unwrap();
    let statement: Value = serde_json::from_slice(&payload).unwrap();
    assert_eq!(statement["_type"], "https://in-toto.io/Statement/v1");
    assert_eq!(
        statement["subject"][0]["digest"]["sha256"],
        subject().component.hex()
    );
    assert_eq!(
        statement["subject"][1]["digest"]["sha256"],
        subject().manifest.hex()
    );
    assert_eq!(statement["predicate"]["version"], "1.4.0");
}

#[test]
fn a_signature_is_for_one_release() {
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let bundle = Bundle::sign(&subject(), &key, now());
    let other = text::digest_of(b"other");
    for (changed, word) in [
        (
            ReleaseSubject {
                component: other.clone(),
                ..subject()
            },
            "another component",
        ),
        (
            ReleaseSubject {
                manifest: other,
                ..subject()
            },
            "another manifest",
        ),
        (
            ReleaseSubject {
                name: "acme/till".parse().unwrap(),
                ..subject()
            },
            "acme/till@1.4.0",
        ),
        (
            ReleaseSubject {
                version: "1.4.1".parse().unwrap(),
                ..subject()
            },
            "for acme/shop@1.4.0",
        ),
    ] {
        let error = bundle.verify(&changed, None, key.public()).unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
    }
}

#[test]
fn what_cosign_signs_counts_and_what_it_only_attests_does_not() {
    let key = SecretKey::generate(Algorithm::EcdsaP256).unwrap();
    let verify = |payload: &Value| over(payload, &key).verify(&subject(), None, key.public());
    assert_eq!(verify(&cosign(&subject().component)), Ok(Coverage::Component));
    assert_eq!(verify(&cosign(&subject().image.unwrap())), Ok(Coverage::Image));
    let mut older = cosign(&subject().component);
    older["_type"] = "https://in-toto.io/Statement/v0.1".into();
    assert_eq!(verify(&older), Ok(Coverage::Component));
    assert!(matches!(
        verify(&cosign(&text::digest_of(b"other"))),
        Err(BundleError::Statement(StatementFault::OtherDigest { .. }))
    ));
    let mut report = cosign(&subject().component);
    report["predicateType"] = "https://cosign.sigstore.dev/attestation/vuln/v1".into();
    let error = verify(&report).unwrap_err().to_string();
    assert!(error.contains("attestation/vuln/v1"), "{error}");
}

#[test]
fn statements_that_leave_something_open_are_refused() {
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let whole: Value = serde_json::from_slice(&subject().statement(now())).unwrap();
    let altered = |change: &dyn Fn(&mut Value)| {
        let mut statement = whole.clone();
        change(&mut statement);
        over(&statement, &key).verify(&subject(), None, key.public())
    };
    assert_eq!(altered(&|_| {}), Ok(Coverage::Release));
    for (what, change) in [
        (
            "no manifest",
            (&|s: &mut Value| s["subject"].as_array_mut().unwrap().truncate(1)) as &dyn Fn(&mut Value),
        ),
        ("two components", &|s| {
            let first = s["subject"][0].clone();
            s["subject"].as_array_mut().unwrap().push(first);
        }),
        ("another hash", &|s| {
            s["subject"][0]["digest"] = json!({ "sha512": "00" });
        }),
        ("no version", &|s| s["predicate"] = json!({ "name": "acme/shop" })),
        ("another kind", &|s| {
            s["_type"] = "https://in-toto.io/Statement/v2".into();
        }),
        ("no predicate type", &|s| {
            s.as_object_mut().unwrap().remove("predicateType");
        }),
    ] {
        assert!(
            matches!(altered(change), Err(BundleError::Statement(_))),
            "{what}: {:?}",
            altered(change)
        );
    }
}

#[test]
fn a_signature_over_the_file_itself() {
    let p256 = SecretKey::generate(Algorithm::EcdsaP256).unwrap();
    let ed25519 = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let signed = |key: &SecretKey| {
        let bundle = Bundle {
            hint: key.public().id().hint(),
            content: Content::Message {
                digest: Some(hex::decode(subject().component.hex()).unwrap()),
                signature: key.sign(COMPONENT),
            },
        };
        Bundle::from_json(bundle.to_json().as_bytes()).unwrap()
    };
    assert_eq!(
        signed(&p256).verify(&subject(), None, p256.public()),
        Ok(Coverage::Component)
    );
    assert_eq!(
        signed(&ed25519).verify(&subject(), None, ed25519.public()),
        Err(BundleError::NeedsComponent)
    );
    assert_eq!(
        signed(&ed25519).verify(&subject(), Some(COMPONENT), ed25519.public()),
        Ok(Coverage::Component)
    );
    assert!(matches!(
        signed(&ed25519).verify(&subject(), Some(b"other"), ed25519.public()),
        Err(BundleError::Statement(StatementFault::OtherDigest { .. }))
    ));
    let other = ReleaseSubject {
        component: text::digest_of(b"other"),
        ..subject()
    };
    assert_eq!(
        signed(&p256).verify(&other, None, p256.public()),
        Err(BundleError::BadSignature)
    );
    assert!(signed(&p256).claims_other_component(&other).is_some());
}

#[test]
fn what_is_no_bundle() {
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let whole: Value = serde_json::from_str(&Bundle::sign(&subject(), &key, now()).to_json()).unwrap();
    for (what, change, word) in [
        (
            "a later version",
            (&|b: &mut Value| b["mediaType"] = "application/vnd.dev.sigstore.bundle.v0.4+json".into())
                as &dyn Fn(&mut Value),
            "v0.4",
        ),
        (
            "a certificate",
            &|b| b["verificationMaterial"] = json!({ "certificate": { "rawBytes": "AA==" } }),
            "certificate",
        ),
        (
            "no key",
            &|b| b["verificationMaterial"] = json!({}),
            "names no key",
        ),
        (
            "no signature",
            &|b| drop(b.as_object_mut().unwrap().remove("dsseEnvelope")),
            "no signature",
        ),
        (
            "two things",
            &|b| b["messageSignature"] = json!({ "signature": "AA==" }),
            "two things",
        ),
        (
            "two signatures",
            &|b| b["dsseEnvelope"]["signatures"] = json!([{ "sig": "AA==" }, { "sig": "AA==" }]),
            "exactly one",
        ),
        (
            "another type",
            &|b| b["dsseEnvelope"]["payloadType"] = "text/plain".into(),
            "text/plain",
        ),
    ] {
        let mut bundle = whole.clone();
        change(&mut bundle);
        let found = Bundle::from_json(bundle.to_string().as_bytes())
            .and_then(|bundle| bundle.verify(&subject(), None, key.public()));
        let error = found.unwrap_err().to_string();
        assert!(error.contains(word), "{what}: {error}");
    }
    let error = Bundle::from_json(&vec![b' '; MAX_BYTES + 1]).unwrap_err();
    assert!(matches!(error, BundleError::TooLarge { .. }));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Bundle::from_json(&bytes);
        let _ = subject().covered_by(&bytes);
    }

    /// One byte of a good bundle altered: it is still good only where nothing that was signed is touched.
    #[test]
    fn an_altered_bundle_never_says_something_else(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
        let good = Bundle::sign(&subject(), &key, now());
        let mut json = good.to_json().into_bytes();
        let at = at.index(json.len());
        json[at] = byte;
        if let Ok(bundle) = Bundle::from_json(&json)
            && bundle.verify(&subject(), None, key.public()).is_ok()
        {
            let (Content::Statement(a), Content::Statement(b)) = (&bundle.content, &good.content) else {
                panic!("a statement stays one");
            };
            prop_assert_eq!(&a.payload, &b.payload);
        }
    }
}
