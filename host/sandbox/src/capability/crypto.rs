//! Hashes, and HMACs (RFC 2104) with secrets that guests name and never see.

use std::collections::BTreeMap;

use base64::{
    Engine as _,
    prelude::{BASE64_STANDARD_NO_PAD, BASE64_URL_SAFE_NO_PAD},
};
use hmac::{Hmac, Mac};
use sha1::Sha1;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use stecker_model::{ErrorCode, PluginError};
use stecker_registry::{
    Manifest,
    manifest::{CredentialKind, KeyEncoding},
};
use zeroize::Zeroizing;

use crate::{
    binding::{Denial, Secret},
    call::{Caller, DeadlinePassed},
    capability::http::denied,
    egress::scrub::UNSCRUBBABLE,
};

/// Of a name that a guest made up.
const SHOWN: usize = 64;

/// SHA-1 is here because vendors still sign with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Algorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// The credentials that may be used for this, and how each is read as a key. A key for an API must not be among them: a guest could choose
/// what to sign with it.
pub(crate) fn secrets_of(manifest: &Manifest) -> BTreeMap<String, KeyEncoding> {
    let credentials = manifest.credentials.iter();
    credentials
        .filter(|(_, credential)| credential.kind == CredentialKind::HmacSecret)
        .map(|(name, credential)| (name.to_string(), credential.key.unwrap_or_default()))
        .collect()
}

/// A secret as a key; none: it is not written that way.
pub(crate) fn key(encoding: KeyEncoding, secret: &Secret) -> Option<Zeroizing<Vec<u8>>> {
    let text = secret.expose();
    // With padding or without, as people paste it.
    let base64 = |text: &str| {
        let text = text.trim_end_matches('=');
        let bytes = BASE64_STANDARD_NO_PAD.decode(text);
        bytes.or_else(|_| BASE64_URL_SAFE_NO_PAD.decode(text)).ok()
    };
    let bytes = match encoding {
        KeyEncoding::Text => Some(text.as_bytes().to_vec()),
        KeyEncoding::Hex => hex::decode(text).ok(),
        KeyEncoding::Base64 => base64(text),
        // The libraries of the standard take it with or without the prefix.
        KeyEncoding::StandardWebhooks => base64(text.strip_prefix("whsec_").unwrap_or(text)),
    };
    bytes.map(Zeroizing::new)
}

pub(crate) fn hash(algorithm: Algorithm, data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Sha1 => Sha1::digest(data).to_vec(),
        Algorithm::Sha256 => Sha256::digest(data).to_vec(),
        Algorithm::Sha384 => Sha384::digest(data).to_vec(),
        Algorithm::Sha512 => Sha512::digest(data).to_vec(),
    }
}

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

pub(crate) async fn sign(
    caller: &Caller,
    secret: &str,
    algorithm: Algorithm,
    data: &[u8],
) -> Answer<Vec<u8>> {
    let key = key_of(caller, secret).await?;
    Ok(key.map(|key| tag(algorithm, &key, data)))
}

/// Compares in constant time.
pub(crate) async fn verify(
    caller: &Caller,
    secret: &str,
    algorithm: Algorithm,
    data: &[u8],
    given: &[u8],
) -> Answer<bool> {
    let key = key_of(caller, secret).await?;
    Ok(key.map(|key| is_tag(algorithm, &key, data, given)))
}

fn mac<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> M {
    let mut mac =
        <M as Mac>::new_from_slice(key).unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
    mac.update(data);
    mac
}

pub(crate) fn tag(algorithm: Algorithm, key: &[u8], data: &[u8]) -> Vec<u8> {
    match algorithm {
        Algorithm::Sha1 => mac::<Hmac<Sha1>>(key, data).finalize().into_bytes().to_vec(),
        Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, data).finalize().into_bytes().to_vec(),
        Algorithm::Sha384 => mac::<Hmac<Sha384>>(key, data).finalize().into_bytes().to_vec(),
        Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, data).finalize().into_bytes().to_vec(),
    }
}

