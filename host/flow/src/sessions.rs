//! Sessions: a connection's release bound to its configuration, grants, credentials and storage.
//!
//! A session holds the connection's own HTTP pool, so it is kept for as long as the connection's specification stays the same
//! (its generation), and never shared between connections.

use std::{collections::HashMap, sync::Arc};

use serde_json::Value;
use stecker_model::{
    ConnectionSpec, Digest, FlowSpec, Grants, Limits, Name, PluginUse, TenantLimits, TransformSpec,
};
use stecker_sandbox::{
    BindError, Binding, BlobStore, NoBlobs, NoCredentials, NoStorage, Release, Session, Storage,
};
use stecker_store::{Binder, BlobFolder, Store, StoreError, day_of};
use tokio::sync::Mutex;

use crate::{
    Clock, FlowError,
    books::Books,
    calls::{Account, Bound, Guarded},
    guard::Guard,
    observer::Watch,
    releases::Releases,
    secrets,
    shadow::View,
    supply,
    taping::Taper,
    upstream::Accounts,
};

type Key = (Name, Name);

/// What every binding is made with.
#[derive(Clone)]
pub(crate) struct Supplies {
    pub(crate) store: Store,
    pub(crate) books: Arc<Books>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) upstreams: Arc<Accounts>,
    /// None: this host keeps no blobs.
    pub(crate) blobs: Option<BlobFolder>,
}

impl Supplies {
    fn bound(&self, tenant: &Name, used_by: PluginUse, session: Session, release: &Digest) -> Bound {
        Bound {
            session,
            release: release.clone(),
            generation: None,
            guard: None,
            taper: None,
            account: Arc::new(Account {
                tenant: tenant.clone(),
                used_by,
                books: Arc::clone(&self.books),
                clock: Arc::clone(&self.clock),
            }),
        }
    }

    /// The usual ones for a tenant that has none of its own, or is not there yet.
    pub(crate) async fn tenant_limits(&self, tenant: &Name) -> Result<TenantLimits, StoreError> {
        Ok(self.tenant(tenant).await?.0)
    }

    /// The limits, and the digest of the trust root if there is one.
    async fn tenant(&self, tenant: &Name) -> Result<(TenantLimits, Option<Digest>), StoreError> {
        let row = self.store.tenant_row(tenant).await?;
        Ok(row.map_or_else(Default::default, |row| {
            (row.limits.unwrap_or_default(), row.trust)
        }))
    }

    fn watch(&self, tenant: &Name, used_by: PluginUse, release: &Release) -> Arc<Watch> {
        Arc::new(Watch::new(tenant, used_by, release, &self.books, &self.clock))
    }
}

pub(crate) struct Sessions {
    supplies: Supplies,
    releases: Arc<Releases>,
    connections: Mutex<HashMap<Key, Kept>>,
    transforms: Mutex<HashMap<Key, KeptSteps>>,
}

/// A binding, and what it was made of: if that changes, another one is made.
struct Kept {
    generation: i64,
    limits: TenantLimits,
    trust: Option<Digest>,
    bound: Bound,
    guard: Arc<Guard>,
}

/// A flow's steps with the configuration that they were bound to.
struct KeptSteps {
    limits: TenantLimits,
    trust: Option<Digest>,
    steps: Vec<(TransformSpec, Bound)>,
}

impl Sessions {
    pub(crate) fn new(supplies: Supplies, releases: Arc<Releases>) -> Self {
        Self {
            supplies,
            releases,
            connections: Mutex::default(),
            transforms: Mutex::default(),
        }
    }

    /// The session of a connection as it is applied now, if its circuit lets a call through.
    ///
    /// # Errors
    /// [`FlowError::Circuit`] if nothing of it is called at the moment; no such connection; a plugin that does not load.
    pub(crate) async fn connection(&self, tenant: &Name, connection: &Name) -> Result<Bound, FlowError> {
        self.admitted(tenant, connection, true).await
    }

    /// As [`Sessions::connection`], but never as the call that tries a circuit.
    pub(crate) async fn connection_for_webhook(
        &self,
        tenant: &Name,
        connection: &Name,
    ) -> Result<Bound, FlowError> {
        self.admitted(tenant, connection, false).await
    }

