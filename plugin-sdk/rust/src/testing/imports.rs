//! The imports of the contract, answered by the test host. The signatures are those of the generated ones.

type WireError = crate::bindings::host::stecker::plugin::types::Error;

fn error(code: &str, message: String) -> WireError {
    WireError {
        code: code.to_owned(),
        message,
        retry_after_ms: None,
        details: Vec::new(),
    }
}

pub(crate) mod http {
    use super::WireError;
    use crate::bindings::host::stecker::plugin::http::{Request, Response};
    use crate::testing::conversation::Recorded;
    use crate::testing::host;

    pub(crate) fn send(request: &Request) -> Result<Response, WireError> {
        let actual = Recorded::of(request);
        let answer = host::with(|state| {
            let answer = state.conversation.ask(&actual);
            state.requests.push(actual);
            if let Err(failure) = &answer {
                state.failure = Some(failure.clone());
            }
            answer
        });
        match answer {
            Ok(answer) => answer,
            Err(failure) => panic!("{failure}"),
        }
    }

    pub(crate) fn send_many(requests: &[Request]) -> Vec<Result<Response, WireError>> {
        requests.iter().map(send).collect()
    }
}

#[cfg(feature = "blobs")]
pub(crate) mod blobs {
    use super::{WireError, error};
    use crate::bindings::blobs::stecker::plugin::blobs::Blob;
    use crate::testing::host;
    use sha2::{Digest as _, Sha256};

    pub(in crate::testing) fn digest_of(bytes: &[u8]) -> String {
        format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
    }

    /// Keeps them; digest and size.
    pub(in crate::testing) fn keep(bytes: Vec<u8>) -> (String, u64) {
        let (digest, size) = (digest_of(&bytes), bytes.len() as u64);
        host::with(|state| state.blobs.insert(digest.clone(), bytes));
        (digest, size)
    }

    pub(super) fn blob((digest, size): (String, u64)) -> Blob {
        Blob {
            digest,
            size,
            attributes: Vec::new(),
        }
    }

    pub(super) fn bytes(digest: &str) -> Result<Vec<u8>, WireError> {
        let bytes = host::with(|state| state.blobs.get(digest).cloned());
        bytes.ok_or_else(|| error("not-found", format!("there is no blob {digest} (any more)")))
    }

    pub(super) fn expected(bytes: &[u8], digest: Option<&str>) -> Result<(), WireError> {
        let found = digest_of(bytes);
        match digest.filter(|digest| *digest != found) {
            Some(digest) => Err(error(
                "data",
                format!("the bytes are {found} and not {digest}, as the plugin expects; nothing was kept"),
            )),
            None => Ok(()),
        }
    }

    fn is_digest(digest: &str) -> Result<(), WireError> {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return Ok(());
        }
        Err(error(
            "unsupported",
            format!("{digest:?} is not the digest of a blob"),
        ))
    }

    pub(crate) fn stat(digest: &str) -> Result<Option<Blob>, WireError> {
        is_digest(digest)?;
        let size = host::with(|state| state.blobs.get(digest).map(|bytes| bytes.len() as u64));
        Ok(size.map(|size| blob((digest.to_owned(), size))))
    }

    pub(crate) fn read(digest: &str, offset: u64, len: u32) -> Result<Vec<u8>, WireError> {
        is_digest(digest)?;
        let bytes = bytes(digest)?;
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
        let end = start
            .saturating_add(len.clamp(1, 1 << 20) as usize)
            .min(bytes.len());
        Ok(bytes[start..end].to_vec())
    }

    pub(crate) fn write(bytes: &[u8], options: &[(String, String)]) -> Result<Blob, WireError> {
        let digest = options.iter().rev().find(|(name, _)| name == "digest");
        expected(bytes, digest.map(|(_, digest)| digest.as_str()))?;
        Ok(blob(keep(bytes.to_vec())))
    }
}

#[cfg(feature = "blobs")]
pub(crate) mod http_blobs {
    use super::{WireError, blobs, error, http};
    use crate::bindings::blobs::stecker::plugin::http_blobs::{Answer, Exchange, Piece};

    pub(crate) fn send(exchange: &Exchange) -> Result<Answer, WireError> {
        let mut request = exchange.request.clone();
        if !exchange.body.is_empty() {
            let mut body = Vec::new();
            for piece in &exchange.body {
                match piece {
                    Piece::Bytes(bytes) => body.extend_from_slice(bytes),
                    Piece::Blob(digest) => body.extend_from_slice(&blobs::bytes(digest)?),
                }
            }
            request.body = Some(body);
        }
        let mut response = http::send(&request)?;
        let mut blob = None;
        if let Some(sink) = &exchange.sink
            && (200..300).contains(&response.status)
        {
            let body = std::mem::take(&mut response.body);
            if body.len() as u64 > sink.max_bytes {
                return Err(error(
                    "fatal",
                    format!(
                        "the answer is larger than the {} bytes that the plugin wants to keep of it",
                        sink.max_bytes
                    ),
                ));
            }
            blobs::expected(&body, sink.digest.as_deref())?;
            blob = Some(blobs::blob(blobs::keep(body)));
        }
        Ok(Answer {
            response,
            blob,
            attributes: Vec::new(),
        })
    }
}

