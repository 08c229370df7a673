//! What was published is not edited: `wit/frozen.sha256` has the digest of every file of every published version, in the form of `sha256sum`,
//! so that `sha256sum --check` in that folder says the same without this code.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

/// The list, in the folder of the versions.
pub const LIST: &str = "frozen.sha256";

/// What differs from the list.
///
/// # Errors
/// A file cannot be read, or the list is not one.
pub fn faults(wit: &Path) -> Result<Vec<String>> {
    let path = wit.join(LIST);
    let text = fs::read_to_string(&path).with_context(|| format!("{} cannot be read", path.display()))?;
    let (published, found) = (parse(&text)?, digests(wit)?);
    let mut faults = Vec::new();
    for (file, digest) in &published {
        match found.get(file) {
            None => faults.push(format!(
                "{file} is gone; it was published, and a published version stays as it is. Put it back"
            )),
            Some(now) if now != digest => faults.push(format!(
                "{file} was changed; it was published, and a published version stays as it is. Undo the change, and make it in a new version"
            )),
            Some(_) => {}
        }
    }
    let folder_of = |file: &str| file.split('/').next().unwrap_or_default().to_owned();
    let folders: BTreeSet<String> = published.keys().map(|file| folder_of(file)).collect();
    for file in found.keys().filter(|file| !published.contains_key(*file)) {
        let folder = folder_of(file);
        faults.push(if folders.contains(&folder) {
            format!("{file} was added to a published version. Remove it, and add it to a new version")
        } else {
            format!(
                "{file} is not in {LIST}. If version {folder} is published with this change, add it (in wit/: sha256sum {folder}/* >> {LIST})"
            )
        });
    }
    Ok(faults)
}

fn parse(text: &str) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for line in text.lines() {
        let Some((digest, file)) = line.split_once("  ") else {
            bail!("{LIST} has the line `{line}`, which is not a digest, two blanks and a file");
        };
        digests.insert(file.to_owned(), digest.to_owned());
    }
    Ok(digests)
}

fn digests(wit: &Path) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for version in crate::versions(wit)? {
        let folder = wit.join(version.to_string());
        for entry in fs::read_dir(&folder).with_context(|| format!("{} cannot be read", folder.display()))? {
            let path = entry?.path();
            let bytes = fs::read(&path).with_context(|| format!("{} cannot be read", path.display()))?;
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            digests.insert(format!("{version}/{name}"), hex::encode(Sha256::digest(bytes)));
        }
    }
    Ok(digests)
}