    async fn admitted(&self, tenant: &Name, connection: &Name, may_probe: bool) -> Result<Bound, FlowError> {
        let binder = self
            .supplies
            .store
            .binder(tenant, connection)
            .await?
            .ok_or_else(|| FlowError::not_found("connection", connection))?;
        let key = (tenant.clone(), connection.clone());
        let kept = self
            .connections
            .lock()
            .await
            .get(&key)
            .filter(|kept| {
                kept.generation == binder.connection.generation
                    && kept.limits == binder.limits
                    && kept.trust == binder.trust
            })
            .map(|kept| (kept.bound.clone(), Arc::clone(&kept.guard)));
        let (mut bound, guard) = match kept {
            Some(kept) => kept,
            None => self.bind(tenant, &binder).await?,
        };
        match guard.admit(binder.circuit, may_probe).await? {
            Ok(circuit) => {
                bound.guard = Some(Guarded { circuit, guard });
                let now = self.supplies.clock.now_ms();
                bound.taper = binder.taped_until.filter(|until| now < *until).map(|_| {
                    Arc::new(Taper {
                        store: self.supplies.store.clone(),
                        clock: Arc::clone(&self.supplies.clock),
                        tenant: tenant.clone(),
                        connection: connection.clone(),
                        release: bound.release.clone(),
                    })
                });
                Ok(bound)
            }
            Err(circuit) => Err(FlowError::Circuit {
                connection: connection.clone(),
                circuit: Box::new(circuit),
            }),
        }
    }

    /// Whether a connection is still as it was when it was bound.
    pub(crate) async fn is_current(&self, tenant: &Name, connection: &Name, bound: &Bound) -> bool {
        let stored = self.supplies.store.connection(tenant, connection).await;
        // Not to be known counts as not to have changed: then it is as it would be without this question.
        !matches!(&stored, Ok(stored) if stored.as_ref().map(|stored| stored.generation) != bound.generation)
    }

    async fn bind(&self, tenant: &Name, binder: &Binder) -> Result<(Bound, Arc<Guard>), FlowError> {
        let spec = &binder.connection.spec;
        let digest = digest_of(&spec.plugin.digest, || format!("connection {}", spec.name))?;
        let release = self.releases.get(tenant, digest).await?;
        // What this process has used since is not lost on a change of the connection: it is written down first.
        let store = &self.supplies.store;
        self.supplies.books.write(store).await?;
        let today = day_of(self.supplies.clock.now_ms());
        let used = store.http_bytes(tenant, &spec.name, today).await?;
        self.supplies.upstreams.assign(tenant, spec).await?;
        let generation = binder.connection.generation;
        let at = (used, generation);
        let session = bind_connection(&self.supplies, &release, tenant, spec, &binder.limits, at)
            .map_err(|error| FlowError::Load(error.to_string()))?;
        let used_by = PluginUse::Connection(spec.name.clone());
        let mut bound = self.supplies.bound(tenant, used_by, session, digest);
        bound.generation = Some(generation);
        let manifest = &release.inspection().manifest;
        let guard = Arc::new(Guard {
            store: self.supplies.store.clone(),
            clock: Arc::clone(&self.supplies.clock),
            tenant: tenant.clone(),
            connection: spec.name.clone(),
            plugin: format!("{}@{}", manifest.name, manifest.version),
            generation: binder.connection.generation,
            deadline: i64::try_from(spec.limits.deadline.duration().as_millis()).unwrap_or(i64::MAX),
        });
        let kept = Kept {
            generation: binder.connection.generation,
            limits: binder.limits.clone(),
            trust: binder.trust.clone(),
            bound: bound.clone(),
            guard: Arc::clone(&guard),
        };
        let key = (tenant.clone(), spec.name.clone());
        self.connections.lock().await.insert(key, kept);
        Ok((bound, guard))
    }

    /// The sessions of a flow's transforms. They have no grants at all: a transform is pure.
    pub(crate) async fn transforms(&self, tenant: &Name, flow: &FlowSpec) -> Result<Vec<Bound>, FlowError> {
        if flow.transforms.is_empty() {
            return Ok(Vec::new());
        }
        let (limits, trust) = self.supplies.tenant(tenant).await?;
        let key = (tenant.clone(), flow.name.clone());
        if let Some(kept) = self.transforms.lock().await.get(&key)
            && kept.limits == limits
            && kept.trust == trust
            && kept.steps.iter().map(|(step, _)| step).eq(&flow.transforms)
        {
            return Ok(kept.steps.iter().map(|(_, bound)| bound.clone()).collect());
        }
        let mut steps = Vec::with_capacity(flow.transforms.len());
        for step in &flow.transforms {
            let bound = self.transform(tenant, &flow.name, step, &limits).await?;
            steps.push((step.clone(), bound));
        }
        let bound = steps.iter().map(|(_, bound)| bound.clone()).collect();
        self.transforms
            .lock()
            .await
            .insert(key, KeptSteps { limits, trust, steps });
        Ok(bound)
    }

