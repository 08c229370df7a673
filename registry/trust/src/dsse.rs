//! DSSE, the envelope around everything that is signed here: <https://github.com/secure-systems-lab/dsse> (protocol 1.0, JSON envelope).
//!
//! The signature is over the type and the exact bytes of the payload together, so nothing has to be brought into a canonical form, and what was
//! signed as one type is never read as another.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    key::{KeyId, PublicKey, SecretKey},
    text,
};

/// Signatures that are looked at, at most. Each costs a verification by every key.
pub const MAX_SIGNATURES: usize = 32;

/// A payload and who signed it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    /// The bytes that were signed.
    pub payload: Vec<u8>,
    /// What they are, such as `application/vnd.in-toto+json`.
    pub payload_type: String,
    /// In the order in which they stand there.
    pub signatures: Vec<Signature>,
}

/// One signature of an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// What the signer calls its key. Not signed, so only good for words; every key is tried.
    pub keyid: Option<String>,
    /// The bytes, as the key's algorithm has them.
    pub sig: Vec<u8>,
}

/// Why an envelope is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DsseError {
    /// Not even looked at.
    #[error("the signed document has {size} bytes; at most {max} are taken")]
    TooLarge {
        /// Bytes.
        size: usize,
        /// Bytes.
        max: usize,
    },
    /// Not an envelope.
    #[error("this is not a DSSE envelope: {0}")]
    NotAnEnvelope(String),
    /// Not base64.
    #[error("`{0}` of the envelope is not base64")]
    NotBase64(&'static str),
    /// None.
    #[error("the envelope has no signature")]
    NoSignature,
    /// A flood.
    #[error("the envelope has {found} signatures; at most {MAX_SIGNATURES} are looked at")]
    TooManySignatures {
        /// How many.
        found: usize,
    },
    /// Something else was signed.
    #[error("the envelope holds a `{found}`, not a `{expected}`: it was signed as something else")]
    OtherType {
        /// What was asked for.
        expected: String,
        /// What it says.
        found: String,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EnvelopeJson {
    #[serde(default)]
    payload: String,
    #[serde(default, alias = "payload_type")]
    payload_type: String,
    #[serde(default)]
    signatures: Vec<SignatureJson>,
}

#[derive(Serialize, Deserialize)]
struct SignatureJson {
    #[serde(default)]
    sig: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    keyid: Option<String>,
}

/// What is signed in the place of a payload: type and payload with their lengths before them.
#[must_use]
pub fn pae(payload_type: &str, payload: &[u8]) -> Vec<u8> {
    let mut out = format!("DSSEv1 {} {payload_type} {} ", payload_type.len(), payload.len()).into_bytes();
    out.extend_from_slice(payload);
    out
}

impl Envelope {
    /// Signs with every one of the keys.
    #[must_use]
    pub fn sign(payload_type: &str, payload: Vec<u8>, keys: &[&SecretKey]) -> Self {
        let mut envelope = Self {
            payload,
            payload_type: payload_type.to_owned(),
            signatures: Vec::with_capacity(keys.len()),
        };
        for key in keys {
            envelope.add_signature(key);
        }
        envelope
    }

    /// Adds a key's signature, for those who sign one after the other. The key's earlier ones go.
    pub fn add_signature(&mut self, key: &SecretKey) {
        let keyid = key.public().id().to_string();
        self.signatures
            .retain(|signature| signature.keyid.as_ref() != Some(&keyid));
        self.signatures.push(Signature {
            sig: key.sign(&pae(&self.payload_type, &self.payload)),
            keyid: Some(keyid),
        });
    }

    /// Reads the JSON form. Nothing is verified by that.
    ///
    /// # Errors
    /// [`DsseError`] for everything but [`DsseError::OtherType`].
    pub fn from_json(json: &[u8], max_bytes: usize) -> Result<Self, DsseError> {
        if json.len() > max_bytes {
            return Err(DsseError::TooLarge {
                size: json.len(),
                max: max_bytes,
            });
        }
        let read: EnvelopeJson = serde_json::from_slice(json)
            .map_err(|error| DsseError::NotAnEnvelope(text::short(&error.to_string())))?;
        Self::from_parts(read)
    }

    pub(crate) fn from_parts(read: EnvelopeJson) -> Result<Self, DsseError> {
        if read.signatures.is_empty() {
            return Err(DsseError::NoSignature);
        }
        if read.signatures.len() > MAX_SIGNATURES {
            return Err(DsseError::TooManySignatures {
                found: read.signatures.len(),
            });
        }
        let signatures = read.signatures.into_iter().map(|signature| {
            Ok(Signature {
                sig: text::from_base64(&signature.sig).ok_or(DsseError::NotBase64("sig"))?,
                keyid: signature.keyid.filter(|id| !id.is_empty()),
            })
        });
        Ok(Self {
            signatures: signatures.collect::<Result<_, _>>()?,
            payload: text::from_base64(&read.payload).ok_or(DsseError::NotBase64("payload"))?,
            payload_type: read.payload_type,
        })
    }

    pub(crate) fn to_parts(&self) -> EnvelopeJson {
        EnvelopeJson {
            payload: text::to_base64(&self.payload),
            payload_type: self.payload_type.clone(),
            signatures: self
                .signatures
                .iter()
                .map(|signature| SignatureJson {
                    sig: text::to_base64(&signature.sig),
                    keyid: signature.keyid.clone(),
                })
                .collect(),
        }
    }

    /// The JSON form.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&self.to_parts())
            .unwrap_or_else(|error| unreachable!("texts and lists have a JSON form: {error}"))
    }

    /// Whose signatures are good: of the keys given, those under which at least one signature verifies, each once however often it signed.
    ///
    /// # Errors
    /// [`DsseError::OtherType`] if the payload is of another type than the one asked for.
    pub fn signers<'k>(
        &self,
        payload_type: &str,
        keys: impl IntoIterator<Item = &'k PublicKey>,
    ) -> Result<BTreeMap<KeyId, &'k PublicKey>, DsseError> {
        if self.payload_type != payload_type || payload_type.is_empty() {
            return Err(DsseError::OtherType {
                expected: payload_type.to_owned(),
                found: text::short(&self.payload_type),
            });
        }
        let signed = pae(&self.payload_type, &self.payload);
        let signatures = self.signatures.iter().take(MAX_SIGNATURES);
        Ok(keys
            .into_iter()
            .filter(|key| {
                signatures
                    .clone()
                    .any(|signature| key.verifies(&signed, &signature.sig))
            })
            .map(|key| (key.id(), key))
            .collect())
    }
}

#[cfg(test)]
#[path = "dsse_tests.rs"]
mod tests;
