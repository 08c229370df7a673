//! Sessions: a connection's release bound to its configuration, grants, credentials and storage.
//!
//! A session holds the connection's own HTTP pool, so it is kept for as long as the connection's specification stays the same
//! (its generation), and never shared between connections.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use stecker_model::{ConnectionSpec, Digest, FlowSpec, Grants, Limits, Name, TransformSpec};
use stecker_sandbox::{BindError, Binding, NoCredentials, NoStorage, Release, Session, Storage};
use stecker_store::{Store, Stored};
use tokio::sync::Mutex;

use crate::{FlowError, releases::Releases, secrets, supply};

/// A session and the digest of the release behind it.
#[derive(Clone)]
pub(crate) struct Bound {
    pub(crate) session: Session,
    pub(crate) release: Digest,
}

type Key = (Name, Name);

pub(crate) struct Sessions {
    store: Store,
    releases: Arc<Releases>,
    connections: Mutex<HashMap<Key, (i64, Bound)>>,
    /// Of each flow, its steps with the configuration that they were bound to.
    transforms: Mutex<HashMap<Key, Vec<(TransformSpec, Bound)>>>,
}

impl Sessions {
    pub(crate) fn new(store: Store, releases: Arc<Releases>) -> Self {
        Self {
            store,
            releases,
            connections: Mutex::default(),
            transforms: Mutex::default(),
        }
    }

    /// The session of a connection as it is applied now.
    pub(crate) async fn connection(&self, tenant: &Name, connection: &Name) -> Result<Bound, FlowError> {
        let stored = self
            .store
            .connection(tenant, connection)
            .await?
            .ok_or_else(|| FlowError::not_found("connection", connection))?;
        let key = (tenant.clone(), connection.clone());
        if let Some((generation, bound)) = self.connections.lock().await.get(&key)
            && *generation == stored.generation
        {
            return Ok(bound.clone());
        }
        let bound = self.bind(tenant, &stored).await?;
        self.connections
            .lock()
            .await
            .insert(key, (stored.generation, bound.clone()));
        Ok(bound)
    }

    async fn bind(&self, tenant: &Name, stored: &Stored<ConnectionSpec>) -> Result<Bound, FlowError> {
        let spec = &stored.spec;
        let digest = digest_of(&spec.plugin.digest, || format!("connection {}", spec.name))?;
        let release = self.releases.get(tenant, digest).await?;
        let session = bind_connection(&self.store, &release, tenant, spec)
            .map_err(|error| FlowError::Load(error.to_string()))?;
        Ok(Bound {
            session,
            release: digest.clone(),
        })
    }

    /// The sessions of a flow's transforms. They have no grants at all: a transform is pure.
    pub(crate) async fn transforms(&self, tenant: &Name, flow: &FlowSpec) -> Result<Vec<Bound>, FlowError> {
        let key = (tenant.clone(), flow.name.clone());
        if let Some(steps) = self.transforms.lock().await.get(&key)
            && steps.iter().map(|(step, _)| step).eq(&flow.transforms)
        {
            return Ok(steps.iter().map(|(_, bound)| bound.clone()).collect());
        }
        let mut steps = Vec::with_capacity(flow.transforms.len());
        for step in &flow.transforms {
            steps.push((step.clone(), self.transform(tenant, &flow.name, step).await?));
        }
        let bound = steps.iter().map(|(_, bound)| bound.clone()).collect();
        self.transforms.lock().await.insert(key, steps);
        Ok(bound)
    }

    async fn transform(&self, tenant: &Name, flow: &Name, step: &TransformSpec) -> Result<Bound, FlowError> {
        let digest = digest_of(&step.plugin.digest, || format!("a transform of flow {flow}"))?;
        let release = self.releases.get(tenant, digest).await?;
        let session = bind_transform(&release, tenant, flow, &step.config)?;
        Ok(Bound {
            session,
            release: digest.clone(),
        })
    }
}

/// Binds a connection's release to what its specification says. Fails on grants that cannot be understood.
pub(crate) fn bind_connection(
    store: &Store,
    release: &Release,
    tenant: &Name,
    spec: &ConnectionSpec,
) -> Result<Session, BindError> {
    let storage: Arc<dyn Storage> = match &spec.grants.storage {
        Some(grant) => Arc::new(supply::StoreStorage {
            store: store.clone(),
            tenant: tenant.clone(),
            connection: spec.name.clone(),
            max_bytes: grant.max_bytes,
        }),
        None => Arc::new(NoStorage),
    };
    release.bind(Binding {
        tenant: tenant.clone(),
        connection: spec.name.clone(),
        config: spec.config.to_string(),
        grants: spec.grants.clone(),
        limits: spec.limits,
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: spec.instances,
        credentials: Arc::new(secrets::SpecCredentials::new(
            store,
            tenant,
            &spec.name,
            &spec.credentials,
        )),
        storage,
        observer: Arc::new(supply::ConnectionLog {
            tenant: tenant.clone(),
            connection: spec.name.clone(),
        }),
    })
}

fn bind_transform(
    release: &Release,
    tenant: &Name,
    flow: &Name,
    config: &Value,
) -> Result<Session, FlowError> {
    release
        .bind(Binding {
            tenant: tenant.clone(),
            connection: flow.clone(),
            config: config.to_string(),
            grants: Grants::default(),
            limits: Limits::default(),
            http_bytes_today: 0,
            tenant_limits: stecker_model::TenantLimits::default(),
            instances: stecker_model::Instances::Fresh,
            credentials: Arc::new(NoCredentials),
            storage: Arc::new(NoStorage),
            observer: Arc::new(supply::ConnectionLog {
                tenant: tenant.clone(),
                connection: flow.clone(),
            }),
        })
        .map_err(|error| FlowError::Load(error.to_string()))
}

/// Has a transform read its configuration, by giving it nothing to transform.
pub(crate) async fn try_transform(release: &Release, tenant: &Name, config: &Value) -> Result<(), FlowError> {
    bind_transform(release, tenant, tenant, config)?
        .apply(Vec::new())
        .await
        .result?;
    Ok(())
}

/// What is stored always has a digest; a file that was edited by hand might not.
fn digest_of(digest: &Option<Digest>, whose: impl Fn() -> String) -> Result<&Digest, FlowError> {
    digest
        .as_ref()
        .ok_or_else(|| FlowError::not_found("release digest in the specification of", &whose()))
}
