//! The order of the gate.

use std::sync::Arc;

use jiff::{Timestamp, tz::TimeZone};
use semver::Version;
use serde_json::Value;
use stecker_model::Digest;
use stecker_registry::{Inspection, contract};
use stecker_sandbox::{CallError, LoadError, Release, Sandbox};
use stecker_trust::resolve::Step;

use crate::{
    Code, GatePolicy, GateReport, Refusals, changes, conformance, findings::Findings, upstreams, version,
    world,
};

/// What was released before.
#[derive(Debug, Clone, Copy)]
pub struct Previous<'a> {
    /// The bytes of the release to compare with; [`predecessor`](crate::predecessor) says which that is. None: there is no such release.
    pub component: Option<&'a [u8]>,
    /// Every version of the plugin that was published and not taken back altogether, yanked ones included.
    pub released: &'a [Version],
}

/// The versions of the contract that a component is linked against: all that this build of the host offers.
#[must_use]
pub fn contracts() -> Vec<Version> {
    contract::VERSIONS.to_vec()
}

/// Examines a release. `previous` is none for a plugin that was never published, and at a host that only installs. Dropping the future ends it.
///
/// # Errors
/// [`Refusals`]: something was found that is a refusal by the policy. Its report is as complete as one that passes, up to the step at which
/// nothing more could be looked at; the run in the sandbox comes last, and only if nothing else was a refusal.
pub async fn examine(
    sandbox: &Sandbox,
    component: &[u8],
    previous: Option<Previous<'_>>,
    policy: &GatePolicy,
    now: Timestamp,
) -> Result<GateReport, Refusals> {
    let mut report = GateReport {
        stage: policy.stage,
        examined_at: now,
        passes: false,
        digest: None,
        plugin: None,
        version: None,
        contract: None,
        linked: Vec::new(),
        compared_with: None,
        findings: Vec::new(),
        conformance: None,
    };
    let mut findings = Findings::new(policy);
    match loaded(sandbox, component).await {
        Err((code, seen)) => findings.add(code, &seen),
        Ok(new) => {
            let inspection = new.inspection();
            report.digest = Some(new.release.digest().clone());
            report.plugin = Some(inspection.manifest.name.clone());
            report.version = Some(inspection.manifest.version.clone());
            report.contract = Some(inspection.contract.clone());
            report.linked = contracts();
            if let Some(previous) = previous {
                report.compared_with = compare(sandbox, previous, &new, policy, &mut findings).await;
            } else {
                version::check(&inspection.manifest.version, &[], None, &mut findings);
            }
            let today = now.to_zoned(TimeZone::UTC).date();
            upstreams::check(&inspection.manifest, today, &mut findings);
            if let Some(policy) = &policy.conformance
                && !findings.has_refusal()
            {
                let conformance = conformance::run(&new.release, &new.description, policy).await;
                conformance.tell(&mut findings);
                report.conformance = Some(conformance);
            }
        }
    }
    report.passes = !findings.has_refusal();
    report.findings = findings.into_list();
    if report.passes {
        Ok(report)
    } else {
        Err(Refusals {
            report: Box::new(report),
        })
    }
}

/// A release that was loaded.
#[derive(Clone)]
struct Loaded {
    bytes: Arc<[u8]>,
    release: Release,
    description: Value,
}

impl Loaded {
    fn inspection(&self) -> &Inspection {
        self.release.inspection()
    }

    fn version(&self) -> &Version {
        &self.inspection().manifest.version
    }
}

/// Capped, validated, compiled, linked, and asked what it is.
async fn loaded(sandbox: &Sandbox, component: &[u8]) -> Result<Loaded, (Code, String)> {
    let bytes: Arc<[u8]> = Arc::from(component);
    let release = sandbox
        .load(Arc::clone(&bytes))
        .await
        .map_err(|error| (code_of(&error), error.to_string()))?;
    match release.describe().await {
        Ok(description) => Ok(Loaded {
            bytes,
            release,
            description,
        }),
        Err(
            error @ (CallError::Busy { .. } | CallError::TenantOutOfMemory { .. } | CallError::Host { .. }),
        ) => Err((Code::HostFailed, error.to_string())),
        Err(error) => Err((Code::NotDescribed, error.to_string())),
    }
}

