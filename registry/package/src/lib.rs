//! A release on the wire: the layout of WebAssembly artifacts in OCI registries
//! (<https://tag-runtime.cncf.io/wgs/wasm/deliverables/wasm-oci-artifact/>), and the referrers that carry what is said about a release.
//!
//! No I/O: a component's bytes become blobs and manifests ([`Release::of`]), and manifests become the digests to be fetched ([`layer_of`],
//! [`about_of`]). The same component always becomes the same manifest, byte for byte, so that a release that is published twice is published once:
//! there is no time in it.

mod manage;
mod read;
mod write;

pub use manage::{
    DeprecateRelease, DeprecatedRelease, ListedRelease, MANAGEMENT, ReleaseDetail, ReleasePage,
    SignatureNote, YankRelease, YankedRelease,
};
pub use read::{ArtifactError, Described, about_of, layer_of, referrers_of};
pub use write::{About, Blob, Release};

/// The type of an image manifest.
pub const IMAGE_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// The type of a release's configuration.
pub const WASM_CONFIG: &str = "application/vnd.wasm.config.v0+json";
/// The type of a release's layer, which is the component as it is.
pub const WASM_LAYER: &str = "application/wasm";
/// The empty configuration of artifacts that need none, `{}`.
pub const EMPTY: &str = "application/vnd.oci.empty.v1+json";
/// A Sigstore bundle about a release.
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";
/// A plugin's manifest, to be read without the component.
pub const MANIFEST: &str = "application/vnd.stecker.manifest.v1+json";

/// Bytes of a manifest, at most: what the specification asks registries to take.
pub const MAX_MANIFEST: usize = 4 * 1024 * 1024;

/// The repository of a plugin below a prefix, such as `plugins/`; may be empty.
#[must_use]
pub fn repository(prefix: &str, name: &stecker_registry::PluginName) -> String {
    format!("{prefix}{name}")
}

/// The tag of a version. A tag has no `+`; it is written as `_`, as Helm does.
#[must_use]
pub fn tag(version: &str) -> String {
    version.replace('+', "_")
}
