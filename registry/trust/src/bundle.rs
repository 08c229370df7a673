//! Sigstore bundles, made and read: <https://github.com/sigstore/protobuf-specs> (`sigstore_bundle.proto`, JSON form, v0.3 and before).
//!
//! Only bundles made with a key: who signs is decided by the tenant's own trust root, not by a certificate authority, and no transparency log
//! has to be reached. Log entries and timestamps of a bundle are left alone; they add to what a key says and are no part of it.
//!
//! A bundle has one signature. Where several have to sign, a release has several bundles, and nobody has to wait for another one's key.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    dsse::{DsseError, Envelope, EnvelopeJson},
    key::{PublicKey, SecretKey},
    statement::{self, Coverage, ReleaseSubject, StatementFault},
    text,
};

/// The media type of a bundle, which is also the artifact type of the referrer that carries one.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// How bundles before 0.3 called themselves.
const MEDIA_TYPES_BEFORE: [&str; 3] = [
    "application/vnd.dev.sigstore.bundle+json;version=0.1",
    "application/vnd.dev.sigstore.bundle+json;version=0.2",
    "application/vnd.dev.sigstore.bundle+json;version=0.3",
];
/// Bytes of a bundle, at most. Ours have some 900; one with a log entry and its proof has some 10,000.
pub const MAX_BYTES: usize = 256 * 1_024;

/// A signature with what it takes to verify it, but the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What the signer calls its key; cosign and we: base64 of the SHA-256 of its SPKI. Not signed, so only good for words.
    pub hint: String,
    /// What was signed.
    pub content: Content,
}

/// What was signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// A statement.
    Statement(Envelope),
    /// The component's bytes themselves, as `cosign sign-blob` does.
    Message {
        /// The SHA-256 that the signer saw; not signed, so only good for words.
        digest: Option<Vec<u8>>,
        /// As the key's algorithm has it.
        signature: Vec<u8>,
    },
}

