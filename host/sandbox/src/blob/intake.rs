//! What goes into a blob: counted, hashed, and searched for secrets, piece by piece.

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use stecker_model::Digest;

use super::{BlobWriter, Stored, room::Fault};
use crate::egress::scrub::Watch;

/// A blob on its way in. Dropping it is giving it up.
pub(crate) struct Intake {
    writer: Box<dyn BlobWriter>,
    hash: Sha256,
    size: u64,
    /// What one blob may have.
    max: u64,
    /// What the plugin wants to have, if it says so.
    wanted: Option<u64>,
    watch: Watch,
}

impl Intake {
    pub(crate) fn new(writer: Box<dyn BlobWriter>, max: u64, wanted: Option<u64>, watch: Watch) -> Self {
        Self {
            writer,
            hash: Sha256::new(),
            size: 0,
            max,
            wanted,
            watch,
        }
    }

    /// Whether so many bytes more would still fit; so nothing is begun that is said to be too long. Announced sizes are also what is asked for
    /// in a refusal.
    pub(crate) fn expect(&self, more: u64) -> Result<(), Fault> {
        let size = self.size.saturating_add(more);
        if size > self.max {
            return Err(Fault::TooLarge { needed: size });
        }
        match self.wanted {
            Some(max) if size > max => Err(Fault::Unwanted { max }),
            _ => Ok(()),
        }
    }

    pub(crate) async fn push(&mut self, bytes: Bytes) -> Result<(), Fault> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.expect(len).map_err(|fault| match fault {
            // How long it would have been is not known; twice as much is a start.
            Fault::TooLarge { .. } => Fault::TooLarge {
                needed: self.max.saturating_mul(2),
            },
            fault => fault,
        })?;
        if self.watch.sees(&bytes) {
            return Err(Fault::Secret);
        }
        self.hash.update(&bytes);
        self.size += len;
        Ok(self.writer.write(bytes).await?)
    }

    /// Keeps it, if it is what was expected.
    pub(crate) async fn finish(self, expected: Option<&Digest>) -> Result<Stored, Fault> {
        let found = of(self.hash);
        if let Some(expected) = expected.filter(|expected| **expected != found) {
            return Err(Fault::OtherDigest {
                expected: expected.clone(),
                found,
            });
        }
        self.writer.finish(&found).await?;
        Ok(Stored {
            digest: found,
            size: self.size,
        })
    }
}

pub(super) fn of(hash: Sha256) -> Digest {
    let text = format!("sha256:{}", hex::encode(hash.finalize()));
    Digest::try_from(text).unwrap_or_else(|_| unreachable!("a SHA-256 in hex is a digest"))
}
