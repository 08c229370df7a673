//! The name of a repository, as the OCI Distribution Specification 1.1 defines it: components of lower-case letters and digits,
//! with single separators between them, joined by `/`. Nothing that a file system or a URL could read in another way passes.

use std::{fmt, str::FromStr};

/// A repository's name: at most 255 bytes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RepositoryName(String);

/// Why a text is no repository name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a repository name: lower-case letters and digits, in parts joined by `/`, with `.`, `_`, `__` or dashes \
     between them, at most {max} bytes",
    max = RepositoryName::MAX
)]
pub struct NameError {
    /// The text, shortened.
    pub text: String,
}

impl RepositoryName {
    /// Longest name, in bytes.
    pub const MAX: usize = 255;

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for RepositoryName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        if text.len() <= Self::MAX && text.split('/').all(is_component) {
            return Ok(Self(text.to_owned()));
        }
        Err(NameError {
            text: shortened(text),
        })
    }
}

/// `[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*`
fn is_component(text: &str) -> bool {
    let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    let mut rest = text;
    loop {
        let Some(end) = rest.find(|c| !word(c)) else {
            return !rest.is_empty();
        };
        if end == 0 {
            return false;
        }
        let (_, after) = rest.split_at(end);
        let next = after.find(word).unwrap_or(after.len());
        let (separator, after) = after.split_at(next);
        if !matches!(separator, "." | "_" | "__") && !separator.chars().all(|c| c == '-') {
            return false;
        }
        rest = after;
    }
}

/// A text for an error's message: its beginning, without control characters.
pub(crate) fn shortened(text: &str) -> String {
    let mut out: String = text
        .chars()
        .take(80)
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect();
    if text.chars().nth(80).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn names_are_as_the_specification_says() {
        for good in ["a", "library/ubuntu", "a.b_c__d-e---f/0/1", &"a".repeat(255)] {
            assert!(good.parse::<RepositoryName>().is_ok(), "{good}");
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "A",
            "a b",
            "..",
            "a/../b",
            "a/./b",
            ".a",
            "a.",
            "a..b",
            "a___b",
            "a._b",
            "-a",
            "a-",
            "a\\b",
            "a%2fb",
            "ü",
            "a\0",
            "a:b",
            "a@b",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<RepositoryName>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_text_of_the_grammar_is_a_name(text in "[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}(/[a-z0-9]{1,4}((\\.|_|__|-{1,3})[a-z0-9]{1,4}){0,3}){0,3}") {
            let name: RepositoryName = text.parse().unwrap();
            prop_assert_eq!(name.as_str(), text);
        }

        #[test]
        fn no_name_leaves_its_folder(text in "[a-z./%_\\\\A-Z-]{0,20}") {
            if text.parse::<RepositoryName>().is_ok() {
                let plain = text.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
                prop_assert!(plain && !text.contains(['\\', '%']));
            }
        }
    }
}
