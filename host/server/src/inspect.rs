//! A look at a component file, before anybody has it as a release.

use std::{path::Path, time::SystemTime};

use jiff::Timestamp;
use serde::Serialize;
use stecker_gate::{GatePolicy, GateReport, Previous};
use stecker_model::api::Problem;
use stecker_registry::Inspection;
use stecker_sandbox::{Sandbox, SandboxOptions};

use crate::problem;

/// What a component is.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct ReleaseReport {
    /// By its type and its manifest.
    #[serde(flatten)]
    pub inspection: Inspection,
    /// What it says of itself (`meta.describe`): configuration schema, streams, credentials.
    pub description: serde_json::Value,
}

/// Reads a component, compiles it, and has it describe itself in the sandbox, without any grant. `cache` keeps what was compiled.
///
/// # Errors
/// What is wrong with it, and what its author can do.
pub async fn inspect_component(bytes: Vec<u8>, cache: Option<&Path>) -> Result<ReleaseReport, Problem> {
    let refused = |error: String| problem::flow(stecker_flow::FlowError::Load(error));
    let sandbox = sandbox(cache)?;
    let release = sandbox
        .load(bytes)
        .await
        .map_err(|error| refused(error.to_string()))?;
    let description = release
        .describe()
        .await
        .map_err(|error| problem::flow(error.into()))?;
    Ok(ReleaseReport {
        inspection: release.inspection().clone(),
        description,
    })
}

/// What the gate says about a component, compared with the release before it if there is one. It is the answer whether the component passes or not.
///
/// # Errors
/// There is no sandbox to be had, or the clock cannot be read.
pub async fn check_component(
    component: &[u8],
    previous: Option<&[u8]>,
    policy: &GatePolicy,
    cache: Option<&Path>,
) -> Result<GateReport, Problem> {
    let sandbox = sandbox(cache)?;
    let now = Timestamp::try_from(SystemTime::now()).map_err(|error| problem::internal(error.to_string()))?;
    // One that cannot be read has no version; the gate says what is wrong with it.
    let released: Vec<_> = previous
        .and_then(|bytes| stecker_registry::inspect(bytes).ok())
        .map(|inspection| inspection.manifest.version)
        .into_iter()
        .collect();
    let previous = previous.map(|component| Previous {
        component: Some(component),
        released: &released,
    });
    let examined = stecker_gate::examine(&sandbox, component, previous, policy, now).await;
    Ok(examined.unwrap_or_else(|refused| *refused.report))
}

fn sandbox(cache: Option<&Path>) -> Result<Sandbox, Problem> {
    let options = SandboxOptions {
        cache_dir: cache.map(Path::to_owned),
        ..SandboxOptions::default()
    };
    Sandbox::new(options).map_err(|error| problem::internal(error.to_string()))
}