pub(crate) mod storage {
    use super::{WireError, error};
    use crate::bindings::host::stecker::plugin::storage::{Condition, Entry};
    use crate::testing::host;
    use std::ops::Bound;

    pub(crate) fn get(key: &str) -> Result<Option<Entry>, WireError> {
        Ok(host::with(|state| state.storage.get(key).cloned()))
    }

    fn holds(condition: Condition, version: Option<u64>) -> bool {
        match condition {
            Condition::Always => true,
            Condition::Absent => version.is_none(),
            Condition::Version(wanted) => version == Some(wanted),
        }
    }

    fn conflict(key: &str) -> WireError {
        error("conflict", format!("the condition for `{key}` does not hold"))
    }

    pub(crate) fn put(key: &str, value: &[u8], condition: Condition) -> Result<u64, WireError> {
        host::with(|state| {
            let version = state.storage.get(key).map(|entry| entry.version);
            if !holds(condition, version) {
                return Err(conflict(key));
            }
            let version = version.unwrap_or(0) + 1;
            state.storage.insert(
                key.to_owned(),
                Entry {
                    value: value.to_vec(),
                    version,
                },
            );
            Ok(version)
        })
    }

    pub(crate) fn delete(key: &str, condition: Condition) -> Result<bool, WireError> {
        host::with(|state| {
            let version = state.storage.get(key).map(|entry| entry.version);
            if !holds(condition, version) {
                return Err(conflict(key));
            }
            Ok(state.storage.remove(key).is_some())
        })
    }

    pub(crate) fn list_keys(prefix: &str, after: Option<&str>, limit: u32) -> Result<Vec<String>, WireError> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        Ok(host::with(|state| {
            let keys = state
                .storage
                .range::<str, _>((start, Bound::Unbounded))
                .map(|(key, _)| key);
            keys.take_while(|key| key.starts_with(prefix))
                .take(limit as usize)
                .cloned()
                .collect()
        }))
    }
}

pub(crate) mod crypto {
    use super::{WireError, error};
    use crate::bindings::host::stecker::plugin::crypto::Digest;
    use crate::testing::host;
    use hmac::{Hmac, Mac as _};
    use sha1::Sha1;
    use sha2::{Digest as _, Sha256, Sha384, Sha512};

    pub(crate) fn hash(algorithm: Digest, data: &[u8]) -> Vec<u8> {
        match algorithm {
            Digest::Sha1 => Sha1::digest(data).to_vec(),
            Digest::Sha256 => Sha256::digest(data).to_vec(),
            Digest::Sha384 => Sha384::digest(data).to_vec(),
            Digest::Sha512 => Sha512::digest(data).to_vec(),
        }
    }

    /// HMAC takes keys of any length (RFC 2104), so making one cannot fail.
    macro_rules! hmac {
        ($digest:ty, $key:expr, $data:expr) => {
            Hmac::<$digest>::new_from_slice($key)
                .map(|mac| mac.chain_update($data).finalize().into_bytes().to_vec())
        };
    }

    pub(crate) fn hmac(key: &[u8], algorithm: Digest, data: &[u8]) -> Vec<u8> {
        match algorithm {
            Digest::Sha1 => hmac!(Sha1, key, data),
            Digest::Sha256 => hmac!(Sha256, key, data),
            Digest::Sha384 => hmac!(Sha384, key, data),
            Digest::Sha512 => hmac!(Sha512, key, data),
        }
        .unwrap_or_default()
    }

    pub(crate) fn hmac_sign(secret: &str, algorithm: Digest, data: &[u8]) -> Result<Vec<u8>, WireError> {
        match host::with(|state| state.secrets.get(secret).cloned()) {
            Some(key) => Ok(hmac(&key, algorithm, data)),
            None => Err(error(
                "denied",
                format!("the connection has no secret `{secret}`"),
            )),
        }
    }

    pub(crate) fn hmac_verify(
        secret: &str,
        algorithm: Digest,
        data: &[u8],
        tag: &[u8],
    ) -> Result<bool, WireError> {
        Ok(hmac_sign(secret, algorithm, data)? == tag)
    }
}

pub(crate) mod log {
    use crate::log::Level;
    use crate::testing::{LogLine, host};

    pub(crate) fn write(level: Level, message: &str, fields: &[(String, String)]) {
        let line = LogLine {
            level,
            message: message.to_owned(),
            fields: fields.to_vec(),
        };
        host::with(|state| state.logs.push(line));
    }
}

pub(crate) mod clock {
    use crate::testing::host;

    pub(crate) fn now() -> u64 {
        host::with(|state| state.now)
    }

    pub(crate) fn monotonic_ms() -> u64 {
        now()
    }
}

pub(crate) mod random {
    use crate::testing::host;

    /// SplitMix64 (Steele, Lea and Flood, 2014): the same bytes for the same seed on every machine.
    pub(crate) fn bytes(len: u32) -> Vec<u8> {
        host::with(|state| {
            let mut bytes = Vec::new();
            let len = len.min(4_096) as usize;
            while bytes.len() < len {
                state.random = state.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
                let mut mixed = state.random;
                mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
                bytes.extend((mixed ^ (mixed >> 31)).to_le_bytes());
            }
            bytes.truncate(len);
            bytes
        })
    }
}
