//! Base64 as the formats of this crate have it, and digests.

use base64::{
    Engine as _,
    alphabet::{STANDARD, URL_SAFE},
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use sha2::{Digest as _, Sha256};
use stecker_model::Digest;

const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const PLAIN: GeneralPurpose = GeneralPurpose::new(&STANDARD, LENIENT);
const URL: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, LENIENT);

/// Either alphabet, padded or not: DSSE and the JSON form of protocol buffers allow both. Never a mixture of the two.
pub(crate) fn from_base64(text: &str) -> Option<Vec<u8>> {
    let engine = if text.contains(['-', '_']) { &URL } else { &PLAIN };
    engine.decode(text).ok()
}

/// The standard alphabet, padded.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The SHA-256 of some bytes, as releases are named by.
pub(crate) fn digest_of(bytes: &[u8]) -> Digest {
    let text = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    Digest::try_from(text).unwrap_or_else(|error| unreachable!("64 hex digits are a digest: {error}"))
}

/// What is said of something that a stranger wrote, cut to a length that a terminal can bear.
pub(crate) fn short(text: &str) -> String {
    const MAX: usize = 120;
    let clean: String = text
        .chars()
        .take(MAX)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(MAX).is_some() {
        clean + "…"
    } else {
        clean
    }
}
