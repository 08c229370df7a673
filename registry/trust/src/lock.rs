//! The lock file: what a setup's ranges came to, by digest.
//!
//! A setup file says what is wanted, the lock what that was on the day it was resolved; with both in version control, the same commit gives the same releases
//! everywhere, and a new release is a change that somebody reviews. The text is always the same for the same content: sorted, without times.

use std::{collections::BTreeMap, fmt};

use semver::{Version, VersionReq};
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::PluginName;

use crate::{
    resolve::{Choice, Pinned, Step},
    text,
};

/// The format that is written, and the only one that is read.
pub const FORMAT: u32 = 1;
/// Bytes of a lock file, at most.
pub const MAX_BYTES: usize = 4 * 1_024 * 1_024;

const HEADER: &str = "# Written by `stecker lock`: which release each part of the setup runs, by digest. Keep it beside the setup, in version control.\n";

/// What every use of a plugin came to, by the use's name, such as `connection/shop`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LockFile {
    uses: BTreeMap<String, Locked>,
}

/// What one use came to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Locked {
    /// The plugin.
    pub name: PluginName,
    /// The release.
    pub version: Version,
    /// Of its component.
    pub component: Digest,
    /// Of its manifest.
    pub manifest: Digest,
    /// Where it was found, such as `registry.acme.example`.
    pub source: String,
}

/// What a setup asks for in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The use, such as `connection/shop`.
    pub user: String,
    /// The plugin.
    pub name: PluginName,
    /// Which versions.
    pub range: VersionReq,
    /// Where it is to be looked for.
    pub source: String,
}

/// Why a text is not a lock file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Not even looked at.
    #[error("the lock file has {size} bytes; at most {MAX_BYTES} are taken")]
    TooLarge {
        /// Bytes.
        size: usize,
    },
    /// Not TOML, or not of this form.
    #[error("this is not a lock file: {0}. Do not edit it by hand; `stecker lock` writes it anew")]
    NotALock(String),
    /// A later one.
    #[error(
        "the lock file has format {found}, and this version reads {FORMAT}. Use the version of stecker that wrote it, or lock anew"
    )]
    OtherFormat {
        /// What it says.
        found: u32,
    },
    /// A merge gone wrong.
    #[error("`{user}` is locked twice: two changes were merged. Remove one of the two, or lock anew")]
    Twice {
        /// The use.
        user: String,
    },
}

/// Where setup and lock do not agree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(rename_all = "kebab-case", tag = "fault")]
pub enum LockFault {
    /// New in the setup.
    #[error("`{user}` is not locked")]
    NotLocked {
        /// The use.
        user: String,
    },
    /// The setup names another plugin.
    #[error("`{user}` is locked to {locked}, and the setup wants {wanted}")]
    OtherPlugin {
        /// The use.
        user: String,
        /// What is locked.
        locked: PluginName,
        /// What is wanted.
        wanted: PluginName,
    },
    /// The range was changed.
    #[error("`{user}` is locked to {locked}, which is not within `{range}`")]
    OutOfRange {
        /// The use.
        user: String,
        /// What is locked.
        locked: Version,
        /// What is wanted.
        range: VersionReq,
    },
    /// Another registry.
    #[error("`{user}` is locked to a release of `{locked}`, and the setup looks in `{wanted}`")]
    OtherSource {
        /// The use.
        user: String,
        /// What is locked.
        locked: String,
        /// What is wanted.
        wanted: String,
    },
    /// Gone from the setup.
    #[error("`{user}` is locked, and no longer in the setup")]
    Unused {
        /// The use.
        user: String,
    },
}

/// What changed between two locks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct LockChange {
    /// The use.
    pub user: String,
    /// What was locked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Locked>,
    /// What is locked now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<Locked>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct File {
    version: u32,
    #[serde(default)]
    release: Vec<FileRelease>,
}

/// One release with all its uses, so that a change of version is a change in one place.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
struct FileRelease {
    name: PluginName,
    version: Version,
    component: Digest,
    manifest: Digest,
    source: String,
    used_by: Vec<String>,
}

/// Only the part that says how to read the rest.
#[derive(Deserialize)]
struct Format {
    version: u32,
}

impl LockFile {
    /// Reads a lock file.
    ///
    /// # Errors
    /// [`LockError`].
    pub fn from_toml(text: &str) -> Result<Self, LockError> {
        if text.len() > MAX_BYTES {
            return Err(LockError::TooLarge { size: text.len() });
        }
        let not_a_lock = |error: &toml::de::Error| {
            let line = error.span().map_or(0, |span| {
                text.get(..span.start)
                    .map_or(0, |before| before.matches('\n').count() + 1)
            });
            LockError::NotALock(text::short(&format!("{} (line {line})", error.message())))
        };
        let format: Format = toml::from_str(text).map_err(|error| not_a_lock(&error))?;
        if format.version != FORMAT {
            return Err(LockError::OtherFormat {
                found: format.version,
            });
        }
        let file: File = toml::from_str(text).map_err(|error| not_a_lock(&error))?;
        let mut lock = Self::default();
        for release in file.release {
            let FileRelease {
                name,
                version,
                component,
                manifest,
                source,
                used_by,
            } = release;
            let locked = Locked {
                name,
                version,
                component,
                manifest,
                source,
            };
            for user in used_by {
                if lock.uses.insert(user.clone(), locked.clone()).is_some() {
                    return Err(LockError::Twice {
                        user: text::short(&user),
                    });
                }
            }
        }
        Ok(lock)
    }

