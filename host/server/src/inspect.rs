//! A look at a component file, before anybody has it as a release.

use std::path::Path;

use serde::Serialize;
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
    let options = SandboxOptions {
        cache_dir: cache.map(Path::to_owned),
        ..SandboxOptions::default()
    };
    let refused = |error: String| problem::flow(stecker_flow::FlowError::Load(error));
    let sandbox = Sandbox::new(options).map_err(|error| problem::internal(error.to_string()))?;
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
