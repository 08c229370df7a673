//! Which releases are trusted, by whom they are signed, and which ones could or should be run instead.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Digest, Name, UpgradePolicy};

/// What a tenant trusts, and what that means for its releases.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TrustInfo {
    /// The trust root in force. None: every release that the tenant added is loaded.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub root: Option<RootInfo>,
    /// The tenant's releases.
    pub releases: Vec<ReleaseTrust>,
}

/// A trust root.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RootInfo {
    /// Its version; the next one has the next number.
    pub version: u64,
    /// Of the document.
    pub digest: Digest,
    /// When the host took it.
    pub taken_at: i64,
    /// From when on nothing is trusted by it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<i64>,
    /// The document.
    #[schema(value_type = Object)]
    pub document: serde_json::Value,
}

/// Whether a release is loaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseTrust {
    /// The release.
    pub digest: Digest,
    /// The plugin.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is.
    pub loads: bool,
    /// How many signatures of it the host has.
    pub signatures: usize,
    /// Whose signatures counted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub signed_by: Vec<Name>,
    /// Why it is not, for machines.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<String>,
    /// Why it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reason: Option<String>,
}

/// A trust root to be taken, as it was signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct TakeRoot {
    /// The DSSE envelope, a JSON text of at most 1 MiB.
    pub document: String,
}

/// Ending a trust root.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct DropRoot {
    /// Why; kept in the audit trail.
    pub reason: String,
}

/// A signature to be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct AddSignature {
    /// The component that it is for; the release may be added later.
    pub component: Digest,
    /// The Sigstore bundle, a JSON text.
    pub bundle: String,
}

/// A signature that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SignatureTaken {
    /// The component.
    pub component: Digest,
    /// Whether it was not known before.
    pub is_new: bool,
    /// Whether the host has the release.
    pub has_release: bool,
    /// Why the release is not loaded even so, if it is not.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub refused: Option<String>,
}

/// Which release one use of a plugin is to run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ResolveWish {
    /// The use, such as `connection/shop`. The release that it has now is found by this.
    pub user: String,
    /// The plugin.
    pub name: String,
    /// Which versions are accepted, such as `1.4`; every one if it is not given.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub version: Option<String>,
    /// Which step is taken without asking.
    #[serde(default)]
    pub upgrade: UpgradePolicy,
    /// A release that a person approved: neither the step nor wider capabilities are held against it.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub approved: Option<Digest>,
}

/// What a use comes to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Resolved {
    /// The use.
    pub user: String,
    /// The plugin.
    pub name: String,
    /// What is to run; none: nothing may.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub chosen: Option<ChosenRelease>,
    /// What it has now.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub current: Option<Digest>,
    /// Every other release of the plugin, descending.
    pub passed_over: Vec<PassedRelease>,
}

/// A release that was chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct ChosenRelease {
    /// The version.
    pub version: String,
    /// Of its component.
    pub component: Digest,
    /// Of its manifest.
    pub manifest: Digest,
    /// What should be known of it.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// A release that was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct PassedRelease {
    /// The version.
    pub version: String,
    /// Of its component.
    pub component: Digest,
    /// All that is held against it.
    pub why: Vec<String>,
}

/// A use of a plugin that is behind, or whose release should not be used any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct OutdatedUse {
    /// By what, such as `connection/shop`.
    pub user: String,
    /// The plugin.
    pub name: String,
    /// The version in use.
    pub from: String,
    /// What it moves to with the next `stecker apply`; none: nothing.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub automatic: Option<String>,
    /// The newest that could be loaded at all, if that is newer.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub newest: Option<String>,
    /// How far the newest one is: `patch`, `minor` or `major`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<String>,
    /// What keeps it from the newest one.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub why_not: Vec<String>,
    /// What is wrong with the release in use: yanked, deprecated, not trusted.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub wrong: Vec<String>,
}

/// A use of a plugin that stops working by a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct UseAtRisk {
    /// By what, such as `connection/shop`.
    pub user: String,
    /// The plugin.
    pub name: String,
    /// The version in use.
    pub version: String,
    /// The day, `2026-04-01`; none: unknown.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub on: Option<String>,
    /// What happens then: `sunset` (the vendor ends the API version), `deprecated` (the author ends the release) or `not-listed`.
    pub kind: String,
    /// In words.
    pub what: String,
    /// The page that says so.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub url: Option<String>,
    /// Where it could move; none: there is no release without the same end.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub move_to: Option<String>,
    /// What stands in the way of that; empty: it moves there with the next `stecker apply`.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub in_the_way: Vec<String>,
}

/// By which day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct RiskBy {
    /// The day, `2026-04-01`.
    #[param(value_type = String, format = Date)]
    #[schema(value_type = String, format = Date)]
    pub by: jiff::civil::Date,
}
