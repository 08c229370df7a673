//! The key/value store. Sizes of keys and values are checked here, the quota by whoever implements [`Storage`](crate::Storage).

use std::future::Future;

use stecker_model::{ErrorCode, Grants, PluginError, StorageGrant};
use stecker_registry::Manifest;

use crate::{
    binding::{Condition, Denial, StorageError, StoredEntry},
    call::{Caller, DeadlinePassed},
    capability::http::denied,
};

const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;
const MAX_LIST: u32 = 1_000;

/// Who says no to storage, if anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Access {
    Granted,
    NotAskedFor,
    NotGranted { asked: u64 },
}

impl Access {
    pub(crate) fn of(manifest: &Manifest, grants: &Grants) -> Self {
        match (&manifest.capabilities.storage, &grants.storage) {
            (None, _) => Self::NotAskedFor,
            (Some(asked), None) => Self::NotGranted {
                asked: asked.max_bytes,
            },
            (Some(_), Some(StorageGrant { .. })) => Self::Granted,
        }
    }

    fn denial(&self) -> Option<Denial> {
        let (layer, smallest_grant) = match self {
            Self::Granted => return None,
            Self::NotAskedFor => (
                "manifest",
                "[capabilities.storage]\nmax-bytes = 1048576".to_owned(),
            ),
            Self::NotGranted { asked } => (
                "grant",
                format!("[connection.grants.storage]\nmax-bytes = {asked}"),
            ),
        };
        Some(Denial {
            rule: "storage".to_owned(),
            layer: layer.to_owned(),
            asked: "using the key/value store".to_owned(),
            smallest_grant,
        })
    }
}

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

pub(crate) async fn get(caller: &Caller, key: &str) -> Answer<Option<StoredEntry>> {
    if let Err(error) = allowed(caller).and_then(|()| key_fits(key)) {
        return Ok(Err(error));
    }
    within(caller, caller.bound.binding.storage.get(key)).await
}

pub(crate) async fn put(caller: &Caller, key: &str, value: Vec<u8>, condition: Condition) -> Answer<u64> {
    if let Err(error) = allowed(caller).and_then(|()| key_fits(key)) {
        return Ok(Err(error));
    }
    if value.len() > MAX_VALUE {
        return Ok(Err(PluginError::new(
            ErrorCode::Unsupported,
            format!("a value may have {MAX_VALUE} bytes; this one has {}", value.len()),
        )));
    }
    within(caller, caller.bound.binding.storage.put(key, value, condition)).await
}

pub(crate) async fn delete(caller: &Caller, key: &str, condition: Condition) -> Answer<bool> {
    if let Err(error) = allowed(caller).and_then(|()| key_fits(key)) {
        return Ok(Err(error));
    }
    within(caller, caller.bound.binding.storage.delete(key, condition)).await
}

pub(crate) async fn list_keys(
    caller: &Caller,
    prefix: &str,
    after: Option<&str>,
    limit: u32,
) -> Answer<Vec<String>> {
    if let Err(error) = allowed(caller) {
        return Ok(Err(error));
    }
    let limit = limit.clamp(1, MAX_LIST);
    within(
        caller,
        caller.bound.binding.storage.list_keys(prefix, after, limit),
    )
    .await
}

fn allowed(caller: &Caller) -> Result<(), PluginError> {
    match caller.bound.storage.denial() {
        None => Ok(()),
        Some(denial) => Err(denied(&*caller.bound.binding.observer, denial)),
    }
}

fn key_fits(key: &str) -> Result<(), PluginError> {
    if (1..=MAX_KEY).contains(&key.len()) {
        return Ok(());
    }
    Err(PluginError::new(
        ErrorCode::Unsupported,
        format!(
            "a key has to have 1 to {MAX_KEY} bytes; this one has {}",
            key.len()
        ),
    ))
}

async fn within<T>(
    caller: &Caller,
    operation: impl Future<Output = Result<T, StorageError>> + Send,
) -> Answer<T> {
    match tokio::time::timeout(caller.remaining(), operation).await {
        Err(_elapsed) => Err(wasmtime::Error::new(DeadlinePassed)),
        Ok(answer) => Ok(answer.map_err(|error| match &error {
            StorageError::Conflict { .. } => PluginError::new(ErrorCode::Conflict, error.to_string()),
            StorageError::Unavailable { .. } => PluginError::new(ErrorCode::Transient, error.to_string()),
            StorageError::Quota { needed, .. } => denied(
                &*caller.bound.binding.observer,
                Denial {
                    rule: "storage.quota".to_owned(),
                    layer: "grant".to_owned(),
                    asked: format!("a write ({error})"),
                    smallest_grant: format!("[connection.grants.storage]\nmax-bytes = {needed}"),
                },
            ),
        })),
    }
}
