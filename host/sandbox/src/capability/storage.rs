//! The key/value store. Sizes of keys and values, and how often it is used, are checked here; the quota by whoever implements
//! [`Storage`](crate::Storage), within the write.
//!
//! A guest that asks too often is refused and not made to wait: every operation of it is a transaction that others wait behind.

use std::{
    future::Future,
    time::{Duration, Instant},
};

use stecker_model::{ErrorCode, Grants, PluginError, StorageGrant};
use stecker_registry::Manifest;

use crate::{
    binding::{Condition, Denial, Quota, StorageError, StoredEntry},
    call::{Caller, DeadlinePassed},
    capability::{
        bound::{Bound, Bucket, Layer, least},
        http::denied,
    },
};

const CAPABILITY: &str = "storage";
const MAX_KEY: usize = 512;
const MAX_VALUE: usize = 1 << 20;
const MAX_LIST: u32 = 1_000;
/// For one operation: a database that takes longer is in trouble, and an instance that waits for it is missing elsewhere.
const OPERATION: Duration = Duration::from_secs(5);

/// Who says no to storage, or what everybody together allows.
#[derive(Debug)]
pub(crate) enum Access {
    Granted(Room),
    Refused(Denial),
}

/// The bounds, each with the one who set it.
#[derive(Debug)]
pub(crate) struct Room {
    max_bytes: Bound<u64>,
    max_keys: Bound<u64>,
    ops_per_second: Bound<u32>,
    bucket: Bucket,
}

impl Access {
    /// What a manifest, an operator's grant and a tenant's ceiling (none: no ceiling) allow together.
    pub(crate) fn of(manifest: &Manifest, grants: &Grants, ceiling: Option<&Grants>) -> Self {
        let asked = manifest.capabilities.storage.as_ref().map(|asked| StorageGrant {
            max_bytes: asked.max_bytes,
            max_keys: asked.max_keys,
            ops_per_second: asked.ops_per_second,
        });
        let Some(asked) = asked else {
            return Self::Refused(nothing(Layer::Manifest, 1 << 20));
        };
        let Some(granted) = &grants.storage else {
            return Self::Refused(nothing(Layer::Grant, asked.max_bytes));
        };
        let ceiling = match ceiling.map(|ceiling| &ceiling.storage) {
            None => None,
            Some(Some(ceiling)) => Some(ceiling),
            Some(None) => {
                let least = asked.max_bytes.min(granted.max_bytes);
                return Self::Refused(nothing(Layer::Ceiling, least));
            }
        };
        Self::Granted(Room::of(&asked, granted, ceiling))
    }
}

/// The refusal of somebody who allows no storage at all.
fn nothing(layer: Layer, max_bytes: u64) -> Denial {
    layer.nothing(CAPABILITY, "using the key/value store", max_bytes)
}

impl Room {
    fn of(asked: &StorageGrant, granted: &StorageGrant, ceiling: Option<&StorageGrant>) -> Self {
        let ops_per_second = least(asked, granted, ceiling, |storage| storage.ops_per_second);
        Self {
            max_bytes: least(asked, granted, ceiling, |storage| storage.max_bytes),
            max_keys: least(asked, granted, ceiling, |storage| storage.max_keys),
            ops_per_second,
            bucket: Bucket::new(ops_per_second.value, Instant::now()),
        }
    }

    const fn quota(&self) -> Quota {
        Quota {
            max_bytes: self.max_bytes.value,
            max_keys: self.max_keys.value,
        }
    }

    fn denial(&self, error: &StorageError) -> Option<Denial> {
        let (rule, layer, asked, field, needed) = match error {
            StorageError::Quota { needed, max } => (
                "storage.quota",
                self.max_bytes.layer,
                format!("a write beyond the {max} bytes"),
                "max-bytes",
                *needed,
            ),
            StorageError::Keys { needed, max } => (
                "storage.keys",
                self.max_keys.layer,
                format!("another key beyond the {max}"),
                "max-keys",
                *needed,
            ),
            StorageError::Conflict { .. } | StorageError::Unavailable { .. } => return None,
        };
        Some(self.refusal(rule, layer, asked, &format!("{field} = {needed}")))
    }

