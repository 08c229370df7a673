//! Blobs in a folder: what connections keep outside of plugins' memory, named by its content.
//!
//! Files and not rows, because a blob may have a hundred megabytes and is only ever read and written as a stream. Beside the database and not
//! part of its transactions: a blob is there before anything names it, and what names one that is gone is told so.
//!
//! ```text
//! <folder>/<tenant>/content/<2 hex>/<62 hex>    the bytes, whole or not there; the time of change is that of the last use
//! <folder>/<tenant>/held/<connection>/<64 hex>  empty: the connection has put it there, and it counts for it
//! <folder>/<tenant>/new/<name>                  on its way in, or on its way out
//! ```
//!
//! What was used within the retention stays, whoever put it there. So nothing has to know where a digest is written down (a payload, a replay, a
//! plugin's own store), and nothing is lost by a count that is wrong. What is older goes ([`BlobFolder::forget`]).
//!
//! Hosts that share a database can share the folder, on one file system: files are put in their place whole, and the sweep takes a file away
//! before it looks at it for the last time. What a connection may have is counted by each host for itself between two sweeps.

mod account;
mod room;
mod upload;

use std::{
    collections::HashMap,
    fs, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use stecker_model::{Digest, Name};

use account::Account;
pub use room::{BlobPieces, BlobRoom};
pub use upload::BlobUpload;

/// What a killed process left on its way in. Longer than any call may take.
const ABANDONED: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// Why a blob is not kept or not had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlobFault {
    /// The tenant has no such blob (any more).
    #[error("there is no blob {digest} (any more)")]
    NotFound {
        /// Which.
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
    /// The file system failed.
    #[error("{}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The process is being shut down.
    #[error("the host is being shut down")]
    Ended,
}

fn at(path: &Path) -> impl FnOnce(io::Error) -> BlobFault {
    let path = path.to_owned();
    move |source| BlobFault::File { path, source }
}

/// File systems are waited for on threads of their own.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobFault> + Send + 'static,
) -> Result<T, BlobFault> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or(Err(BlobFault::Ended))
}

/// The blobs of all tenants. Cheap to clone; all clones count together.
#[derive(Debug, Clone)]
pub struct BlobFolder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    accounts: Mutex<HashMap<(Name, Name), Arc<Account>>>,
}

impl BlobFolder {
    /// The blobs in this folder, which is made when the first one is put there.
    #[must_use]
    pub fn new(root: PathBuf) -> Self {
        Self {
            inner: Arc::new(Inner {
                root,
                accounts: Mutex::default(),
            }),
        }
    }

    /// The blobs of a tenant, as one of its connections has them.
    #[must_use]
    pub fn room(&self, tenant: &Name, connection: &Name) -> BlobRoom {
        let places = Places::new(&self.inner.root, tenant, connection);
        let mut accounts = self.inner.accounts.lock().unwrap_or_else(PoisonError::into_inner);
        let account = accounts.entry((tenant.clone(), connection.clone())).or_default();
        BlobRoom::new(places, Arc::clone(account))
    }

    /// Forgets what nobody has used since `before` (milliseconds since 1970), and what was given up on its way in. How many blobs went.
    ///
    /// # Errors
    /// [`BlobFault::File`]; what was forgotten until then is gone.
    pub async fn forget(&self, before: i64) -> Result<u64, BlobFault> {
        let inner = Arc::clone(&self.inner);
        let before = SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(before).unwrap_or(0));
        blocking(move || {
            let mut gone = 0;
            for tenant in entries(&inner.root)? {
                gone += forget_in(&tenant, before)?;
            }
            // What is left is counted anew, also for what other hosts have put there.
            let accounts = inner.accounts.lock().unwrap_or_else(PoisonError::into_inner);
            for account in accounts.values() {
                account.count_anew();
            }
            Ok(gone)
        })
        .await
    }
}

/// Where things are.
#[derive(Debug, Clone)]
struct Places {
    content: PathBuf,
    held: PathBuf,
    new: PathBuf,
}

impl Places {
    fn new(root: &Path, tenant: &Name, connection: &Name) -> Self {
        let tenant = root.join(tenant.as_str());
        Self {
            content: tenant.join(CONTENT),
            held: tenant.join(HELD).join(connection.as_str()),
            new: tenant.join(NEW),
        }
    }

    fn content_of(&self, digest: &Digest) -> PathBuf {
        content_in(&self.content, digest.hex())
    }

    fn held_of(&self, digest: &Digest) -> PathBuf {
        self.held.join(digest.hex())
    }
}

const CONTENT: &str = "content";
const HELD: &str = "held";
const NEW: &str = "new";

fn content_in(content: &Path, hex: &str) -> PathBuf {
    let (first, rest) = hex.split_at_checked(2).unwrap_or((hex, ""));
    content.join(first).join(rest)
}

/// For this user only: these are people's documents.
fn make_folder(path: &Path) -> Result<(), BlobFault> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(at(path))
}

/// What is in a folder; nothing if it is not there.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, BlobFault> {
    let read = match fs::read_dir(folder) {
        Ok(read) => read,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(at(folder)(error)),
    };
    read.map(|entry| Ok(entry.map_err(at(folder))?.path())).collect()
}

/// When a file was changed last and how long it is; none: it is not there.
fn look(path: &Path) -> Result<Option<(SystemTime, u64)>, BlobFault> {
    match fs::metadata(path).and_then(|found| Ok((found.modified()?, found.len()))) {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(at(path)(error)),
    }
}

/// It may be gone already.
fn remove(path: &Path) -> Result<(), BlobFault> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at(path)(error)),
        _ => Ok(()),
    }
}

fn forget_in(tenant: &Path, before: SystemTime) -> Result<u64, BlobFault> {
    let (content, new) = (tenant.join(CONTENT), tenant.join(NEW));
    let mut gone = 0;
    for folder in entries(&content)? {
        for file in entries(&folder)? {
            if look(&file)?.is_some_and(|(used, _)| used < before) {
                gone += u64::from(take_away(&file, &new, before)?);
            }
        }
    }
    let abandoned = SystemTime::now() - ABANDONED;
    for connection in entries(&tenant.join(HELD))? {
        for held in entries(&connection)? {
            let hex = held.file_name().unwrap_or_default().to_string_lossy();
            // A young one may be of a blob that is just being put in its place.
            let is_old = look(&held)?.is_some_and(|(changed, _)| changed < abandoned);
            if is_old && look(&content_in(&content, &hex))?.is_none() {
                remove(&held)?;
            }
        }
    }
    for file in entries(&new)? {
        if look(&file)?.is_some_and(|(changed, _)| changed < abandoned) {
            remove(&file)?;
        }
    }
    Ok(gone)
}

/// Somebody may put the same bytes there, or use them, between the look and the deletion. So the file is taken out of its place first, looked at
/// again, and put back if it was used after all.
fn take_away(file: &Path, new: &Path, before: SystemTime) -> Result<bool, BlobFault> {
    make_folder(new)?;
    let aside = new.join(format!("out-{}", uuid::Uuid::now_v7().simple()));
    match fs::rename(file, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(at(file)(error)),
    }
    if look(&aside)?.is_some_and(|(used, _)| used >= before) {
        fs::rename(&aside, file).map_err(at(file))?;
        return Ok(false);
    }
    remove(&aside)?;
    Ok(true)
}

#[cfg(test)]
mod tests;
