//! The rules that reach over several fields, checked after every field is well-formed by itself.

use semver::Version;
use stecker_model::HttpGrant;
use toml::de::{DeTable, DeValue};

use super::{BlobCapability, HttpCapability, Manifest, ManifestError, Upstream, check_credential};

/// The contract's version that has `blobs` first.
const BLOBS_SINCE: Version = Version::new(1, 1, 0);
const MAX_TITLE: usize = 80;
pub(super) const MAX_TEXT: usize = 2_000;
const MAX_MEMORY_MIB: u32 = 1_024;
const MAX_DEADLINE_MS: u64 = 3_600_000;
/// A rule that is broken at a place.
#[derive(Debug)]
pub(super) struct Fault {
    path: Vec<String>,
    message: String,
}

impl Fault {
    pub(super) fn new(path: &[&str], message: impl Into<String>) -> Self {
        Self {
            path: path.iter().map(|part| (*part).to_owned()).collect(),
            message: message.into(),
        }
    }

    fn text(&self) -> String {
        format!("`{}` {}", self.path.join("."), self.message)
    }

    pub(super) fn without_place(self) -> ManifestError {
        ManifestError::nowhere(self.text())
    }

    /// With line and column, or those of the nearest table around it if the field itself is not there.
    pub(super) fn located_in_toml(self, text: &str) -> ManifestError {
        match DeTable::parse(text) {
            Ok(table) => match offset_of(table.get_ref(), &self.path) {
                Some(offset) => ManifestError::at(text, offset, self.text()),
                None => self.without_place(),
            },
            Err(_) => self.without_place(),
        }
    }
}

fn offset_of(table: &DeTable<'_>, path: &[String]) -> Option<usize> {
    let (first, rest) = path.split_first()?;
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == first)?;
    let mut offset = key.span().start;
    let mut value = value;
    let mut rest = rest;
    loop {
        match (value.get_ref(), rest.split_first()) {
            (DeValue::Table(inner), Some(_)) => return offset_of(inner, rest).or(Some(offset)),
            (DeValue::Array(items), Some((index, after))) => {
                let Some(item) = index.parse::<usize>().ok().and_then(|index| items.get(index)) else {
                    return Some(offset);
                };
                offset = item.span().start;
                value = item;
                rest = after;
            }
            _ => return Some(offset),
        }
    }
}

pub(super) fn check(manifest: &Manifest) -> Result<(), Fault> {
    within(&["title"], &manifest.title, MAX_TITLE)?;
    if manifest.description.chars().count() > MAX_TEXT {
        return Err(Fault::new(
            &["description"],
            format!("is too long; keep it to {MAX_TEXT} characters"),
        ));
    }
    for (i, capability) in manifest.capabilities.http.iter().enumerate() {
        check_http(&i.to_string(), capability)?;
    }
    if let Some(storage) = &manifest.capabilities.storage {
        for (field, value) in [
            ("max-bytes", storage.max_bytes),
            ("max-keys", storage.max_keys),
            ("ops-per-second", storage.ops_per_second.into()),
        ] {
            if value == 0 {
                return Err(Fault::new(
                    &["capabilities", "storage", field],
                    "is 0, which is no storage; leave the table out or ask for at least 1",
                ));
            }
        }
    }
    if let Some(blobs) = &manifest.capabilities.blobs {
        check_blobs(blobs, &manifest.contract)?;
    }
    for (name, credential) in &manifest.credentials {
        check_credential::check(name.as_str(), credential, &manifest.capabilities.http)?;
    }
    for (i, upstream) in manifest.upstream.iter().enumerate() {
        check_upstream(&i.to_string(), upstream)?;
    }
    let limits = manifest.limits;
    if limits
        .memory_mib
        .is_some_and(|mib| !(1..=MAX_MEMORY_MIB).contains(&mib))
    {
        return Err(Fault::new(
            &["limits", "memory-mib"],
            format!("has to be 1 to {MAX_MEMORY_MIB}"),
        ));
    }
    if limits
        .deadline_ms
        .is_some_and(|ms| !(1..=MAX_DEADLINE_MS).contains(&ms))
    {
        return Err(Fault::new(
            &["limits", "deadline-ms"],
            format!("has to be 1 to {MAX_DEADLINE_MS} (an hour)"),
        ));
    }
    Ok(())
}

pub(super) fn within(path: &[&str], text: &str, max: usize) -> Result<(), Fault> {
    if text.trim().is_empty() || text.chars().count() > max {
        return Err(Fault::new(
            path,
            format!("has to be a text of 1 to {max} characters"),
        ));
    }
    Ok(())
}

fn check_http(index: &str, capability: &HttpCapability) -> Result<(), Fault> {
    let path = |field| ["capabilities", "http", index, field];
    for (field, is_empty) in [
        ("schemes", capability.schemes.is_empty()),
        ("hosts", capability.hosts.is_empty()),
        ("methods", capability.methods.is_empty()),
    ] {
        if is_empty {
            return Err(Fault::new(
                &path(field),
                "is empty, so no request would ever be allowed; name at least one",
            ));
        }
    }
    let mut paths = capability.paths.iter();
    if let Some(reason) = paths.find_map(|prefix| HttpGrant::path_fault(prefix)) {
        return Err(Fault::new(
            &path("paths"),
            format!("has a prefix that is none: {reason}"),
        ));
    }
    within(&path("purpose"), &capability.purpose, MAX_TEXT)
}

fn check_blobs(blobs: &BlobCapability, contract: &Version) -> Result<(), Fault> {
    for (field, value) in [
        ("max-bytes", blobs.max_bytes),
        ("max-blob-bytes", blobs.max_blob_bytes),
    ] {
        if value == 0 {
            return Err(Fault::new(
                &["capabilities", "blobs", field],
                "is 0, which is no room for a blob; leave the table out or ask for at least 1",
            ));
        }
    }
    if *contract < BLOBS_SINCE {
        return Err(Fault::new(
            &["capabilities", "blobs"],
            format!(
                "came with contract {BLOBS_SINCE}, and the plugin says that it is built against {contract}; build it against {BLOBS_SINCE} and say \
                 contract = \"{BLOBS_SINCE}\", or remove the table"
            ),
        ));
    }
    Ok(())
}

fn check_upstream(index: &str, upstream: &Upstream) -> Result<(), Fault> {
    within(&["upstream", index, "system"], &upstream.system, MAX_TITLE)?;
    within(
        &["upstream", index, "api-version"],
        &upstream.api_version,
        MAX_TITLE,
    )
}
