//! What `meta.describe` returns: [`Description`], and its JSON Schema, which the contract publishes beside the WIT.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a plugin says of itself, independent of any connection.
///
/// Later versions of the contract add fields; whoever reads one ignores those that it does not know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Description {
    /// For people: the system's own name, for example `Demo shop`.
    pub title: String,
    /// What the plugin does, in a sentence or two.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Where its documentation is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub documentation_url: Option<String>,
    /// JSON Schema (draft 2020-12) of the configuration. Never describes a secret.
    pub config: Value,
    /// The credentials that it names in requests and signatures.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub credentials: Vec<Credential>,
    /// The hosts that it speaks with; `{config:/base_url}` stands for the host of the URL at that place of the configuration.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The streams that every connection has. Those that differ by connection come from `connection.discover` only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub streams: Vec<StreamSummary>,
    /// The APIs and versions that this release was made for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub upstream: Vec<Upstream>,
    /// Optional functions that it really implements, by `role.function`, for example `destination.lookup`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub operations: Vec<String>,
}

/// A credential, by its name. The host keeps the secret and puts it into requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Credential {
    /// As requests and signatures name it.
    pub name: String,
    /// As in the manifest: `api-key-header`, `bearer`, `basic` or `hmac-secret`, or what a later host knows.
    pub kind: String,
    /// For people: what it is and where to get it.
    pub title: String,
    /// Whether a connection can do without it.
    #[serde(default)]
    pub optional: bool,
}

/// A stream that every connection has.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StreamSummary {
    /// As `connection.discover` names it.
    pub name: String,
    /// What one record of it is.
    pub title: String,
    /// Any of: `read`, `write`, `lookup`, `webhook`.
    pub modes: Vec<String>,
    /// JSON Pointers of what can be compared with what was written, because the system keeps it as it got it. Empty: everything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub compare: Vec<String>,
}

/// A version of a system's API that the plugin speaks; the fields are those of the manifest's `[[upstream]]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub struct Upstream {
    /// The system, for example `Shopify`.
    pub system: String,
    /// The version of its API, as the vendor writes it.
    pub api_version: String,
    /// The day (YYYY-MM-DD) from which the vendor may switch it off, if one is announced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sunset: Option<String>,
    /// The vendor's page that says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
}

impl Description {
    /// A description with nothing but a title.
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            description: None,
            documentation_url: None,
            config: Value::Null,
            credentials: Vec::new(),
            hosts: Vec::new(),
            streams: Vec::new(),
            upstream: Vec::new(),
            operations: Vec::new(),
        }
    }

    /// What the plugin does, in a sentence or two.
    #[must_use]
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// Where its documentation is.
    #[must_use]
    pub fn documentation(mut self, url: impl Into<String>) -> Self {
        self.documentation_url = Some(url.into());
        self
    }

    /// A credential that a connection needs; `kind` as in [`Credential::kind`].
    #[must_use]
    pub fn credential(
        self,
        name: impl Into<String>,
        kind: impl Into<String>,
        title: impl Into<String>,
    ) -> Self {
        self.add_credential(name.into(), kind.into(), title.into(), false)
    }

    /// A credential that a connection can do without.
    #[must_use]
    pub fn optional_credential(
        self,
        name: impl Into<String>,
        kind: impl Into<String>,
        title: impl Into<String>,
    ) -> Self {
        self.add_credential(name.into(), kind.into(), title.into(), true)
    }

    fn add_credential(mut self, name: String, kind: String, title: String, optional: bool) -> Self {
        self.credentials.push(Credential {
            name,
            kind,
            title,
            optional,
        });
        self
    }

    /// A host that it speaks with, or `{config:/base_url}`.
    #[must_use]
    pub fn host(mut self, host: impl Into<String>) -> Self {
        self.hosts.push(host.into());
        self
    }

    /// A stream that every connection has.
    #[must_use]
    pub fn stream(mut self, name: impl Into<String>, title: impl Into<String>, modes: &[&str]) -> Self {
        let modes = modes.iter().map(|&mode| mode.to_owned()).collect();
        self.streams.push(StreamSummary {
            name: name.into(),
            title: title.into(),
            modes,
            compare: Vec::new(),
        });
        self
    }

    /// Of the stream named last: the places (JSON Pointers) that can be compared with what was written.
    #[must_use]
    pub fn compare(mut self, fields: &[&str]) -> Self {
        if let Some(stream) = self.streams.last_mut() {
            stream.compare = fields.iter().map(|&field| field.to_owned()).collect();
        }
        self
    }

    /// A version of a system's API that it speaks, without an announced end.
    #[must_use]
    pub fn upstream(self, system: impl Into<String>, api_version: impl Into<String>) -> Self {
        self.add_upstream(system.into(), api_version.into(), None)
    }

    /// The same with the day (YYYY-MM-DD) from which the vendor may switch it off.
    #[must_use]
    pub fn upstream_until(
        self,
        system: impl Into<String>,
        api_version: impl Into<String>,
        sunset: impl Into<String>,
    ) -> Self {
        self.add_upstream(system.into(), api_version.into(), Some(sunset.into()))
    }

    fn add_upstream(mut self, system: String, api_version: String, sunset: Option<String>) -> Self {
        self.upstream.push(Upstream {
            system,
            api_version,
            sunset,
            url: None,
        });
        self
    }

    /// An optional function that it implements, as `role.function`.
    #[must_use]
    pub fn operation(mut self, name: impl Into<String>) -> Self {
        self.operations.push(name.into());
        self
    }

    /// The JSON that the host gets, with the schema of `C` put in.
    pub(crate) fn into_json<C: JsonSchema>(mut self) -> String {
        self.config = schema_of::<C>();
        // Strings, lists and a JSON value: there is nothing in it that could fail to be written.
        serde_json::to_string(&self).unwrap_or_default()
    }
}

/// The JSON Schema (draft 2020-12) of a type as it is read, with everything that it needs inside.
pub fn schema_of<T: JsonSchema + ?Sized>() -> Value {
    let schema: Schema = SchemaSettings::draft2020_12()
        .for_deserialize()
        .into_generator()
        .into_root_schema_for::<T>();
    schema.into()
}

/// The JSON Schema of [`Description`], as it lies beside the WIT.
pub fn description_schema() -> Value {
    schema_of::<Description>()
}
