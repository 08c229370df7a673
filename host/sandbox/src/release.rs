//! A compiled plugin, linked and ready to be instantiated.

use std::{
    fmt,
    sync::{Arc, Weak},
};

use stecker_model::{Digest, Limits, Priority};
use stecker_registry::{Inspection, Role};
use tokio::sync::OnceCell;

use crate::{
    binding::{Binding, NoCredentials, NoStorage, TracingObserver},
    blob::NoBlobs,
    call::{self, Bound},
    check, contract,
    egress::wire::Answers,
    error::{BindError, CallError},
    sandbox::SandboxInner,
    session::Session,
    tape::CallOptions,
};

/// A plugin that was checked, compiled and linked. Cheap to clone.
#[derive(Clone)]
pub struct Release {
    inner: Arc<ReleaseInner>,
}

/// A release that may be gone: compiled code is kept as long as somebody uses it, and whoever only remembers it uses this.
#[derive(Clone)]
pub struct WeakRelease {
    inner: Weak<ReleaseInner>,
}

impl fmt::Debug for WeakRelease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WeakRelease(…)")
    }
}

impl WeakRelease {
    /// The release, if it is still in use.
    #[must_use]
    pub fn upgrade(&self) -> Option<Release> {
        self.inner.upgrade().map(Release::from_inner)
    }
}

pub(crate) struct ReleaseInner {
    pub(crate) sandbox: Arc<SandboxInner>,
    pub(crate) inspection: Inspection,
    pub(crate) guest: contract::Guest,
    from_cache: bool,
    description: OnceCell<serde_json::Value>,
}

impl ReleaseInner {
    pub(crate) fn new(
        sandbox: Arc<SandboxInner>,
        inspection: Inspection,
        guest: contract::Guest,
        from_cache: bool,
    ) -> Self {
        Self {
            sandbox,
            inspection,
            guest,
            from_cache,
            description: OnceCell::new(),
        }
    }
}

impl fmt::Debug for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Release")
            .field("name", &self.inner.inspection.manifest.name)
            .field("version", &self.inner.inspection.manifest.version)
            .field("digest", &self.inner.inspection.digest)
            .finish_non_exhaustive()
    }
}

impl Release {
    pub(crate) fn from_inner(inner: Arc<ReleaseInner>) -> Self {
        Self { inner }
    }

    pub(crate) fn inner(&self) -> &ReleaseInner {
        &self.inner
    }

    /// A reference that does not keep it.
    #[must_use]
    pub fn downgrade(&self) -> WeakRelease {
        WeakRelease {
            inner: Arc::downgrade(&self.inner),
        }
    }

    /// The digest of its bytes.
    #[must_use]
    pub fn digest(&self) -> &Digest {
        &self.inner.inspection.digest
    }

    /// Manifest, roles and imports.
    #[must_use]
    pub fn inspection(&self) -> &Inspection {
        &self.inner.inspection
    }

    /// Whether the plugin has a role.
    #[must_use]
    pub fn has(&self, role: Role) -> bool {
        self.inner.inspection.roles.contains(&role)
    }

    /// Whether its machine code came from the cache on disk.
    #[must_use]
    pub fn from_cache(&self) -> bool {
        self.inner.from_cache
    }

    /// What the plugin says of itself (`meta.describe`), a JSON object. Asked once, without any grant; a failure is not kept.
    ///
    /// # Errors
    /// [`CallError`], also if the answer is not a JSON object of at most 1 MiB.
    pub async fn describe(&self) -> Result<serde_json::Value, CallError> {
        let described = self.inner.description.get_or_try_init(|| self.describe_afresh());
        described.await.cloned()
    }

    /// The same, asked again in an instance of its own: a plugin has to say the same every time.
    ///
    /// # Errors
    /// As [`Release::describe`].
    pub async fn describe_afresh(&self) -> Result<serde_json::Value, CallError> {
        let nobody = Arc::clone(&self.inner.sandbox.nobody);
        let bound = Bound::new(self, binding_of_nobody(), nobody, None).map_err(|error| CallError::Host {
            message: error.to_string(),
        })?;
        let called = call::run(
            self,
            &Arc::new(bound),
            None,
            (None, Priority::default(), &CallOptions::Usual),
            |guest, live, _| Box::pin(guest.describe(live)),
        )
        .await;
        called.result.and_then(|json| check::description(&json))
    }

    /// Puts a connection and this release together. Compiles the policy; calls nothing.
    ///
    /// # Errors
    /// [`BindError`] if configuration, grants or limits cannot be used.
    pub fn bind(&self, binding: Binding) -> Result<Session, BindError> {
        self.bound(binding, None)
    }

    /// The same for a session whose requests never reach the network: `answers` answers those that the policy allows. For trying a plugin out, against a
    /// script or a recording.
    ///
    /// # Errors
    /// As [`Release::bind`].
    pub fn bind_answered(&self, binding: Binding, answers: Arc<dyn Answers>) -> Result<Session, BindError> {
        self.bound(binding, Some(answers))
    }

    fn bound(&self, binding: Binding, answers: Option<Arc<dyn Answers>>) -> Result<Session, BindError> {
        let tenant = self
            .inner
            .sandbox
            .tenants
            .get(&binding.tenant, &binding.tenant_limits);
        let bound = Bound::new(self, binding, tenant, answers)?;
        Ok(Session::new(self.clone(), bound))
    }
}

/// For calls on nobody's behalf: no configuration, no grants.
fn binding_of_nobody() -> Binding {
    let name = stecker_model::Name::default_tenant();
    Binding {
        tenant: name.clone(),
        connection: name,
        config: "{}".to_owned(),
        grants: stecker_model::Grants::default(),
        limits: Limits::default(),
        http_bytes_today: 0,
        tenant_limits: stecker_model::TenantLimits::default(),
        instances: stecker_model::Instances::Fresh,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(TracingObserver),
    }
}
