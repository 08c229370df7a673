//! A tenant's blobs, as one connection has them.

use std::{
    fs,
    io::SeekFrom,
    ops::Range,
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, BoxStream, StreamExt as _};
use stecker_model::Digest;
use tokio::{
    fs::File,
    io::{AsyncReadExt as _, AsyncSeekExt as _},
};

use super::{BlobFault, BlobUpload, Places, account::Account, at, blocking, look};

/// Of one read of the file.
const PIECE: usize = 64 << 10;
/// A use is written down so often, and so a blob lives that much longer than its last use at most.
const USED_EVERY: Duration = Duration::from_secs(60 * 60);

/// A blob's bytes, piece by piece.
pub type BlobPieces = BoxStream<'static, Result<Bytes, BlobFault>>;

/// A tenant's blobs, as one of its connections has them. Every blob of the tenant can be had; what is put there counts for the connection.
#[derive(Debug, Clone)]
pub struct BlobRoom {
    places: Places,
    account: Arc<Account>,
}

impl BlobRoom {
    pub(super) fn new(places: Places, account: Arc<Account>) -> Self {
        Self { places, account }
    }

    /// Its bytes; none: it is not there. A use.
    ///
    /// # Errors
    /// [`BlobFault::File`].
    pub async fn size(&self, digest: &Digest) -> Result<Option<u64>, BlobFault> {
        let path = self.places.content_of(digest);
        blocking(move || use_of(&path)).await
    }

    /// The bytes of a range, which may reach beyond the end. A use.
    ///
    /// # Errors
    /// [`BlobFault::NotFound`], [`BlobFault::File`].
    pub async fn read(&self, digest: &Digest, range: Range<u64>) -> Result<BlobPieces, BlobFault> {
        let missing = || BlobFault::NotFound {
            digest: digest.clone(),
        };
        self.size(digest).await?.ok_or_else(missing)?;
        let path = self.places.content_of(digest);
        let mut file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(missing()),
            Err(error) => return Err(at(&path)(error)),
        };
        file.seek(SeekFrom::Start(range.start)).await.map_err(at(&path))?;
        let left = range.end.saturating_sub(range.start);
        Ok(stream::try_unfold((file, left, path), next).boxed())
    }

    /// Begins to put one there; all of the connection's may have `max_bytes`.
    ///
    /// # Errors
    /// [`BlobFault::File`].
    pub async fn begin(&self, max_bytes: u64) -> Result<BlobUpload, BlobFault> {
        let (places, account) = (self.places.clone(), Arc::clone(&self.account));
        blocking(move || {
            account.count(&places)?;
            BlobUpload::new(places, &account, max_bytes)
        })
        .await
    }
}

async fn next(
    (mut file, left, path): (File, u64, PathBuf),
) -> Result<Option<(Bytes, (File, u64, PathBuf))>, BlobFault> {
    let wanted = usize::try_from(left).unwrap_or(usize::MAX).min(PIECE);
    if wanted == 0 {
        return Ok(None);
    }
    let mut piece = BytesMut::zeroed(wanted);
    let read = file.read(&mut piece).await.map_err(at(&path))?;
    if read == 0 {
        return Ok(None);
    }
    piece.truncate(read);
    let left = left.saturating_sub(u64::try_from(read).unwrap_or(u64::MAX));
    Ok(Some((piece.freeze(), (file, left, path))))
}

/// Looks at a blob and writes down that it was used.
fn use_of(path: &std::path::Path) -> Result<Option<u64>, BlobFault> {
    let Some((used, size)) = look(path)? else {
        return Ok(None);
    };
    let now = SystemTime::now();
    if now.duration_since(used).is_ok_and(|ago| ago >= USED_EVERY) {
        let touched = fs::OpenOptions::new()
            .write(true)
            .open(path)
            .and_then(|file| file.set_modified(now));
        match touched {
            // Taken away in this very moment.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            touched => touched.map_err(at(path))?,
        }
    }
    Ok(Some(size))
}
