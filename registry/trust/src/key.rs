//! Keys: Ed25519 (RFC 8032) and ECDSA over P-256 with SHA-256 (FIPS 186-5).
//!
//! Two algorithms, because the first is what we make (small, deterministic, nothing to choose) and the second is what `cosign generate-key-pair` makes.
//! Keys travel as PEM: SPKI for public ones (RFC 5280), PKCS #8 for private ones (RFC 5958), which every other tool reads. A key's id is the
//! SHA-256 of its SPKI in the one form that this crate writes, so the same key has the same id whoever encoded it.
//!
//! A private key is wiped from memory when it goes. It is not encrypted here: whoever keeps one has a vault for it.

use std::{fmt, str::FromStr};

use ed25519_dalek::{Digest as _, Sha512};
use p256::{
    ecdsa::signature::{Signer as _, Verifier as _, hazmat::PrehashVerifier as _},
    pkcs8::{
        DecodePrivateKey as _, DecodePublicKey as _, Document, EncodePrivateKey as _, EncodePublicKey as _,
        LineEnding,
    },
};
use rand::TryRngCore as _;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use zeroize::Zeroizing;

use crate::text;

/// No key of these kinds is anywhere near this long.
const MAX_PEM: usize = 16 * 1_024;

/// What a key is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// Ed25519 (RFC 8032).
    Ed25519,
    /// ECDSA over P-256 with SHA-256 (FIPS 186-5); signatures are DER (RFC 3279, section 2.2.3).
    EcdsaP256,
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ed25519 => "ed25519",
            Self::EcdsaP256 => "ecdsa-p256",
        })
    }
}

/// Why something is not taken as a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Not PEM at all, or PEM of something else.
    #[error(
        "this is not a {expected} in PEM: {why}. Give the file that begins with `-----BEGIN {label}-----`"
    )]
    NotPem {
        /// For people.
        expected: &'static str,
        /// The label that it should have.
        label: &'static str,
        /// What there is instead.
        why: String,
    },
    /// An encrypted private key.
    #[error(
        "the private key is encrypted (`{label}`). Decrypt it first (`openssl pkey`, or `cosign import-key-pair` the other way round), and keep \
         it in a vault"
    )]
    Encrypted {
        /// The label of the PEM.
        label: String,
    },
    /// Another algorithm, or broken bytes.
    #[error(
        "the key is of no kind that signs releases: {0}. Ed25519 and ECDSA over P-256 do; make one with `stecker key new`"
    )]
    Unsupported(String),
    /// The operating system gave no randomness.
    #[error("no key was made, because the operating system gave no random bytes: {0}")]
    NoRandomness(String),
}

/// The SHA-256 of a key's SPKI. Written as 64 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct KeyId([u8; 32]);

/// Why a text is not the id of a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not the id of a key: it has to be 64 hex digits, as `stecker key show` prints them")]
pub struct InvalidKeyId(String);

impl KeyId {
    /// As Sigstore bundles name a public key: base64 of the SHA-256 of its SPKI, which is what cosign puts there.
    #[must_use]
    pub fn hint(&self) -> String {
        text::to_base64(&self.0)
    }
}

impl FromStr for KeyId {
    type Err = InvalidKeyId;
    fn from_str(text: &str) -> Result<Self, InvalidKeyId> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| InvalidKeyId(text::short(text)))?;
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for KeyId {
    type Error = InvalidKeyId;
    fn try_from(text: String) -> Result<Self, InvalidKeyId> {
        text.parse()
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.to_string()
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&hex::encode(self.0))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Verifying {
    Ed25519(ed25519_dalek::VerifyingKey),
    EcdsaP256(p256::ecdsa::VerifyingKey),
}

/// A public key. Serialized as its PEM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PublicKey {
    key: Verifying,
    id: KeyId,
    pem: String,
}

