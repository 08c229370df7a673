//! The index: a registry's signed list of its releases.
//!
//! A release that is signed is from whom it claims to be; that does not say whether it is the newest, or was yanked yesterday. Whoever stands between host and
//! registry could show an old state (rollback), or the same state for ever (freeze). So the list has a version that only grows, and an end; the caller keeps
//! the [`Seen`] of the last one that was taken, and nothing older is taken again.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp, civil::Date};
use semver::Version;
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::{PluginName, manifest::Upstream};
use url::Url;

use crate::{
    dsse::{DsseError, Envelope},
    key::SecretKey,
    roots::{TrustRoot, rotate},
    text,
};

/// The payload type of an index.
pub const PAYLOAD_TYPE: &str = "application/vnd.stecker.release-index.v1+json";
/// Bytes of a signed index, at most: some 60,000 releases.
pub const MAX_BYTES: usize = 64 * 1_024 * 1_024;
/// How long an index may hold. An end that never comes protects from nothing.
pub const MAX_LIFETIME: SignedDuration = SignedDuration::from_hours(90 * 24);

/// What is signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct IndexDocument {
    /// The registry, as trust roots name it.
    pub registry: String,
    /// Grows with every change, by one or more.
    pub version: u64,
    /// When it was written.
    pub issued: Timestamp,
    /// From when on it is not believed any more; at most [`MAX_LIFETIME`] after `issued`.
    pub expires: Timestamp,
    /// Ascending by name and version, each once.
    pub releases: Vec<IndexEntry>,
}

/// A release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexEntry {
    /// The plugin.
    pub name: PluginName,
    /// The release.
    pub version: Version,
    /// Of the component's bytes.
    pub component: Digest,
    /// Of the manifest's canonical JSON.
    pub manifest: Digest,
    /// Of the OCI image manifest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Digest>,
    /// The contract that it is built against.
    pub contract: Version,
    /// When the registry took it. Good as [`crate::SignedBundle::seen`] for hosts that see it later.
    pub published: Timestamp,
    /// Hidden from new resolution; pinned connections go on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<Yank>,
    /// Still there, to be left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<Deprecation>,
    /// The systems behind it, with the dates at which their API versions end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Upstream>,
}

/// Why a release is not chosen any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Yank {
    /// When.
    pub at: Timestamp,
    /// For people.
    pub reason: String,
}

/// Why a release is to be left, and how.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Deprecation {
    /// For people.
    pub message: String,
    /// By when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Date>,
    /// How.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guide: Option<Url>,
}

/// What is remembered of the last index that was taken, per registry and tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Seen {
    /// Its version.
    pub version: u64,
    /// Of what was signed.
    pub digest: Digest,
}

/// An index that was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Index {
    document: IndexDocument,
    seen: Seen,
}

/// Why an index is not taken. What was known before stays, and the caller decides how long it goes on with that.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IndexError {
    /// The envelope.
    #[error("the index was not taken: {0}")]
    Envelope(#[from] DsseError),
    /// What is in it.
    #[error("the index was not taken, because what was signed is not one: {0}")]
    Invalid(String),
    /// Another registry's.
    #[error("this is the index of `{found}`, not of `{expected}`")]
    OtherRegistry {
        /// Which was asked for.
        expected: String,
        /// Which it is.
        found: String,
    },
    /// Nobody may sign it.
    #[error("the tenant's trust root has no key for the index of `{0}`. Add one under `indexes`")]
    NoScope(String),
    /// The root is over.
    #[error("the tenant's trust root expired at {0}, so no index is believed. Rotate to a new one")]
    RootExpired(Timestamp),
    /// Too few signatures that count.
    #[error("the index of `{registry}` has {found} of the {needed} signatures that it takes{}", why_list(.why))]
    NotTrusted {
        /// The registry.
        registry: String,
        /// How many it takes.
        needed: u32,
        /// How many there are.
        found: usize,
        /// Why signatures by known keys did not count.
        why: Vec<String>,
    },
    /// An older one.
    #[error(
        "the index has version {found}, and {seen} was seen already: somebody shows an old state of the registry, or it was restored from a backup \
         (then its operator has to continue above {seen})"
    )]
    Rollback {
        /// The last one taken.
        seen: u64,
        /// This one.
        found: u64,
    },
    /// The same version twice.
    #[error(
        "version {version} of the index was seen with other content ({seen}, now {found}): the registry says different things to different hosts"
    )]
    Changed {
        /// The version.
        version: u64,
        /// What was seen.
        seen: Digest,
        /// What is there now.
        found: Digest,
    },
    /// Over.
    #[error(
        "the index (version {version}) expired at {expired}: the registry stopped renewing it, or somebody keeps the newer one from this host"
    )]
    Expired {
        /// Its version.
        version: u64,
        /// When.
        expired: Timestamp,
    },
    /// A clock that is wrong.
    #[error(
        "the index says that it was issued at {issued}, which is still to come: one of the two clocks is wrong"
    )]
    FromTheFuture {
        /// What it says.
        issued: Timestamp,
    },
    /// What may never happen between two versions.
    #[error(
        "{release} {what}. A version is published once and never again: ask the registry's operator what happened"
    )]
    Rewritten {
        /// `name@version`.
        release: String,
        /// What happened to it.
        what: &'static str,
    },
}

fn why_list(why: &[String]) -> String {
    if why.is_empty() {
        String::new()
    } else {
        format!(" ({})", why.join("; "))
    }
}

