//! What a manifest is asked for by: a tag, or a digest. A tag that is a semantic version is a **release**, which is never moved.

use std::{fmt, str::FromStr};

use crate::{
    digest::{Digest, DigestError},
    name::shortened,
};

/// A tag: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag(String);

/// Why a text is no tag.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a tag: a letter, digit or `_`, then up to 127 of these and `.`, `-`")]
pub struct TagError {
    /// The text, shortened.
    pub text: String,
}

impl Tag {
    /// As it is written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The version that it names, with or without a `v` before it; none: this is no release, and may be moved.
    ///
    /// Only complete versions count (<https://semver.org>): `1.2` and `latest` are made to be moved. A tag has no `+`, so a release
    /// has no build metadata.
    #[must_use]
    pub fn release(&self) -> Option<semver::Version> {
        let text = self.0.strip_prefix('v').unwrap_or(&self.0);
        semver::Version::parse(text).ok()
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Tag {
    type Err = TagError;

    fn from_str(text: &str) -> Result<Self, TagError> {
        let mut bytes = text.bytes();
        let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
        if text.len() <= 128
            && bytes.next().is_some_and(word)
            && bytes.all(|b| word(b) || b == b'.' || b == b'-')
        {
            return Ok(Self(text.to_owned()));
        }
        Err(TagError {
            text: shortened(text),
        })
    }
}

/// A tag or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reference {
    /// What the tag points to now.
    Tag(Tag),
    /// Exactly this.
    Digest(Digest),
}

/// Why a text is no reference.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    /// It has a `:`, and is no digest.
    #[error(transparent)]
    Digest(#[from] DigestError),
    /// It has none, and is no tag.
    #[error(transparent)]
    Tag(#[from] TagError),
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => tag.fmt(f),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        Ok(if text.contains(':') {
            Self::Digest(text.parse()?)
        } else {
            Self::Tag(text.parse()?)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tags_are_as_the_specification_says() {
        for good in ["a", "_", "1.0.0", "A-b.C_d", &"x".repeat(128)] {
            assert!(good.parse::<Tag>().is_ok(), "{good}");
        }
        for bad in [
            "",
            ".a",
            "-a",
            "a b",
            "a+b",
            "a/b",
            "ä",
            "a:b",
            ".INVALID_MANIFEST_NAME",
            &"x".repeat(129),
        ] {
            assert!(bad.parse::<Tag>().is_err(), "{bad}");
        }
    }

    #[test]
    fn complete_versions_are_releases() {
        for release in ["1.2.3", "v1.2.3", "0.0.0", "1.0.0-rc.1"] {
            assert!(release.parse::<Tag>().unwrap().release().is_some(), "{release}");
        }
        for moving in [
            "latest", "1", "1.2", "v1", "vv1.2.3", "01.2.3", "1.2.3.4", "V1.2.3",
        ] {
            assert!(moving.parse::<Tag>().unwrap().release().is_none(), "{moving}");
        }
    }

    proptest! {
        #[test]
        fn a_reference_is_written_as_it_was_read(text in "[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}") {
            prop_assert_eq!(text.parse::<Reference>().unwrap().to_string(), text);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,160}") {
            let _ = text.parse::<Reference>();
        }
    }
}
