//! Hashes, and signatures with secrets that stay with the host: a secret is named, never seen.

use crate::imports;
use crate::{Error, Result};
use base64::Engine as _;
use base64::engine::general_purpose;

pub use crate::bindings::host::stecker::plugin::crypto::Digest;

/// The hash of `data`.
pub fn hash(algorithm: Digest, data: &[u8]) -> Vec<u8> {
    imports::crypto::hash(algorithm, data)
}

/// The SHA-256 of `data` in lower-case hex.
pub fn sha256_hex(data: &[u8]) -> String {
    hex::encode(hash(Digest::Sha256, data))
}

/// The HMAC of `data` under the secret of that name.
///
/// # Errors
/// Code `denied` if the connection has no such secret.
pub fn hmac_sign(secret: &str, algorithm: Digest, data: &[u8]) -> Result<Vec<u8>> {
    Ok(imports::crypto::hmac_sign(secret, algorithm, data)?)
}

/// Whether `tag` is the HMAC of `data`; compared in constant time.
///
/// # Errors
/// Code `denied` if the connection has no such secret.
pub fn hmac_verify(secret: &str, algorithm: Digest, data: &[u8], tag: &[u8]) -> Result<bool> {
    Ok(imports::crypto::hmac_verify(secret, algorithm, data, tag)?)
}

/// Lower-case hex.
pub fn to_hex(bytes: &[u8]) -> String {
    hex::encode(bytes)
}

/// Bytes from hex of any case.
///
/// # Errors
/// Code `data` if it is not hex.
pub fn from_hex(text: &str) -> Result<Vec<u8>> {
    hex::decode(text).map_err(|error| Error::data(format!("not hexadecimal: {error}")))
}

/// Standard base64 with padding (RFC 4648, section 4).
pub fn to_base64(bytes: &[u8]) -> String {
    general_purpose::STANDARD.encode(bytes)
}

/// Bytes from standard base64 with padding.
///
/// # Errors
/// Code `data` if it is not base64.
pub fn from_base64(text: &str) -> Result<Vec<u8>> {
    general_purpose::STANDARD
        .decode(text)
        .map_err(|error| Error::data(format!("not base64: {error}")))
}
