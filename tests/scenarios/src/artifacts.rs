//! Where the built things are.

use std::{
    env,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};

/// The binary and the plugins that a scenario runs.
#[derive(Debug, Clone)]
pub struct Artifacts {
    /// The `stecker` binary.
    pub stecker: PathBuf,
    /// The folder of built components.
    pub plugins: PathBuf,
}

impl Artifacts {
    /// Takes `STECKER_BIN` and `STECKER_PLUGINS`, or else what lies in the workspace's target folder.
    ///
    /// # Errors
    /// Something is not built; the message says by which command it is.
    pub fn locate() -> Result<Self> {
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(target) => PathBuf::from(target),
            None => workspace().join("target"),
        };
        let stecker = env::var_os("STECKER_BIN").map_or_else(|| target.join("debug/stecker"), PathBuf::from);
        let plugins =
            env::var_os("STECKER_PLUGINS").map_or_else(|| workspace().join("target/plugins"), PathBuf::from);
        if !stecker.is_file() {
            bail!(
                "{} is not there; build it with `cargo build -p stecker-cli`",
                stecker.display()
            );
        }
        if !plugins.is_dir() {
            bail!(
                "{} is not there; build the plugins with `cargo xtask plugins`",
                plugins.display()
            );
        }
        Ok(Self { stecker, plugins })
    }

    /// For a test: `None`, after it said so, where nothing is built and nobody said that it is.
    ///
    /// # Panics
    /// `STECKER_BIN` says that things are built, and they are not.
    #[must_use]
    #[expect(
        clippy::panic,
        clippy::print_stderr,
        reason = "a test that fails says where; one that is skipped says why"
    )]
    pub fn or_skip() -> Option<Self> {
        match Self::locate() {
            Ok(artifacts) => Some(artifacts),
            Err(error) if env::var_os("STECKER_BIN").is_some() => panic!("{error:#}"),
            Err(error) => {
                eprintln!("skipped: {error:#}, or run `cargo xtask test`");
                None
            }
        }
    }

    /// One of several releases of a first-party plugin.
    ///
    /// # Errors
    /// It is not built.
    pub fn release(&self, name: &str, version: &str) -> Result<PathBuf> {
        let path = self.plugins.join(format!("stecker-{name}-{version}.wasm"));
        anyhow::ensure!(
            path.is_file(),
            "there is no {}; build the plugins with `cargo xtask plugins`",
            path.display()
        );
        Ok(path)
    }

    /// The component of a first-party plugin, such as `demo-shop`; of several releases, the first.
    ///
    /// # Errors
    /// It is not built.
    pub fn plugin(&self, name: &str) -> Result<PathBuf> {
        let prefix = format!("stecker-{name}-");
        let entries = self
            .plugins
            .read_dir()
            .with_context(|| format!("{} cannot be read", self.plugins.display()))?;
        let mut found: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|file| {
                        file.strip_prefix(&prefix).is_some_and(|rest| {
                            rest.ends_with(".wasm") && rest.starts_with(|c: char| c.is_ascii_digit())
                        })
                    })
            })
            .collect();
        found.sort();
        found.into_iter().next().with_context(|| {
            format!(
                "there is no {prefix}*.wasm in {}; build the plugins with `cargo xtask plugins`",
                self.plugins.display()
            )
        })
    }
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_owned()
}
