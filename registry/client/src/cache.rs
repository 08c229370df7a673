//! What was pulled before, by digest, in a folder of whoever pulls. It is verified whenever it is read; what is damaged is removed and fetched again. A cache
//! that fails is no reason for a pull to fail.

use std::{
    fs, io,
    path::PathBuf,
    sync::atomic::{AtomicU64, Ordering},
    time::SystemTime,
};

use stecker_model::Digest;
use stecker_registry::component::digest;

/// A folder of blobs, of at most so many bytes.
#[derive(Debug, Clone)]
pub struct Cache {
    folder: PathBuf,
    most: u64,
}

impl Cache {
    /// In `folder`, which is made when something is kept. What was not used for longest goes when it has more than `most` bytes.
    #[must_use]
    pub fn new(folder: PathBuf, most: u64) -> Self {
        Self { folder, most }
    }

    /// The bytes of a digest, verified; none: they are not here, or have more than `most` bytes.
    pub(crate) fn get(&self, wanted: &Digest, most: u64) -> Option<Vec<u8>> {
        let path = self.folder.join(wanted.hex());
        if fs::metadata(&path).ok()?.len() > most {
            return None;
        }
        let bytes = fs::read(&path).ok()?;
        if digest(&bytes) != *wanted {
            let _ = fs::remove_file(&path);
            return None;
        }
        // So that it is not the one that goes next.
        let touched = fs::File::options().append(true).open(&path);
        let _ = touched.and_then(|file| file.set_modified(SystemTime::now()));
        Some(bytes)
    }

    /// Keeps bytes that have this digest.
    pub(crate) fn put(&self, digest: &Digest, bytes: &[u8]) {
        if bytes.len() as u64 <= self.most {
            let _ = self.try_put(digest, bytes);
        }
    }

    fn try_put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<()> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        fs::create_dir_all(&self.folder)?;
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            // It may hold what not everybody on the machine may pull.
            fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o700))?;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let beside = self
            .folder
            .join(format!("{}.{}.{number}.part", digest.hex(), std::process::id()));
        fs::write(&beside, bytes)?;
        fs::rename(&beside, self.folder.join(digest.hex()))?;
        self.trim()
    }

    fn trim(&self) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let facts = entry.metadata()?;
            files.push((facts.modified()?, facts.len(), entry.path()));
        }
        files.sort();
        let mut all: u64 = files.iter().map(|(_, size, _)| size).sum();
        for (_, size, path) in files {
            if all <= self.most {
                break;
            }
            fs::remove_file(path)?;
            all -= size;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn it_is_verified_bounded_and_forgets_what_was_not_used() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("cache");
        let cache = Cache::new(folder.clone(), 100);
        let put = |byte: u8, age: u64| {
            let bytes = vec![byte; 40];
            let digest = digest(&bytes);
            cache.put(&digest, &bytes);
            let file = fs::File::options()
                .append(true)
                .open(folder.join(digest.hex()))
                .unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age))
                .unwrap();
            digest
        };
        let (first, second) = (put(1, 200), put(2, 100));
        assert_eq!(cache.get(&first, 100), Some(vec![1; 40]));
        assert_eq!(cache.get(&first, 39), None);
        // The second was not used since.
        let third = put(3, 0);
        assert_eq!(cache.get(&second, 100), None);
        assert!(cache.get(&first, 100).is_some() && cache.get(&third, 100).is_some());
        fs::write(folder.join(first.hex()), b"other bytes").unwrap();
        assert_eq!(cache.get(&first, 100), None);
        assert!(!folder.join(first.hex()).exists());
        let large = vec![4; 101];
        cache.put(&digest(&large), &large);
        assert_eq!(cache.get(&digest(&large), 1_000), None);
    }
}
