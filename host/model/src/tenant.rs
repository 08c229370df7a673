//! What a tenant may have in all, whatever its connections are granted.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{Grants, HttpGrant, SpecError};

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
    /// Its share where several tenants want more than there is (processors, the database's writers), 1 to 10,000: one of 200 gets twice as
    /// much as one of 100.
    pub weight: u32,
    /// Records that wait over all flows of the tenant, 1 to 100,000,000. Beyond, sources are not read and calls from systems are answered with
    /// 503 until there is room. Looked at once a second, so it can be exceeded by what comes in within one.
    pub max_waiting: u32,
    /// Where the tenant's webhooks may be sent besides https at public addresses: hosts of this network, or without TLS. Written as
    /// grants of requests are; it does not matter to connections, nor does `ceiling` to webhooks.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receivers: Vec<HttpGrant>,
}

impl TenantLimits {
    /// The weight of a tenant that has no other.
    pub const USUAL_WEIGHT: u32 = 100;

    /// Checks what can be checked without knowing the host.
    ///
    /// # Errors
    /// Every value that is out of its bounds, with the bounds.
    pub fn validate(&self) -> Result<(), Vec<SpecError>> {
        let mut errors = Vec::new();
        for (path, value, high) in [
            ("memory-mib", self.memory_mib, 1_048_576),
            ("calls", self.calls, 4_096),
            ("weight", self.weight, 10_000),
            ("max-waiting", self.max_waiting, 100_000_000),
        ] {
            if !(1..=high).contains(&value) {
                let reason = format!("{value} is out of bounds; use 1 to {high}");
                errors.push(SpecError::new(path, reason));
            }
        }
        let ceiling = self
            .ceiling
            .as_ref()
            .map_or(&[][..], |ceiling| ceiling.http.as_slice());
        for (table, grants) in [("ceiling.http", ceiling), ("receivers", &self.receivers)] {
            for (index, grant) in grants.iter().enumerate() {
                if grant.host.is_empty() {
                    errors.push(SpecError::new(
                        format!("{table}[{index}].host"),
                        "is empty; name a host, or `*.` and a domain",
                    ));
                }
                for fault in grant.faults() {
                    errors.push(SpecError::new(
                        format!("{table}[{index}].{}", fault.field),
                        fault.reason,
                    ));
                }
            }
        }
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}

impl Default for TenantLimits {
    fn default() -> Self {
        Self {
            ceiling: None,
            memory_mib: 1_024,
            calls: 16,
            weight: Self::USUAL_WEIGHT,
            max_waiting: 1_000_000,
            receivers: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fault_is_named_with_its_place() {
        let limits: TenantLimits = serde_json::from_value(serde_json::json!({
            "memory-mib": 0,
            "calls": 5_000,
            "weight": 0,
            "max-waiting": 0,
            "ceiling": { "http": [{ "host": "a.example" }, { "host": "", "methods": ["get"] }] },
            "receivers": [{ "host": "hooks.internal", "schemes": ["ftp"] }],
        }))
        .unwrap();
        let errors = limits.validate().unwrap_err();
        let paths: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "memory-mib",
                "calls",
                "weight",
                "max-waiting",
                "ceiling.http[1].host",
                "ceiling.http[1].methods",
                "receivers[0].schemes"
            ]
        );
        assert_eq!(TenantLimits::default().validate(), Ok(()));
    }
}
