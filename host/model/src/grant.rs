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
    /// Path prefixes, each beginning with a slash: `/admin/api` allows `/admin/api` and everything below `/admin/api/`, not
    /// `/admin/apis`. Empty: every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// IP addresses and CIDR ranges that the host may resolve to although they are not public (private, loopback, link-local and
    /// the like), on the port of this grant. Empty: only public addresses. A host that is itself written as an address, or is
    /// `localhost`, with a port, needs no entry.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<String>,
}

impl Default for HttpGrant {
    /// No host yet; https, the usual methods, every path, public addresses only.
    fn default() -> Self {
        Self {
            host: String::new(),
            schemes: https_only(),
            methods: Vec::new(),
            paths: Vec::new(),
            addresses: Vec::new(),
        }
    }
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
