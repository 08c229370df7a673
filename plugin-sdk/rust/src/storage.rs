//! A small key/value store of the connection's own, kept over restarts and releases.
//!
//! Instances run side by side, so whatever is read, changed and written back goes through [`update`] or
//! [`put_if_version`]; a plain [`put`] may overwrite what another instance just wrote.

use crate::imports;
use crate::{Error, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use crate::bindings::host::stecker::plugin::storage::{Condition, Entry};

/// How often [`update`] starts over. Each time somebody else got through, so this many losses in a row mean that the key is
/// no place for what is done with it.
const UPDATE_ATTEMPTS: u32 = 16;

/// How many keys are asked for at once; the host gives no more.
const KEYS_AT_ONCE: u32 = 1_000;

/// The bytes under a key, with their version.
///
/// # Errors
/// What the host says.
pub fn get(key: &str) -> Result<Option<Entry>> {
    Ok(imports::storage::get(key)?)
}

/// The value under a key, from JSON.
///
/// # Errors
/// Code `data` if it does not fit the type, else what the host says.
pub fn get_json<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let Some(entry) = get(key)? else { return Ok(None) };
    serde_json::from_slice(&entry.value)
        .map(Some)
        .map_err(|error| Error::data(format!("what is stored under `{key}` does not fit: {error}")))
}

/// Writes, whatever is there. Returns the new version.
///
/// # Errors
/// What the host says, for example that the quota is used up.
pub fn put(key: &str, value: &[u8]) -> Result<u64> {
    Ok(imports::storage::put(key, value, Condition::Always)?)
}

/// Writes as JSON, whatever is there. Returns the new version.
///
/// # Errors
/// Code `data` if the value cannot be written as JSON, else what the host says.
pub fn put_json(key: &str, value: &impl Serialize) -> Result<u64> {
    put(key, &serde_json::to_vec(value)?)
}

/// Writes if the key is not there.
///
/// # Errors
/// Code `conflict` if it is, else what the host says.
pub fn put_if_absent(key: &str, value: &[u8]) -> Result<u64> {
    Ok(imports::storage::put(key, value, Condition::Absent)?)
}

/// Writes if the key is still at this version.
///
/// # Errors
/// Code `conflict` if it is not, else what the host says.
pub fn put_if_version(key: &str, value: &[u8], version: u64) -> Result<u64> {
    Ok(imports::storage::put(key, value, Condition::Version(version))?)
}

/// Reads, changes and writes back, starting over if somebody else wrote meanwhile. Returns what was written. `change` may run
/// several times, so it must do nothing else.
///
/// # Errors
/// Code `conflict` after 16 attempts, the error of `change`, or what the host says.
pub fn update<T, F>(key: &str, mut change: F) -> Result<T>
where
    T: Serialize + DeserializeOwned,
    F: FnMut(Option<T>) -> Result<T>,
{
    for _ in 0..UPDATE_ATTEMPTS {
        let entry = get(key)?;
        let current = match &entry {
            Some(entry) => Some(serde_json::from_slice(&entry.value).map_err(|error| {
                Error::data(format!("what is stored under `{key}` does not fit: {error}"))
            })?),
            None => None,
        };
        let next = change(current)?;
        let bytes = serde_json::to_vec(&next)?;
        let written = match entry {
            Some(entry) => put_if_version(key, &bytes, entry.version),
            None => put_if_absent(key, &bytes),
        };
        match written {
            Ok(_) => return Ok(next),
            Err(error) if error.code() == "conflict" => {}
            Err(error) => return Err(error),
        }
    }
    Err(Error::conflict(format!(
        "`{key}` was changed by others {UPDATE_ATTEMPTS} times in a row"
    )))
}

/// Removes a key; whether it was there.
///
/// # Errors
/// What the host says.
pub fn delete(key: &str) -> Result<bool> {
    Ok(imports::storage::delete(key, Condition::Always)?)
}

/// All keys that begin with `prefix`, ascending bytewise.
///
/// # Errors
/// What the host says.
pub fn keys(prefix: &str) -> Result<Vec<String>> {
    let mut all: Vec<String> = Vec::new();
    loop {
        let some = imports::storage::list_keys(prefix, all.last().map(String::as_str), KEYS_AT_ONCE)?;
        let done = some.len() < KEYS_AT_ONCE as usize;
        all.extend(some);
        if done {
            return Ok(all);
        }
    }
}