/// Why a bundle does not make a release trusted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BundleError {
    /// Not even looked at.
    #[error("the bundle has {size} bytes; at most {MAX_BYTES} are taken")]
    TooLarge {
        /// Bytes.
        size: usize,
    },
    /// Not a bundle.
    #[error("this is not a Sigstore bundle: {0}")]
    NotABundle(String),
    /// A later version, or something else.
    #[error("the bundle calls itself `{0}`; versions 0.1 to 0.3 are read")]
    OtherMediaType(String),
    /// Keyless.
    #[error(
        "the bundle was made with a certificate, not with a key. Sign with `--key`, or with `stecker sign`"
    )]
    Keyless,
    /// The envelope in it.
    #[error(transparent)]
    Envelope(#[from] DsseError),
    /// More than one.
    #[error(
        "the envelope in the bundle has {0} signatures; a bundle has exactly one, and a release can have several bundles"
    )]
    NotOneSignature(usize),
    /// Only the bytes can tell.
    #[error(
        "the bundle is an Ed25519 signature over the component's bytes, which are not at hand here; it can only be judged where they are"
    )]
    NeedsComponent,
    /// Not this key's.
    #[error("the signature in the bundle is not by this key")]
    BadSignature,
    /// Good signature, something else signed.
    #[error(transparent)]
    Statement(#[from] StatementFault),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct BundleJson {
    #[serde(alias = "media_type")]
    media_type: String,
    #[serde(alias = "verification_material")]
    verification_material: MaterialJson,
    #[serde(default, alias = "message_signature", skip_serializing_if = "Option::is_none")]
    message_signature: Option<MessageJson>,
    #[serde(default, alias = "dsse_envelope", skip_serializing_if = "Option::is_none")]
    dsse_envelope: Option<EnvelopeJson>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MaterialJson {
    #[serde(default, alias = "public_key", skip_serializing_if = "Option::is_none")]
    public_key: Option<HintJson>,
    /// Only to say why such bundles are refused.
    #[serde(default, skip_serializing)]
    certificate: Option<serde::de::IgnoredAny>,
    #[serde(default, alias = "x509_certificate_chain", skip_serializing)]
    x509_certificate_chain: Option<serde::de::IgnoredAny>,
    /// Some readers expect the list, though it may be left out.
    #[serde(default, skip_deserializing)]
    tlog_entries: [(); 0],
}

#[derive(Serialize, Deserialize)]
struct HintJson {
    #[serde(default)]
    hint: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MessageJson {
    #[serde(default, alias = "message_digest", skip_serializing_if = "Option::is_none")]
    message_digest: Option<HashJson>,
    #[serde(default)]
    signature: String,
}

#[derive(Serialize, Deserialize)]
struct HashJson {
    #[serde(default)]
    algorithm: serde_json::Value,
    #[serde(default)]
    digest: String,
}

/// The JSON form has names for enumerations and takes their numbers too.
fn is_sha256(algorithm: &serde_json::Value) -> bool {
    algorithm == "SHA2_256" || algorithm == 1
}

impl Bundle {
    /// Signs a release.
    #[must_use]
    pub fn sign(subject: &ReleaseSubject, key: &SecretKey, signed_at: Timestamp) -> Self {
        Self {
            hint: key.public().id().hint(),
            content: Content::Statement(Envelope::sign(
                statement::PAYLOAD_TYPE,
                subject.statement(signed_at),
                &[key],
            )),
        }
    }

    /// Reads the JSON form. Nothing is verified by that.
    ///
    /// # Errors
    /// [`BundleError`] for what cannot be read, or is not made with a key.
    pub fn from_json(json: &[u8]) -> Result<Self, BundleError> {
        if json.len() > MAX_BYTES {
            return Err(BundleError::TooLarge { size: json.len() });
        }
        let read: BundleJson = serde_json::from_slice(json)
            .map_err(|error| BundleError::NotABundle(text::short(&error.to_string())))?;
        if read.media_type != MEDIA_TYPE && !MEDIA_TYPES_BEFORE.contains(&read.media_type.as_str()) {
            return Err(BundleError::OtherMediaType(text::short(&read.media_type)));
        }
        let material = read.verification_material;
        if material.certificate.is_some() || material.x509_certificate_chain.is_some() {
            return Err(BundleError::Keyless);
        }
        let Some(HintJson { hint }) = material.public_key else {
            return Err(BundleError::NotABundle("it names no key".to_owned()));
        };
        let content = match (read.dsse_envelope, read.message_signature) {
            (Some(envelope), None) => {
                let envelope = Envelope::from_parts(envelope)?;
                if envelope.signatures.len() != 1 {
                    return Err(BundleError::NotOneSignature(envelope.signatures.len()));
                }
                Content::Statement(envelope)
            }
            (None, Some(message)) => message.read()?,
            (None, None) => return Err(BundleError::NotABundle("it has no signature".to_owned())),
            (Some(_), Some(_)) => {
                return Err(BundleError::NotABundle(
                    "it has a statement and a message, so it says two things".to_owned(),
                ));
            }
        };
        Ok(Self { hint, content })
    }

    /// The JSON form, v0.3.
    #[must_use]
    pub fn to_json(&self) -> String {
        let (dsse_envelope, message_signature) = match &self.content {
            Content::Statement(envelope) => (Some(envelope.to_parts()), None),
            Content::Message { digest, signature } => {
                let message_digest = digest.as_ref().map(|digest| HashJson {
                    algorithm: "SHA2_256".into(),
                    digest: text::to_base64(digest),
                });
                let signature = text::to_base64(signature);
                (
                    None,
                    Some(MessageJson {
                        message_digest,
                        signature,
                    }),
                )
            }
        };
        let bundle = BundleJson {
            media_type: MEDIA_TYPE.to_owned(),
            verification_material: MaterialJson {
                public_key: Some(HintJson {
                    hint: self.hint.clone(),
                }),
                certificate: None,
                x509_certificate_chain: None,
                tlog_entries: [],
            },
            message_signature,
            dsse_envelope,
        };
        serde_json::to_string(&bundle)
            .unwrap_or_else(|error| unreachable!("texts and lists have a JSON form: {error}"))
    }

    /// Whether this key says of this release that it was released. The component's bytes are only needed for signatures over the file itself; they
    /// have to be those of `subject.component`.
    ///
    /// # Errors
    /// [`BundleError::BadSignature`] if the signature is not this key's; [`BundleError::Statement`] if it is, but over something else;
    /// [`BundleError::NeedsComponent`] if it cannot be told without the bytes.
    pub fn verify(
        &self,
        subject: &ReleaseSubject,
        component: Option<&[u8]>,
        key: &PublicKey,
    ) -> Result<Coverage, BundleError> {
        match &self.content {
            Content::Statement(envelope) => {
                if envelope.signers(statement::PAYLOAD_TYPE, [key])?.is_empty() {
                    return Err(BundleError::BadSignature);
                }
                Ok(subject.covered_by(&envelope.payload)?)
            }
            Content::Message { signature, .. } => {
                let mut hash = [0; 32];
                hex::decode_to_slice(subject.component.hex(), &mut hash)
                    .unwrap_or_else(|error| unreachable!("a digest is 64 hex digits: {error}"));
                if key.verifies_sha256(&hash, signature) {
                    return Ok(Coverage::Component);
                }
                if key.algorithm() != crate::Algorithm::Ed25519 {
                    return Err(BundleError::BadSignature);
                }
                let Some(bytes) = component else {
                    return Err(BundleError::NeedsComponent);
                };
                let found = text::digest_of(bytes);
                if found != subject.component {
                    return Err(StatementFault::OtherDigest {
                        what: "component",
                        expected: subject.component.clone(),
                        found: found.to_string(),
                    }
                    .into());
                }
                if key.verifies(bytes, signature) || key.verifies_prehashed(bytes, signature) {
                    Ok(Coverage::Component)
                } else {
                    Err(BundleError::BadSignature)
                }
            }
        }
    }

    /// What a signature over a file says it is for, where that is not this component. Not signed: only to say why no key fits.
    pub(crate) fn claims_other_component(&self, subject: &ReleaseSubject) -> Option<String> {
        match &self.content {
            Content::Message {
                digest: Some(digest), ..
            } => {
                let claimed = hex::encode(digest);
                (claimed != subject.component.hex()).then(|| format!("sha256:{claimed}"))
            }
            _ => None,
        }
    }
}

impl MessageJson {
    fn read(self) -> Result<Content, BundleError> {
        let signature = text::from_base64(&self.signature)
            .filter(|signature| !signature.is_empty())
            .ok_or(DsseError::NotBase64("signature"))?;
        let digest = match self.message_digest {
            Some(hash) if is_sha256(&hash.algorithm) => {
                let digest = text::from_base64(&hash.digest).filter(|digest| digest.len() == 32);
                Some(digest.ok_or(DsseError::NotBase64("digest"))?)
            }
            // By another hash there is nothing to compare with; the signature decides anyway.
            Some(_) | None => None,
        };
        Ok(Content::Message { digest, signature })
    }
}

#[cfg(test)]
#[path = "bundle_tests.rs"]
mod tests;
