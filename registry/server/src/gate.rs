//! What may be published.

use std::{fmt, time::SystemTime};

use async_trait::async_trait;
use jiff::Timestamp;
use semver::Version;
use serde_json::json;
use stecker_distribution::{
    Candidate, Digest, Gate, IMAGE_MANIFEST, Reference, Refusal, Registry, RegistryError, RepositoryName,
};
use stecker_gate::{GatePolicy, Previous, Severity, examine, predecessor};
use stecker_package::{BUNDLE, MANIFEST, about_of, layer_of, repository, tag};
use stecker_registry::{Inspection, component::digest};
use stecker_sandbox::Sandbox;
use stecker_trust::{Bundle, ReleaseSubject, bundle::Content, statement::StatementFault};

/// A signature as `cosign sign` pushes it.
pub const COSIGN_SIGNATURE: &str = "application/vnd.dev.cosign.artifact.sig.v1+json";

/// Bytes of a component, at most; what is larger is refused by the gate anyway.
pub(crate) const COMPONENT: u64 = 64 * 1024 * 1024;
/// Bytes of what is said about a release, at most.
const ABOUT: u64 = 4 * 1024 * 1024;

/// Lets plugins in, and what is said about them.
pub struct PluginGate {
    sandbox: Sandbox,
    policy: GatePolicy,
    prefix: String,
}

impl fmt::Debug for PluginGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PluginGate")
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

impl PluginGate {
    /// A gate that has releases examined in `sandbox` by `policy`. `prefix` stands before a plugin's name in the name of its repository, such as
    /// `plugins/`; may be empty.
    #[must_use]
    pub fn new(sandbox: Sandbox, policy: GatePolicy, prefix: &str) -> Self {
        Self {
            sandbox,
            policy,
            prefix: prefix.to_owned(),
        }
    }

    async fn release(&self, candidate: &Candidate<'_>) -> Result<(), Refusal> {
        let layer = layer_of(candidate.bytes)
            .map_err(|error| error.to_string())
            .and_then(|layer| own(&layer.digest))
            .map_err(|reason| refusal("not-a-release", reason))?;
        let component = candidate
            .blob(&layer, COMPONENT)
            .await
            .map_err(|error| failed(&error))?;
        let Some(component) = component else {
            return Err(refusal(
                "too-large",
                format!("the component {layer} has more than {COMPONENT} bytes"),
            ));
        };
        let inspection = stecker_registry::inspect(&component).map_err(|error| {
            refusal(
                error.code(),
                format!("the component cannot be published: {error}"),
            )
        })?;
        self.named(candidate, &inspection)?;
        if is_there(candidate).await? {
            return Ok(());
        }
        let released = released(candidate).await?;
        let before = predecessor(&inspection.manifest.version, &released).cloned();
        let before = match before {
            None => None,
            Some(version) => component_of(candidate.registry, candidate.repository, &version).await?,
        };
        let previous = Previous {
            component: before.as_deref(),
            released: &released,
        };
        let now = Timestamp::try_from(SystemTime::now())
            .map_err(|error| refusal("host-failed", error.to_string()))?;
        match examine(&self.sandbox, &component, Some(previous), &self.policy, now).await {
            Ok(_) => Ok(()),
            Err(refused) => {
                let findings: Vec<_> = refused
                    .findings()
                    .filter(|finding| finding.severity == Severity::Refusal)
                    .map(|finding| format!("{}: {} {}", finding.code.as_str(), finding.seen, finding.todo))
                    .collect();
                Err(Refusal {
                    message: format!("the gate refuses the release: {}", findings.join("; ")),
                    detail: serde_json::to_value(&refused.report).unwrap_or_default(),
                    denied: false,
                })
            }
        }
    }

    /// Repository and tags are those that the component itself says.
    fn named(&self, candidate: &Candidate<'_>, inspection: &Inspection) -> Result<(), Refusal> {
        let manifest = &inspection.manifest;
        let repository = repository(&self.prefix, &manifest.name);
        if candidate.repository.as_str() != repository {
            return Err(refusal(
                "other-name",
                format!(
                    "the component is {}, which belongs into `{repository}`, and not into `{}`",
                    manifest.name, candidate.repository
                ),
            ));
        }
        let version = manifest.version.to_string();
        let tag = tag(&version);
        match candidate.tags.iter().find(|given| given.as_str() != tag) {
            None => Ok(()),
            Some(given) => Err(refusal(
                "other-version",
                format!(
                    "the component is {}@{version}: its tag is `{tag}`, and not `{given}`",
                    manifest.name
                ),
            )),
        }
    }

