//! The sandbox itself: what is there once per process.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use stecker_model::{Digest, Name, TenantLimits};
use stecker_registry::{InspectLimits, Inspection};
use tokio::sync::Semaphore;
use wasmtime::{
    Engine,
    component::{Component, Linker},
};

use crate::{
    aot::AotCache,
    call::CallState,
    capability,
    compiler::CompileQueue,
    contract,
    cpu::Cpu,
    egress::{Network, post::Poster},
    engine::SandboxOptions,
    error::{LoadError, SandboxError},
    release::{Release, ReleaseInner},
    tenant::{Tenant, TenantUsage, Tenants},
    upstream::Upstreams,
};

/// Loads releases and runs calls to them. Cheap to clone; all clones are the same sandbox.
#[derive(Clone)]
pub struct Sandbox {
    inner: Arc<SandboxInner>,
}

pub(crate) struct SandboxInner {
    pub(crate) engine: Engine,
    pub(crate) tick: Duration,
    /// Stands in front of the pool: who finds no permit waits, instead of failing on an empty pool.
    pub(crate) admission: Semaphore,
    /// Room in the pool for warm instances, beyond that of running calls: what lies idle never keeps a call waiting.
    pub(crate) warm_room: Arc<Semaphore>,
    pub(crate) cpu: Cpu,
    pub(crate) tenants: Tenants,
    /// For calls on nobody's behalf.
    pub(crate) nobody: Arc<Tenant>,
    pub(crate) max_instances: u32,
    pub(crate) network: Network,
    linker: Linker<CallState>,
    cache: Option<AotCache>,
    compile: CompileQueue,
    inspect_limits: InspectLimits,
    /// One slot per digest, so that a release is compiled once however many ask for it at the same time. Only weak: what nobody uses any
    /// more gives its memory back.
    loaded: Mutex<HashMap<Digest, Arc<Slot>>>,
}

type Slot = tokio::sync::Mutex<Weak<ReleaseInner>>;

impl fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sandbox")
            .field("max_instances", &self.inner.max_instances)
            .field("tick", &self.inner.tick)
            .finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine and its clock, which run until the last clone, release and session of this sandbox is gone.
    ///
    /// # Errors
    /// [`SandboxError`] if an option is out of range, the address space for the pool is not to be had, or the cache cannot be used.
    pub fn new(options: SandboxOptions) -> Result<Self, SandboxError> {
        options.check()?;
        let engine = options.engine()?;
        let warm = options.warm_instances();
        let SandboxOptions {
            cache_dir,
            cache_bytes,
            max_instances,
            tick,
            max_component_bytes,
            dns,
            compiler,
            cpu_slots,
        } = options;
        let slots = cpu_slots
            .map(|slots| usize::try_from(slots).unwrap_or(usize::MAX))
            .or_else(|| std::thread::available_parallelism().ok().map(Into::into))
            .unwrap_or(1);
        let tenants = Tenants::default();
        let mut linker = Linker::new(&engine);
        contract::add_to_linker(&mut linker)
            .and_then(|()| capability::wasi::add_to_linker(&mut linker))
            .and_then(|()| capability::wasi_http::add_to_linker(&mut linker))
            .map_err(|error| SandboxError::Engine {
                instances: max_instances,
                message: format!("{error:#}"),
            })?;
        let cache = cache_dir
            .as_deref()
            .map(|dir| AotCache::open(dir, cache_bytes, &engine))
            .transpose()?;
        let network = Network::new(&dns).map_err(|message| SandboxError::Option {
            option: "dns",
            message,
        })?;
        Ok(Self {
            inner: Arc::new(SandboxInner {
                engine,
                tick,
                admission: permits(max_instances),
                warm_room: Arc::new(permits(warm)),
                cpu: Cpu::new(slots),
                compile: CompileQueue::new(compiler, slots),
                nobody: tenants.apart(&TenantLimits::default()),
                tenants,
                max_instances,
                network,
                linker,
                cache,
                inspect_limits: InspectLimits {
                    max_bytes: max_component_bytes,
                    ..InspectLimits::default()
                },
                loaded: Mutex::default(),
            }),
        })
    }

    /// Checks, compiles (or takes from the cache) and links a component. The same bytes give the same release, as long as it is in use
    /// somewhere. Takes seconds for a large plugin that was never seen before, on threads of its own.
    ///
    /// # Errors
    /// [`LoadError`] says what is wrong with it and what its author can do.
    pub async fn load(
        &self,
        component: impl AsRef<[u8]> + Send + Sync + 'static,
    ) -> Result<Release, LoadError> {
        let inner = Arc::clone(&self.inner);
        // A file beyond the cap is refused before anybody reads it through; `inspect` gives the reason.
        let too_large = component.as_ref().len() > inner.inspect_limits.max_bytes;
        if too_large {
            stecker_registry::inspect_with(component.as_ref(), inner.inspect_limits)?;
        }
        let component = Arc::new(component);
        let bytes = Arc::clone(&component);
        let digest = blocking(move || stecker_registry::component::digest((*bytes).as_ref())).await?;
        let slot = self.slot(digest);
        let mut slot = slot.lock().await;
        if let Some(release) = slot.upgrade() {
            return Ok(Release::from_inner(release));
        }
        let release = prepare(inner, component).await?;
        let release = Arc::new(release);
        *slot = Arc::downgrade(&release);
        Ok(Release::from_inner(release))
    }

    /// The way out for what the host itself sends to addresses that tenants chose, such as webhooks.
    #[must_use]
    pub fn poster(&self) -> Poster {
        self.inner.network.poster()
    }

    /// The upstream accounts that its connections' requests count for.
    #[must_use]
    pub fn upstreams(&self) -> Upstreams {
        self.inner.network.upstreams().clone()
    }

    /// What a tenant uses now and has used, if it has a session.
    #[must_use]
    pub fn tenant_usage(&self, tenant: &Name) -> Option<TenantUsage> {
        self.inner.tenants.usage(tenant)
    }

    fn slot(&self, digest: Digest) -> Arc<Slot> {
        let mut loaded = self.inner.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        // Somebody is loading it, or somebody uses it; the rest goes.
        loaded.retain(|_, slot| {
            Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|release| release.strong_count() > 0)
        });
        Arc::clone(loaded.entry(digest).or_default())
    }
}

