//! What a release breaks, for whoever comes from the major version before.

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

use super::upstream;

/// One thing that no longer works as it did in the major version before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Breaking {
    /// What changed and what an operator has to do about it, 1 to 2,000 characters.
    pub message: String,
    /// By when one has to have moved, where something ends then.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "upstream::date"
    )]
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub deadline: Option<Date>,
    /// A page that explains the move.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub guide: Option<Url>,
}