impl IndexError {
    /// A short, stable name of the reason, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Envelope(_) => "index-envelope",
            Self::Invalid(_) => "index-invalid",
            Self::OtherRegistry { .. } => "index-other-registry",
            Self::NoScope(_) => "index-no-scope",
            Self::RootExpired(_) => "root-expired",
            Self::NotTrusted { .. } => "index-not-trusted",
            Self::Rollback { .. } => "index-rollback",
            Self::Changed { .. } => "index-changed",
            Self::Expired { .. } => "index-expired",
            Self::FromTheFuture { .. } => "index-from-the-future",
            Self::Rewritten { .. } => "index-rewritten",
        }
    }
}

impl IndexDocument {
    /// Checks the rules that no type can hold.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.version == 0 {
            return Err("versions begin with 1".to_owned());
        }
        if self.expires <= self.issued {
            return Err("it expires before it was issued".to_owned());
        }
        if self.expires.duration_since(self.issued) > MAX_LIFETIME {
            return Err(format!(
                "it holds for more than {} days, which protects from nothing",
                MAX_LIFETIME.as_hours() / 24
            ));
        }
        let mut components = BTreeSet::new();
        for pair in self.releases.windows(2) {
            if let [before, after] = pair
                && (&before.name, &before.version) >= (&after.name, &after.version)
            {
                return Err(format!(
                    "its releases have to ascend by name and version, each once; {} does not",
                    after.label()
                ));
            }
        }
        for release in &self.releases {
            if !components.insert(&release.component) {
                return Err(format!(
                    "{} has the component of another release",
                    release.label()
                ));
            }
        }
        Ok(())
    }

    /// The index signed by these keys. Its releases are brought into order first.
    ///
    /// # Errors
    /// As [`IndexDocument::check`].
    pub fn sign(&mut self, keys: &[&SecretKey]) -> Result<Envelope, String> {
        self.releases
            .sort_by(|a, b| (&a.name, &a.version).cmp(&(&b.name, &b.version)));
        self.check()?;
        let payload = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        Ok(Envelope::sign(PAYLOAD_TYPE, payload, keys))
    }
}

impl IndexEntry {
    /// `name@version`.
    #[must_use]
    pub fn label(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl Index {
    /// Takes an index, if it is signed by whom the root says, not over, and not behind what was seen. Keep its [`Index::seen`] for the next time.
    ///
    /// # Errors
    /// [`IndexError`] with the reason.
    pub fn accept(
        json: &[u8],
        registry: &str,
        root: &TrustRoot,
        seen: Option<&Seen>,
        now: Timestamp,
    ) -> Result<Self, IndexError> {
        let trusted = root.document();
        if let Some(expired) = trusted.expires.filter(|expires| now >= *expires) {
            return Err(IndexError::RootExpired(expired));
        }
        let quorum = trusted
            .index_quorum(registry)
            .ok_or_else(|| IndexError::NoScope(text::short(registry)))?;
        let envelope = Envelope::from_json(json, MAX_BYTES)?;
        // Signatures first: what nobody signed is not even parsed.
        rotate::enough(&envelope, PAYLOAD_TYPE, trusted, quorum, now)?.map_err(|(found, why)| {
            IndexError::NotTrusted {
                registry: registry.to_owned(),
                needed: quorum.threshold,
                found,
                why,
            }
        })?;
        let document: IndexDocument = serde_json::from_slice(&envelope.payload)
            .map_err(|error| IndexError::Invalid(text::short(&error.to_string())))?;
        document.check().map_err(IndexError::Invalid)?;
        if document.registry != registry {
            return Err(IndexError::OtherRegistry {
                expected: registry.to_owned(),
                found: text::short(&document.registry),
            });
        }
        let this = Seen {
            version: document.version,
            digest: text::digest_of(&envelope.payload),
        };
        if let Some(seen) = seen {
            if this.version < seen.version {
                return Err(IndexError::Rollback {
                    seen: seen.version,
                    found: this.version,
                });
            }
            if this.version == seen.version && this.digest != seen.digest {
                return Err(IndexError::Changed {
                    version: this.version,
                    seen: seen.digest.clone(),
                    found: this.digest,
                });
            }
        }
        if document.issued > now.saturating_add(rotate::SKEW).unwrap_or(Timestamp::MAX) {
            return Err(IndexError::FromTheFuture {
                issued: document.issued,
            });
        }
        if now >= document.expires {
            return Err(IndexError::Expired {
                version: document.version,
                expired: document.expires,
            });
        }
        Ok(Self { document, seen: this })
    }

    /// Whether this can follow on the index before: no release gone, none with other bytes. For callers that keep the whole index, not only its [`Seen`].
    ///
    /// # Errors
    /// [`IndexError::Rewritten`].
    pub fn follows(&self, before: &Self) -> Result<(), IndexError> {
        let now: BTreeMap<_, _> = self
            .document
            .releases
            .iter()
            .map(|entry| ((&entry.name, &entry.version), entry))
            .collect();
        for old in &before.document.releases {
            let what = match now.get(&(&old.name, &old.version)) {
                None => "was there, and is gone",
                Some(new) if new.component != old.component || new.manifest != old.manifest => {
                    "has other bytes than before"
                }
                Some(new) if new.published != old.published => "was published at another time than before",
                Some(_) => continue,
            };
            return Err(IndexError::Rewritten {
                release: old.label(),
                what,
            });
        }
        Ok(())
    }

    /// What it says.
    #[must_use]
    pub const fn document(&self) -> &IndexDocument {
        &self.document
    }

    /// What has to be remembered of it.
    #[must_use]
    pub const fn seen(&self) -> &Seen {
        &self.seen
    }

    /// The releases of a plugin, ascending.
    pub fn releases_of<'a>(&'a self, name: &'a PluginName) -> impl Iterator<Item = &'a IndexEntry> {
        self.document
            .releases
            .iter()
            .filter(move |entry| entry.name == *name)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
