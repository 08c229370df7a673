//! What a release has around it while it plays recorded calls: the connection's configuration, grants and limits, and nothing that reaches anybody.
//!
//! The network is closed because the session has none (see `Release::bind_answered`). Secrets are made up, because nobody checks them, with one
//! exception: the keys that signatures of recorded webhooks are checked with have to be the real ones, and cannot leave the host, because a plugin
//! only ever has the results. No token is kept or refreshed, nothing is written down as used, and no log line is anybody's.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use serde_json::Value;
use stecker_model::{ConnectionSpec, HttpLimits, Instances, Limits, Name, TenantLimits};
use stecker_registry::{
    Manifest,
    manifest::{CredentialKind, KeyEncoding},
};
use stecker_sandbox::{
    BindError, Binding, CredentialError, Credentials, Denial, KeptTokens, LogLevel, NoBlobs, NoStorage,
    Observer, Release, Secret, Session, Storage, TokenLease, Tokens, refresh_token_only,
};
use stecker_store::Store;

use super::{
    player::TapePlayer,
    view::{Snapshot, View},
};
use crate::secrets::SpecCredentials;

/// What every replay of a connection has.
pub(super) struct Stage<'a> {
    pub(super) store: &'a Store,
    pub(super) tenant: &'a Name,
    pub(super) spec: &'a ConnectionSpec,
    pub(super) tenant_limits: &'a TenantLimits,
    pub(super) snapshot: Snapshot,
    pub(super) versions: Vec<String>,
}

/// One call's surroundings.
pub(super) struct Scene {
    pub(super) session: Session,
    pub(super) player: Arc<TapePlayer>,
    pub(super) view: Arc<View>,
    pub(super) denied: Arc<Denied>,
}

impl Stage<'_> {
    pub(super) fn scene(
        &self,
        release: &Release,
        config: &Value,
        exchanges: &[stecker_model::TapedExchange],
    ) -> Result<Scene, BindError> {
        let player = Arc::new(TapePlayer::new(exchanges, &self.versions));
        let view = Arc::new(View::of(&self.snapshot));
        let denied = Arc::new(Denied::default());
        let storage: Arc<dyn Storage> = match &self.spec.grants.storage {
            Some(_) => Arc::clone(&view) as _,
            None => Arc::new(NoStorage),
        };
        let real = SpecCredentials::new(self.store, self.tenant, &self.spec.name, &self.spec.credentials);
        let manifest = &release.inspection().manifest;
        let binding = Binding {
            tenant: self.tenant.clone(),
            connection: self.spec.name.clone(),
            config: config.to_string(),
            grants: self.spec.grants.clone(),
            limits: Limits {
                http: HttpLimits {
                    // Nobody is to be spared here.
                    per_second: 10_000,
                    ..self.spec.limits.http
                },
                ..self.spec.limits
            },
            http_bytes_today: 0,
            tenant_limits: self.tenant_limits.clone(),
            instances: Instances::Fresh,
            credentials: Arc::new(StageCredentials::of(manifest, real)),
            storage,
            blobs: Arc::new(NoBlobs),
            observer: Arc::clone(&denied) as _,
        };
        let session = release.bind_answered(binding, Arc::clone(&player) as _)?;
        Ok(Scene {
            session,
            player,
            view,
            denied,
        })
    }
}

/// Secrets that open nothing, in the form that each credential wants, and the real keys of signatures.
struct StageCredentials {
    real: SpecCredentials,
    keys: BTreeSet<String>,
    made_up: BTreeMap<String, String>,
    tokens: Mutex<BTreeMap<String, KeptTokens>>,
}

impl StageCredentials {
    fn of(manifest: &Manifest, real: SpecCredentials) -> Self {
        let (mut keys, mut made_up, mut tokens) = (BTreeSet::new(), BTreeMap::new(), BTreeMap::new());
        for (name, credential) in &manifest.credentials {
            let name = name.as_str().to_owned();
            if credential.kind == CredentialKind::HmacSecret {
                keys.insert(name);
                continue;
            }
            // Hexadecimal digits in a multiple of four are also base64.
            let plain = hex::encode(rand::random::<[u8; 24]>());
            let secret = match credential.key {
                Some(KeyEncoding::StandardWebhooks) => format!("whsec_{plain}"),
                _ => plain,
            };
            let kept = KeptTokens {
                bytes: refresh_token_only(&secret),
                version: 1,
            };
            tokens.insert(name.clone(), kept);
            made_up.insert(name, secret);
        }
        Self {
            real,
            keys,
            made_up,
            tokens: Mutex::new(tokens),
        }
    }

    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, KeptTokens>> {
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Credentials for StageCredentials {
    async fn secret(&self, name: &str) -> Result<Secret, CredentialError> {
        if self.keys.contains(name) {
            return self.real.secret(name).await;
        }
        let secret = self.made_up.get(name).ok_or_else(|| CredentialError::NotBound {
            name: name.to_owned(),
        })?;
        Ok(Secret::with_username("shadow".to_owned(), secret.clone()))
    }

    fn tokens(&self) -> Option<&dyn Tokens> {
        Some(self)
    }
}

#[async_trait]
impl Tokens for StageCredentials {
    async fn load(&self, name: &str) -> Result<Option<KeptTokens>, CredentialError> {
        Ok(self.kept().get(name).cloned())
    }

    /// A scene has one call, so nobody else ever wants it.
    async fn lease(&self, _: &str, _: Duration) -> Result<Option<TokenLease>, CredentialError> {
        Ok(Some(TokenLease(String::new())))
    }

    async fn store(
        &self,
        name: &str,
        bytes: &[u8],
        _: Option<i64>,
        version: u64,
    ) -> Result<u64, CredentialError> {
        let next = KeptTokens {
            bytes: bytes.to_vec().into(),
            version: version + 1,
        };
        self.kept().insert(name.to_owned(), next);
        Ok(version + 1)
    }

    async fn release(&self, _: &str, _: &TokenLease) -> Result<(), CredentialError> {
        Ok(())
    }
}

/// What was denied.
#[derive(Default)]
pub(super) struct Denied(Mutex<Vec<(String, String)>>);

impl Denied {
    const KEPT: usize = 20;

    /// Rules, each with what was asked.
    pub(super) fn all(&self) -> Vec<(String, String)> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Observer for Denied {
    /// What a plugin says of calls that were made long ago is of no use to its operator.
    fn log(&self, _: LogLevel, _: &str, _: &[(String, String)]) {}

    fn denied(&self, denial: &Denial) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() < Self::KEPT {
            all.push((denial.rule.clone(), denial.asked.clone()));
        }
    }
}
