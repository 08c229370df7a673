//! Signatures of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>): HMAC-SHA256 over id, time and body, once
//! for each secret that signs. Pure.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hmac::{Hmac, Mac as _};
use sha2::Sha256;
use zeroize::Zeroizing;

/// What secrets begin with, so that people and scanners see what they are.
const PREFIX: &str = "whsec_";
/// Bytes of a secret; the specification asks for 24 to 64.
const BYTES: usize = 32;

/// A new secret: `whsec_` and base64 of random bytes.
pub(super) fn new_secret() -> Zeroizing<String> {
    let bytes = Zeroizing::new(rand::random::<[u8; BYTES]>());
    Zeroizing::new(format!("{PREFIX}{}", BASE64_STANDARD.encode(&bytes[..])))
}

/// The header `webhook-signature`: one signature for each secret, separated by spaces, in the order of the secrets. None if one of them is
/// not written as secrets are.
pub(super) fn sign(secrets: &[Zeroizing<String>], id: &str, timestamp: i64, body: &str) -> Option<String> {
    let mut signatures = Vec::with_capacity(secrets.len());
    for secret in secrets {
        let key = secret.strip_prefix(PREFIX)?;
        let key = Zeroizing::new(BASE64_STANDARD.decode(key).ok()?);
        let mut mac = Hmac::<Sha256>::new_from_slice(&key).ok()?;
        for part in [id, ".", &timestamp.to_string(), ".", body] {
            mac.update(part.as_bytes());
        }
        let tag = mac.finalize().into_bytes();
        signatures.push(format!("v1,{}", BASE64_STANDARD.encode(tag)));
    }
    Some(signatures.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const TIME: i64 = 1_614_265_330;
    const BODY: &str = r#"{"test": 2432232314}"#;

    fn secrets(texts: &[&str]) -> Vec<Zeroizing<String>> {
        texts
            .iter()
            .map(|text| Zeroizing::new((*text).to_owned()))
            .collect()
    }

    /// The vector that the reference libraries test themselves with.
    #[test]
    fn the_published_vector() {
        assert_eq!(
            sign(&secrets(&[SECRET]), ID, TIME, BODY).unwrap(),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
        );
    }

    #[test]
    fn every_secret_signs_in_its_order() {
        let other = new_secret();
        let both = sign(&secrets(&[&other, SECRET]), ID, TIME, BODY).unwrap();
        let alone = sign(&secrets(&[&other]), ID, TIME, BODY).unwrap();
        assert_eq!(
            both,
            format!("{alone} v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=")
        );
        assert_eq!(sign(&secrets(&["whsec_not base64"]), ID, TIME, BODY), None);
    }

    #[test]
    fn new_secrets_are_as_long_as_the_specification_wants_and_differ() {
        let (one, other) = (new_secret(), new_secret());
        assert_ne!(one, other);
        let bytes = BASE64_STANDARD.decode(one.strip_prefix(PREFIX).unwrap()).unwrap();
        assert!((24..=64).contains(&bytes.len()));
    }
}
