//! Passwords and keys of the two systems: generated while preparing, kept beside the databases that know them.

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use anyhow::{Context, Result};
use rand::Rng as _;
use serde::{Deserialize, Serialize};

const FILE: &str = "secrets.json";

/// What opens the prepared databases. Worth nothing elsewhere, and readable by its owner only all the same.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Secrets {
    pub(crate) vendure_password: String,
    pub(crate) vendure_api_key: String,
    pub(crate) tryton_user: String,
    pub(crate) tryton_password: String,
    pub(crate) tryton_company: i64,
}

impl Secrets {
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let path = folder.join(FILE);
        let text = std::fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
        serde_json::from_slice(&text)
            .with_context(|| format!("{} is not what was written there", path.display()))
    }

    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        write_private(&folder.join(FILE), &serde_json::to_vec_pretty(self)?)
    }
}

/// 128 bits from the system's generator, as 32 hexadecimal digits.
pub(crate) fn generated() -> String {
    hex::encode(rand::rng().random::<[u8; 16]>())
}

/// Creates `path` for its owner alone; an existing file is an error.
pub(crate) fn write_private(path: &Path, contents: &[u8]) -> Result<()> {
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(contents))
        .with_context(|| format!("writing {}", path.display()))
}
