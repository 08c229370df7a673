//! What is known of a connection: its plugin, the hosts that it may speak to, its circuit, and how old its secrets are. Never a secret.

use std::collections::BTreeMap;

use stecker_model::{ConnectionSpec, Digest, Name, SecretRef};
use stecker_registry::Inspection;
use stecker_store::{Place, Store, StoreError, VaultEntry};

use super::facts::{ConnectionFacts, CredentialFacts, Kept};
use crate::circuit;

/// Looks connections and releases up, each once.
pub(crate) struct Connections<'s> {
    store: &'s Store,
    tenant: &'s Name,
    known: BTreeMap<Name, ConnectionFacts>,
    plugins: BTreeMap<Digest, Option<Plugin>>,
    secrets: Vec<VaultEntry>,
}

#[derive(Debug, Clone)]
struct Plugin {
    name: String,
    /// Credentials and their kinds.
    kinds: BTreeMap<String, String>,
}

impl<'s> Connections<'s> {
    pub(crate) async fn new(store: &'s Store, tenant: &'s Name) -> Self {
        // Without a key there is no vault, and then there is nothing in it to tell of.
        let secrets = match store.vault() {
            Ok(vault) => vault.list(tenant).await.unwrap_or_default(),
            Err(_) => Vec::new(),
        };
        Self {
            store,
            tenant,
            known: BTreeMap::new(),
            plugins: BTreeMap::new(),
            secrets,
        }
    }

    /// `namespace/name@version` of a release; its digest, if the host does not have it any more.
    pub(crate) async fn plugin(&mut self, digest: &Digest) -> Result<String, StoreError> {
        let plugin = self.release(digest).await?;
        Ok(plugin.map_or_else(|| digest.to_string(), |plugin| plugin.name))
    }

    async fn release(&mut self, digest: &Digest) -> Result<Option<Plugin>, StoreError> {
        if let Some(known) = self.plugins.get(digest) {
            return Ok(known.clone());
        }
        let row = self.store.release(self.tenant, digest).await?;
        let plugin = row.map(|row| {
            // What this very program wrote is readable; kinds only make an answer better.
            let inspection: Option<Inspection> = serde_json::from_str(&row.inspection_json).ok();
            let kinds = inspection.map_or_else(BTreeMap::new, |inspection| {
                let credentials = inspection.manifest.credentials.iter();
                credentials
                    .map(|(name, credential)| (name.to_string(), credential.kind.as_str().to_owned()))
                    .collect()
            });
            Plugin {
                name: format!("{}@{}", row.info.name, row.info.version),
                kinds,
            }
        });
        self.plugins.insert(digest.clone(), plugin.clone());
        Ok(plugin)
    }

    pub(crate) async fn facts(&mut self, name: &Name) -> Result<ConnectionFacts, StoreError> {
        if let Some(known) = self.known.get(name) {
            return Ok(known.clone());
        }
        let facts = match self.store.binder(self.tenant, name).await? {
            Some(binder) => {
                let circuit = circuit::current(binder.circuit, binder.connection.generation);
                let spec = binder.connection.spec;
                let plugin = match &spec.plugin.digest {
                    Some(digest) => self.release(digest).await?,
                    None => None,
                };
                let hosts = spec.grants.http.iter().map(|grant| grant.host.clone());
                ConnectionFacts {
                    name: name.clone(),
                    plugin: plugin
                        .as_ref()
                        .map_or_else(String::new, |plugin| plugin.name.clone()),
                    hosts: hosts.filter(|host| host != "*").collect(),
                    circuit,
                    credentials: self.credentials(&spec, plugin.as_ref()).await,
                }
            }
            None => ConnectionFacts {
                name: name.clone(),
                plugin: String::new(),
                hosts: std::collections::BTreeSet::new(),
                circuit: stecker_model::api::Circuit::default(),
                credentials: Vec::new(),
            },
        };
        self.known.insert(name.clone(), facts.clone());
        Ok(facts)
    }

    async fn credentials(&self, spec: &ConnectionSpec, plugin: Option<&Plugin>) -> Vec<CredentialFacts> {
        let mut credentials = Vec::with_capacity(spec.credentials.len());
        for (name, credential) in &spec.credentials {
            let entry = self
                .secrets
                .iter()
                .find(|entry| entry.connection == spec.name && entry.credential == *name);
            credentials.push(CredentialFacts {
                name: name.clone(),
                kind: plugin.and_then(|plugin| plugin.kinds.get(name.as_str()).cloned()),
                kept: match &credential.secret {
                    SecretRef::Vault => Kept::Vault,
                    SecretRef::File(path) => Kept::File(path.clone()),
                    SecretRef::Env(variable) => Kept::Env(variable.clone()),
                },
                username: match entry {
                    Some(_) => self.username(&spec.name, name).await,
                    None => None,
                },
                set_at: entry.and_then(|entry| entry.set_at),
                tokens_at: entry.and_then(|entry| entry.tokens_at),
                expires_at: entry.and_then(|entry| entry.expires_at),
            });
        }
        credentials
    }

    /// The user name or client id beside a secret of the vault: setting the secret anew without it would lose it.
    async fn username(&self, connection: &Name, credential: &Name) -> Option<String> {
        let place = Place {
            tenant: self.tenant,
            connection,
            credential,
        };
        let secret = self.store.vault().ok()?.peek(place).await.ok()??;
        secret.username
    }
}