    fn too_often(&self) -> Denial {
        let Bound { value, layer } = self.ops_per_second;
        self.refusal(
            "storage.rate",
            layer,
            format!("more than {value} operations of the key/value store in a second"),
            &format!("ops-per-second = {}", value.saturating_mul(2)),
        )
    }

    /// The table with what has to change in it. Where a table needs `max-bytes` to be one, the present number is given.
    fn refusal(&self, rule: &str, layer: Layer, asked: String, line: &str) -> Denial {
        let bytes = if line.starts_with("max-bytes") {
            String::new()
        } else {
            format!("max-bytes = {}\n", self.max_bytes.value)
        };
        Denial {
            rule: rule.to_owned(),
            layer: layer.name().to_owned(),
            asked,
            smallest_grant: format!("{}\n{bytes}{line}", layer.table(CAPABILITY)),
        }
    }
}

type Answer<T> = wasmtime::Result<Result<T, PluginError>>;

pub(crate) async fn get(caller: &Caller, key: &str) -> Answer<Option<StoredEntry>> {
    if let Err(error) = key_fits(key).and_then(|()| allowed(caller).map(drop)) {
        return Ok(Err(error));
    }
    within(caller, caller.bound.binding.storage.get(key)).await
}

pub(crate) async fn put(caller: &Caller, key: &str, value: Vec<u8>, condition: Condition) -> Answer<u64> {
    let quota = match value_fits(&value)
        .and_then(|()| key_fits(key))
        .and_then(|()| allowed(caller))
    {
        Ok(room) => room.quota(),
        Err(error) => return Ok(Err(error)),
    };
    within(
        caller,
        caller.bound.binding.storage.put(key, value, condition, quota),
    )
    .await
}