fn is_tag(algorithm: Algorithm, key: &[u8], data: &[u8], given: &[u8]) -> bool {
    match algorithm {
        Algorithm::Sha1 => mac::<Hmac<Sha1>>(key, data).verify_slice(given),
        Algorithm::Sha256 => mac::<Hmac<Sha256>>(key, data).verify_slice(given),
        Algorithm::Sha384 => mac::<Hmac<Sha384>>(key, data).verify_slice(given),
        Algorithm::Sha512 => mac::<Hmac<Sha512>>(key, data).verify_slice(given),
    }
    .is_ok()
}

fn shown(name: &str) -> String {
    name.chars().take(SHOWN).flat_map(char::escape_debug).collect()
}

async fn key_of(caller: &Caller, name: &str) -> Answer<Zeroizing<Vec<u8>>> {
    let bound = &caller.bound;
    let Some(encoding) = bound.hmac_secrets.get(name) else {
        return Ok(Err(denied(
            &*bound.binding.observer,
            Denial {
                rule: "crypto.secret".to_owned(),
                layer: "manifest".to_owned(),
                asked: format!("signing with the secret `{}`", shown(name)),
                smallest_grant: "[credentials.webhook]  # the name that the code uses\nkind = \"hmac-secret\"\ndescription = \"Where the \
                                 operator finds it\""
                    .to_owned(),
            },
        )));
    };
    let found = tokio::time::timeout(caller.remaining(), bound.binding.credentials.secret(name));
    let secret = match found.await {
        Err(_elapsed) => return Err(wasmtime::Error::new(DeadlinePassed)),
        Ok(Err(error)) => return Ok(Err(PluginError::new(ErrorCode::Auth, error.to_string()))),
        Ok(Ok(secret)) => secret,
    };
    if !bound.scrubber.learn(&secret) {
        return Ok(Err(PluginError::new(ErrorCode::Auth, UNSCRUBBABLE)));
    }
    Ok(key(*encoding, &secret).ok_or_else(|| {
        let message = format!(
            "the secret `{}` is not written as the plugin's manifest says (`key`). Store it again as the system shows it",
            shown(name)
        );
        PluginError::new(ErrorCode::Auth, message)
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_as_its_manifest_says() {
        // The example of the specification of Standard Webhooks.
        let example = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
        let bytes = BASE64_STANDARD_NO_PAD.decode(example).unwrap();
        let read =
            |encoding, text: &str| key(encoding, &Secret::new(text.to_owned())).map(|key| key.to_vec());
        let prefixed = format!("whsec_{example}");
        assert_eq!(
            read(KeyEncoding::StandardWebhooks, &prefixed),
            Some(bytes.clone())
        );
        assert_eq!(read(KeyEncoding::StandardWebhooks, example), Some(bytes.clone()));
        assert_eq!(read(KeyEncoding::Base64, example), Some(bytes));
        assert_eq!(
            read(KeyEncoding::Text, &prefixed),
            Some(prefixed.clone().into_bytes()),
            "as Stripe means it"
        );
        assert_eq!(read(KeyEncoding::Base64, "AP8="), Some(vec![0, 255]));
        assert_eq!(read(KeyEncoding::Base64, "AP8"), Some(vec![0, 255]));
        assert_eq!(read(KeyEncoding::Hex, "00ff"), Some(vec![0, 255]));
        assert_eq!(read(KeyEncoding::StandardWebhooks, "whsec_not base64"), None);
    }

    /// RFC 4231 (test case 2), RFC 2202 (test case 2) and FIPS 180 examples.
    #[test]
    fn known_answers() {
        let (key, data) = (b"Jefe".as_slice(), b"what do ya want for nothing?".as_slice());
        for (algorithm, expected) in [
            (Algorithm::Sha1, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"),
            (
                Algorithm::Sha256,
                "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            ),
        ] {
            let tag = tag(algorithm, key, data);
            assert_eq!(hex::encode(&tag), expected);
            assert!(is_tag(algorithm, key, data, &tag));
            assert!(!is_tag(algorithm, key, b"something else", &tag));
            assert!(
                !is_tag(algorithm, key, data, tag.split_at(8).0),
                "a shortened tag is no tag"
            );
        }
        assert_eq!(
            hex::encode(hash(Algorithm::Sha256, b"abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(hash(Algorithm::Sha384, b"abc").len(), 48);
        assert_eq!(hash(Algorithm::Sha512, b"abc").len(), 64);
    }
}
