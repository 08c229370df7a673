//! The data folder: one process at a time works in it, and it says who.
//!
//! | file | what | mode |
//! |---|---|---|
//! | `lock` | held (by the operating system, so it goes with the process) while somebody works here; contains who | 0600 |
//! | `token` | the bootstrap token of the API | 0600 |
//! | `master-key` | what the vault's keys are encrypted with, unless the operator gives a key from elsewhere | 0600 |
//! | `server.json` | where the server is that works here, while there is one | 0600 |
//! | `node` | this node's name in leases | |
//! | `stecker.sqlite` | the database, unless another one was named | 0600 |
//! | `cache/` | compiled components; safe to delete | |

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// Somebody else works in it.
    #[error(
        "the data folder {} is in use by {}. {}", .folder.display(), .holder,
        .server.as_ref().map_or_else(
            || "Wait until that command is done and try again, or give another folder with --data".to_owned(),
            |url| format!("Use the server that runs there (--server {url} --token …, or no option at all: the commands find it by the folder), or stop it first"),
        )
    )]
    Locked {
        /// Which.
        folder: PathBuf,
        /// In words, with the process id.
        holder: String,
        /// Where its server is, if it is one.
        server: Option<String>,
    },
    /// The operating system refused something.
    #[error("cannot {action} {}: {source}. Check that the folder exists, belongs to this user and that the disk has room, or give another one with --data", .path.display())]
    File {
        /// `create`, `read`, `write`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Where a server is, for commands on the same machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Context {
    /// Such as `http://127.0.0.1:7420`.
    pub url: String,
    /// The server's process.
    pub pid: u32,
    /// The file with the token.
    pub token_file: PathBuf,
}

/// Who works in a folder; written into the lock.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    command: String,
}

/// A data folder that this process has for itself until this is dropped.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    // Its lock ends when it is closed, even by a SIGKILL.
    _lock: File,
}

impl DataFolder {
    /// Creates the folder if need be and takes it. `command` tells others who has it, such as `stecker serve`.
    ///
    /// # Errors
    /// [`FolderError::Locked`] if another process has it, [`FolderError::File`] if it cannot be written.
    pub fn take(path: &Path, command: &str) -> Result<Self, FolderError> {
        create_private(path)?;
        let path = fs::canonicalize(path).map_err(at("open", path))?;
        let file = path.join("lock");
        let mut lock = private(
            OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false),
        )
        .open(&file)
        .map_err(at("open", &file))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(locked(&path, lock)),
            Err(TryLockError::Error(source)) => return Err(at("lock", &file)(source)),
        }
        let holder = Holder {
            pid: std::process::id(),
            command: command.to_owned(),
        };
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        lock.set_len(0)
            .and_then(|()| lock.rewind())
            .and_then(|()| lock.write_all(&text))
            .map_err(at("write", &file))?;
        let folder = Self { path, _lock: lock };
        // A server that was killed could not clean up behind itself; the lock says that it is gone.
        folder.forget_server()?;
        Ok(folder)
    }

    /// Absolute.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The database of a folder where no other was named: a file that only this user can read, because records are people's orders.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn database_url(&self) -> Result<String, FolderError> {
        let file = self.path.join("stecker.sqlite");
        // SQLite takes an empty file for a new database, and gives its other files the same mode.
        private(OpenOptions::new().append(true).create(true))
            .open(&file)
            .map_err(at("open", &file))?;
        Ok(format!("sqlite:{}", file.display()))
    }

    /// For compiled components.
    #[must_use]
    pub fn cache_dir(&self) -> PathBuf {
        self.path.join("cache")
    }

    /// For blobs.
    #[must_use]
    pub fn blobs_dir(&self) -> PathBuf {
        self.path.join("blobs")
    }

    /// The bootstrap token: 32 random bytes in hex, made at the first time and kept.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn token(&self) -> Result<String, FolderError> {
        let file = self.token_file();
        match fs::read_to_string(&file) {
            Ok(text) if !text.trim().is_empty() => {
                keep_private(&file)?;
                return Ok(text.trim().to_owned());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(at("read", &file)(error)),
        }
        let token = hex::encode(rand::random::<[u8; 32]>());
        write_private(&file, format!("{token}\n").as_bytes())?;
        Ok(token)
    }

    /// Where the token lies.
    #[must_use]
    pub fn token_file(&self) -> PathBuf {
        self.path.join("token")
    }

    /// Tells commands on this machine where the server is.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn announce_server(&self, url: &str) -> Result<Context, FolderError> {
        let context = Context {
            url: url.to_owned(),
            pid: std::process::id(),
            token_file: self.token_file(),
        };
        let text = serde_json::to_vec_pretty(&context).unwrap_or_default();
        write_private(&context_file(&self.path), &text)?;
        Ok(context)
    }

    /// Takes that back.
    ///
    /// # Errors
    /// [`FolderError::File`].
    pub fn forget_server(&self) -> Result<(), FolderError> {
        let file = context_file(&self.path);
        match fs::remove_file(&file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(at("remove", &file)(error)),
            _ => Ok(()),
        }
    }

    /// Which server announced itself in a folder. It may be gone, if its process was killed; who can take the folder knows that.
    #[must_use]
    pub fn server_of(path: &Path) -> Option<Context> {
        serde_json::from_slice(&fs::read(context_file(path)).ok()?).ok()
    }
}