fn permits(number: u32) -> Semaphore {
    Semaphore::new(usize::try_from(number).unwrap_or(Semaphore::MAX_PERMITS))
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, LoadError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| LoadError::Host {
            message: error.to_string(),
        })
}

type Bytes = Arc<dyn AsRef<[u8]> + Send + Sync>;

async fn prepare(sandbox: Arc<SandboxInner>, bytes: Bytes) -> Result<ReleaseInner, LoadError> {
    let (inspection, cached) = {
        let (sandbox, bytes) = (Arc::clone(&sandbox), Arc::clone(&bytes));
        blocking(move || {
            let inspection = stecker_registry::inspect_with((*bytes).as_ref(), sandbox.inspect_limits)?;
            let cached = from_cache(&sandbox, &inspection.digest);
            Ok::<_, LoadError>((inspection, cached))
        })
        .await??
    };
    let from_cache = cached.is_some();
    let component = match cached {
        Some(component) => component,
        None => {
            let code = sandbox.compile.compile(&sandbox.engine, bytes).await?;
            let (sandbox, digest) = (Arc::clone(&sandbox), inspection.digest.clone());
            blocking(move || just_compiled(&sandbox, &digest, &code)).await??
        }
    };
    blocking(move || link(sandbox, inspection, &component, from_cache)).await?
}

fn from_cache(sandbox: &SandboxInner, digest: &Digest) -> Option<Component> {
    let code = sandbox.cache.as_ref()?.load(digest)?;
    // SAFETY: `AotCache::load` only returns bytes whose MAC proves that this host wrote them with the engine's own compiler, for this
    // component and an engine of this configuration. They are in memory of our own, so nobody can change them in between.
    match unsafe { Component::deserialize(&sandbox.engine, &code) } {
        Ok(component) => Some(component),
        Err(error) => {
            tracing::warn!(%digest, error = format!("{error:#}"), "a compiled plugin was refused; compiling it again");
            None
        }
    }
}

fn just_compiled(sandbox: &SandboxInner, digest: &Digest, code: &[u8]) -> Result<Component, LoadError> {
    // SAFETY: the bytes come from the engine's own compiler, called a moment ago in this process or in a child that is this very program;
    // a program of another version is refused by the check of versions and settings in `deserialize`.
    let component =
        unsafe { Component::deserialize(&sandbox.engine, code) }.map_err(|error| LoadError::DoesNotFit {
            message: format!("{error:#}"),
        })?;
    if let Some(cache) = &sandbox.cache {
        cache.store(digest, code);
    }
    Ok(component)
}

fn link(
    sandbox: Arc<SandboxInner>,
    inspection: Inspection,
    component: &Component,
    from_cache: bool,
) -> Result<ReleaseInner, LoadError> {
    let fits_not = |error: &wasmtime::Error| LoadError::Link {
        message: format!("{error:#}"),
    };
    let pre = sandbox
        .linker
        .instantiate_pre(component)
        .map_err(|error| fits_not(&error))?;
    let guest = contract::Guest::new(pre, &inspection.roles).map_err(|error| fits_not(&error))?;
    Ok(ReleaseInner::new(sandbox, inspection, guest, from_cache))
}
