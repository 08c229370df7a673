//! What a registry of ours says about its releases, and takes, beside the language of OCI: JSON below [`MANAGEMENT`].

use jiff::{Timestamp, civil::Date};
use semver::Version;
use serde::{Deserialize, Serialize};
use stecker_model::Digest;
use stecker_registry::{
    PluginName,
    manifest::{Breaking, Capabilities, Upstream},
};

/// Where it is, below a registry's root.
pub const MANAGEMENT: &str = "/registry/v1/";

/// A release in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ListedRelease {
    /// The plugin.
    pub name: PluginName,
    /// The release.
    pub version: Version,
    /// What people call it, as whoever published it annotated the image; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// What it does, from the same place; may be empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Of the image manifest, by which it can be pinned.
    pub image: Digest,
    /// When the registry took it.
    pub published: Timestamp,
    /// Taken out of what is offered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yanked: Option<YankedRelease>,
    /// To be left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deprecated: Option<DeprecatedRelease>,
}

/// A page of a list, in the order of names and of versions as texts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleasePage {
    /// The releases; may be none although there are more pages.
    pub releases: Vec<ListedRelease>,
    /// To be given as `last` for the next page; none: that was the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// That a release was yanked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct YankedRelease {
    /// When.
    pub at: Timestamp,
    /// Why; may be empty.
    pub reason: String,
}

/// That a release is to be left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeprecatedRelease {
    /// Since when.
    pub at: Timestamp,
    /// What its users are told.
    pub message: String,
    /// The day, in UTC, by which they should have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Date>,
}

/// Everything about a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseDetail {
    /// As it is listed, with title and description out of its manifest.
    #[serde(flatten)]
    pub listed: ListedRelease,
    /// Of the component.
    pub component: Digest,
    /// Of the manifest's canonical JSON.
    pub manifest: Digest,
    /// Bytes of the component.
    pub size: u64,
    /// The contract that it is built against.
    pub contract: Version,
    /// What it can be used as.
    pub roles: Vec<String>,
    /// What it asks for.
    pub capabilities: Capabilities,
    /// The credentials that it uses, by name.
    pub credentials: Vec<String>,
    /// The systems behind it, with the days on which their API versions end.
    pub upstream: Vec<Upstream>,
    /// What it breaks for whoever comes from the major version before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub breaking: Vec<Breaking>,
    /// Signatures that were pushed.
    pub signatures: Vec<SignatureNote>,
}

/// A signature. Nothing is verified by naming it: who trusts which key is for whoever loads the release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignatureNote {
    /// Of the referrer that carries it.
    pub referrer: Digest,
    /// What kind of signature it is, a media type.
    pub kind: String,
    /// What the signature calls its key; ours say the key's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
}

/// Takes a release out of what is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct YankRelease {
    /// For people; at most 1,000 bytes.
    pub reason: String,
}

/// Tells whoever uses a release to move on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeprecateRelease {
    /// For people: why, and where to; 1 to 1,000 bytes.
    pub message: String,
    /// The day, in UTC, by which they should have moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Date>,
}
