//! The credentials that a plugin names. It never sees one: the host puts it into the request.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::host::HostPattern;

/// How one credential is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credential {
    /// Where it goes.
    pub kind: CredentialKind,
    /// The header that carries an `api-key-header`; no other kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// What stands before the secret in the header of an `api-key-header`, its space included, such as `Token `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What the operator has to get where, and with which rights.
    pub description: String,
    /// The only hosts that it is sent to; each has to be among those of `capabilities.http`. None: all of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostPattern>>,
}

/// Where a credential goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// Into a header of the vendor's own.
    ApiKeyHeader,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer,
    /// `Authorization: Basic …` (RFC 7617), from a user name and a secret.
    Basic,
    /// Nowhere: a key for `crypto.hmac-sign` and `crypto.hmac-verify`.
    HmacSecret,
}
