//! Checks a setup before anything of it is stored: bounds, names, and every claim against the plugins themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;
use stecker_model::{
    ConnectionSpec, Digest, FlowSpec, Name, SecretRef, Setup, SpecError, StreamRef, api::Fault,
};
use stecker_registry::{Role, manifest::CredentialKind};
use stecker_sandbox::Release;
use stecker_store::StoreError;

use crate::{
    FlowError,
    releases::Releases,
    schedule,
    sessions::{self, Supplies},
};

/// The part of a plugin's description that a setup is held against.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Description {
    /// JSON Schema of the configuration.
    #[serde(default)]
    config: Value,
    #[serde(default)]
    streams: Vec<Stream>,
    #[serde(default)]
    credentials: Vec<Credential>,
}

#[derive(Debug, Clone, Deserialize)]
struct Stream {
    name: String,
    #[serde(default)]
    modes: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
struct Credential {
    name: String,
    #[serde(default)]
    optional: bool,
}

/// A plugin as far as validation goes.
struct Plugin {
    release: Release,
    description: Description,
    /// The credentials that the connection has secrets for.
    credentials: BTreeSet<Name>,
}

impl Plugin {
    fn with_secrets(mut self, spec: &ConnectionSpec) -> Self {
        self.credentials = spec.credentials.keys().cloned().collect();
        self
    }

    /// A secret that the plugin checks signatures with, and that the connection does not have.
    fn missing_signing_secret(&self) -> Option<&Name> {
        let named = &self.release.inspection().manifest.credentials;
        named
            .iter()
            .find(|(name, credential)| {
                credential.kind == CredentialKind::HmacSecret && !self.credentials.contains(*name)
            })
            .map(|(name, _)| name)
    }
}

struct Check<'a> {
    supplies: &'a Supplies,
    releases: &'a Releases,
    tenant: &'a Name,
    faults: Vec<Fault>,
}

/// Every fault of a setup, in the order of the file; none: it can be applied.
///
/// # Errors
/// Only if the store fails.
pub(crate) async fn setup(
    supplies: &Supplies,
    releases: &Releases,
    tenant: &Name,
    setup: &Setup,
) -> Result<Vec<Fault>, StoreError> {
    let mut check = Check {
        supplies,
        releases,
        tenant,
        faults: Vec::new(),
    };
    check.no_name_twice(
        "connection",
        &setup
            .connections
            .iter()
            .map(|spec| &spec.name)
            .collect::<Vec<_>>(),
    );
    check.no_name_twice(
        "flow",
        &setup.flows.iter().map(|spec| &spec.name).collect::<Vec<_>>(),
    );
    let mut connections: BTreeMap<&Name, Option<Plugin>> = BTreeMap::new();
    for spec in &setup.connections {
        let plugin = check.connection(spec).await?;
        connections.insert(&spec.name, plugin);
    }
    for spec in &setup.flows {
        check.flow(spec, &connections).await?;
    }
    Ok(check.faults)
}

