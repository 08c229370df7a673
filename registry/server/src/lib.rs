//! The plugin registry. [`stecker_distribution`] is an OCI registry that knows nothing of what it keeps; here stands what may be published in it
//! when it is one of plugins:
//!
//! - **releases**, in the CNCF's layout of WebAssembly artifacts: an image manifest with a configuration of the type
//!   `application/vnd.wasm.config.v0+json` and one layer `application/wasm`, in the repository of the plugin's name, tagged with its version, both as
//!   the manifest inside of the component says. They pass the gate (`stecker_gate`) against the release before them;
//! - **what is said about a release**: manifests with a `subject` that is there, of a kind that is known here. A signature has to be one.
//!
//! - **what is done with releases afterwards**: found, yanked, deprecated, over an API of its own beside OCI's (`manage`).

mod gate;
mod manage;
mod serve;

use std::sync::Arc;

use axum::Router;
use stecker_distribution::Http;

pub use gate::{COSIGN_SIGNATURE, PluginGate};
pub use serve::{ServeError, ServeOptions, collect, serve};

/// A registry of plugins, to be served or merged at the root: OCI's paths, where packages are found, and the management of releases. `prefix` stands
/// before a plugin's name in the name of its repository, as for [`PluginGate::new`].
pub fn router(http: Http, prefix: &str) -> Router {
    let manage = manage::Manage {
        http: http.clone(),
        facts: manage::Facts::default(),
        prefix: prefix.to_owned(),
    };
    http.router().merge(manage::router(Arc::new(manage)))
}
