//! What changes between two releases of a plugin, for the gates at publishing and at upgrading.
//!
//! - [`schema`]: is every configuration that was valid still valid?
//! - [`capability`]: what does the new release ask for that the old one did not?

pub mod capability;
mod contain;
mod facts;
pub mod schema;

pub use capability::{CapabilityDiff, Change, ChangeKind};
pub use schema::{Compatibility, Finding};

use semver::Version;
use serde_json::Value;

use crate::resolve::Step;

/// The comparison of two configuration schemas, where the step between the versions promises that configurations stay valid; none where it does not
/// (another major, or before 1.0 another minor).
#[must_use]
pub fn config_step(old: (&Version, &Value), new: (&Version, &Value)) -> Option<Compatibility> {
    match Step::between(old.0, new.0) {
        Step::Same | Step::Patch | Step::Minor => Some(schema::compare(old.1, new.1)),
        Step::Major | Step::Back => None,
    }
}

#[cfg(test)]
mod oracle_tests;
