//! Where a connection's secrets come from: as its specification says, from the environment, a file or the vault. Tokens are always in the
//! vault, because every node has to see the newest ones.

use std::{
    collections::{BTreeMap, HashMap},
    env,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use stecker_model::{CredentialSpec, Name, SecretRef};
use stecker_sandbox::{CredentialError, Credentials, KeptTokens, Secret, TokenLease, Tokens};
use stecker_store::{Lease, Place, Store, VaultError, VaultSecret};

use crate::now_ms;

/// A batch uses the same secret hundreds of times. A secret that was replaced counts after this time at the latest.
const KEPT: Duration = Duration::from_secs(2);

/// The secrets of one connection.
pub(crate) struct SpecCredentials {
    store: Store,
    tenant: Name,
    connection: Name,
    specs: BTreeMap<Name, CredentialSpec>,
    kept: Mutex<HashMap<Name, (Instant, Secret)>>,
}

impl SpecCredentials {
    pub(crate) fn new(
        store: &Store,
        tenant: &Name,
        connection: &Name,
        specs: &BTreeMap<Name, CredentialSpec>,
    ) -> Self {
        Self {
            store: store.clone(),
            tenant: tenant.clone(),
            connection: connection.clone(),
            specs: specs.clone(),
            kept: Mutex::default(),
        }
    }

    fn spec(&self, name: &str) -> Result<(&Name, &CredentialSpec), CredentialError> {
        let found = self.specs.iter().find(|(known, _)| known.as_str() == name);
        found.ok_or_else(|| CredentialError::NotBound {
            name: name.to_owned(),
        })
    }

    fn place<'a>(&'a self, credential: &'a Name) -> Place<'a> {
        Place {
            tenant: &self.tenant,
            connection: &self.connection,
            credential,
        }
    }

    async fn vaulted(&self, name: &Name, spec: &CredentialSpec) -> Result<Secret, CredentialError> {
        let kept = {
            let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.get(name).filter(|(at, _)| at.elapsed() < KEPT).cloned()
        };
        if let Some((_, secret)) = kept {
            return Ok(secret);
        }
        let vault = self.store.vault().map_err(|error| unavailable(name, &error))?;
        let found = vault
            .secret(self.place(name), now_ms())
            .await
            .map_err(|error| unavailable(name, &error))?;
        let found = found.ok_or_else(|| CredentialError::Unavailable {
            name: name.to_string(),
            message: format!(
                "it is not in the vault yet; `stecker secret set {} {name}` puts it there",
                self.connection
            ),
        })?;
        let secret = with_username(found, spec);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(name.clone(), (Instant::now(), secret.clone()));
        Ok(secret)
    }

    /// For the search in answers: does not count as a use.
    async fn peek(&self, name: &Name, spec: &CredentialSpec) -> Option<Secret> {
        let found = self.store.vault().ok()?.peek(self.place(name)).await.ok()??;
        Some(with_username(found, spec))
    }

    /// One for all nodes.
    fn unit(&self, name: &Name) -> String {
        format!("token/{}/{name}", self.connection)
    }
}

fn with_username(found: VaultSecret, spec: &CredentialSpec) -> Secret {
    let value = found.value.to_string();
    match found.username.or_else(|| spec.username.clone()) {
        Some(username) => Secret::with_username(username, value),
        None => Secret::new(value),
    }
}

fn unavailable(name: &Name, error: &VaultError) -> CredentialError {
    CredentialError::Unavailable {
        name: name.to_string(),
        message: error.to_string(),
    }
}

#[async_trait]
impl Credentials for SpecCredentials {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        let unavailable = |message: String| CredentialError::Unavailable {
            name: name.to_owned(),
            message,
        };
        let (known, spec) = self.spec(name)?;
        let value = match &spec.secret {
            SecretRef::Vault => return self.vaulted(known, spec).await,
            SecretRef::Env(variable) => env::var(variable)
                .map_err(|error| unavailable(format!("environment variable {variable}: {error}")))?,
            SecretRef::File(path) => tokio::fs::read_to_string(path)
                .await
                .map_err(|error| unavailable(format!("file {path}: {error}")))?,
        };
        let value = value.trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(unavailable("it is empty where the setup points to".to_owned()));
        }
        Ok(match &spec.username {
            Some(username) => Secret::with_username(username.clone(), value.to_owned()),
            None => Secret::new(value.to_owned()),
        })
    }

    async fn all(&self) -> Vec<Secret> {
        let mut all = Vec::with_capacity(self.specs.len());
        for (name, spec) in &self.specs {
            let secret = match &spec.secret {
                SecretRef::Vault => self.peek(name, spec).await,
                SecretRef::Env(_) | SecretRef::File(_) => self.secret(name.as_str()).await.ok(),
            };
            all.extend(secret);
        }
        all
    }

    fn tokens(&self) -> Option<&dyn Tokens> {
        self.store.vault().is_ok().then_some(self as &dyn Tokens)
    }
}

#[async_trait]
impl Tokens for SpecCredentials {
    async fn load(&self, name: &str) -> Result<Option<KeptTokens>, CredentialError> {
        let (name, _) = self.spec(name)?;
        let vault = self.store.vault().map_err(|error| unavailable(name, &error))?;
        let found = vault.tokens(self.place(name)).await;
        let found = found.map_err(|error| unavailable(name, &error))?;
        Ok(found.map(|tokens| KeptTokens {
            bytes: tokens.bytes,
            version: tokens.version,
        }))
    }

    async fn lease(&self, name: &str, period: Duration) -> Result<Option<TokenLease>, CredentialError> {
        let (name, _) = self.spec(name)?;
        // An owner of its own for every lease: two refreshes of one process keep each other out too.
        let owner = hex::encode(rand::random::<[u8; 16]>());
        let ttl = i64::try_from(period.as_millis()).unwrap_or(i64::MAX);
        let lease = self
            .store
            .acquire(&self.tenant, &self.unit(name), &owner, now_ms(), ttl)
            .await
            .map_err(|error| unavailable(name, &error.into()))?;
        Ok(lease.map(|lease| TokenLease(format!("{}/{owner}", lease.epoch))))
    }

    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        expires_at: Option<i64>,
        version: u64,
    ) -> Result<u64, CredentialError> {
        let (name, _) = self.spec(name)?;
        let vault = self.store.vault().map_err(|error| unavailable(name, &error))?;
        let stored = vault
            .put_tokens(self.place(name), bytes, expires_at, version, None, now_ms())
            .await
            .map_err(|error| unavailable(name, &error))?;
        stored.ok_or_else(|| CredentialError::Overtaken {
            name: name.to_string(),
        })
    }

    async fn release(&self, name: &str, lease: &TokenLease) -> Result<(), CredentialError> {
        let (name, _) = self.spec(name)?;
        let Some((epoch, owner)) = lease.0.split_once('/') else {
            return Ok(());
        };
        let lease = Lease {
            tenant: self.tenant.clone(),
            unit: self.unit(name),
            owner: owner.to_owned(),
            epoch: epoch.parse().unwrap_or(0),
        };
        self.store
            .release_lease(&lease)
            .await
            .map(drop)
            .map_err(|error| unavailable(name, &error.into()))
    }
}
