//! The document: keys, what they are for, and what is revoked.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use stecker_model::{Digest, Name};
use stecker_registry::PluginName;

use super::{NamePattern, SignatureFault};
use crate::{
    dsse::Envelope,
    key::{KeyId, PublicKey, SecretKey},
    text,
};

/// The payload type of a trust root.
pub const PAYLOAD_TYPE: &str = "application/vnd.stecker.trust-root.v1+json";
/// Bytes of a signed document, at most.
pub const MAX_BYTES: usize = 4 * 1_024 * 1_024;
/// Keys, at most: each is tried on each signature.
pub const MAX_KEYS: usize = 64;

/// What a tenant trusts. Keys are referred to by name, so that a person can read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RootDocument {
    /// Whose it is. A document of another tenant is never taken.
    pub tenant: Name,
    /// 1, and with each rotation exactly one more.
    pub version: u64,
    /// When it was written.
    pub issued: Timestamp,
    /// From when on nothing is trusted by it any more. None: it holds until it is rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Timestamp>,
    /// All keys, at most [`MAX_KEYS`].
    pub keys: Vec<RootKey>,
    /// Who signs the next document.
    pub root: Quorum,
    /// Who signs releases. Of several that match a plugin's name, the most specific one counts and no other, so whoever may sign for `*` cannot
    /// sign for `acme/*` where that has keys of its own.
    #[serde(default)]
    pub releases: Vec<ReleaseScope>,
    /// Who signs the indexes of registries.
    #[serde(default)]
    pub indexes: Vec<IndexScope>,
    /// Releases that are not loaded, whoever signed them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revoked_releases: Vec<RevokedRelease>,
}

/// A key of the document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RootKey {
    /// What people call it, such as `acme-release-2026`.
    pub name: Name,
    /// The key, in PEM.
    pub key: PublicKey,
    /// From when on signatures by it count.
    pub valid_from: Timestamp,
    /// From when on new ones do not. None: no end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<Timestamp>,
    /// Set when it must not be believed any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked: Option<KeyRevocation>,
}

/// Why a key is not believed any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct KeyRevocation {
    /// What was first seen before still counts: the key was good until then. None: nothing that it ever signed counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// For people.
    pub reason: String,
}

/// So many of these keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Quorum {
    /// The names of the keys.
    pub keys: Vec<Name>,
    /// How many of them have to sign, at least 1.
    pub threshold: u32,
}

/// Who signs the releases of some plugins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseScope {
    /// Which plugins. A pattern stands in one scope only.
    pub names: Vec<NamePattern>,
    /// Who signs.
    #[serde(flatten)]
    pub quorum: Quorum,
}

/// Who signs the index of a registry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IndexScope {
    /// The registry as its index names it, such as `registry.acme.example`.
    pub registry: String,
    /// Who signs.
    #[serde(flatten)]
    pub quorum: Quorum,
}

/// A release that is not loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct RevokedRelease {
    /// Of its component, its manifest or its image.
    pub digest: Digest,
    /// When that was decided.
    pub since: Timestamp,
    /// For people.
    pub reason: String,
}

impl RootKey {
    /// Whether a signature that was first seen at `at` counts.
    ///
    /// # Errors
    /// [`SignatureFault`] with the reason why not.
    pub fn counts_at(&self, at: Timestamp) -> Result<(), SignatureFault> {
        let name = || self.name.clone();
        if let Some(revoked) = &self.revoked
            && revoked.since.is_none_or(|since| at >= since)
        {
            return Err(SignatureFault::KeyRevoked {
                key: name(),
                since: revoked.since,
                reason: text::short(&revoked.reason),
            });
        }
        if at < self.valid_from {
            return Err(SignatureFault::KeyNotYetValid {
                key: name(),
                from: self.valid_from,
            });
        }
        match self.valid_until {
            Some(until) if at >= until => Err(SignatureFault::KeyExpired { key: name(), until }),
            _ => Ok(()),
        }
    }
}

