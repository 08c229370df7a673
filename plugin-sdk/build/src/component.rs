//! From the compiler's module to the file of a release.

use stecker_registry::{Inspection, Manifest, embed_manifest, inspect, section};
use wit_component::ComponentEncoder;

use crate::BuildError;

/// The component with its manifest, and what a host will read off it.
pub(crate) fn finish(
    package: &str,
    module: &[u8],
    manifest: &Manifest,
) -> Result<(Vec<u8>, Inspection), BuildError> {
    let failed = |message: String| BuildError::Encode {
        package: package.to_owned(),
        message,
    };
    // Debug information is most of the bytes of a debug build and no use to a host. The section `name` stays: backtraces of a
    // trap live on it.
    let module = section::without_custom_sections(module, |name| name.starts_with(".debug_"))
        .map_err(|error| failed(error.to_string()))?;
    let encode = || {
        ComponentEncoder::default()
            .validate(true)
            .module(&module)?
            .encode()
    };
    let component = encode().map_err(|error| failed(format!("{error:#}")))?;
    let refused = |source| BuildError::Refused {
        package: package.to_owned(),
        source,
    };
    let bytes = embed_manifest(&component, manifest).map_err(refused)?;
    let inspection = inspect(&bytes).map_err(refused)?;
    Ok((bytes, inspection))
}