pub(crate) async fn delete(caller: &Caller, key: &str, condition: Condition) -> Answer<bool> {
    if let Err(error) = key_fits(key).and_then(|()| allowed(caller).map(drop)) {
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

/// Whether there is storage, and whether it is not used too often.
fn allowed(caller: &Caller) -> Result<&Room, PluginError> {
    let observer = &*caller.bound.binding.observer;
    match &caller.bound.storage {
        Access::Refused(denial) => Err(denied(observer, denial.clone())),
        Access::Granted(room) if room.bucket.take(Instant::now()) => Ok(room),
        Access::Granted(room) => {
            let mut error = denied(observer, room.too_often());
            // A denial of its kind for the operator; for the guest it passes by itself.
            ErrorCode::RateLimited.as_str().clone_into(&mut error.code);
            error.retry_after_ms = Some(1_000);
            Err(error)
        }
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

fn value_fits(value: &[u8]) -> Result<(), PluginError> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(PluginError::new(
        ErrorCode::Unsupported,
        format!("a value may have {MAX_VALUE} bytes; this one has {}", value.len()),
    ))
}

async fn within<T>(
    caller: &Caller,
    operation: impl Future<Output = Result<T, StorageError>> + Send,
) -> Answer<T> {
    let remaining = caller.remaining();
    match tokio::time::timeout(remaining.min(OPERATION), operation).await {
        Err(_elapsed) if remaining > OPERATION => Ok(Err(PluginError::new(
            ErrorCode::Transient,
            format!(
                "the storage did not answer within {} s; a write may or may not have been done",
                OPERATION.as_secs()
            ),
        ))),
        Err(_elapsed) => Err(wasmtime::Error::new(DeadlinePassed)),
        Ok(answer) => Ok(answer.map_err(|error| refused(caller, &error))),
    }
}

fn refused(caller: &Caller, error: &StorageError) -> PluginError {
    if let Access::Granted(room) = &caller.bound.storage
        && let Some(denial) = room.denial(error)
    {
        return denied(&*caller.bound.binding.observer, denial);
    }
    let code = match error {
        StorageError::Conflict { .. } => ErrorCode::Conflict,
        _ => ErrorCode::Transient,
    };
    PluginError::new(code, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(max_bytes: u64, max_keys: u64, ops_per_second: u32) -> StorageGrant {
        StorageGrant {
            max_bytes,
            max_keys,
            ops_per_second,
        }
    }

    fn manifest(storage: &str) -> Manifest {
        let text = format!(
            "name = \"tests/guest\"\nversion = \"1.0.0\"\ntitle = \"Guest\"\ncontract = \"1.0.0\"\n{storage}"
        );
        Manifest::from_toml(&text).unwrap()
    }

    fn grants(storage: Option<StorageGrant>) -> Grants {
        Grants {
            storage,
            ..Grants::default()
        }
    }

    #[test]
    fn nobody_who_allows_nothing_can_be_outvoted() {
        let asking = manifest("[capabilities.storage]\nmax-bytes = 500");
        let all = grants(Some(storage(1_000, 10, 10)));
        let none = grants(None);
        for (manifest, granted, ceiling, layer, grant) in [
            (
                &manifest(""),
                &all,
                None,
                "manifest",
                "[capabilities.storage]\nmax-bytes = 1048576",
            ),
            (
                &asking,
                &none,
                None,
                "grant",
                "[connection.grants.storage]\nmax-bytes = 500",
            ),
            (
                &asking,
                &all,
                Some(&none),
                "ceiling",
                "[ceiling.storage]\nmax-bytes = 500",
            ),
        ] {
            let Access::Refused(denial) = Access::of(manifest, granted, ceiling) else {
                panic!("{layer} allows nothing");
            };
            assert_eq!(
                (denial.layer.as_str(), denial.smallest_grant.as_str()),
                (layer, grant)
            );
        }
        assert!(matches!(
            Access::of(&asking, &all, Some(&all)),
            Access::Granted(_)
        ));
    }

    #[test]
    fn the_least_counts_and_whoever_set_it_is_named() {
        let ceiling = storage(900, 3, 50);
        let room = Room::of(&storage(1_000, 5, 10), &storage(900, 4, 200), Some(&ceiling));
        let quota = room.quota();
        assert_eq!((quota.max_bytes, quota.max_keys), (900, 3));
        let of = |denial: Denial| (denial.rule, denial.layer, denial.smallest_grant);
        let bytes = room.denial(&StorageError::Quota {
            needed: 901,
            max: 900,
        });
        assert_eq!(
            bytes.map(of),
            Some((
                "storage.quota".to_owned(),
                "grant".to_owned(),
                "[connection.grants.storage]\nmax-bytes = 901".to_owned()
            ))
        );
        let keys = room.denial(&StorageError::Keys { needed: 4, max: 3 });
        assert_eq!(
            keys.map(of),
            Some((
                "storage.keys".to_owned(),
                "ceiling".to_owned(),
                "[ceiling.storage]\nmax-bytes = 900\nmax-keys = 4".to_owned()
            ))
        );
        let (rule, layer, grant) = of(room.too_often());
        assert_eq!((rule.as_str(), layer.as_str()), ("storage.rate", "manifest"));
        assert!(grant.ends_with("ops-per-second = 20"), "{grant}");
        let other = StorageError::Conflict { current: None };
        assert_eq!(room.denial(&other), None);
    }

    #[test]
    fn a_bucket_gives_one_seconds_worth_at_once_and_then_as_time_passes() {
        let begun = Instant::now();
        let bucket = Bucket::new(10, begun);
        let taken = |at: Duration| (0..100).filter(|_| bucket.take(begun + at)).count();
        assert_eq!(taken(Duration::ZERO), 10);
        assert_eq!(taken(Duration::from_millis(99)), 0);
        assert_eq!(taken(Duration::from_millis(500)), 5);
        assert_eq!(
            taken(Duration::from_secs(3_600)),
            10,
            "it holds no more than one second's worth"
        );
        assert_eq!(
            taken(Duration::ZERO),
            0,
            "a clock that stands still gives nothing"
        );
    }
}
