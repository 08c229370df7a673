//! What a tenant may have in all, whatever its connections are granted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Grants;

/// The ceiling over a tenant: set by whoever runs the host, not by the tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct TenantLimits {
    /// What connections of the tenant can be granted at most; what is not in here is refused whatever the connection's own grants
    /// say. None: the connections' grants stand as they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceiling: Option<Grants>,
    /// Mebibytes over all instances of the tenant at the same time, 1 to 1,048,576.
    pub memory_mib: u32,
    /// Calls at the same time, 1 to 4,096; more wait their turn.
    pub calls: u32,
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            ceiling: None,
            memory_mib: 1_024,
            calls: 16,
        }
    }
}
