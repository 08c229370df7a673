//! Which release of which plugin.

use schemars::JsonSchema;
use semver::VersionReq;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Digest;

/// Which release of which plugin: a file, a digest, or a name with a range of versions. A path and a name are resolved to a digest by whoever reads
/// the file; a name stays beside the digest that it came to, so that it is known what to move to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct PluginRef {
    /// A component file, relative to the setup file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The digest of a release that the host has already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// A plugin by name, such as `acme/shop`, of whose releases one is chosen.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Which versions of it are accepted, as Cargo writes ranges: `1.4` (from 1.4.0 on, below 2), `~1.4.2`, `=1.4.2`. Every one if it is not given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Which step to a newer release is taken without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upgrade: Option<UpgradePolicy>,
}

/// Which step to a newer release is taken without asking.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum UpgradePolicy {
    /// None, ever: the release that was chosen first stays.
    Exact,
    /// Fixes: `1.4.2` to `1.4.3`.
    #[default]
    Patch,
    /// What is compatible: `1.4.2` to `1.5.0`.
    Minor,
    /// None without a person's approval.
    Manual,
}

impl PluginRef {
    /// A reference to a release that the host has.
    #[must_use]
    pub fn by_digest(digest: Digest) -> Self {
        Self {
            digest: Some(digest),
            ..Self::default()
        }
    }

    /// The range that is accepted; every version if none is given.
    ///
    /// # Errors
    /// It is no range, with what is wrong.
    pub fn range(&self) -> Result<VersionReq, String> {
        match &self.version {
            None => Ok(VersionReq::STAR),
            Some(text) => VersionReq::parse(text).map_err(|error| {
                format!("`{text}` is no range of versions ({error}); write `1.4`, `~1.4.2` or `=1.4.2`")
            }),
        }
    }

    /// What is wrong with it, if anything: the field below it, and the reason.
    pub(super) fn fault(&self) -> Option<(&'static str, String)> {
        if self.path.is_some() && (self.digest.is_some() || self.name.is_some()) {
            return Some(("", "give one of `path`, `digest` and `name`".to_owned()));
        }
        if self.path.is_none() && self.digest.is_none() && self.name.is_none() {
            return Some(("", "give a `path`, a `digest` or a `name`".to_owned()));
        }
        if let Some(name) = &self.name {
            let parts = name.split('/').collect::<Vec<_>>();
            if parts.len() != 2 || parts.iter().any(|part| part.is_empty()) {
                return Some((
                    ".name",
                    format!("`{name}` is no plugin's name; write `namespace/name`"),
                ));
            }
            return self.range().err().map(|reason| (".version", reason));
        }
        for (field, given) in [
            (".version", self.version.is_some()),
            (".upgrade", self.upgrade.is_some()),
        ] {
            if given {
                return Some((field, "only goes with a `name`".to_owned()));
            }
        }
        None
    }
}