impl PublicKey {
    /// Reads PEM with the label `PUBLIC KEY`.
    ///
    /// # Errors
    /// [`KeyError`] if it is something else, of another algorithm, or a point that no signature could be trusted with.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let document = read_pem(pem, "public key", "PUBLIC KEY")?;
        Self::from_spki_der(document.as_bytes())
    }

    /// Reads the DER inside of it.
    ///
    /// # Errors
    /// As [`PublicKey::from_pem`].
    pub fn from_spki_der(der: &[u8]) -> Result<Self, KeyError> {
        if let Ok(key) = ed25519_dalek::VerifyingKey::from_public_key_der(der) {
            if key.is_weak() {
                return Err(KeyError::Unsupported(
                    "it is a point of small order, under which anything verifies".to_owned(),
                ));
            }
            return Self::of(Verifying::Ed25519(key));
        }
        match p256::ecdsa::VerifyingKey::from_public_key_der(der) {
            Ok(key) => Self::of(Verifying::EcdsaP256(key)),
            Err(error) => Err(KeyError::Unsupported(error.to_string())),
        }
    }

    fn of(key: Verifying) -> Result<Self, KeyError> {
        let broken = |error: p256::pkcs8::spki::Error| KeyError::Unsupported(error.to_string());
        let document = match &key {
            Verifying::Ed25519(key) => key.to_public_key_der(),
            Verifying::EcdsaP256(key) => key.to_public_key_der(),
        }
        .map_err(broken)?;
        let pem = document
            .to_pem("PUBLIC KEY", LineEnding::LF)
            .map_err(|error| KeyError::Unsupported(error.to_string()))?;
        let hash = <Sha256 as sha2::Digest>::digest(document.as_bytes());
        Ok(Self {
            key,
            id: KeyId(hash.into()),
            pem,
        })
    }

    /// As PEM, always the same for the same key.
    #[must_use]
    pub fn to_pem(&self) -> &str {
        &self.pem
    }

    /// What it is called.
    #[must_use]
    pub const fn id(&self) -> KeyId {
        self.id
    }

    /// What it is for.
    #[must_use]
    pub const fn algorithm(&self) -> Algorithm {
        match self.key {
            Verifying::Ed25519(_) => Algorithm::Ed25519,
            Verifying::EcdsaP256(_) => Algorithm::EcdsaP256,
        }
    }

    /// Whether the signature is this key's over the message. Ed25519 by the strict rules, under which there is one answer to a signature.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Verifying::Ed25519(key) => ed25519_dalek::Signature::from_slice(signature)
                .is_ok_and(|signature| key.verify_strict(message, &signature).is_ok()),
            Verifying::EcdsaP256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify(message, &signature).is_ok()),
        }
    }

    /// Whether the signature is this key's over a message of which only the SHA-256 is at hand. Ed25519 signs messages, not their hashes: there it
    /// is never so.
    #[must_use]
    pub fn verifies_sha256(&self, hash: &[u8; 32], signature: &[u8]) -> bool {
        match &self.key {
            Verifying::Ed25519(_) => false,
            Verifying::EcdsaP256(key) => p256::ecdsa::Signature::from_der(signature)
                .is_ok_and(|signature| key.verify_prehash(hash, &signature).is_ok()),
        }
    }

    /// Whether the signature is this key's over the message by Ed25519ph (RFC 8032, section 5.1), which some signers use for files.
    #[must_use]
    pub fn verifies_prehashed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.key {
            Verifying::Ed25519(key) => {
                ed25519_dalek::Signature::from_slice(signature).is_ok_and(|signature| {
                    let hash = Sha512::new().chain_update(message);
                    key.verify_prehashed_strict(hash, None, &signature).is_ok()
                })
            }
            Verifying::EcdsaP256(_) => false,
        }
    }
}

impl TryFrom<String> for PublicKey {
    type Error = KeyError;
    fn try_from(pem: String) -> Result<Self, KeyError> {
        Self::from_pem(&pem)
    }
}

impl From<PublicKey> for String {
    fn from(key: PublicKey) -> Self {
        key.pem
    }
}

enum Signing {
    Ed25519(ed25519_dalek::SigningKey),
    EcdsaP256(p256::ecdsa::SigningKey),
}

/// A private key. Never printed; wiped when it goes.
pub struct SecretKey {
    key: Signing,
    public: PublicKey,
}

