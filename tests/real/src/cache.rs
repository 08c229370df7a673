//! The cache of prepared systems: built once per machine, beside each other where their contents differ.
//!
//! Three folders, so that a change of a seed script does not install 170 MB of packages again:
//! `node-<hash>` and `python-<hash>` hold packages, `data-<hash>` holds scripts, databases and secrets. (A fourth, `stripe-<hash>`, is
//! made only for those who ask for it.) Each is built in
//! a temporary sibling and renamed when it is whole, so a folder that has its final name is complete: an interrupted
//! attempt leaves only a `.building-…` folder, which the next one removes. A lock file keeps two programs from
//! building at once; the system drops the lock when its holder dies.

use std::fs::File;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::running::RunningReal;
use crate::secrets::Secrets;
use crate::stripe::PreparedStripe;
use crate::{assets, install, tools};

const UNFINISHED: &str = ".building-";

/// The way in: see [`RealSystems::prepare`].
#[derive(Debug)]
pub struct RealSystems;

/// Both systems installed, with a filled database each; nothing is running yet.
#[derive(Debug)]
pub struct Prepared {
    pub(crate) data: PathBuf,
    pub(crate) python: PathBuf,
}

impl RealSystems {
    /// Installs and fills whatever this machine does not have yet; with a warm cache it takes a fraction of a second.
    ///
    /// A cold cache takes three to six minutes, about 300 MB of disk, and npm's and pip's package indexes. `progress`
    /// gets one line in plain words before each long step.
    ///
    /// # Errors
    /// If Node.js, npm or Python is missing or too old (the message says what to install), if a package cannot be
    /// had, or if the cache folder cannot be written. Nothing half-built is left where a later call would use it.
    pub async fn prepare(progress: &(dyn Fn(&str) + Sync)) -> Result<Prepared> {
        Self::prepare_in(&tools::cache_root()?, progress).await
    }

