//! Releases: tags that are versions, and what is said about them afterwards. A version is never another digest; what may change is
//! whether it is offered (yanked) and what its users are told (deprecated).

use std::collections::BTreeMap;

use crate::{digest::Digest, name::RepositoryName, reference::Tag};

/// A version, as it was released.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its tag.
    pub tag: Tag,
    /// What it is, for ever.
    pub digest: Digest,
    /// When it was first released, in milliseconds since 1970.
    pub released_at: i64,
    /// Whether the tag is there; it may have been deleted.
    pub there: bool,
    /// Taken out of what is offered.
    pub yanked: Option<Yank>,
    /// Its users should move on.
    pub deprecated: Option<Deprecation>,
}

/// A release as it stands among those of all repositories.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its repository.
    pub repository: RepositoryName,
    /// What it is.
    pub release: Release,
    /// The annotations of its manifest.
    pub annotations: BTreeMap<String, String>,
}

/// Taken out of what is offered: not listed, still there for whoever has pinned it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Yank {
    /// When, in milliseconds since 1970.
    pub at: i64,
    /// Why; at most [`MAX_TEXT`] bytes.
    pub reason: String,
}

/// Its users should move on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deprecation {
    /// Since when, in milliseconds since 1970.
    pub at: i64,
    /// What they are told; at most [`MAX_TEXT`] bytes.
    pub message: String,
    /// Until when they should have moved, in milliseconds since 1970.
    pub deadline: Option<i64>,
}

/// Longest reason or message, in bytes. The specification allows 4096 bytes of warnings in an answer.
pub const MAX_TEXT: usize = 1000;

impl Release {
    /// What whoever pulls it is told, as values of the `Warning` header: `299 - "…"`, as the OCI Distribution Specification asks for.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let tag = &self.tag;
        let yanked = self.yanked.as_ref().map(|yank| match yank.reason.as_str() {
            "" => format!("{tag} was yanked"),
            reason => format!("{tag} was yanked: {reason}"),
        });
        let deprecated = self.deprecated.as_ref().map(|deprecation| {
            let until = deprecation
                .deadline
                .map_or_else(String::new, |at| format!(" (until {})", day(at)));
            format!("{tag} is deprecated{until}: {}", deprecation.message)
        });
        yanked
            .into_iter()
            .chain(deprecated)
            .map(|text| format!("299 - {}", quoted(&text)))
            .collect()
    }
}

/// A quoted-string (RFC 9110, 5.6.4).
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The day of a moment in UTC, `2026-11-27` (days to date: Howard Hinnant, "chrono-compatible low-level date algorithms").
fn day(millis: i64) -> String {
    let z = millis.div_euclid(86_400_000) + 719_468;
    let era = z.div_euclid(146_097);
    let doe = z.rem_euclid(146_097);
    let yoe = (doe - doe / 1_460 + doe / 36_524 - doe / 146_096) / 365;
    let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    let mp = (5 * doy + 2) / 153;
    let month = if mp < 10 { mp + 3 } else { mp - 9 };
    let year = yoe + era * 400 + i64::from(month <= 2);
    format!("{year:04}-{month:02}-{:02}", doy - (153 * mp + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::Algorithm;

    #[test]
    fn users_are_told_in_one_line() {
        let release = Release {
            tag: "1.0.0".parse().unwrap(),
            digest: Digest::of(Algorithm::Sha256, b""),
            released_at: 0,
            there: true,
            yanked: Some(Yank {
                at: 0,
                reason: String::new(),
            }),
            deprecated: Some(Deprecation {
                at: 0,
                message: "use \"2\"\r\nX: y, für alle".to_owned(),
                deadline: Some(1_798_675_200_000),
            }),
        };
        assert_eq!(
            release.warnings(),
            [
                r#"299 - "1.0.0 was yanked""#,
                r#"299 - "1.0.0 is deprecated (until 2026-12-31): use \"2\"  X: y, für alle""#
            ]
        );
    }

    #[test]
    fn days_are_counted_right() {
        for (millis, expected) in [
            (0, "1970-01-01"),
            (951_782_400_000, "2000-02-29"),
            (-1, "1969-12-31"),
            (4_107_542_399_999, "2100-02-28"),
        ] {
            assert_eq!(day(millis), expected);
        }
    }
}
