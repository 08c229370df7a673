//! The sandbox, through its public face.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use anyhow::{Context as _, Result};
use async_trait::async_trait;
use stecker_model::{
    Grants, HttpGrant, HttpLimits, Instances, Limits, Name, Period, Record, StorageGrant, TenantLimits,
    Transformed,
};
use stecker_sandbox::{
    Binding, Condition, NoBlobs, NoCredentials, NoStorage, Quota, Release, Sandbox, SandboxOptions, Session,
    Storage, StorageError, StoredEntry, TracingObserver,
};
use tokio::sync::Semaphore;

use crate::case::Work;

/// Enough for every measurement of instances that are there at the same time.
pub(crate) const MAX_INSTANCES: u32 = 64;

pub(crate) struct Stecker {
    release: Release,
}

impl Stecker {
    pub(crate) async fn new(component: &[u8]) -> Result<Self> {
        let sandbox = Sandbox::new(SandboxOptions {
            max_instances: MAX_INSTANCES,
            ..SandboxOptions::default()
        })?;
        Ok(Self {
            release: sandbox.load(component.to_owned()).await?,
        })
    }

    /// A connection that does one thing with its records.
    pub(crate) fn session(&self, work: Work, instances: Instances) -> Result<Session> {
        Ok(self.release.bind(binding(work.config(None), instances)?)?)
    }

    /// A connection that sends its records to a server on loopback.
    pub(crate) fn http_session(&self, url: &str, instances: Instances) -> Result<Session> {
        let host = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split('/').next())
            .context("the server's address is no http address")?;
        let binding = binding(Work::Http.config(Some(url)), instances)?;
        Ok(self.release.bind(Binding {
            grants: Grants {
                http: vec![HttpGrant {
                    host: host.to_owned(),
                    schemes: vec!["http".to_owned()],
                    methods: vec!["POST".to_owned()],
                    ..HttpGrant::default()
                }],
                ..Grants::default()
            },
            ..binding
        })?)
    }

    /// A connection of its own whose calls stop at the gate.
    pub(crate) fn gated_session(&self, gate: &Arc<Gate>) -> Result<Session> {
        let binding = binding(Work::Wait.config(None), Instances::Fresh)?;
        Ok(self.release.bind(Binding {
            grants: Grants {
                http: Vec::new(),
                storage: Some(StorageGrant {
                    max_bytes: 1 << 20,
                    max_keys: 1,
                    ops_per_second: u32::MAX,
                }),
                ..Grants::default()
            },
            storage: Arc::clone(gate) as _,
            ..binding
        })?)
    }
}

/// One call.
pub(crate) async fn call(session: &Session, batch: Vec<Record>) -> Result<Vec<Transformed>> {
    Ok(session.apply(batch).await.result?)
}

fn binding(config: String, instances: Instances) -> Result<Binding> {
    let name: Name = "benchmark".parse()?;
    Ok(Binding {
        tenant: name.clone(),
        connection: name,
        config,
        grants: Grants::default(),
        limits: Limits {
            memory_mib: 256,
            deadline: Period::from_secs(60),
            // Quotas are kept, and wide enough that nobody waits for them.
            http: HttpLimits {
                per_second: 10_000,
                bytes_per_day: 1 << 50,
                ..HttpLimits::default()
            },
            ..Limits::default()
        },
        http_bytes_today: 0,
        tenant_limits: TenantLimits {
            memory_mib: 1 << 16,
            calls: MAX_INSTANCES,
            ..TenantLimits::default()
        },
        instances,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(TracingObserver),
    })
}

/// A storage whose readers wait until it is opened, so that instances can be counted while they live.
pub(crate) struct Gate {
    waiting: AtomicUsize,
    open: Semaphore,
}

impl Gate {
    pub(crate) fn closed() -> Arc<Self> {
        Arc::new(Self {
            waiting: AtomicUsize::new(0),
            open: Semaphore::new(0),
        })
    }

    pub(crate) fn open(&self, readers: usize) {
        self.open.add_permits(readers);
    }

    /// Returns when that many wait.
    pub(crate) async fn until_waiting(&self, readers: usize) {
        while self.waiting.load(Ordering::Acquire) < readers {
            tokio::task::yield_now().await;
        }
    }
}

#[async_trait]
impl Storage for Gate {
    async fn get(&self, _: &str) -> Result<Option<StoredEntry>, StorageError> {
        self.waiting.fetch_add(1, Ordering::AcqRel);
        let opened = self.open.acquire().await;
        opened
            .map(|permit| {
                permit.forget();
                None
            })
            .map_err(|error| StorageError::Unavailable {
                message: error.to_string(),
            })
    }

    async fn put(&self, _: &str, _: Vec<u8>, _: Condition, quota: Quota) -> Result<u64, StorageError> {
        NoStorage.put("", Vec::new(), Condition::Always, quota).await
    }

    async fn delete(&self, _: &str, _: Condition) -> Result<bool, StorageError> {
        NoStorage.delete("", Condition::Always).await
    }

    async fn list_keys(&self, _: &str, _: Option<&str>, _: u32) -> Result<Vec<String>, StorageError> {
        NoStorage.list_keys("", None, 1).await
    }
}