    /// Something about a release that is there.
    async fn about(&self, candidate: &Candidate<'_>, subject: &Digest) -> Result<(), Refusal> {
        let kind = candidate.manifest.artifact_type.as_deref().unwrap_or_default();
        if ![BUNDLE, COSIGN_SIGNATURE, MANIFEST].contains(&kind) {
            return Err(refusal(
                "unknown-kind",
                format!(
                    "`{kind}` is nothing that is kept about a release here: {BUNDLE}, {COSIGN_SIGNATURE} and {MANIFEST} are"
                ),
            ));
        }
        // Whatever can be pulled as a release passes the gate as one: a subject and another name for it do not change what it is.
        if layer_of(candidate.bytes).is_ok() {
            return Err(refusal(
                "not-a-release",
                "a release is about nothing: push it without a `subject`".to_owned(),
            ));
        }
        if let Some(tag) = candidate.tags.first() {
            return Err(refusal(
                "tagged",
                format!(
                    "what is said about a release has no tag of its own, and not `{tag}`: push it by its digest"
                ),
            ));
        }
        let reference = Reference::Digest(subject.clone());
        let release = candidate
            .registry
            .manifest(candidate.repository, &reference)
            .await;
        let Some((_, _, release)) = release.map_err(|error| failed(&error))? else {
            return Err(refusal(
                "no-release",
                format!(
                    "it is about {subject}, which is not in `{}`: push the release first",
                    candidate.repository
                ),
            ));
        };
        if kind == COSIGN_SIGNATURE {
            return Ok(());
        }
        let content = about_of(candidate.bytes, kind)
            .map_err(|error| error.to_string())
            .and_then(|content| own(&content.digest))
            .map_err(|reason| {
                refusal(
                    "unknown-kind",
                    format!("it has not the layout of `{kind}`: {reason}"),
                )
            })?;
        let blob = candidate
            .blob(&content, ABOUT)
            .await
            .map_err(|error| failed(&error))?;
        let Some(blob) = blob else {
            return Err(refusal(
                "too-large",
                format!("{content} has more than {ABOUT} bytes"),
            ));
        };
        if kind == BUNDLE {
            let bundle = Bundle::from_json(&blob).map_err(|error| {
                refusal(
                    "bad-bundle",
                    format!("{content} is no Sigstore bundle that can be used: {error}"),
                )
            })?;
            let Some(inspection) = self.inspection_of(candidate, &release).await? else {
                return Ok(());
            };
            return match about_another(&bundle, &inspection, subject) {
                None => Ok(()),
                Some(reason) => Err(refusal("other-release-signed", format!("{content}: {reason}"))),
            };
        }
        let inspection = self.inspection_of(candidate, &release).await?;
        let said = inspection.map(|inspection| inspection.manifest.to_canonical_json());
        if said.as_deref().map(str::as_bytes) == Some(&blob[..]) {
            Ok(())
        } else {
            Err(refusal(
                "other-manifest",
                format!("{content} is not the manifest inside of the component of {subject}"),
            ))
        }
    }

    /// What a release's component is; none if it is not there any more.
    async fn inspection_of(
        &self,
        candidate: &Candidate<'_>,
        release: &[u8],
    ) -> Result<Option<Inspection>, Refusal> {
        let Some(layer) = layer_of(release).ok().and_then(|layer| own(&layer.digest).ok()) else {
            return Ok(None);
        };
        let component = candidate
            .registry
            .content(candidate.repository, &layer, COMPONENT)
            .await;
        let component = component.map_err(|error| failed(&error))?;
        Ok(component.and_then(|component| stecker_registry::inspect(&component).ok()))
    }
}