fn code_of(error: &LoadError) -> Code {
    match error {
        LoadError::Inspect(error) => Code::parse(error.code()).unwrap_or(Code::Invalid),
        LoadError::Compile { .. } => Code::Compile,
        LoadError::CompileBounds { .. } => Code::CompileBounds,
        LoadError::DoesNotFit { .. } => Code::DoesNotFit,
        LoadError::Link { .. } => Code::Link,
        _ => Code::HostFailed,
    }
}

/// Everything that is about the release before. Returns its digest, if it could be looked at.
async fn compare(
    sandbox: &Sandbox,
    previous: Previous<'_>,
    new: &Loaded,
    policy: &GatePolicy,
    findings: &mut Findings<'_>,
) -> Option<Digest> {
    let manifest = &new.inspection().manifest;
    let number = |findings: &mut Findings<'_>| {
        let explanation = policy.explanation.as_deref();
        version::check(&manifest.version, previous.released, explanation, findings);
    };
    let Some(bytes) = previous.component else {
        number(findings);
        return None;
    };
    let old = match loaded(sandbox, bytes).await {
        Ok(loaded) => loaded,
        Err((_, why)) => {
            findings.add(
                Code::PreviousUnreadable,
                &format!("the release before does not load: {why}"),
            );
            number(findings);
            return None;
        }
    };
    let digest = old.release.digest().clone();
    let old_manifest = &old.inspection().manifest;
    if old_manifest.name != manifest.name {
        let (its, name) = (&old_manifest.name, &manifest.name);
        findings.add(
            Code::OtherPlugin,
            &format!("the release before is of {its}, this one of {name}"),
        );
        return Some(digest);
    }
    // The same bytes again are the same release.
    if &digest == new.release.digest() {
        return Some(digest);
    }
    number(findings);
    version::check_breaking((old.version(), new.version()), manifest.breaking.len(), findings);
    worlds(&old, new, findings).await;
    changes::configuration(
        (old.version(), &old.description),
        (new.version(), &new.description),
        findings,
    );
    changes::capabilities(old_manifest, manifest, findings);
    Some(digest)
}

async fn worlds(old: &Loaded, new: &Loaded, findings: &mut Findings<'_>) {
    // Reading a component of some megabytes keeps a thread busy.
    let (before, after) = (old.clone(), new.clone());
    let compared = tokio::task::spawn_blocking(move || {
        world::compare(
            (&before.bytes, before.inspection()),
            (&after.bytes, after.inspection()),
        )
    });
    let difference = match compared.await.unwrap_or_else(|error| Err(error.to_string())) {
        Ok(difference) => difference,
        Err(why) => {
            findings.add(
                Code::PreviousUnreadable,
                &format!("the two worlds could not be compared: {why}"),
            );
            return;
        }
    };
    let (before, contract) = (&old.inspection().contract, &new.inspection().contract);
    if contract > before {
        findings.add(
            Code::ContractRaised,
            &format!("built against {contract} of the contract, the release before against {before}"),
        );
    }
    findings.add_each(
        Code::ImportsGrew,
        difference
            .imports_added
            .iter()
            .map(|name| format!("imports `{name}` in addition")),
    );
    if matches!(
        Step::between(old.version(), new.version()),
        Step::Major | Step::Back
    ) {
        return;
    }
    findings.add_each(
        Code::RoleRemoved,
        difference
            .roles_removed
            .iter()
            .map(|role| format!("the role `{role}` is gone")),
    );
    findings.add_each(
        Code::ExportRemoved,
        difference.removed.iter().map(|name| format!("`{name}` is gone")),
    );
    findings.add_each(
        Code::ExportChanged,
        difference
            .changed
            .iter()
            .map(|name| format!("`{name}` has another type")),
    );
}
