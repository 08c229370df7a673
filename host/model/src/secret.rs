//! What the API says and hears about secrets. A value goes in and never comes out.

use std::fmt;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use zeroize::Zeroize;

use crate::Name;

/// A text that is never printed, and is wiped from memory when it goes.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = String, format = Password)]
pub struct SecretText(String);

impl SecretText {
    /// The text itself. Do not keep it longer than it is needed.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText(…)")
    }
}

impl Drop for SecretText {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// What is known of a secret; never the secret. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct SecretInfo {
    /// Of which connection.
    pub connection: Name,
    /// For which credential of its plugin.
    pub credential: Name,
    /// How the plugin's manifest uses it, such as `bearer`; none if the connection is not there or its plugin names no such credential.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub kind: Option<String>,
    /// When it was set; none if there are only tokens.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub set_at: Option<i64>,
    /// When it was used last, to the minute.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub used_at: Option<i64>,
    /// OAuth: when tokens were got last.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub tokens_at: Option<i64>,
    /// OAuth: when the access token ends. The host gets the next one by itself.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub expires_at: Option<i64>,
}

/// Which of a credential's secrets is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SecretPart {
    /// The key, token or password; for OAuth the client's secret.
    #[default]
    Secret,
    /// A refresh token that was got elsewhere, for the kind `oauth2-refresh-token`.
    RefreshToken,
}

/// A secret to keep.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct SetSecret {
    /// The secret, 8 bytes to 16 KiB.
    pub value: SecretText,
    /// What goes with it: the user name for HTTP Basic, the client id for OAuth, the key id for signatures.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub username: Option<String>,
    /// Which one it is.
    #[serde(default)]
    pub part: SecretPart,
}

/// What an authorization begins with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Authorize {
    /// Where the system sends the browser afterwards, exactly as it is registered there.
    pub redirect_uri: String,
}

/// Where a person has to go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Authorization {
    /// To be opened in a browser by somebody who may give the access.
    pub url: String,
    /// Until when it has to be done, in milliseconds since 1970.
    pub expires_at: i64,
}

/// What an authorization ends with.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Authorized {
    /// The whole address that the browser was sent to, with `code` and `state` in its query.
    pub callback: SecretText,
}

/// Which keys are to be new.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub struct RotateKeys {
    /// Also a new master key, made by the host. Only where the host keeps its key in its data folder; elsewhere the operator makes it.
    pub master: bool,
}

/// What a rotation of keys did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub struct RotatedKeys {
    /// The version of the tenant's data key now; 0 if the tenant has no secrets.
    pub key_version: u64,
    /// Secrets and tokens that were encrypted again.
    pub items: u64,
    /// Data keys, of all tenants, that were encrypted again with the current master key.
    pub data_keys: u64,
}
