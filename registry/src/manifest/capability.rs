//! What a plugin asks to be allowed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use stecker_model::{BlobGrant, Grants, HttpGrant, StorageGrant};

use super::host::{HostPattern, InvalidHost};

/// Everything that a plugin asks for. Whatever is not in here is refused, whatever the operator grants.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct Capabilities {
    /// Requests to other systems.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub http: Vec<HttpCapability>,
    /// The key/value store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage: Option<StorageCapability>,
    /// Bytes that the host keeps outside of the plugin's memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blobs: Option<BlobCapability>,
}

/// Requests to some hosts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HttpCapability {
    /// Only `https` unless said otherwise.
    #[serde(default = "https_only")]
    pub schemes: Vec<Scheme>,
    /// Where to, at least one.
    pub hosts: Vec<HostPattern>,
    /// Which methods, at least one.
    pub methods: Vec<Method>,
    /// Path prefixes, each beginning with a slash: `/admin/api` stands for itself and everything below it, not for `/admin/apis`.
    /// Empty: every path.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<String>,
    /// What for, in a sentence to the operator who decides.
    pub purpose: String,
}

fn https_only() -> Vec<Scheme> {
    vec![Scheme::Https]
}

/// Room in the connection's key/value store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct StorageCapability {
    /// Bytes of keys and values together, at least 1.
    pub max_bytes: u64,
    /// Keys, at least 1; 10,000 unless said otherwise.
    #[serde(default = "StorageGrant::usual_keys")]
    pub max_keys: u64,
    /// Operations a second, at least 1; 200 unless said otherwise.
    #[serde(default = "StorageGrant::usual_rate")]
    pub ops_per_second: u32,
}

/// Blobs: bytes that the host keeps, named by their content. Part of the contract since 1.1.0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct BlobCapability {
    /// Bytes of all blobs that the connection puts there, at least 1.
    pub max_bytes: u64,
    /// Bytes of one blob, at least 1; 128 MiB unless said otherwise.
    #[serde(default = "BlobGrant::usual_size")]
    pub max_blob_bytes: u64,
}

/// The scheme of a URL.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Scheme {
    /// `https`
    Https,
    /// `http`
    Http,
}

impl Scheme {
    /// As it stands in a URL.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Https => "https",
            Self::Http => "http",
        }
    }
}

/// The method of a request (RFC 9110, and RFC 5789 for PATCH).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum Method {
    Get,
    Head,
    Post,
    Put,
    Patch,
    Delete,
    Options,
}

impl Method {
    /// As it stands in a request.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Head => "HEAD",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
            Self::Options => "OPTIONS",
        }
    }
}

impl Capabilities {
    pub(super) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The grants that allow all that the plugin asks for, with the placeholders filled in from a connection's configuration. What a
    /// connection may really do is the intersection of this with what its operator granted.
    ///
    /// # Errors
    /// [`InvalidHost`] if a placeholder points at something that is not an absolute http(s) URL.
    pub fn as_grants(&self, config: &serde_json::Value) -> Result<Grants, InvalidHost> {
        let mut grants = Grants {
            http: Vec::new(),
            storage: self.storage.as_ref().map(|storage| StorageGrant {
                max_bytes: storage.max_bytes,
                max_keys: storage.max_keys,
                ops_per_second: storage.ops_per_second,
            }),
            blobs: self.blobs.as_ref().map(|blobs| BlobGrant {
                max_bytes: blobs.max_bytes,
                max_blob_bytes: blobs.max_blob_bytes,
            }),
        };
        for capability in &self.http {
            for pattern in &capability.hosts {
                if let Some(host) = pattern.resolve(config)? {
                    grants.http.push(HttpGrant {
                        host,
                        schemes: capability
                            .schemes
                            .iter()
                            .map(|scheme| scheme.as_str().to_owned())
                            .collect(),
                        methods: capability
                            .methods
                            .iter()
                            .map(|method| method.as_str().to_owned())
                            .collect(),
                        paths: capability.paths.clone(),
                        // Which addresses are behind a host is for the operator to know.
                        addresses: Vec::new(),
                    });
                }
            }
        }
        Ok(grants)
    }
}
