//! The master key: what it looks like, and where it comes from.

use std::fmt;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::{VaultError, seal::DataKey};

/// The key that data keys are sealed with. Cannot be printed.
pub struct MasterKey {
    id: String,
    key: DataKey,
}

/// A text that is no master key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "line {line} is not a master key: it has to be 32 bytes as 64 hexadecimal digits or in base64, as `openssl rand -hex 32` makes them"
)]
pub struct InvalidMasterKey {
    /// From 1; 0 if there is none at all.
    pub line: usize,
}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MasterKey({})", self.id)
    }
}

impl MasterKey {
    fn new(key: DataKey) -> Self {
        let digest = Sha256::new()
            .chain_update(b"stecker master key id\0")
            .chain_update(key.bytes())
            .finalize();
        Self {
            id: hex::encode(digest.get(..8).unwrap_or_default()),
            key,
        }
    }

    /// A new one.
    ///
    /// # Errors
    /// The operating system has no random bytes.
    pub fn generate() -> Result<Self, VaultError> {
        DataKey::random().map(Self::new)
    }

    fn parse(text: &str) -> Option<Self> {
        let bytes = Zeroizing::new(match text.len() {
            64 => hex::decode(text).ok()?,
            _ => from_base64(text)?,
        });
        DataKey::from_slice(&bytes).map(Self::new)
    }

    /// As it stands in a file: 64 hexadecimal digits.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        Zeroizing::new(hex::encode(self.key.bytes()))
    }

    /// Tells keys apart and says nothing about them: 16 hexadecimal digits.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    pub(super) fn key(&self) -> &DataKey {
        &self.key
    }
}

/// Base64 (RFC 4648) of 32 bytes, with or without padding, of either alphabet.
fn from_base64(text: &str) -> Option<Vec<u8>> {
    let digits = text.trim_end_matches('=');
    if digits.len() != 43 {
        return None;
    }
    let mut bytes = Vec::with_capacity(33);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for digit in digits.bytes() {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' | b'-' => 62,
            b'/' | b'_' => 63,
            _ => return None,
        };
        bits = (bits << 6) | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push(u8::try_from((bits >> held) & 0xff).unwrap_or_default());
        }
    }
    Some(bytes)
}

/// The keys that a host has: the first one seals, the others only open what was sealed before the first one came.
#[derive(Debug)]
pub struct MasterKeys(Vec<MasterKey>);

impl MasterKeys {
    /// With a single key.
    #[must_use]
    pub fn only(key: MasterKey) -> Self {
        Self(vec![key])
    }

    /// Reads keys as they stand in a file: one a line, the current one first. Empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// A line that is no key, or no key at all.
    pub fn parse(text: &str) -> Result<Self, InvalidMasterKey> {
        let lines = text.lines().enumerate();
        let keys = lines
            .map(|(index, line)| (index + 1, line.trim()))
            .filter(|(_, line)| !line.is_empty() && !line.starts_with('#'))
            .map(|(line, text)| MasterKey::parse(text).ok_or(InvalidMasterKey { line }))
            .collect::<Result<Vec<_>, _>>()?;
        if keys.is_empty() {
            return Err(InvalidMasterKey { line: 0 });
        }
        Ok(Self(keys))
    }

    /// The one that seals.
    #[must_use]
    pub fn current(&self) -> Option<&MasterKey> {
        self.0.first()
    }

    pub(super) fn by_id(&self, id: &str) -> Option<&MasterKey> {
        self.0.iter().find(|key| key.id == id)
    }

    /// For errors.
    pub(super) fn ids(&self) -> String {
        let ids: Vec<&str> = self.0.iter().map(MasterKey::id).collect();
        ids.join(", ")
    }
}

/// Where a host's master key comes from.
pub trait MasterKeySource: Send + Sync {
    /// The keys that there are now; none if there is no key yet.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] if they cannot be read.
    fn load(&self) -> Result<Option<MasterKeys>, VaultError>;

    /// Makes the first key, and keeps it. Only asked for while nothing is sealed with any key.
    ///
    /// # Errors
    /// [`VaultError::MasterKey`] if this source makes none, or cannot keep it.
    fn create(&self) -> Result<(), VaultError>;

    /// Puts a new key in front of those that there are.
    ///
    /// # Errors
    /// As [`MasterKeySource::create`].
    fn add(&self) -> Result<(), VaultError>;

    /// Keeps the current key only. Asked for when nothing is sealed with another one any more.
    ///
    /// # Errors
    /// As [`MasterKeySource::create`].
    fn forget_old(&self) -> Result<(), VaultError>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_in_every_usual_form() {
        let key = MasterKey::generate().unwrap();
        let hex = key.to_text();
        // 32 bytes of 0xff, 0xfb, … have both of the characters in which the alphabets differ.
        let bytes: Vec<u8> = (0..32).map(|n| 0xff - (n % 3) * 4).collect();
        let other = hex::encode(&bytes);
        let base64 = "//v3//v3//v3//v3//v3//v3//v3//v3//v3//v3//s=";
        let text = format!("# made in May\n\n{}\r\n {base64} \n", *hex);
        let keys = MasterKeys::parse(&text).unwrap();
        assert_eq!(keys.current().unwrap().id(), key.id());
        let expected = MasterKeys::parse(&other).unwrap();
        for form in [
            base64.to_owned(),
            base64.trim_end_matches('=').to_owned(),
            base64.replace('/', "_").replace('+', "-"),
            other.to_uppercase(),
        ] {
            assert_eq!(MasterKeys::parse(&form).unwrap().ids(), expected.ids(), "{form}");
        }
    }

    #[test]
    fn what_is_no_key_is_refused_and_never_repeated() {
        for (text, line) in [
            ("", 0),
            ("# only this\n", 0),
            ("hunter2hunter2", 1),
            (&"0".repeat(63), 1),
        ] {
            let error = MasterKeys::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
        let key = MasterKey::generate().unwrap();
        assert!(!format!("{key:?}").contains(key.to_text().as_str()));
    }
}
