//! Blobs: bytes that a tenant's connections keep outside of guests, named by their content.
//!
//! The trait is what an embedder fills; the sandbox itself decides who may do what ([`room`]), and counts, hashes and searches what goes in
//! ([`intake`]), so that no implementation can get that wrong. Everything goes piece by piece: nobody ever holds a whole blob.

pub(crate) mod intake;
mod memory;
pub(crate) mod room;
pub(crate) mod verify;

use std::ops::Range;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use stecker_model::Digest;

pub use memory::MemoryBlobs;

/// How much a connection may have put there and still have there: the least of what the manifest asks for, the operator grants and the tenant
/// may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlobQuota {
    /// Bytes of all of its blobs together.
    pub max_bytes: u64,
}

/// Why the blobs did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// The tenant has no such blob (any more).
    #[error("there is no blob {digest} (any more)")]
    NotFound {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// There is no room for it; nothing was kept.
    #[error("it would take the connection's blobs to {needed} bytes, and {max} are granted")]
    Quota {
        /// Bytes of all of the connection's blobs, with what was being written.
        needed: u64,
        /// Bytes that are granted.
        max: u64,
    },
    /// What is there is not what was put there.
    #[error(
        "the blob {digest} is damaged: what the host has kept is not what was put there. Whoever has the bytes has to put them there again"
    )]
    Damaged {
        /// The digest that was asked for.
        digest: Digest,
    },
    /// They cannot be reached or failed.
    #[error("blobs cannot be used right now: {message}")]
    Unavailable {
        /// What happened.
        message: String,
    },
}

/// The bytes of a blob, in pieces of any size that fits into memory many times (64 KiB, say).
pub type BlobStream = BoxStream<'static, Result<Bytes, BlobError>>;

/// A tenant's blobs, as one connection has them: every digest of the tenant is there, and what is put there counts for the connection.
///
/// Its shape is that of an object store (ranged reads as streams, uploads that are only there when they are finished), so that one can be
/// behind it. What is not used for a time may go; whoever keeps it says for how long.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Its bytes; none: the tenant has no such blob. A use, as far as what is unused goes.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobError>;

    /// The bytes of a range, which may reach beyond the end. A use. What is handed out is not verified; the sandbox does that.
    ///
    /// # Errors
    /// [`BlobError::NotFound`], [`BlobError::Unavailable`]; the stream ends with an error of the same kinds.
    async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<BlobStream, BlobError>;

    /// Begins to put one there. The quota counts from the first byte on, over everything that the connection writes at the same time.
    ///
    /// # Errors
    /// [`BlobError::Unavailable`].
    async fn begin(&self, quota: BlobQuota) -> Result<Box<dyn BlobWriter>, BlobError>;
}

/// A blob on its way. Dropping it is giving it up: nothing of it is kept, and nothing counts.
#[async_trait]
pub trait BlobWriter: Send {
    /// What comes next.
    ///
    /// # Errors
    /// [`BlobError::Quota`], [`BlobError::Unavailable`]; then it is over.
    async fn write(&mut self, bytes: Bytes) -> Result<(), BlobError>;

    /// Makes it durable and visible at once, under the digest that the sandbox has reckoned. If it is there already, it is the same blob, and
    /// whole again if it was damaged; it counts once for a connection.
    ///
    /// # Errors
    /// As [`BlobWriter::write`]; then nothing is there.
    async fn finish(self: Box<Self>, digest: &Digest) -> Result<(), BlobError>;
}

/// No blobs: every use fails.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoBlobs;

fn none<T>() -> Result<T, BlobError> {
    Err(BlobError::Unavailable {
        message: "this host keeps no blobs".to_owned(),
    })
}

#[async_trait]
impl BlobStore for NoBlobs {
    async fn size(&self, _: &Digest) -> Result<Option<u64>, BlobError> {
        none()
    }

    async fn read(&self, _: &Digest, _: Range<u64>) -> Result<BlobStream, BlobError> {
        none()
    }

    async fn begin(&self, _: BlobQuota) -> Result<Box<dyn BlobWriter>, BlobError> {
        none()
    }
}

/// A blob that was put there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) digest: Digest,
    pub(crate) size: u64,
}