impl RootDocument {
    /// Checks the rules that no type can hold.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn check(&self) -> Result<(), String> {
        if self.version == 0 {
            return Err("versions begin with 1".to_owned());
        }
        if self.expires.is_some_and(|expires| expires <= self.issued) {
            return Err("it expires before it was issued".to_owned());
        }
        if self.keys.len() > MAX_KEYS {
            return Err(format!(
                "it has {} keys; at most {MAX_KEYS} are taken",
                self.keys.len()
            ));
        }
        let mut ids: BTreeMap<KeyId, &Name> = BTreeMap::new();
        let mut names = BTreeSet::new();
        for key in &self.keys {
            if !names.insert(&key.name) {
                return Err(format!("two keys are called `{}`", key.name));
            }
            // Otherwise one key under two names would count as two.
            if let Some(other) = ids.insert(key.key.id(), &key.name) {
                return Err(format!("`{other}` and `{}` are the same key", key.name));
            }
            if key.valid_until.is_some_and(|until| until <= key.valid_from) {
                return Err(format!("the key `{}` ends before it begins", key.name));
            }
        }
        quorum("root", &self.root, &names)?;
        let mut patterns = BTreeSet::new();
        for scope in &self.releases {
            if scope.names.is_empty() {
                return Err("a scope of releases names no plugins".to_owned());
            }
            for pattern in &scope.names {
                if !patterns.insert(pattern) {
                    return Err(format!(
                        "`{pattern}` stands in the scopes twice, so it is open whose keys count"
                    ));
                }
                quorum(&format!("the scope `{pattern}`"), &scope.quorum, &names)?;
            }
        }
        let mut registries = BTreeSet::new();
        for scope in &self.indexes {
            if !registries.insert(&scope.registry) {
                return Err(format!("the registry `{}` is there twice", scope.registry));
            }
            quorum(
                &format!("the index of `{}`", scope.registry),
                &scope.quorum,
                &names,
            )?;
        }
        Ok(())
    }

    /// The document signed by these keys, which more can be added to. Whether they are enough is for [`super::TrustRoot`] to say.
    ///
    /// # Errors
    /// As [`RootDocument::check`].
    pub fn sign(&self, keys: &[&SecretKey]) -> Result<Envelope, String> {
        self.check()?;
        let payload = serde_json::to_vec(self).map_err(|error| error.to_string())?;
        Ok(Envelope::sign(PAYLOAD_TYPE, payload, keys))
    }

    /// The scope that counts for a plugin: the one with the most specific pattern.
    #[must_use]
    pub fn scope_of(&self, name: &PluginName) -> Option<(&NamePattern, &Quorum)> {
        let scopes = self.releases.iter().flat_map(|scope| {
            let patterns = scope.names.iter();
            patterns.map(move |pattern| (pattern, &scope.quorum))
        });
        scopes
            .filter(|(pattern, _)| pattern.matches(name))
            .max_by_key(|(pattern, _)| *pattern)
    }

    /// Who signs the index of a registry.
    #[must_use]
    pub fn index_quorum(&self, registry: &str) -> Option<&Quorum> {
        let mut scopes = self.indexes.iter();
        scopes
            .find(|scope| scope.registry == registry)
            .map(|scope| &scope.quorum)
    }

    /// Whether a digest is revoked.
    #[must_use]
    pub fn revocation_of(&self, digest: &Digest) -> Option<&RevokedRelease> {
        self.revoked_releases
            .iter()
            .find(|revoked| revoked.digest == *digest)
    }
}

fn quorum(of: &str, quorum: &Quorum, names: &BTreeSet<&Name>) -> Result<(), String> {
    if let Some(unknown) = quorum.keys.iter().find(|key| !names.contains(key)) {
        return Err(format!(
            "{of} names the key `{unknown}`, which the document does not have"
        ));
    }
    let distinct = quorum.keys.iter().collect::<BTreeSet<_>>().len();
    if distinct != quorum.keys.len() {
        return Err(format!("{of} names a key twice"));
    }
    let threshold = usize::try_from(quorum.threshold).unwrap_or(usize::MAX);
    if threshold == 0 || threshold > distinct {
        return Err(format!(
            "{of} asks for {} of {distinct} keys; it has to be at least one and at most all of them",
            quorum.threshold
        ));
    }
    Ok(())
}
