//! What guests say and what is refused to them: the first goes into the host's log, the second into the books as well.

use std::sync::Arc;

use stecker_model::{Digest, Name, PluginUse};
use stecker_sandbox::{Denial, LogLevel, Observer, Release};
use stecker_store::NewDenial;

use crate::{books::Books, clock::Clock};

/// Watches the calls of one connection's plugin, or of one flow's transform.
pub(crate) struct Watch {
    tenant: Name,
    used_by: PluginUse,
    release: Digest,
    plugin: String,
    books: Arc<Books>,
    clock: Arc<dyn Clock>,
}

impl Watch {
    pub(crate) fn new(
        tenant: &Name,
        used_by: PluginUse,
        release: &Release,
        books: &Arc<Books>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        let manifest = &release.inspection().manifest;
        Self {
            tenant: tenant.clone(),
            used_by,
            release: release.digest().clone(),
            plugin: format!("{}@{}", manifest.name, manifest.version),
            books: Arc::clone(books),
            clock: Arc::clone(clock),
        }
    }
}

impl Observer for Watch {
    fn log(&self, level: LogLevel, message: &str, fields: &[(String, String)]) {
        let (tenant, kind, name) = (&self.tenant, self.used_by.kind(), self.used_by.name());
        match level {
            LogLevel::Trace => tracing::trace!(target: "guest", %tenant, kind, %name, ?fields, "{message}"),
            LogLevel::Debug => tracing::debug!(target: "guest", %tenant, kind, %name, ?fields, "{message}"),
            LogLevel::Info => tracing::info!(target: "guest", %tenant, kind, %name, ?fields, "{message}"),
            LogLevel::Warn => tracing::warn!(target: "guest", %tenant, kind, %name, ?fields, "{message}"),
            LogLevel::Error => tracing::error!(target: "guest", %tenant, kind, %name, ?fields, "{message}"),
        }
    }

    /// The log gets it at a level that is off as a rule: a guest chooses how often this happens, and `stecker denials` folds it.
    fn denied(&self, denial: &Denial) {
        let (tenant, kind, name) = (&self.tenant, self.used_by.kind(), self.used_by.name());
        tracing::debug!(%tenant, kind, %name, rule = denial.rule, layer = denial.layer, asked = denial.asked, "denied");
        let now = self.clock.now_ms();
        let denial = NewDenial {
            release: self.release.clone(),
            plugin: self.plugin.clone(),
            rule: denial.rule.clone(),
            layer: denial.layer.clone(),
            asked: denial.asked.clone(),
            smallest_grant: denial.smallest_grant.clone(),
            first_seen: now,
            last_seen: now,
            count: 1,
        };
        self.books.deny(&self.tenant, &self.used_by, denial);
    }
}
