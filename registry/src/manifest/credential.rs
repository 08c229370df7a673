//! The credentials that a plugin names. It never sees one: the host puts it into the request.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{capability::Method, endpoint::Endpoint, host::HostPattern, template::Template};

/// How one credential is used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Credential {
    /// Where it goes.
    pub kind: CredentialKind,
    /// The header that carries an `api-key-header`; no other kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// The parameter of the query that carries an `api-key-query`; no other kind has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
    /// What stands before the secret in the header of an `api-key-header`, its space included, such as `Token `.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// Where tokens come from, for the kinds of OAuth.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oauth: Option<OAuth>,
    /// How the secret is read as a key, for `hmac-secret`; the bytes of its text unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyEncoding>,
    /// What is signed and how, for `hmac-request`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signing: Option<Signing>,
    /// What the operator has to get where, and with which rights.
    pub description: String,
    /// The only hosts that it is sent to; each has to be among those of `capabilities.http`. None: all of those.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hosts: Option<Vec<HostPattern>>,
    /// The only methods that it is sent with. None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub methods: Option<Vec<Method>>,
    /// The only paths that it is sent to, as prefixes that end where a segment does: `/admin/api` is `/admin/api` and everything below
    /// `/admin/api/`. None: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paths: Option<Vec<String>>,
}

/// Where a credential goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialKind {
    /// Into a header of the vendor's own.
    ApiKeyHeader,
    /// Into the query, where the vendor knows no better: addresses end up in logs.
    ApiKeyQuery,
    /// `Authorization: Bearer …` (RFC 6750).
    Bearer,
    /// `Authorization: Basic …` (RFC 7617), from a user name and a secret.
    Basic,
    /// Nowhere: a key for `crypto.hmac-sign` and `crypto.hmac-verify`.
    HmacSecret,
    /// Into headers, as a signature over the request.
    HmacRequest,
    /// A bearer token that the host gets for client id and client secret (RFC 6749, section 4.4).
    #[serde(rename = "oauth2-client-credentials")]
    Oauth2ClientCredentials,
    /// A bearer token that the host gets for a refresh token (RFC 6749, section 6), which the operator has from elsewhere.
    #[serde(rename = "oauth2-refresh-token")]
    Oauth2RefreshToken,
    /// A bearer token that the host gets once a person has allowed it (RFC 6749, section 4.1, with PKCE, RFC 7636).
    #[serde(rename = "oauth2-authorization-code")]
    Oauth2AuthorizationCode,
}

impl CredentialKind {
    /// As it stands in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ApiKeyHeader => "api-key-header",
            Self::ApiKeyQuery => "api-key-query",
            Self::Bearer => "bearer",
            Self::Basic => "basic",
            Self::HmacSecret => "hmac-secret",
            Self::HmacRequest => "hmac-request",
            Self::Oauth2ClientCredentials => "oauth2-client-credentials",
            Self::Oauth2RefreshToken => "oauth2-refresh-token",
            Self::Oauth2AuthorizationCode => "oauth2-authorization-code",
        }
    }

    /// Whether the host exchanges it for tokens.
    #[must_use]
    pub const fn is_oauth(self) -> bool {
        matches!(
            self,
            Self::Oauth2ClientCredentials | Self::Oauth2RefreshToken | Self::Oauth2AuthorizationCode
        )
    }

    /// Whether a user name or client id always goes with the secret.
    #[must_use]
    pub const fn needs_username(self) -> bool {
        matches!(self, Self::Basic) || self.is_oauth()
    }
}

/// Where tokens come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct OAuth {
    /// The token endpoint: an https URL, or `{config:/base_url}/oauth/token` for systems that every customer runs somewhere else. The
    /// operator has to grant it like any other address.
    pub token_url: Endpoint,
    /// The authorization endpoint, for `oauth2-authorization-code`: where a browser is sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorize_url: Option<Endpoint>,
    /// What is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<String>,
    /// How the client says who it is.
    #[serde(default)]
    pub client_auth: ClientAuth,
    /// More parameters of the token request, such as `audience`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub token_params: BTreeMap<String, String>,
    /// More parameters of the authorization request, such as `access_type`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub authorize_params: BTreeMap<String, String>,
}

/// How a client says to the token endpoint who it is (RFC 6749, section 2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ClientAuth {
    /// HTTP Basic, which every server has to understand.
    #[default]
    Basic,
    /// `client_id` and `client_secret` in the body.
    Body,
}

/// What is signed of a request, and where the signature goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Signing {
    /// The hash of the HMAC (RFC 2104).
    pub algorithm: SigningAlgorithm,
    /// How the signature is written.
    pub encoding: SignatureEncoding,
    /// How the secret is read as a key.
    #[serde(default)]
    pub key: KeyEncoding,
    /// What is signed, such as `{method}\n{path-and-query}\n{timestamp}\n{body-sha256-hex}`.
    pub message: Template,
    /// The headers that the host sets, such as `x-signature = "{signature}"`. At least one has the signature.
    pub headers: BTreeMap<String, Template>,
}

/// The hash of an HMAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the names are the standard's")]
pub enum SigningAlgorithm {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

/// How a signature is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SignatureEncoding {
    /// Hexadecimal, lower case.
    Hex,
    /// Hexadecimal, upper case.
    HexUpper,
    /// Base64 (RFC 4648, section 4), padded.
    Base64,
    /// Base64 for URLs (RFC 4648, section 5), not padded.
    Base64Url,
}

/// How a secret is read as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyEncoding {
    /// The bytes of its text.
    #[default]
    Text,
    /// Hexadecimal digits of the bytes.
    Hex,
    /// Base64 of the bytes.
    Base64,
    /// `whsec_` and base64 of the bytes, as Standard Webhooks writes secrets. Not for Stripe, whose secrets only look like that: there the
    /// text is the key.
    StandardWebhooks,
}
