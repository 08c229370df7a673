//! How the contract in `wit/` may change, as code: what was published stays byte by byte, and a version has everything of the one before it
//! in the same major, unchanged.
//!
//! The component model links by exact type, so a record that grew by a field shuts out every plugin that is in use. The linker would say so,
//! but only on the machine of somebody who upgraded; here it is said before.
//!
//! - [`frozen`]: published folders against the list of their digests beside them.
//! - [`rules`]: what a version may not do to the one before it.
//! - [`corpus`]: plugins built against each version, kept as bytes.

pub mod corpus;
pub mod frozen;
pub mod rules;

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use semver::Version;

/// Every version in a folder like `wit/`, ascending.
///
/// # Errors
/// The folder cannot be read.
pub fn versions(wit: &Path) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(wit).with_context(|| format!("{} cannot be read", wit.display()))? {
        if let Ok(version) = Version::parse(&entry?.file_name().to_string_lossy()) {
            versions.push(version);
        }
    }
    versions.sort();
    Ok(versions)
}

/// What is wrong with a folder like `wit/`, in words for whoever changed it; empty: nothing.
///
/// # Errors
/// A file cannot be read, or is not WIT.
pub fn faults(wit: &Path) -> Result<Vec<String>> {
    let mut faults = frozen::faults(wit)?;
    let versions = versions(wit)?;
    for (earlier, later) in versions.iter().zip(versions.iter().skip(1)) {
        if earlier.major != later.major {
            continue;
        }
        let read = |version: &Version| rules::Contract::read(&wit.join(version.to_string()));
        let broken = rules::broken(&read(earlier)?, &read(later)?)?;
        faults.extend(
            broken
                .into_iter()
                .map(|breach| format!("{earlier} → {later}: {breach}")),
        );
    }
    Ok(faults)
}
