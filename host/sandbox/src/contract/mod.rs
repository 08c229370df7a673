//! The contract's versions, side by side: what guests import is linked once for each of them, and ends up in the same capabilities. Checks and
//! policy live elsewhere, on the model's types, so that they are the same for every version.
//!
//! - The newest version has a folder: its imports, its calls, and what translates between its generated types and [`stecker_model`]. Roles never
//!   change within a major, and the engine finds an export by its semver track, so these calls are good for the roles of every version.
//! - Each earlier version has one file, with its imports and nothing else. It translates once, at the edge, and is deleted when the version's
//!   time is over.
//!
//! A new version is a new folder; the one before becomes a file. A guest of a later minor version than the newest here gets the newest's imports
//! by its track, and one that asks for more than they have was refused when its component was inspected.

mod v1_0;
mod v1_1;

use wasmtime::component::Linker;

use crate::call::CallState;
pub(crate) use v1_1::{Guest, Loaded};

/// All versions that are offered ([`stecker_registry::contract::VERSIONS`]).
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    v1_0::add_to_linker(linker)?;
    v1_1::add_to_linker(linker)
}
