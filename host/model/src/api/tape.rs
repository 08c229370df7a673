//! Recorded calls of a connection, as an operator sees them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Digest, Period};

/// A recording that is switched on. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Taping {
    /// Since when.
    pub started_at: i64,
    /// By whom.
    pub started_by: String,
    /// Until when at most.
    pub until: i64,
    /// How many calls are still recorded at most.
    pub calls_left: u64,
}

/// One recorded call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TapeInfo {
    /// Names it within its connection.
    pub id: String,
    /// When the call began, in milliseconds since 1970.
    pub at: i64,
    /// The release that was called.
    pub release: Digest,
    /// `read`, `write`, `lookup` or `receive`.
    pub function: String,
    /// Bytes that it takes in the database.
    pub bytes: u64,
}

/// What is recorded of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TapeList {
    /// The recording that is on.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub taping: Option<Taping>,
    /// The newest first.
    pub tapes: Vec<TapeInfo>,
}

/// Switches a recording on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StartTaping {
    /// For how long, at most 7 days. One hour unless said otherwise.
    #[serde(default = "an_hour")]
    #[schema(value_type = String, example = "1h")]
    pub period: Period,
    /// How many calls, 1 to 500. 200 unless said otherwise.
    #[serde(default = "many_calls")]
    pub calls: u32,
}

fn an_hour() -> Period {
    Period::from_millis(60 * 60 * 1_000)
}

const fn many_calls() -> u32 {
    200
}

impl Default for StartTaping {
    fn default() -> Self {
        Self {
            period: an_hour(),
            calls: many_calls(),
        }
    }
}

/// What was forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct TapesCleared {
    /// Recorded calls.
    pub tapes: u64,
}
