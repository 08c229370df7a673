//! The plugin registry. [`stecker_distribution`] is an OCI registry that knows nothing of what it keeps; here stands what may be published in it
//! when it is one of plugins:
//!
//! - **releases**, in the CNCF's layout of WebAssembly artifacts: an image manifest with a configuration of the type
//!   `application/vnd.wasm.config.v0+json` and one layer `application/wasm`, in the repository of the plugin's name, tagged with its version, both as
//!   the manifest inside of the component says. They pass the gate (`stecker_gate`) against the release before them;
//! - **what is said about a release**: manifests with a `subject` that is there, of a kind that is known here. A signature has to be one.

mod gate;
mod serve;

pub use gate::{COSIGN_SIGNATURE, PluginGate};
pub use serve::{ServeError, ServeOptions, serve};