    async fn transform(
        &self,
        tenant: &Name,
        flow: &Name,
        step: &TransformSpec,
        limits: &TenantLimits,
    ) -> Result<Bound, FlowError> {
        let digest = digest_of(&step.plugin.digest, || format!("a transform of flow {flow}"))?;
        let release = self.releases.get(tenant, digest).await?;
        let session = bind_transform(&self.supplies, &release, tenant, flow, &step.config, limits)?;
        Ok(self
            .supplies
            .bound(tenant, PluginUse::Flow(flow.clone()), session, digest))
    }
}

/// Binds a connection's release to what its specification says. Fails on grants that cannot be understood.
pub(crate) fn bind_connection(
    supplies: &Supplies,
    release: &Release,
    tenant: &Name,
    spec: &ConnectionSpec,
    tenant_limits: &TenantLimits,
    (http_bytes_today, generation): (u64, i64),
) -> Result<Session, BindError> {
    let storage: Arc<dyn Storage> = match &spec.grants.storage {
        Some(_) => Arc::new(supply::StoreStorage {
            store: supplies.store.clone(),
            tenant: tenant.clone(),
            connection: spec.name.clone(),
            generation,
        }),
        None => Arc::new(NoStorage),
    };
    release.bind(connection_binding(
        supplies,
        release,
        tenant,
        spec,
        tenant_limits,
        http_bytes_today,
        storage,
    ))
}

/// As [`bind_connection`], with another storage in place of the connection's.
fn connection_binding(
    supplies: &Supplies,
    release: &Release,
    tenant: &Name,
    spec: &ConnectionSpec,
    tenant_limits: &TenantLimits,
    http_bytes_today: u64,
    storage: Arc<dyn Storage>,
) -> Binding {
    let blobs: Arc<dyn BlobStore> = match (&spec.grants.blobs, &supplies.blobs) {
        (Some(_), Some(folder)) => Arc::new(supply::FolderBlobs(folder.room(tenant, &spec.name))),
        _ => Arc::new(NoBlobs),
    };
    Binding {
        tenant: tenant.clone(),
        connection: spec.name.clone(),
        config: spec.config.to_string(),
        grants: spec.grants.clone(),
        limits: spec.limits,
        http_bytes_today,
        tenant_limits: tenant_limits.clone(),
        instances: spec.instances,
        credentials: Arc::new(secrets::SpecCredentials::new(
            &supplies.store,
            tenant,
            &spec.name,
            &spec.credentials,
        )),
        storage,
        blobs,
        observer: supplies.watch(tenant, PluginUse::Connection(spec.name.clone()), release),
    }
}

/// Binds a release that is only tried: its storage holds what the connection's holds, and what it writes there is forgotten.
pub(crate) async fn bind_candidate(
    supplies: &Supplies,
    release: &Release,
    tenant: &Name,
    spec: &ConnectionSpec,
    tenant_limits: &TenantLimits,
) -> Result<Session, FlowError> {
    let storage: Arc<dyn Storage> = match &spec.grants.storage {
        Some(_) => {
            // As large as its grant allowed, however large that is.
            let room = supplies.store.kv_snapshot(tenant, &spec.name, u64::MAX).await?;
            Arc::new(View::of_entries(room.unwrap_or_default()))
        }
        None => Arc::new(NoStorage),
    };
    let today = day_of(supplies.clock.now_ms());
    let used = supplies.store.http_bytes(tenant, &spec.name, today).await?;
    release
        .bind(connection_binding(
            supplies,
            release,
            tenant,
            spec,
            tenant_limits,
            used,
            storage,
        ))
        .map_err(|error| FlowError::Load(error.to_string()))
}

fn bind_transform(
    supplies: &Supplies,
    release: &Release,
    tenant: &Name,
    flow: &Name,
    config: &Value,
    tenant_limits: &TenantLimits,
) -> Result<Session, FlowError> {
    release
        .bind(Binding {
            tenant: tenant.clone(),
            connection: flow.clone(),
            config: config.to_string(),
            grants: Grants::default(),
            limits: Limits::default(),
            http_bytes_today: 0,
            tenant_limits: tenant_limits.clone(),
            instances: stecker_model::Instances::Fresh,
            credentials: Arc::new(NoCredentials),
            storage: Arc::new(NoStorage),
            blobs: Arc::new(NoBlobs),
            observer: supplies.watch(tenant, PluginUse::Flow(flow.clone()), release),
        })
        .map_err(|error| FlowError::Load(error.to_string()))
}

/// Has a transform read its configuration, by giving it nothing to transform.
pub(crate) async fn try_transform(
    supplies: &Supplies,
    release: &Release,
    tenant: &Name,
    flow: &Name,
    config: &Value,
) -> Result<(), FlowError> {
    let limits = supplies.tenant_limits(tenant).await?;
    bind_transform(supplies, release, tenant, flow, config, &limits)?
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
