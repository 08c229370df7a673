//! Compiled plugins on disk, up to a bound; those that were used longest ago go first.
//!
//! Loading one means running its bytes as machine code, so only files that this host wrote itself may be loaded: each carries a MAC
//! over its content, its digest and the engine's settings, with a key that only this user can read. Anything else is compiled anew.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use hmac::{Hmac, Mac as _};
use rand::TryRngCore as _;
use sha2::{Digest as _, Sha256};
use stecker_model::Digest;
use wasmtime::Engine;
use zeroize::Zeroizing;

use crate::error::SandboxError;

const MAGIC: &[u8] = b"stecker-aot-1\n";
const KEY_FILE: &str = "key";
const KEY_LEN: usize = 32;
const MAC_LEN: usize = 32;
const EXTENSION: &str = "aot";
/// A file that a process which died left half-written.
const ABANDONED: Duration = Duration::from_secs(60 * 60);

#[derive(Debug)]
pub(crate) struct AotCache {
    dir: PathBuf,
    key: Zeroizing<Vec<u8>>,
    max_bytes: u64,
    /// Compiled code fits one version and one configuration of the engine on one kind of processor.
    compatibility: String,
}

impl AotCache {
    pub(crate) fn open(dir: &Path, max_bytes: u64, engine: &Engine) -> Result<Self, SandboxError> {
        let failed = |path: &Path, error: &io::Error| SandboxError::Cache {
            path: path.to_owned(),
            message: format!("{error}. Choose a folder that this user can write to"),
        };
        make_private_dir(dir).map_err(|error| failed(dir, &error))?;
        let key_path = dir.join(KEY_FILE);
        let key = match fs::read(&key_path) {
            Ok(key) => Zeroizing::new(key),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                new_key(dir, &key_path).map_err(|error| failed(&key_path, &error))?
            }
            Err(error) => return Err(failed(&key_path, &error)),
        };
        let unusable = |message: &str| SandboxError::Cache {
            path: key_path.clone(),
            message: format!("{message}. Delete the folder; the host makes it anew"),
        };
        if key.len() != KEY_LEN {
            return Err(unusable("the key is damaged"));
        }
        if is_open_to_others(&key_path).map_err(|error| failed(&key_path, &error))? {
            return Err(unusable(
                "other users of this machine can read the key, so they could have written the compiled plugins",
            ));
        }
        Ok(Self {
            dir: dir.to_owned(),
            key,
            max_bytes,
            compatibility: compatibility(engine),
        })
    }

    fn path(&self, digest: &Digest) -> PathBuf {
        self.dir
            .join(format!("{}-{}.{EXTENSION}", digest.hex(), self.compatibility))
    }

    fn mac(&self, digest: &Digest, code: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key)
            .unwrap_or_else(|_| unreachable!("HMAC takes keys of any length"));
        mac.update(MAGIC);
        // Without these, a valid file could be renamed to stand for another plugin.
        mac.update(self.compatibility.as_bytes());
        mac.update(digest.as_str().as_bytes());
        mac.update(code);
        mac
    }

    /// Machine code that this host has written for exactly this component and engine.
    pub(crate) fn load(&self, digest: &Digest) -> Option<Vec<u8>> {
        let path = self.path(digest);
        let mut file = match fs::read(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(path = %path.display(), %error, "a compiled plugin cannot be read; compiling it again");
                return None;
            }
        };
        let genuine = file
            .strip_prefix(MAGIC)
            .and_then(|rest| rest.split_at_checked(MAC_LEN))
            .is_some_and(|(mac, code)| self.mac(digest, code).verify_slice(mac).is_ok());
        if !genuine {
            tracing::warn!(path = %path.display(), "a compiled plugin was not written by this host or is damaged; compiling it again");
            return None;
        }
        file.drain(..MAGIC.len() + MAC_LEN);
        // What is used stays. That the time cannot be set only makes it go a little earlier.
        if let Err(error) = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::debug!(path = %path.display(), %error, "the time of a compiled plugin could not be set");
        }
        Some(file)
    }

    /// Keeps machine code for the next start. A failure costs time then, nothing else, so it is only reported.
    pub(crate) fn store(&self, digest: &Digest, code: &[u8]) {
        let path = self.path(digest);
        let mac = self.mac(digest, code).finalize().into_bytes();
        let written = tempfile::NamedTempFile::new_in(&self.dir).and_then(|mut file| {
            for part in [MAGIC, &mac, code] {
                file.write_all(part)?;
            }
            file.persist(&path).map_err(|error| error.error)
        });
        if let Err(error) = written {
            tracing::warn!(path = %path.display(), %error, "a compiled plugin could not be kept; the next start compiles it again");
        }
        if let Err(error) = self.make_room() {
            tracing::warn!(dir = %self.dir.display(), %error, "the cache of compiled plugins could not be tidied up");
        }
    }

    /// Removes what was used longest ago until the rest fits, and what was left half-written. Another host in the same folder may do the same
    /// at the same time, so a file that is gone already is no fault; and one that is removed while it is being used was read before.
    fn make_room(&self) -> io::Result<()> {
        let mut kept = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let entry = entry?;
            let Ok(meta) = entry.metadata() else { continue };
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            let path = entry.path();
            if path.extension().is_some_and(|extension| extension == EXTENSION) {
                kept.push((used, meta.len(), path));
            } else if meta.is_file()
                && path.file_name().is_none_or(|name| name != KEY_FILE)
                && used.elapsed().is_ok_and(|age| age > ABANDONED)
            {
                remove(&path)?;
            }
        }
        kept.sort_unstable();
        let mut total: u64 = kept.iter().map(|(_, bytes, _)| bytes).sum();
        for (_, bytes, path) in kept {
            if total <= self.max_bytes {
                break;
            }
            remove(&path)?;
            total -= bytes;
        }
        Ok(())
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

fn compatibility(engine: &Engine) -> String {
    /// The engine only offers its settings as something to hash; the standard hasher is too short, and may change.
    struct Hasher(Sha256);
    impl std::hash::Hasher for Hasher {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Hasher(Sha256::new());
    std::hash::Hash::hash(&engine.precompile_compatibility_hash(), &mut hasher);
    hex::encode(hasher.0.finalize().split_at(16).0)
}

fn new_key(dir: &Path, path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut key = Zeroizing::new(vec![0_u8; KEY_LEN]);
    rand::rngs::OsRng
        .try_fill_bytes(&mut key)
        .map_err(io::Error::other)?;
    // Temporary files are for this user only; and two hosts that start at once have to end up with one key.
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&key)?;
    file.as_file().sync_all()?;
    match file.persist_noclobber(path) {
        Ok(_) => Ok(key),
        Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
            fs::read(path).map(Zeroizing::new)
        }
        Err(error) => Err(error.error),
    }
}

#[cfg(unix)]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt as _;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(dir)
}

#[cfg(not(unix))]
fn make_private_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)
}

#[cfg(unix)]
fn is_open_to_others(path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::PermissionsExt as _;
    Ok(fs::metadata(path)?.permissions().mode() & 0o077 != 0)
}

/// Elsewhere, files inherit the folder's access list, which the user's own folders keep private.
#[cfg(not(unix))]
fn is_open_to_others(_: &Path) -> io::Result<bool> {
    Ok(false)
}
