//! Looks for Node, npm and Python before anything is downloaded, and says what to install when one is missing.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

/// Oldest major version of Node that Vendure 3.7 runs on.
const NODE_MAJOR: u32 = 20;
/// Oldest minor version of Python 3 that Tryton 8.2 runs on.
const PYTHON_MINOR: u32 = 10;

/// What was found on this machine.
#[derive(Debug)]
pub(crate) struct Tools {
    /// For instance `v20.20.2`.
    pub(crate) node_version: String,
    /// For instance `Python 3.11.7`.
    pub(crate) python_version: String,
}

impl Tools {
    /// # Errors
    /// If a program is missing or too old; the message names it and the package that brings it.
    pub(crate) async fn find() -> Result<Self> {
        let node_version = ask(
            "node",
            &["--version"],
            "install Node.js 20 or newer (Debian: `apt install nodejs npm`)",
        )
        .await?;
        let major = node_version
            .trim_start_matches('v')
            .split('.')
            .next()
            .and_then(|n| n.parse::<u32>().ok());
        if major.is_none_or(|major| major < NODE_MAJOR) {
            bail!(
                "Vendure needs Node.js {NODE_MAJOR} or newer, and `node --version` says {node_version}; install a newer one"
            );
        }
        ask("npm", &["--version"], "install npm (Debian: `apt install npm`)").await?;

        let python_version = ask(
            "python3",
            &["--version"],
            "install Python 3 (Debian: `apt install python3 python3-venv`)",
        )
        .await?;
        let minor = python_version
            .split('.')
            .nth(1)
            .and_then(|n| n.parse::<u32>().ok());
        if minor.is_none_or(|minor| minor < PYTHON_MINOR) {
            bail!(
                "Tryton needs Python 3.{PYTHON_MINOR} or newer, and `python3 --version` says {python_version}; install a newer one"
            );
        }
        // Debian ships Python without the part that makes environments.
        ask(
            "python3",
            &["-c", "import venv, ensurepip"],
            "install Python's venv module (Debian: `apt install python3-venv`)",
        )
        .await?;
        Ok(Self {
            node_version,
            python_version,
        })
    }
}

async fn ask(program: &str, args: &[&str], remedy: &str) -> Result<String> {
    let output = Command::new(program).args(args).kill_on_drop(true).output().await;
    match output {
        Ok(output) if output.status.success() => {
            Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
        }
        Ok(output) => bail!(
            "the real systems cannot be installed: `{program} {}` failed ({}); {remedy}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
                .lines()
                .last()
                .unwrap_or("no message"),
        ),
        Err(error) => {
            bail!("the real systems cannot be installed: `{program}` cannot be run ({error}); {remedy}")
        }
    }
}

/// The folder where prepared systems live: `$XDG_CACHE_HOME/stecker/real`, else `~/.cache/stecker/real`.
///
/// # Errors
/// If neither variable is set.
pub(crate) fn cache_root() -> Result<PathBuf> {
    // The XDG specification says that a relative path is to be ignored.
    let xdg = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = match xdg {
        Some(path) => path,
        None => PathBuf::from(std::env::var_os("HOME").context(
            "neither XDG_CACHE_HOME nor HOME is set, so there is no folder to keep the real systems in; set one of them",
        )?)
        .join(".cache"),
    };
    Ok(base.join("stecker").join("real"))
}
