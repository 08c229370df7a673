use proptest::prelude::*;

use super::*;
use crate::key::Algorithm;

const IN_TOTO: &str = "application/vnd.in-toto+json";
const MAX: usize = 1 << 20;

/// The Ed25519 keys of RFC 8032, section 7.1 (tests 1 and 2), which the vectors of DSSE are made with.
fn vector_key(name: &str) -> PublicKey {
    let point = match name {
        "A" => "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        _ => "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
    };
    PublicKey::from_spki_der(&hex::decode(format!("302a300506032b6570032100{point}")).unwrap()).unwrap()
}

struct Vector {
    what: &'static str,
    payload: &'static str,
    payload_type: &'static str,
    signatures: &'static [(&'static str, Option<&'static str>)],
    trusted: &'static [&'static str],
    threshold: usize,
    /// What the verifier takes, where that is not what the envelope says.
    asked_for: Option<&'static str>,
    accepted: bool,
}

const STATEMENT: &str = "eyJfdHlwZSI6Imh0dHBzOi8vaW4tdG90by5pby9TdGF0ZW1lbnQvdjEifQ==";
const BY_A: &str = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA==";
const BY_B: &str = "c1+67/aT0yqEpwx8PsVY3MLHsj9D0CZ014/Fv/QlG59P+9CobUZ7xECJ/V3USG0Ob9CiE5LjReEZUzNF2l7eBw==";

/// The published vectors: <https://github.com/secure-systems-lab/dsse/blob/master/testvectors/vectors.json>.
const VECTORS: [Vector; 9] = [
    Vector {
        what: "one signature",
        payload: STATEMENT,
        payload_type: IN_TOTO,
        signatures: &[(BY_A, Some("A"))],
        trusted: &["A"],
        threshold: 1,
        asked_for: None,
        accepted: true,
    },
    Vector {
        what: "base64 for URLs",
        payload: "-_-_Pj8=",
        payload_type: IN_TOTO,
        signatures: &[(
            "P-_KHICeR7tI6S_YyejJTRtrXhcQyQ2LYPaL8h90KjC9qN8HU_svOQ6TuDOT1HIrsGW886DbWNWcCmX5twLrAw==",
            Some("A"),
        )],
        trusted: &["A"],
        threshold: 1,
        asked_for: None,
        accepted: true,
    },
    Vector {
        what: "another type than was signed",
        payload: STATEMENT,
        payload_type: "application/vnd.example.other+json",
        signatures: &[(BY_A, Some("A"))],
        trusted: &["A"],
        threshold: 1,
        asked_for: None,
        accepted: false,
    },
    Vector {
        what: "a type beyond ASCII",
        payload: STATEMENT,
        payload_type: "application/vnd.exämple+json",
        signatures: &[(
            "xmSk/ug66ysT7ayhkCIjhAq42zgZXSsEWuzUaNL7w2eGAdF/NU6/fRXPtmfN+5DNSAs5/i2lUnHjbbjPsu0tAw==",
            Some("A"),
        )],
        trusted: &["A"],
        threshold: 1,
        asked_for: None,
        accepted: true,
    },
    Vector {
        what: "nothing in it",
        payload: "",
        payload_type: IN_TOTO,
        signatures: &[(
            "gSggCAaTLTYyRH6FIDBem6meyIynsYy8RTHVzwx9tnTb7Bg/1jMWnuVgI/gffqmbsC2VX5/jHfkkDqsj7CDbDg==",
            Some("A"),
        )],
        trusted: &["A"],
        threshold: 1,
        asked_for: None,
        accepted: true,
    },
    Vector {
        what: "no type",
        payload: STATEMENT,
        payload_type: "",
        signatures: &[(
            "iC3q/+3Rm0+lpAJRueDmDh15PnwCfxKmS0NAfKsbv+zgulXQC/WM9trc+j1XEqlwDIg/vf/uNfebeD6sxInrDg==",
            Some("A"),
        )],
        trusted: &["A"],
        threshold: 1,
        asked_for: Some(IN_TOTO),
        accepted: false,
    },
    Vector {
        what: "two of two",
        payload: STATEMENT,
        payload_type: IN_TOTO,
        signatures: &[(BY_A, Some("A")), (BY_B, Some("B"))],
        trusted: &["A", "B"],
        threshold: 2,
        asked_for: None,
        accepted: true,
    },
    Vector {
        what: "one of two, twice",
        payload: STATEMENT,
        payload_type: IN_TOTO,
        signatures: &[(BY_A, Some("A")), (BY_A, Some("A"))],
        trusted: &["A", "B"],
        threshold: 2,
        asked_for: None,
        accepted: false,
    },
    Vector {
        what: "two of two that do not say who they are",
        payload: STATEMENT,
        payload_type: IN_TOTO,
        signatures: &[(BY_A, None), (BY_B, None)],
        trusted: &["A", "B"],
        threshold: 2,
        asked_for: None,
        accepted: true,
    },
];