/// Why a signature is about another release than the one that it is pushed to; none: it may be about this one. Whether it is a good one is for whoever
/// loads the release, and what else is said of a release with a signature (a bill of materials) is not looked at.
fn about_another(bundle: &Bundle, inspection: &Inspection, image: &Digest) -> Option<String> {
    let subject = ReleaseSubject {
        name: inspection.manifest.name.clone(),
        version: inspection.manifest.version.clone(),
        component: inspection.digest.clone(),
        manifest: digest(inspection.manifest.to_canonical_json().as_bytes()),
        image: image.as_str().parse().ok(),
    };
    match &bundle.content {
        Content::Statement(envelope) => match subject.covered_by(&envelope.payload) {
            Err(fault @ (StatementFault::OtherDigest { .. } | StatementFault::OtherRelease { .. })) => {
                Some(fault.to_string())
            }
            _ => None,
        },
        Content::Message { digest, .. } => {
            let claimed = hex::encode(digest.as_ref()?);
            (claimed != subject.component.hex()).then(|| {
                format!(
                    "the signature is for a file with the digest sha256:{claimed}, and the component is {}",
                    subject.component
                )
            })
        }
    }
}

#[async_trait]
impl Gate for PluginGate {
    async fn admit(&self, candidate: Candidate<'_>) -> Result<(), Refusal> {
        if candidate.manifest.media_type != IMAGE_MANIFEST {
            return Err(refusal(
                "not-a-release",
                format!(
                    "`{}` is not kept here: a release is an image manifest (`{IMAGE_MANIFEST}`) of one component",
                    candidate.manifest.media_type
                ),
            ));
        }
        match &candidate.manifest.subject {
            Some(subject) => self.about(&candidate, subject).await,
            None => self.release(&candidate).await,
        }
    }
}

/// Whether it is published already, as all that it is to be published as: to push it again changes nothing.
async fn is_there(candidate: &Candidate<'_>) -> Result<bool, Refusal> {
    for tag in candidate.tags {
        let release = candidate.registry.release(candidate.repository, tag).await;
        let release = release.map_err(|error| failed(&error))?;
        if !release.is_some_and(|release| release.there && release.digest == *candidate.digest) {
            return Ok(false);
        }
    }
    if !candidate.tags.is_empty() {
        return Ok(true);
    }
    let reference = Reference::Digest(candidate.digest.clone());
    let there = candidate
        .registry
        .manifest(candidate.repository, &reference)
        .await;
    Ok(there.map_err(|error| failed(&error))?.is_some())
}

/// Every version that was ever released in the repository, yanked ones too.
async fn released(candidate: &Candidate<'_>) -> Result<Vec<Version>, Refusal> {
    let releases = candidate
        .registry
        .releases(candidate.repository)
        .await
        .map_err(|error| failed(&error))?;
    Ok(releases
        .iter()
        .filter_map(|release| release.tag.release())
        .collect())
}

/// The component of a release; none if it is not there any more.
async fn component_of(
    registry: &Registry,
    repository: &RepositoryName,
    version: &Version,
) -> Result<Option<Vec<u8>>, Refusal> {
    let Ok(tag) = version.to_string().parse() else {
        return Ok(None);
    };
    let found = registry
        .manifest(repository, &Reference::Tag(tag))
        .await
        .map_err(|error| failed(&error))?;
    let Some((_, _, bytes)) = found else {
        return Ok(None);
    };
    let Some(layer) = layer_of(&bytes).ok().and_then(|layer| own(&layer.digest).ok()) else {
        return Ok(None);
    };
    let component = registry.content(repository, &layer, COMPONENT).await;
    Ok(component.map_err(|error| failed(&error))?.map(Into::into))
}

/// The same digest, as the registry has it.
pub(crate) fn own(digest: &stecker_model::Digest) -> Result<Digest, String> {
    digest
        .as_str()
        .parse()
        .map_err(|error| format!("the digest {digest}: {error}"))
}

fn refusal(code: &str, message: String) -> Refusal {
    Refusal {
        message,
        detail: json!({ "code": code }),
        denied: false,
    }
}

fn failed(error: &RegistryError) -> Refusal {
    refusal(
        "host-failed",
        format!("the registry could not look at it: {error}"),
    )
}
