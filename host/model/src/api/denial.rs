//! Refusals as an operator sees them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Digest, Name, PluginUse};

/// Refusals of one kind: the same release, at the same place, asked for the same thing, and the same rule said no.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DenialInfo {
    /// Names the kind: 16 hexadecimal digits, the same for as long as the kind is kept and whenever it comes again.
    pub id: String,
    /// The connection whose plugin asked.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<Name>,
    /// The flow whose transform asked, if it was not a connection's plugin.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Name>,
    /// The release that asked.
    pub release: Digest,
    /// The same as a person calls it: `namespace/name@version`.
    pub plugin: String,
    /// The rule that refused, such as `http.host`.
    pub rule: String,
    /// Who said no: `manifest`, `grant`, `ceiling` or `host`.
    pub layer: String,
    /// What was asked for.
    pub asked: String,
    /// The least that would allow it, as TOML to paste; empty if nothing would.
    pub smallest_grant: String,
    /// The file and the place in it where `smallest-grant` goes; empty if there is none.
    pub goes_into: String,
    /// When it happened for the first time.
    pub first_seen_at: i64,
    /// When it happened last.
    pub last_seen_at: i64,
    /// How often it happened.
    pub count: u64,
}

impl DenialInfo {
    /// Where a smallest grant of a layer goes.
    #[must_use]
    pub fn place(layer: &str, used_by: &PluginUse, plugin: &str) -> String {
        match (layer, used_by) {
            ("manifest", _) => format!(
                "plugin.toml of {plugin}, by its author: the plugin has to ask before anybody can grant"
            ),
            ("grant", PluginUse::Connection(name)) => {
                format!(
                    "the setup file, below `[[connection]]` with `name = \"{name}\"`; then `stecker apply`"
                )
            }
            ("grant", PluginUse::Flow(_)) => "nowhere: a transform gets no grants".to_owned(),
            ("ceiling", _) => "the tenant's limits file; then `stecker tenant limit`".to_owned(),
            _ => String::new(),
        }
    }
}

/// Which refusals to list. Everything given has to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema, utoipa::IntoParams)]
#[serde(rename_all = "kebab-case", default)]
#[into_params(parameter_in = Query)]
pub struct DenialFilter {
    /// Of this connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub connection: Option<Name>,
    /// Of the transforms of this flow.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>)]
    pub flow: Option<Name>,
    /// By this rule.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// That happened at this moment or later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<i64>,
    /// At most this many, 1 to 1,000; 200 unless said otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// Refusals, and how many there are that the list cannot show.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DenialList {
    /// The latest first.
    pub denials: Vec<DenialInfo>,
    /// What was counted and not kept, because one connection (or flow) is kept at most 200 kinds of.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub left_out: Vec<DenialsLeftOut>,
}

/// Refusals that were counted and not kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DenialsLeftOut {
    /// Of this connection,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub connection: Option<Name>,
    /// or of the transforms of this flow.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flow: Option<Name>,
    /// How many.
    pub count: u64,
}

/// How often a rule refused, over all connections and flows of a tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct DenialTotal {
    /// The rule.
    pub rule: String,
    /// Who said no.
    pub layer: String,
    /// How often, since the tenant exists.
    pub count: u64,
}

/// Forgetting refusals.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct ClearDenials {
    /// Those of this connection; none: all, those of transforms too.
    pub connection: Option<Name>,
}

/// How many kinds of refusals were forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Cleared {
    /// Kinds.
    pub denials: u64,
}