    /// The text of the file.
    #[must_use]
    pub fn to_toml(&self) -> String {
        let mut releases: BTreeMap<&Locked, Vec<String>> = BTreeMap::new();
        for (user, locked) in &self.uses {
            releases.entry(locked).or_default().push(user.clone());
        }
        let file = File {
            version: FORMAT,
            release: releases
                .into_iter()
                .map(|(locked, used_by)| FileRelease {
                    name: locked.name.clone(),
                    version: locked.version.clone(),
                    component: locked.component.clone(),
                    manifest: locked.manifest.clone(),
                    source: locked.source.clone(),
                    used_by,
                })
                .collect(),
        };
        let body = toml::to_string(&file)
            .unwrap_or_else(|error| unreachable!("texts and lists have a TOML form: {error}"));
        format!("{HEADER}{body}")
    }

    /// What a use came to.
    #[must_use]
    pub fn get(&self, user: &str) -> Option<&Locked> {
        self.uses.get(user)
    }

    /// All uses, ascending.
    pub fn uses(&self) -> impl Iterator<Item = (&str, &Locked)> {
        self.uses.iter().map(|(user, locked)| (user.as_str(), locked))
    }

    /// Where setup and lock do not agree; empty: they do, and the lock can be used without resolving.
    #[must_use]
    pub fn check(&self, setup: &[Wanted]) -> Vec<LockFault> {
        let mut faults = Vec::new();
        for wanted in setup {
            let user = wanted.user.clone();
            let Some(locked) = self.uses.get(&user) else {
                faults.push(LockFault::NotLocked { user });
                continue;
            };
            if locked.name != wanted.name {
                faults.push(LockFault::OtherPlugin {
                    user,
                    locked: locked.name.clone(),
                    wanted: wanted.name.clone(),
                });
            } else if locked.source != wanted.source {
                faults.push(LockFault::OtherSource {
                    user,
                    locked: locked.source.clone(),
                    wanted: wanted.source.clone(),
                });
            } else if !wanted.range.matches(&locked.version) {
                faults.push(LockFault::OutOfRange {
                    user,
                    locked: locked.version.clone(),
                    range: wanted.range.clone(),
                });
            }
        }
        let is_wanted = |user: &str| setup.iter().any(|wanted| wanted.user == user);
        let unused = self.uses.keys().filter(|user| !is_wanted(user));
        faults.extend(unused.map(|user| LockFault::Unused { user: user.clone() }));
        faults
    }

    /// Writes down what one use came to; the others stay as they are.
    pub fn update(&mut self, wanted: &Wanted, choice: &Choice) {
        self.uses.insert(
            wanted.user.clone(),
            Locked {
                name: wanted.name.clone(),
                version: choice.version.clone(),
                component: choice.component.clone(),
                manifest: choice.manifest.clone(),
                source: wanted.source.clone(),
            },
        );
    }

    /// Writes down what one use came to, as another lock has it.
    pub fn insert(&mut self, user: &str, locked: Locked) {
        self.uses.insert(user.to_owned(), locked);
    }

    /// A lock of exactly these uses.
    #[must_use]
    pub fn of<'a>(choices: impl IntoIterator<Item = (&'a Wanted, &'a Choice)>) -> Self {
        let mut lock = Self::default();
        for (wanted, choice) in choices {
            lock.update(wanted, choice);
        }
        lock
    }

    /// Takes a use out.
    pub fn remove(&mut self, user: &str) {
        self.uses.remove(user);
    }

    /// What changed from this lock to another, ascending by use.
    #[must_use]
    pub fn changes_to(&self, to: &Self) -> Vec<LockChange> {
        let users = self
            .uses
            .keys()
            .chain(to.uses.keys().filter(|user| !self.uses.contains_key(*user)));
        let mut changes: Vec<_> = users
            .filter(|user| self.uses.get(*user) != to.uses.get(*user))
            .map(|user| LockChange {
                user: user.clone(),
                from: self.uses.get(user).cloned(),
                to: to.uses.get(user).cloned(),
            })
            .collect();
        changes.sort_by(|a, b| a.user.cmp(&b.user));
        changes
    }
}

impl Locked {
    /// As resolution takes it.
    #[must_use]
    pub fn pinned(&self) -> Pinned {
        Pinned {
            version: self.version.clone(),
            component: self.component.clone(),
        }
    }
}

impl fmt::Display for LockChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.user)?;
        match (&self.from, &self.to) {
            (None, Some(to)) => write!(f, "+ {} {} ({})", to.name, to.version, to.component.short()),
            (Some(from), None) => write!(f, "- {} {}", from.name, from.version),
            (Some(from), Some(to)) if from.name != to.name => {
                write!(f, "{} {} → {} {}", from.name, from.version, to.name, to.version)
            }
            (Some(from), Some(to)) if from.version == to.version && from.component != to.component => write!(
                f,
                "{} {} has other bytes: {} → {}",
                to.name,
                to.version,
                from.component.short(),
                to.component.short()
            ),
            (Some(from), Some(to)) if from.version == to.version => {
                write!(
                    f,
                    "{} {} from {} → {}",
                    to.name, to.version, from.source, to.source
                )
            }
            (Some(from), Some(to)) => {
                let step = Step::between(&from.version, &to.version);
                write!(f, "{} {} → {} ({step})", to.name, from.version, to.version)
            }
            (None, None) => f.write_str("unchanged"),
        }
    }
}

#[cfg(test)]
#[path = "lock_tests.rs"]
mod tests;
