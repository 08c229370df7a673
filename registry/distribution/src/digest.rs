//! Digests: the names of content. SHA-256 and SHA-512, the two registered algorithms of the OCI image specification
//! (descriptor.md); in their canonical spelling only, so that a digest has one text.

use std::{fmt, str::FromStr};

use sha2::{Digest as _, Sha256, Sha512};

use crate::name::shortened;

/// How a digest is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, which everybody knows.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// Its name in a digest.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    fn hex_length(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// The name of some bytes: `sha256:` or `sha512:` and lower-case hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest {
    algorithm: Algorithm,
    text: String,
}

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    /// It has not the form of one.
    #[error("`{text}` is not a digest: `sha256:` and 64, or `sha512:` and 128 lower-case hexadecimal digits")]
    Malformed {
        /// The text, shortened.
        text: String,
    },
    /// It is one, of an algorithm that is not supported.
    #[error("digests by `{algorithm}` are not supported: use sha256 or sha512")]
    Algorithm {
        /// The algorithm's name, shortened.
        algorithm: String,
    },
}

impl Digest {
    /// The digest of bytes.
    #[must_use]
    pub fn of(algorithm: Algorithm, bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new(algorithm);
        hasher.update(bytes);
        hasher.finish()
    }

    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The algorithm.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// The hexadecimal digits.
    #[must_use]
    pub fn hex(&self) -> &str {
        self.text.split_once(':').map_or("", |(_, hex)| hex)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let malformed = || DigestError::Malformed {
            text: shortened(text),
        };
        let (name, hex) = text.split_once(':').ok_or_else(malformed)?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha512" => Algorithm::Sha512,
            // algorithm ::= [a-z0-9]+ with single [+._-] between
            other
                if !other.is_empty()
                    && other
                        .bytes()
                        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"+._-".contains(&b)) =>
            {
                return Err(DigestError::Algorithm {
                    algorithm: shortened(other),
                });
            }
            _ => return Err(malformed()),
        };
        let digits = hex
            .bytes()
            .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if hex.len() != algorithm.hex_length() || !digits {
            return Err(malformed());
        }
        Ok(Self {
            algorithm,
            text: text.to_owned(),
        })
    }
}

/// Computes a digest piece by piece.
#[derive(Debug, Clone)]
pub enum Hasher {
    /// SHA-256.
    Sha256(Sha256),
    /// SHA-512.
    Sha512(Sha512),
}

impl Hasher {
    /// Of nothing yet.
    #[must_use]
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// More bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hasher) => hasher.update(bytes),
            Self::Sha512(hasher) => hasher.update(bytes),
        }
    }

    /// The digest of all of them.
    #[must_use]
    pub fn finish(self) -> Digest {
        let (algorithm, hex) = match self {
            Self::Sha256(hasher) => (Algorithm::Sha256, hex::encode(hasher.finalize())),
            Self::Sha512(hasher) => (Algorithm::Sha512, hex::encode(hasher.finalize())),
        };
        Digest {
            algorithm,
            text: format!("{}:{hex}", algorithm.as_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_digest_has_one_spelling() {
        let sha256 = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(Algorithm::Sha256, b"").as_str(), sha256);
        assert_eq!(
            sha256.parse::<Digest>().unwrap(),
            Digest::of(Algorithm::Sha256, b"")
        );
        assert_eq!(Digest::of(Algorithm::Sha512, b"x").hex().len(), 128);
        let malformed = [
            String::new(),
            "sha256:".to_owned(),
            "sha256:baddigeststring".to_owned(),
            sha256.to_uppercase(),
            sha256.replace('e', "E"),
            format!("{sha256}0"),
            sha256.replace(':', ""),
            sha256.replace("sha256", "sha512"),
            format!(":{}", "a".repeat(64)),
            format!("sha256:../{}", "a".repeat(61)),
        ];
        for text in malformed {
            assert!(
                matches!(text.parse::<Digest>(), Err(DigestError::Malformed { .. })),
                "{text}"
            );
        }
        assert!(matches!(
            "md5:00".parse::<Digest>(),
            Err(DigestError::Algorithm { .. })
        ));
    }

    proptest! {
        #[test]
        fn pieces_do_not_matter(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..64), 0..8), wide in any::<bool>()) {
            let algorithm = if wide { Algorithm::Sha512 } else { Algorithm::Sha256 };
            let mut hasher = Hasher::new(algorithm);
            for piece in &pieces {
                hasher.update(piece);
            }
            let digest = hasher.finish();
            prop_assert_eq!(&digest, &Digest::of(algorithm, &pieces.concat()));
            prop_assert_eq!(digest.as_str().parse(), Ok(digest));
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,200}") {
            let _ = text.parse::<Digest>();
        }
    }
}
