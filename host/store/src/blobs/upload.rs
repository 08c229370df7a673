//! A blob on its way in.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use stecker_model::Digest;
use tokio::{fs::File, io::AsyncWriteExt as _};

use super::{
    BlobFault, Places,
    account::{Account, Reservation},
    at, blocking, make_folder, remove,
};

/// A blob on its way in. Dropping it is giving it up: nothing is kept and nothing counts.
#[derive(Debug)]
pub struct BlobUpload {
    file: File,
    unfinished: Unfinished,
    places: Places,
    reservation: Reservation,
    max_bytes: u64,
}

/// A file that goes with this.
#[derive(Debug)]
struct Unfinished(PathBuf);

impl Drop for Unfinished {
    fn drop(&mut self) {
        if let Err(error) = remove(&self.0) {
            tracing::warn!(%error, "what was given up could not be removed; the next sweep does it");
        }
    }
}

impl BlobUpload {
    pub(super) fn new(places: Places, account: &Arc<Account>, max_bytes: u64) -> Result<Self, BlobFault> {
        make_folder(&places.new)?;
        let path = places.new.join(format!("in-{}", uuid::Uuid::now_v7().simple()));
        let mut options = fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(&path).map_err(at(&path))?;
        Ok(Self {
            file: File::from_std(file),
            unfinished: Unfinished(path),
            places,
            reservation: Reservation::new(account),
            max_bytes,
        })
    }

    /// What comes next.
    ///
    /// # Errors
    /// [`BlobFault::Quota`], [`BlobFault::File`]; then it is over.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), BlobFault> {
        let size = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        self.reservation.take(size, self.max_bytes)?;
        let written = self.file.write_all(&bytes).await;
        written.map_err(at(&self.unfinished.0))
    }

    /// Makes it durable, and then visible at once, under the digest of what was written (which is the caller's to reckon).
    ///
    /// # Errors
    /// As [`BlobUpload::write`]; then nothing is there.
    pub async fn finish(mut self, digest: &Digest) -> Result<(), BlobFault> {
        // Also an empty one counts.
        self.reservation.take(0, self.max_bytes)?;
        let path = self.unfinished.0.clone();
        self.file.flush().await.map_err(at(&path))?;
        self.file.sync_all().await.map_err(at(&path))?;
        let (content, held) = (self.places.content_of(digest), self.places.held_of(digest));
        let (hex, reservation) = (digest.hex().to_owned(), self.reservation);
        blocking(move || {
            // Who counts comes first: a count without a blob is found and removed, a blob without a count would be for free.
            place(&held, |held| fs::write(held, []))?;
            // In place of one that is there already: should that be damaged, it is whole again.
            place(&content, |content| fs::rename(&path, content))?;
            reservation.keep(&hex);
            Ok(())
        })
        .await
    }
}

/// Puts a file into its folder, so that it is there after a loss of power.
fn place(file: &Path, put: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), BlobFault> {
    let folder = file.parent().unwrap_or(file);
    make_folder(folder)?;
    put(file).map_err(at(file))?;
    fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(at(folder))
}
