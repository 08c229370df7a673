//! The package model of plugins: what a release says of itself, and what its bytes say of it.
//!
//! A release is one file, a WebAssembly component. Its manifest lies in it as a custom section, so that digest and signature cover both
//! and neither can be swapped alone. Everything else (roles, imports, the version of the contract) is read off the component's
//! type: [`inspect`] never runs a plugin, and it treats the bytes as a stranger's.
//!
//! - [`manifest`]: `plugin.toml`, what the author declares and asks for.
//! - [`contract`]: the roles and imports of the contract, by name.
//! - [`component`]: reading a component, and embedding the manifest.
//! - [`section`]: the outermost framing of WebAssembly files.

mod caps;
pub mod component;
pub mod contract;
mod error;
pub mod manifest;
pub mod section;

pub use component::{InspectLimits, Inspection, embed_manifest, inspect, inspect_with};
pub use contract::{Kind, Role};
pub use error::InspectError;
pub use manifest::{Manifest, ManifestError, PluginName};