    /// As [`RealSystems::prepare`], with the cache in `root` (created if needed) instead of the user's own.
    ///
    /// # Errors
    /// As [`RealSystems::prepare`].
    pub async fn prepare_in(root: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<Prepared> {
        let tools = tools::Tools::find().await?;
        let node_name = assets::node_folder(&tools.node_version);
        let python_name = assets::python_folder(&tools.python_version);
        let node = root.join(&node_name);
        let python = root.join(&python_name);
        let data = root.join(assets::data_folder(&node_name, &python_name));
        if node.is_dir() && python.is_dir() && data.is_dir() {
            return Ok(Prepared { data, python });
        }

        std::fs::create_dir_all(root)
            .with_context(|| format!("creating the cache folder {}", root.display()))?;
        let _lock = lock(root, progress).await?;
        remove_unfinished(root)?;
        if !node.is_dir() {
            progress("installing Vendure from npm (two to four minutes, once)");
            build(root, &node, async |folder| install::node_packages(folder).await).await?;
        }
        if !python.is_dir() {
            progress("installing Tryton with pip (less than a minute, once)");
            build(root, &python, async |folder| {
                install::python_packages(folder, assets::REQUIREMENTS).await
            })
            .await?;
        }
        if !data.is_dir() {
            build(root, &data, async |folder| {
                assets::write_scripts(folder)?;
                // Relative, because the folder is renamed; Node looks for packages beside the script that asks.
                let packages = Path::new("..").join("..").join(&node_name).join("node_modules");
                std::os::unix::fs::symlink(packages, folder.join("vendure").join("node_modules"))?;
                install::databases(folder, &python, progress).await
            })
            .await?;
        }
        Ok(Prepared { data, python })
    }

    /// Installs localstripe, where this machine does not have it yet: half a minute, about 40 MB of disk, and pip's package index.
    ///
    /// # Errors
    /// As [`RealSystems::prepare`].
    pub async fn prepare_stripe(progress: &(dyn Fn(&str) + Sync)) -> Result<PreparedStripe> {
        let root = tools::cache_root()?;
        let tools = tools::Tools::find().await?;
        let folder = root.join(assets::stripe_folder(&tools.python_version));
        if !folder.is_dir() {
            std::fs::create_dir_all(&root)
                .with_context(|| format!("creating the cache folder {}", root.display()))?;
            let _lock = lock(&root, progress).await?;
            remove_unfinished(&root)?;
            if !folder.is_dir() {
                progress("installing localstripe with pip (half a minute, once)");
                build(&root, &folder, async |folder| {
                    std::fs::write(folder.join("server.py"), assets::STRIPE_SERVER)?;
                    install::python_packages(folder, assets::STRIPE_REQUIREMENTS).await
                })
                .await?;
            }
        }
        Ok(PreparedStripe { folder })
    }
}

impl Prepared {
    /// Copies the prepared databases to `dir` (created if needed) and starts both systems on free ports of 127.0.0.1.
    ///
    /// Returns when both answer, which takes about ten seconds. The processes end when the returned value is dropped
    /// or this process ends, however it ends. `dir` also gets their logs, `vendure.log` and `tryton.log`.
    ///
    /// # Errors
    /// If `dir` already holds a run or cannot be written, or if a system does not answer in time; the message quotes
    /// the end of its log.
    pub async fn start(&self, dir: &Path) -> Result<RunningReal> {
        RunningReal::start(self, Secrets::read(&self.data)?, dir).await
    }
}

/// Runs `fill` on a temporary sibling of `target` and gives it its name when `fill` has succeeded.
async fn build(root: &Path, target: &Path, fill: impl AsyncFnOnce(&Path) -> Result<()>) -> Result<()> {
    let unfinished = tempfile::Builder::new()
        .prefix(UNFINISHED)
        .tempdir_in(root)
        .with_context(|| format!("creating a folder in {}", root.display()))?;
    fill(unfinished.path()).await?;
    std::fs::rename(unfinished.path(), target)
        .with_context(|| format!("renaming {} to {}", unfinished.path().display(), target.display()))?;
    // It has a new name; there is nothing left to remove under the old one.
    let _renamed = unfinished.keep();
    Ok(())
}

async fn lock(root: &Path, progress: &(dyn Fn(&str) + Sync)) -> Result<File> {
    let path = root.join(".lock");
    let file = File::create(&path).with_context(|| format!("creating {}", path.display()))?;
    if file.try_lock().is_ok() {
        return Ok(file);
    }
    progress("waiting for another program that prepares the same systems");
    tokio::task::spawn_blocking(move || file.lock().map(|()| file))
        .await?
        .with_context(|| format!("locking {}", path.display()))
}

/// Removes what killed attempts left. The caller holds the lock, so no attempt is under way.
fn remove_unfinished(root: &Path) -> Result<()> {
    for entry in std::fs::read_dir(root)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            std::fs::remove_dir_all(entry.path())
                .with_context(|| format!("removing {}", entry.path().display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_failed_build_leaves_nothing_that_could_be_taken_for_a_whole_one() {
        let root = tempfile::tempdir().unwrap();
        let target = root.path().join("data-1");
        let failed = build(root.path(), &target, async |folder| {
            std::fs::write(folder.join("half"), "")?;
            anyhow::bail!("the network went away")
        })
        .await;
        assert!(failed.is_err());
        assert!(!target.exists());
        assert_eq!(std::fs::read_dir(root.path()).unwrap().count(), 0);

        build(root.path(), &target, async |folder| {
            Ok(std::fs::write(folder.join("whole"), "")?)
        })
        .await
        .unwrap();
        assert!(target.join("whole").exists());
    }

    #[test]
    fn what_a_killed_attempt_left_is_removed_and_finished_folders_stay() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join(".building-x/node_modules")).unwrap();
        std::fs::create_dir(root.path().join("node-1")).unwrap();
        remove_unfinished(root.path()).unwrap();
        let left: Vec<_> = std::fs::read_dir(root.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["node-1"]);
    }
}