impl Check<'_> {
    fn fault(&mut self, path: impl Into<String>, reason: impl Into<String>) {
        self.faults.push(SpecError::new(path, reason).into());
    }

    fn no_name_twice(&mut self, what: &str, names: &[&Name]) {
        let mut seen = BTreeSet::new();
        for name in names {
            if !seen.insert(name) {
                self.fault(format!("{what} {name}"), "is there twice; names are unique");
            }
        }
    }

    async fn connection(&mut self, spec: &ConnectionSpec) -> Result<Option<Plugin>, StoreError> {
        let at = |what: &str| format!("connection {}, {what}", spec.name);
        if let Err(errors) = spec.validate() {
            self.faults.extend(errors.into_iter().map(Fault::from));
        }
        let Some(plugin) = self.plugin(&at("plugin"), spec.plugin.digest.as_ref()).await? else {
            return Ok(None);
        };
        if plugin.release.has(Role::Transform) && !is_connector(&plugin.release) {
            self.fault(
                at("plugin"),
                "is a transform; a connection needs a connector. Use it under [[flow.transform]]",
            );
        }
        self.config(&at("config"), &plugin.description, &spec.config);
        let limits = self.supplies.tenant_limits(self.tenant).await?;
        if let Err(error) =
            sessions::bind_connection(self.supplies, &plugin.release, self.tenant, spec, &limits, (0, 0))
        {
            self.fault(at("grants"), error.to_string());
        }
        for credential in &plugin.description.credentials {
            if !credential.optional
                && !spec
                    .credentials
                    .keys()
                    .any(|name| name.as_str() == credential.name)
            {
                let reason = format!(
                    "the plugin needs it; add [connection.credentials.{}] with `secret = \"vault\"`, `{{ env = \"…\" }}` or `{{ file = \"…\" }}`",
                    credential.name
                );
                self.fault(at(&format!("credentials.{}", credential.name)), reason);
            }
        }
        for (name, credential) in &plugin.release.inspection().manifest.credentials {
            let bound = spec.credentials.get(name);
            let elsewhere = bound.filter(|bound| bound.secret != SecretRef::Vault);
            if credential.kind.is_oauth() && elsewhere.is_some_and(|bound| bound.username.is_none()) {
                self.fault(
                    at(&format!("credentials.{name}.username")),
                    "is missing: OAuth needs the client id that goes with the client's secret",
                );
            }
        }
        let known: Vec<&str> = plugin
            .description
            .credentials
            .iter()
            .map(|known| known.name.as_str())
            .collect();
        for name in spec
            .credentials
            .keys()
            .filter(|name| !known.contains(&name.as_str()))
        {
            let reason = format!("the plugin names no such credential; it has: {}", list(&known));
            self.fault(at(&format!("credentials.{name}")), reason);
        }
        Ok(Some(plugin.with_secrets(spec)))
    }

    async fn flow(
        &mut self,
        spec: &FlowSpec,
        connections: &BTreeMap<&Name, Option<Plugin>>,
    ) -> Result<(), StoreError> {
        let at = |what: &str| format!("flow {}, {what}", spec.name);
        if let Err(errors) = spec.validate() {
            self.faults.extend(errors.into_iter().map(Fault::from));
        }
        if let Some(cron) = &spec.trigger.cron
            && let Err(reason) = schedule::parse_cron(cron)
        {
            self.fault(at("trigger.cron"), reason);
        }
        if let Some(cron) = spec.reconcile.as_ref().and_then(|policy| policy.cron.as_ref())
            && let Err(reason) = schedule::parse_cron(cron)
        {
            self.fault(at("reconcile.cron"), reason);
        }
        self.end(&at("source"), &spec.source, Role::Source, "read", connections)
            .await?;
        self.end(
            &at("destination"),
            &spec.destination,
            Role::Destination,
            "write",
            connections,
        )
        .await?;
        if spec.trigger.webhook {
            self.webhook(&at("trigger.webhook"), &spec.source.connection, connections)
                .await?;
        }
        for (index, step) in spec.transforms.iter().enumerate() {
            let place = at(&format!("transform[{index}]"));
            let Some(plugin) = self
                .plugin(&format!("{place}.plugin"), step.plugin.digest.as_ref())
                .await?
            else {
                continue;
            };
            if !plugin.release.has(Role::Transform) {
                self.fault(
                    format!("{place}.plugin"),
                    "is not a transform: it does not export the role `transform`",
                );
            }
            self.config(&format!("{place}.config"), &plugin.description, &step.config);
            self.transform_starts(&place, &plugin.release, &spec.name, &step.config)
                .await;
        }
        Ok(())
    }

    /// The source's plugin takes webhooks, and can tell genuine ones from forged ones.
    async fn webhook(
        &mut self,
        at: &str,
        source: &Name,
        connections: &BTreeMap<&Name, Option<Plugin>>,
    ) -> Result<(), StoreError> {
        let stored;
        let plugin = match connections.get(source) {
            Some(None) => return Ok(()),
            Some(Some(plugin)) => plugin,
            None => {
                let Some(row) = self.supplies.store.connection(self.tenant, source).await? else {
                    return Ok(());
                };
                let Some(plugin) = self.plugin(at, row.spec.plugin.digest.as_ref()).await? else {
                    return Ok(());
                };
                stored = plugin.with_secrets(&row.spec);
                &stored
            }
        };
        let missing = plugin.missing_signing_secret().cloned();
        if !plugin.release.has(Role::Webhook) {
            self.fault(at, "the source's plugin takes no webhooks; leave it out");
        } else if let Some(name) = missing {
            let reason = format!(
                "the plugin checks signatures with the secret `{name}`, which the connection does not have; add \
                 [connection.credentials.{name}] to connection {source}"
            );
            self.fault(at, reason);
        }
        Ok(())
    }

    /// One end of a flow: the connection is in the file or in the store, and its plugin can do what is asked of it.
    async fn end(
        &mut self,
        at: &str,
        end: &StreamRef,
        role: Role,
        mode: &str,
        connections: &BTreeMap<&Name, Option<Plugin>>,
    ) -> Result<(), StoreError> {
        let stored;
        let plugin = match connections.get(&end.connection) {
            // Its faults are told already.
            Some(None) => return Ok(()),
            Some(Some(plugin)) => plugin,
            None => {
                let Some(row) = self
                    .supplies
                    .store
                    .connection(self.tenant, &end.connection)
                    .await?
                else {
                    let reason = format!(
                        "there is no connection `{}`, neither in the setup nor applied before",
                        end.connection
                    );
                    self.fault(format!("{at}.connection"), reason);
                    return Ok(());
                };
                let Some(plugin) = self.plugin(at, row.spec.plugin.digest.as_ref()).await? else {
                    return Ok(());
                };
                stored = plugin;
                &stored
            }
        };
        if !plugin.release.has(role) {
            let reason = format!(
                "the plugin of connection `{}` does not export the role `{role}`",
                end.connection
            );
            self.fault(format!("{at}.connection"), reason);
            return Ok(());
        }
        let streams = &plugin.description.streams;
        if streams.is_empty() {
            return Ok(());
        }
        let usable: Vec<&str> = streams
            .iter()
            .filter(|stream| stream.modes.iter().any(|known| known == mode))
            .map(|stream| stream.name.as_str())
            .collect();
        if !usable.contains(&end.stream.as_str()) {
            let reason = format!(
                "connection `{}` has no stream `{}` to {mode}; it has: {}",
                end.connection,
                end.stream,
                list(&usable)
            );
            self.fault(format!("{at}.stream"), reason);
        }
        Ok(())
    }

    async fn plugin(&mut self, at: &str, digest: Option<&Digest>) -> Result<Option<Plugin>, StoreError> {
        // Neither or both of path and digest was told by the bounds check.
        let Some(digest) = digest else { return Ok(None) };
        let release = match self.releases.get(self.tenant, digest).await {
            Ok(release) => release,
            Err(FlowError::Store(error)) => return Err(error),
            Err(FlowError::NotFound { .. }) => {
                self.fault(
                    at,
                    format!("there is no release {digest}; add it first with `stecker release add FILE`"),
                );
                return Ok(None);
            }
            Err(error) => {
                self.fault(at, error.to_string());
                return Ok(None);
            }
        };
        let described = match release.describe().await {
            Ok(described) => described,
            Err(error) => {
                self.fault(at, format!("the plugin cannot describe itself: {error}"));
                return Ok(None);
            }
        };
        match serde_json::from_value(described) {
            Ok(description) => Ok(Some(Plugin {
                release,
                description,
                credentials: BTreeSet::new(),
            })),
            Err(error) => {
                self.fault(
                    at,
                    format!("the plugin's description has a wrong shape ({error}); tell its author"),
                );
                Ok(None)
            }
        }
    }

    fn config(&mut self, at: &str, description: &Description, config: &Value) {
        if description.config.is_null() {
            return;
        }
        let validator = match jsonschema::draft202012::new(&description.config) {
            Ok(validator) => validator,
            Err(error) => {
                self.fault(
                    at,
                    format!("the plugin's config schema is itself not valid ({error}); tell its author"),
                );
                return;
            }
        };
        for error in validator.iter_errors(config) {
            let place = error.instance_path().to_string();
            self.fault(format!("{at}{place}"), error.to_string());
        }
    }

    /// A transform whose configuration is well-formed may still be wrong (a program that does not parse). It is pure, so it can
    /// be tried right away, on nothing.
    async fn transform_starts(&mut self, at: &str, release: &Release, flow: &Name, config: &Value) {
        let probe = sessions::try_transform(self.supplies, release, self.tenant, flow, config).await;
        if let Err(error) = probe {
            self.fault(format!("{at}.config"), error.to_string());
        }
    }
}

fn is_connector(release: &Release) -> bool {
    release.has(Role::Source) || release.has(Role::Destination)
}

fn list(names: &[&str]) -> String {
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
