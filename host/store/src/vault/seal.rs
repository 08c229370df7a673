//! Sealing: XChaCha20-Poly1305 with a random nonce. 192 bits of nonce are enough to draw them without counting.

use chacha20poly1305::{
    XChaCha20Poly1305, XNonce,
    aead::{Aead as _, Generate as _, KeyInit as _, Payload},
};
use zeroize::Zeroizing;

use super::VaultError;

/// Of the form of sealed bytes, so that there can be another one some day.
const FORM: u8 = 1;
const NONCE: usize = 24;

/// A key that seals, wiped from memory when it goes.
pub(super) struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    pub(super) fn new(bytes: [u8; 32]) -> Self {
        Self(Zeroizing::new(bytes))
    }

    pub(super) fn from_slice(bytes: &[u8]) -> Option<Self> {
        Some(Self::new(bytes.try_into().ok()?))
    }

    /// # Errors
    /// The operating system has no random bytes.
    pub(super) fn random() -> Result<Self, VaultError> {
        <[u8; 32]>::try_generate()
            .map(Self::new)
            .map_err(|_| no_randomness())
    }

    pub(super) fn bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// One byte for the form, the nonce, then what is encrypted, with its tag. `bound` has to be the same when it is opened.
    pub(super) fn seal(&self, bound: &[u8], plain: &[u8]) -> Result<Vec<u8>, VaultError> {
        let nonce = XNonce::try_generate().map_err(|_| no_randomness())?;
        let payload = Payload {
            msg: plain,
            aad: bound,
        };
        let encrypted = XChaCha20Poly1305::new((&*self.0).into())
            .encrypt(&nonce, payload)
            .map_err(|_| VaultError::MasterKey {
                what: "the value is too long to be encrypted".to_owned(),
            })?;
        Ok([&[FORM], nonce.as_slice(), encrypted.as_slice()].concat())
    }

    /// None if it was not sealed by this key for this place.
    pub(super) fn open(&self, bound: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (form, rest) = sealed.split_first()?;
        let (nonce, encrypted) = rest.split_at_checked(NONCE)?;
        if *form != FORM {
            return None;
        }
        let payload = Payload {
            msg: encrypted,
            aad: bound,
        };
        XChaCha20Poly1305::new((&*self.0).into())
            .decrypt(&XNonce::try_from(nonce).ok()?, payload)
            .ok()
            .map(Zeroizing::new)
    }
}

fn no_randomness() -> VaultError {
    VaultError::MasterKey {
        what: "the operating system gives no random bytes".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_only_with_its_key_at_its_place() {
        let (key, other) = (DataKey::random().unwrap(), DataKey::random().unwrap());
        let sealed = key.seal(b"here", b"secret").unwrap();
        assert_eq!(key.open(b"here", &sealed).unwrap().as_slice(), b"secret");
        assert!(other.open(b"here", &sealed).is_none());
        assert!(key.open(b"there", &sealed).is_none());
        assert_ne!(key.seal(b"here", b"secret").unwrap(), sealed);
        for at in 0..sealed.len() {
            let mut altered = sealed.clone();
            altered[at] ^= 1;
            assert!(key.open(b"here", &altered).is_none(), "byte {at}");
            assert!(key.open(b"here", &sealed[..at]).is_none(), "cut at {at}");
        }
    }
}