fn context_file(folder: &Path) -> PathBuf {
    folder.join("server.json")
}

fn locked(folder: &Path, mut lock: File) -> FolderError {
    let mut text = String::new();
    // The holder may be about to write it; then it is not named.
    let holder = lock
        .read_to_string(&mut text)
        .ok()
        .and_then(|_| serde_json::from_str::<Holder>(&text).ok());
    let server = DataFolder::server_of(folder);
    FolderError::Locked {
        folder: folder.to_owned(),
        holder: match (holder, &server) {
            (Some(holder), Some(server)) => {
                format!("`{}` (process {}) at {}", holder.command, holder.pid, server.url)
            }
            (Some(holder), None) => format!("`{}` (process {})", holder.command, holder.pid),
            (None, Some(server)) => format!("the server at {} (process {})", server.url, server.pid),
            (None, None) => "another process".to_owned(),
        },
        server: server.map(|server| server.url),
    }
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { action, path, source }
}

/// Whole or not at all: written beside it and renamed.
pub(crate) fn write_private(file: &Path, bytes: &[u8]) -> Result<(), FolderError> {
    let draft = file.with_extension("draft");
    let written = fs::remove_file(&draft)
        .or_else(|error| {
            if error.kind() == io::ErrorKind::NotFound {
                Ok(())
            } else {
                Err(error)
            }
        })
        .and_then(|()| private(OpenOptions::new().write(true).create_new(true)).open(&draft))
        .and_then(|mut open| open.write_all(bytes).and_then(|()| open.sync_all()))
        .and_then(|()| fs::rename(&draft, file));
    written.map_err(at("write", file))
}

#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(unix)]
fn keep_private(file: &Path) -> Result<(), FolderError> {
    use std::os::unix::fs::PermissionsExt as _;
    let mode = fs::metadata(file).map_err(at("read", file))?.permissions().mode();
    if mode & 0o077 != 0 {
        tracing::warn!(file = %file.display(), mode = format!("{:o}", mode & 0o777), "others could read the token; made it private");
        fs::set_permissions(file, fs::Permissions::from_mode(0o600)).map_err(at("protect", file))?;
    }
    Ok(())
}

#[cfg(not(unix))]
fn keep_private(_: &Path) -> Result<(), FolderError> {
    Ok(())
}

fn create_private(path: &Path) -> Result<(), FolderError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path).map_err(at("create", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_told_who_has_the_folder_and_where_its_server_is() {
        let dir = tempfile::tempdir().unwrap();
        let first = DataFolder::take(dir.path(), "stecker serve").unwrap();
        let refusal = DataFolder::take(dir.path(), "stecker flow")
            .unwrap_err()
            .to_string();
        assert!(
            refusal.contains(&format!("`stecker serve` (process {})", std::process::id())),
            "{refusal}"
        );
        first.announce_server("http://127.0.0.1:1234").unwrap();
        let refusal = DataFolder::take(dir.path(), "stecker flow")
            .unwrap_err()
            .to_string();
        assert!(refusal.contains("--server http://127.0.0.1:1234"), "{refusal}");
        drop(first);
        assert!(DataFolder::server_of(dir.path()).is_some(), "as after a SIGKILL");
        let _second = DataFolder::take(dir.path(), "stecker flow").unwrap();
        assert_eq!(DataFolder::server_of(dir.path()), None);
    }

    #[test]
    fn the_token_is_long_kept_and_private() {
        let dir = tempfile::tempdir().unwrap();
        let folder = DataFolder::take(dir.path(), "test").unwrap();
        let token = folder.token().unwrap();
        assert_eq!(token.len(), 64);
        assert_eq!(folder.token().unwrap(), token);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            let mode = |file: &Path| fs::metadata(file).unwrap().permissions().mode() & 0o777;
            folder.announce_server("http://127.0.0.1:1").unwrap();
            assert_eq!(mode(&context_file(folder.path())), 0o600);
            assert_eq!(mode(&folder.token_file()), 0o600);
            fs::set_permissions(folder.token_file(), fs::Permissions::from_mode(0o644)).unwrap();
            folder.token().unwrap();
            assert_eq!(mode(&folder.token_file()), 0o600);
        }
    }
}