impl SecretKey {
    /// Makes one out of the operating system's randomness.
    ///
    /// # Errors
    /// [`KeyError::NoRandomness`].
    pub fn generate(algorithm: Algorithm) -> Result<Self, KeyError> {
        loop {
            let mut seed = Zeroizing::new([0_u8; 32]);
            rand::rngs::OsRng
                .try_fill_bytes(seed.as_mut())
                .map_err(|error| KeyError::NoRandomness(error.to_string()))?;
            match algorithm {
                Algorithm::Ed25519 => {
                    return Self::of(Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed)));
                }
                // One in 2^32 draws is no scalar of the curve; drawing again keeps the others evenly spread.
                Algorithm::EcdsaP256 => {
                    if let Ok(key) = p256::ecdsa::SigningKey::from_slice(seed.as_slice()) {
                        return Self::of(Signing::EcdsaP256(key));
                    }
                }
            }
        }
    }

    /// Reads PEM with the label `PRIVATE KEY` (PKCS #8).
    ///
    /// # Errors
    /// [`KeyError`] if it is something else, encrypted, or of another algorithm.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let pem = pem.trim();
        let label = begins_with(pem);
        if let Some(label) = label.filter(|label| label.contains("ENCRYPTED")) {
            return Err(KeyError::Encrypted {
                label: text::short(label),
            });
        }
        if label != Some("PRIVATE KEY") || pem.len() > MAX_PEM {
            return Err(not_pem("private key", "PRIVATE KEY", label));
        }
        if let Ok(key) = ed25519_dalek::SigningKey::from_pkcs8_pem(pem) {
            return Self::of(Signing::Ed25519(key));
        }
        match p256::ecdsa::SigningKey::from_pkcs8_pem(pem) {
            Ok(key) => Self::of(Signing::EcdsaP256(key)),
            Err(error) => Err(KeyError::Unsupported(error.to_string())),
        }
    }

    fn of(key: Signing) -> Result<Self, KeyError> {
        let public = PublicKey::of(match &key {
            Signing::Ed25519(key) => Verifying::Ed25519(key.verifying_key()),
            Signing::EcdsaP256(key) => Verifying::EcdsaP256(*key.verifying_key()),
        })?;
        Ok(Self { key, public })
    }

    /// As PEM (PKCS #8), not encrypted; the text is wiped when it goes.
    ///
    /// # Errors
    /// [`KeyError::Unsupported`] if the key cannot be encoded.
    pub fn to_pem(&self) -> Result<Zeroizing<String>, KeyError> {
        match &self.key {
            // Without the public half beside it, which RFC 5958 allows and OpenSSL does not read.
            Signing::Ed25519(key) => ed25519::KeypairBytes {
                secret_key: key.to_bytes(),
                public_key: None,
            }
            .to_pkcs8_pem(LineEnding::LF),
            Signing::EcdsaP256(key) => key.to_pkcs8_pem(LineEnding::LF),
        }
        .map_err(|error| KeyError::Unsupported(error.to_string()))
    }

    /// The public half.
    #[must_use]
    pub const fn public(&self) -> &PublicKey {
        &self.public
    }

    /// The signature over the message. ECDSA draws its nonce from key and message (RFC 6979), so both kinds are deterministic.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        match &self.key {
            Signing::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            Signing::EcdsaP256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_der().as_bytes().to_vec()
            }
        }
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretKey({} {}, …)", self.public.algorithm(), self.public.id)
    }
}

/// The label of the first line of PEM.
fn begins_with(pem: &str) -> Option<&str> {
    pem.lines()
        .next()?
        .trim_end()
        .strip_prefix("-----BEGIN ")?
        .strip_suffix("-----")
}

fn not_pem(expected: &'static str, label: &'static str, found: Option<&str>) -> KeyError {
    KeyError::NotPem {
        expected,
        label,
        why: found.map_or_else(
            || "it does not begin as PEM does".to_owned(),
            |found| format!("it is a `{}`, or longer than any key", text::short(found)),
        ),
    }
}

fn read_pem(pem: &str, expected: &'static str, label: &'static str) -> Result<Document, KeyError> {
    let pem = pem.trim();
    let found = begins_with(pem);
    if found != Some(label) || pem.len() > MAX_PEM {
        return Err(not_pem(expected, label, found));
    }
    match Document::from_pem(pem) {
        Ok((_, document)) => Ok(document),
        Err(error) => Err(KeyError::NotPem {
            expected,
            label,
            why: error.to_string(),
        }),
    }
}

#[cfg(test)]
#[path = "key_tests.rs"]
mod tests;
