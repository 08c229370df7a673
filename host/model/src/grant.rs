//! Grants: what an operator lets a connection do. The rules that decide by them live in the sandbox.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Everything that a connection may do. Empty means nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Grants {
    /// Where requests may go; a request passes if one of these allows it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpGrant>,
    /// Room in the key/value store; none: no storage.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageGrant>,
}

/// Requests to one host or one family of hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpGrant {
    /// A host name, an IP address as such, or `*.` and a domain for every name below it; optionally `:` and a port. Without
    /// a port: the scheme's own.
    pub host: String,
    /// `https` and `http`; only `https` unless said otherwise.
    #[serde(default = "https_only")]
    pub schemes: Vec<String>,
    /// Upper-case methods; empty: all of GET, HEAD, POST, PUT, PATCH, DELETE.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
}

fn https_only() -> Vec<String> {
    vec!["https".to_owned()]
}

/// Room in the connection's key/value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StorageGrant {
    /// Bytes of keys and values together.
    pub max_bytes: u64,
}
