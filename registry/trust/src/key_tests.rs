use p256::elliptic_curve::sec1::ToSec1Point as _;
use proptest::prelude::*;

use super::*;

const BOTH: [Algorithm; 2] = [Algorithm::Ed25519, Algorithm::EcdsaP256];

/// RFC 8032, section 7.1, test 1, in the SPKI of RFC 8410, section 4.
const RFC_8032_TEST_1: &str =
    "302a300506032b6570032100d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a";

#[test]
fn a_key_written_and_read_again_is_the_same_key() {
    for algorithm in BOTH {
        let key = SecretKey::generate(algorithm).unwrap();
        let again = SecretKey::from_pem(&key.to_pem().unwrap()).unwrap();
        assert_eq!(again.public(), key.public());
        assert_eq!(again.public().algorithm(), algorithm);
        let public = PublicKey::from_pem(&format!("\n{}\r\n", key.public().to_pem())).unwrap();
        assert_eq!(&public, key.public());
        assert!(public.verifies(b"what", &again.sign(b"what")));
        let json = serde_json::to_string(&public).unwrap();
        assert_eq!(serde_json::from_str::<PublicKey>(&json).unwrap(), public);
        let id = public.id();
        assert_eq!(id.to_string().parse::<KeyId>().unwrap(), id);
    }
}

#[test]
fn a_signature_is_for_one_key_and_one_message() {
    for algorithm in BOTH {
        let (key, other) = (
            SecretKey::generate(algorithm).unwrap(),
            SecretKey::generate(algorithm).unwrap(),
        );
        let signature = key.sign(b"message");
        assert!(key.public().verifies(b"message", &signature));
        assert!(!key.public().verifies(b"messagf", &signature));
        assert!(!other.public().verifies(b"message", &signature));
        for at in 0..signature.len() {
            let mut altered = signature.clone();
            altered[at] ^= 1;
            assert!(
                !key.public().verifies(b"message", &altered),
                "{algorithm}, byte {at}"
            );
        }
        assert!(!key.public().verifies(b"message", &signature[1..]));
        let hash: [u8; 32] = <Sha256 as sha2::Digest>::digest(b"message").into();
        let by_hash = key.public().verifies_sha256(&hash, &signature);
        assert_eq!(by_hash, algorithm == Algorithm::EcdsaP256);
    }
}

#[test]
fn ed25519_as_the_rfc_has_it() {
    let key = PublicKey::from_spki_der(&hex::decode(RFC_8032_TEST_1).unwrap()).unwrap();
    let signature = hex::decode(
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    )
    .unwrap();
    assert!(key.verifies(b"", &signature));
}

#[test]
fn a_key_has_one_id_however_its_point_is_written() {
    let secret = SecretKey::generate(Algorithm::EcdsaP256).unwrap();
    let Verifying::EcdsaP256(point) = &secret.public().key else {
        panic!("the kind that was asked for")
    };
    // The header of RFC 5480 for a compressed point of 33 bytes.
    let mut der = hex::decode("3039301306072a8648ce3d020106082a8648ce3d030107032200").unwrap();
    der.extend_from_slice(p256::PublicKey::from(point).to_sec1_point(true).as_bytes());
    let read = PublicKey::from_spki_der(&der).unwrap();
    assert_eq!(read.id(), secret.public().id());
}

#[test]
fn a_point_under_which_anything_verifies_is_no_key() {
    let neutral = format!("302a300506032b6570032100{}{}", "01", "00".repeat(31));
    let found = PublicKey::from_spki_der(&hex::decode(neutral).unwrap());
    assert!(found.unwrap_err().to_string().contains("small order"));
}

#[test]
fn what_is_no_key_is_told_what_it_is() {
    let secret = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let private = secret.to_pem().unwrap();
    for (text, word) in [
        ("", "does not begin"),
        ("ssh-ed25519 AAAA", "does not begin"),
        (private.as_str(), "`PRIVATE KEY`"),
        (
            "-----BEGIN CERTIFICATE-----\nAA==\n-----END CERTIFICATE-----",
            "`CERTIFICATE`",
        ),
        ("-----BEGIN PUBLIC KEY-----\n!!\n-----END PUBLIC KEY-----", "PEM"),
        (
            "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----",
            "PEM",
        ),
        (
            "-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----",
            "no kind that signs",
        ),
    ] {
        let error = PublicKey::from_pem(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
    for (text, word) in [
        (secret.public().to_pem(), "`PUBLIC KEY`"),
        ("-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\n", "encrypted"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\n", "encrypted"),
        (
            "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----",
            "no kind that signs",
        ),
    ] {
        let error = SecretKey::from_pem(text).unwrap_err().to_string();
        assert!(error.contains(word), "{text}: {error}");
    }
}

#[test]
fn a_private_key_is_not_printed() {
    let key = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let shown = format!("{key:?}");
    let pem = key.to_pem().unwrap();
    let body = pem.lines().nth(1).unwrap();
    assert!(!shown.contains(body) && shown.contains(&key.public().id().to_string()));
}

proptest! {
    #[test]
    fn nothing_that_is_read_as_a_key_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let _ = PublicKey::from_spki_der(&bytes);
        let body = text::to_base64(&bytes);
        for label in ["PUBLIC KEY", "PRIVATE KEY"] {
            let pem = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
            let _ = PublicKey::from_pem(&pem);
            let _ = SecretKey::from_pem(&pem);
            let _ = SecretKey::from_pem(&format!("-----BEGIN {label}-----\n{text}"));
        }
        let _ = text.parse::<KeyId>();
    }

    #[test]
    fn no_arbitrary_bytes_are_a_signature(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
        for algorithm in BOTH {
            let key = SecretKey::generate(algorithm).unwrap();
            prop_assert!(!key.public().verifies(b"message", &bytes));
        }
    }
}

#[test]
fn a_signature_over_a_hashed_file_is_a_kind_of_its_own() {
    let secret = SecretKey::generate(Algorithm::Ed25519).unwrap();
    let Signing::Ed25519(key) = &secret.key else {
        panic!("the kind that was asked for")
    };
    let hash = Sha512::new().chain_update(b"message");
    let signature = key.sign_prehashed(hash, None).unwrap().to_bytes();
    assert!(secret.public().verifies_prehashed(b"message", &signature));
    assert!(!secret.public().verifies_prehashed(b"messagf", &signature));
    assert!(!secret.public().verifies(b"message", &signature));
    assert!(
        !secret
            .public()
            .verifies_prehashed(b"message", &secret.sign(b"message"))
    );
}