#[test]
fn the_published_vectors() {
    for vector in VECTORS {
        let signatures: Vec<_> = vector
            .signatures
            .iter()
            .map(|(sig, keyid)| serde_json::json!({ "sig": sig, "keyid": keyid }))
            .collect();
        let json = serde_json::json!({
            "payload": vector.payload,
            "payloadType": vector.payload_type,
            "signatures": signatures,
        });
        let envelope = Envelope::from_json(json.to_string().as_bytes(), MAX).unwrap();
        let keys: Vec<_> = vector.trusted.iter().map(|name| vector_key(name)).collect();
        let asked_for = vector.asked_for.unwrap_or(vector.payload_type);
        let accepted = envelope
            .signers(asked_for, &keys)
            .is_ok_and(|signers| signers.len() >= vector.threshold);
        assert_eq!(accepted, vector.accepted, "{}", vector.what);
    }
}

/// The example of the protocol's text: P-256, its signature as two numbers side by side, which are brought into DER here.
#[test]
fn the_example_of_the_protocol() {
    assert_eq!(
        pae("http://example.com/HelloWorld", b"hello world"),
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    );
    let point = "0467cd390f77aa359cb08c2235f652270493a9ed832b0abcc01f70954c0390d2380c782bd54e269125a44f4433aff1432ce94e12bca73aa67ac80cea12608ddf74";
    let spki = format!("3059301306072a8648ce3d020106082a8648ce3d030107034200{point}");
    let key = PublicKey::from_spki_der(&hex::decode(spki).unwrap()).unwrap();
    let raw = text::from_base64(
        "A3JqsQGtVsJ2O2xqrI5IcnXip5GToJ3F+FnZ+O88SjtR6rDAajabZKciJTfUiHqJPcIAriEGAHTVeCUjW2JIZA==",
    )
    .unwrap();
    let envelope = Envelope {
        payload: b"hello world".to_vec(),
        payload_type: "http://example.com/HelloWorld".to_owned(),
        signatures: vec![Signature {
            keyid: None,
            sig: p256::ecdsa::Signature::from_slice(&raw)
                .unwrap()
                .to_der()
                .as_bytes()
                .to_vec(),
        }],
    };
    let signers = envelope.signers("http://example.com/HelloWorld", [&key]).unwrap();
    assert!(signers.contains_key(&key.id()));
}

#[test]
fn what_is_no_envelope() {
    let many: Vec<_> = (0..=MAX_SIGNATURES).map(|_| r#"{"sig":"AA=="}"#).collect();
    for (json, expected) in [
        ("", "not a DSSE envelope"),
        ("3", "not a DSSE envelope"),
        ("{}", "no signature"),
        (
            r#"{"payload":"","payload":"","signatures":[]}"#,
            "duplicate field",
        ),
        (
            r#"{"payload":"*","payloadType":"a","signatures":[{"sig":"AA=="}]}"#,
            "`payload`",
        ),
        (
            r#"{"payload":"-+==","payloadType":"a","signatures":[{"sig":"AA=="}]}"#,
            "`payload`",
        ),
        (
            r#"{"payload":"","payloadType":"a","signatures":[{"sig":"A"}]}"#,
            "`sig`",
        ),
        (
            &format!(r#"{{"signatures":[{}]}}"#, many.join(",")),
            "33 signatures",
        ),
        (&format!(r#"{{"x":{}"#, "[".repeat(10_000)), "not a DSSE envelope"),
    ] {
        let error = Envelope::from_json(json.as_bytes(), MAX).unwrap_err().to_string();
        assert!(error.contains(expected), "{json:.60}: {error}");
    }
    let error = Envelope::from_json(&[b' '; 11], 10).unwrap_err();
    assert_eq!(error, DsseError::TooLarge { size: 11, max: 10 });
}

#[test]
fn signers_sign_one_after_the_other() {
    let first = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let second = SecretKey::generate(Algorithm::EcdsaP256).unwrap();
    let mut envelope = Envelope::sign("a/b", b"payload".to_vec(), &[&first]);
    envelope.add_signature(&second);
    envelope.add_signature(&first);
    assert_eq!(envelope.signatures.len(), 2);
    let again = Envelope::from_json(envelope.to_json().as_bytes(), MAX).unwrap();
    assert_eq!(again, envelope);
    let keys = [first.public(), second.public()];
    assert_eq!(again.signers("a/b", keys).unwrap().len(), 2);
    assert!(matches!(
        again.signers("a/c", keys),
        Err(DsseError::OtherType { .. })
    ));
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = Envelope::from_json(&bytes, MAX);
    }

    /// Otherwise a payload could be moved into the type, and the signature would still be good.
    #[test]
    fn two_different_things_are_never_signed_alike(
        a in ("[ 0-9a-z]{0,6}", prop::collection::vec(b' '..b':', 0..6)),
        b in ("[ 0-9a-z]{0,6}", prop::collection::vec(b' '..b':', 0..6)),
    ) {
        prop_assert_eq!(a == b, pae(&a.0, &a.1) == pae(&b.0, &b.1));
    }
}
