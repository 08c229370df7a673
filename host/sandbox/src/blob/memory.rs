//! Blobs in memory: for tests, and for embedders whose blobs are small and need not outlast the process.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use stecker_model::{Digest, Name};

use super::{BlobError, BlobQuota, BlobStore, BlobStream, BlobWriter};

/// Of one piece that is handed out.
const PIECE: usize = 64 << 10;

/// The blobs of all tenants, in memory. Cheap to clone; all clones are the same.
#[derive(Clone, Default)]
pub struct MemoryBlobs(Arc<Mutex<HashMap<Name, Tenant>>>);

#[derive(Default)]
struct Tenant {
    content: HashMap<Digest, Bytes>,
    held: HashMap<Name, HashSet<Digest>>,
}

impl fmt::Debug for MemoryBlobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryBlobs(…)")
    }
}

impl MemoryBlobs {
    /// The blobs of a tenant, as one of its connections has them.
    #[must_use]
    pub fn of(&self, tenant: &Name, connection: &Name) -> Arc<dyn BlobStore> {
        Arc::new(Room {
            blobs: self.clone(),
            tenant: tenant.clone(),
            connection: connection.clone(),
        })
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.tenants().clear();
    }

    /// Puts bytes there for a connection, under the digest that they are said to have.
    pub fn put(&self, tenant: &Name, connection: &Name, digest: &Digest, bytes: impl Into<Bytes>) {
        let mut tenants = self.tenants();
        let tenant = tenants.entry(tenant.clone()).or_default();
        tenant.content.insert(digest.clone(), bytes.into());
        tenant
            .held
            .entry(connection.clone())
            .or_default()
            .insert(digest.clone());
    }

    /// The digests of what a connection has put there, ascending.
    #[must_use]
    pub fn held(&self, tenant: &Name, connection: &Name) -> Vec<Digest> {
        let tenants = self.tenants();
        let held = tenants.get(tenant).and_then(|tenant| tenant.held.get(connection));
        let mut held: Vec<Digest> = held.into_iter().flatten().cloned().collect();
        held.sort();
        held
    }

    fn tenants(&self) -> MutexGuard<'_, HashMap<Name, Tenant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Room {
    blobs: MemoryBlobs,
    tenant: Name,
    connection: Name,
}

impl Room {
    fn bytes(&self, digest: &Digest) -> Option<Bytes> {
        self.blobs
            .tenants()
            .get(&self.tenant)?
            .content
            .get(digest)
            .cloned()
    }

    /// Bytes of all that the connection has put there.
    fn total(&self) -> u64 {
        let tenants = self.blobs.tenants();
        let Some(tenant) = tenants.get(&self.tenant) else {
            return 0;
        };
        let held = tenant.held.get(&self.connection).into_iter().flatten();
        let sizes = held
            .filter_map(|digest| tenant.content.get(digest))
            .map(Bytes::len);
        u64::try_from(sizes.sum::<usize>()).unwrap_or(u64::MAX)
    }
}

struct Writer {
    room: Room,
    quota: BlobQuota,
    bytes: Vec<u8>,
}

#[async_trait]
impl BlobStore for Room {
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError> {
        let bytes = self.bytes(digest);
        Ok(bytes.map(|bytes| u64::try_from(bytes.len()).unwrap_or(u64::MAX)))
    }

    async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<BlobStream, BlobError> {
        let mut bytes = self.bytes(digest).ok_or_else(|| BlobError::NotFound {
            digest: digest.clone(),
        })?;
        let at = |place: u64| usize::try_from(place).unwrap_or(usize::MAX).min(bytes.len());
        let (start, end) = (at(range.start), at(range.end));
        bytes = bytes.slice(start.min(end)..end);
        let pieces = std::iter::from_fn(move || {
            (!bytes.is_empty()).then(|| Ok(bytes.split_to(bytes.len().min(PIECE))))
        });
        Ok(stream::iter(pieces).boxed())
    }

    async fn begin(&self, quota: BlobQuota) -> Result<Box<dyn BlobWriter>, BlobError> {
        Ok(Box::new(Writer {
            room: Self {
                blobs: self.blobs.clone(),
                tenant: self.tenant.clone(),
                connection: self.connection.clone(),
            },
            quota,
            bytes: Vec::new(),
        }))
    }
}

#[async_trait]
impl BlobWriter for Writer {
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError> {
        self.bytes.extend_from_slice(&bytes);
        let size = u64::try_from(self.bytes.len()).unwrap_or(u64::MAX);
        let needed = self.room.total().saturating_add(size);
        if needed > self.quota.max_bytes {
            return Err(BlobError::Quota {
                needed,
                max: self.quota.max_bytes,
            });
        }
        Ok(())
    }

    async fn finish(self: Box<Self>, digest: &Digest) -> Result<(), BlobError> {
        let room = &self.room;
        room.blobs.put(&room.tenant, &room.connection, digest, self.bytes);
        Ok(())
    }
}
