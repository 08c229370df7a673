//! Where a host's master key comes from, the key that the vault's data keys are encrypted with.
//!
//! A file or a variable that the operator gives; else a file of the host's own in its data folder, made when the first secret is set. It
//! lies beside an embedded database, which keeps a stolen copy of the database worthless but not a stolen folder: who needs that gives
//! the key from elsewhere.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use stecker_store::{MasterKey, MasterKeySource, MasterKeys, VaultError};
use zeroize::Zeroizing;

use crate::folder;

/// A file in the data folder.
const OWN_FILE: &str = "master-key";

/// Where the master key comes from.
#[derive(Clone, Default)]
pub enum MasterKeyOption {
    /// The host makes one in its data folder when it needs it.
    #[default]
    Own,
    /// A file: one key a line, the current one first; the others only open what was encrypted before. Read again when it changes.
    File(PathBuf),
    /// The same text, from a variable.
    Text(Zeroizing<String>),
}

impl fmt::Debug for MasterKeyOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("Own"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Text(_) => f.write_str("Text(…)"),
        }
    }
}

/// The option, with the data folder that it is about.
pub(crate) struct Source {
    option: MasterKeyOption,
    own: PathBuf,
}

impl Source {
    pub(crate) fn new(option: MasterKeyOption, folder: &Path) -> Self {
        Self {
            option,
            own: folder.join(OWN_FILE),
        }
    }

    fn own(&self) -> Result<&Path, VaultError> {
        match &self.option {
            MasterKeyOption::Own => Ok(&self.own),
            MasterKeyOption::File(path) => Err(unusable(format!(
                "{} is the operator's. Put the line of a new key (`openssl rand -hex 32`) in front of the old one there, then run `stecker \
                 secret rotate-keys` without --master, then take the old line out",
                path.display()
            ))),
            MasterKeyOption::Text(_) => Err(unusable(
                "it is in a variable, which the operator sets. Put a new key (`openssl rand -hex 32`) on a line in front of the old one, \
                 start the host again, run `stecker secret rotate-keys` without --master, then take the old line out",
            )),
        }
    }

    fn write_own(&self, keys: &[Zeroizing<String>]) -> Result<(), VaultError> {
        let path = self.own()?;
        let mut text = Zeroizing::new(String::new());
        for key in keys {
            text.push_str(key);
            text.push('\n');
        }
        folder::write_private(path, text.as_bytes()).map_err(|error| unusable(error.to_string()))
    }

    fn own_lines(&self) -> Result<Vec<Zeroizing<String>>, VaultError> {
        let text = read(self.own()?)?;
        let lines = text.as_deref().map_or("", String::as_str).lines();
        Ok(lines
            .filter(|line| !line.trim().is_empty())
            .map(|line| Zeroizing::new(line.trim().to_owned()))
            .collect())
    }
}

fn unusable(what: impl Into<String>) -> VaultError {
    VaultError::MasterKey { what: what.into() }
}

fn read(path: &Path) -> Result<Option<Zeroizing<String>>, VaultError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(unusable(format!(
            "{} cannot be read: {error}. It has to be readable by the user that the host runs as",
            path.display()
        ))),
    }
}

fn parse(whose: &str, text: &str) -> Result<MasterKeys, VaultError> {
    MasterKeys::parse(text).map_err(|error| unusable(format!("{whose}: {error}")))
}

impl MasterKeySource for Source {
    fn load(&self) -> Result<Option<MasterKeys>, VaultError> {
        let (path, text) = match &self.option {
            MasterKeyOption::Text(text) => return parse("STECKER_MASTER_KEY", text).map(Some),
            MasterKeyOption::File(path) => (path, read(path)?),
            MasterKeyOption::Own => (&self.own, read(&self.own)?),
        };
        match text {
            Some(text) => parse(&path.display().to_string(), &text).map(Some),
            None if matches!(self.option, MasterKeyOption::Own) => Ok(None),
            None => Err(unusable(format!(
                "{} is not there. Make it with `openssl rand -hex 32`, readable only for the user that the host runs as, or correct \
                 --master-key-file",
                path.display()
            ))),
        }
    }

    fn create(&self) -> Result<(), VaultError> {
        self.write_own(&[MasterKey::generate()?.to_text()])?;
        tracing::info!(file = %self.own.display(), "made a master key; keep a copy of it apart from copies of the database");
        Ok(())
    }

    fn add(&self) -> Result<(), VaultError> {
        let mut lines = self.own_lines()?;
        lines.insert(0, MasterKey::generate()?.to_text());
        self.write_own(&lines)
    }

    fn forget_old(&self) -> Result<(), VaultError> {
        let lines = self.own_lines()?;
        self.write_own(lines.get(..1).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_of_its_own_is_private_and_changes_line_by_line() {
        let dir = tempfile::tempdir().unwrap();
        let source = Source::new(MasterKeyOption::Own, dir.path());
        assert!(source.load().unwrap().is_none());
        source.create().unwrap();
        let file = dir.path().join(OWN_FILE);
        let first = fs::read_to_string(&file).unwrap();
        source.add().unwrap();
        let both = fs::read_to_string(&file).unwrap();
        assert!(both.ends_with(&first) && both.lines().count() == 2);
        source.forget_old().unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap().lines().next(),
            both.lines().next()
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn what_the_operator_gives_is_never_written() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("key");
        let source = Source::new(MasterKeyOption::File(file.clone()), dir.path());
        assert!(
            source
                .load()
                .unwrap_err()
                .to_string()
                .contains("openssl rand -hex 32")
        );
        fs::write(&file, "not a key").unwrap();
        let error = source.load().unwrap_err().to_string();
        assert!(
            error.contains("line 1") && !error.contains("not a key\n"),
            "{error}"
        );
        for refused in [source.create(), source.add(), source.forget_old()] {
            assert!(refused.unwrap_err().to_string().contains("operator"));
        }
        assert_eq!(fs::read_to_string(&file).unwrap(), "not a key");
    }
}
