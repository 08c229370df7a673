//! Which packages of a workspace are plugins: those with a `plugin.toml` beside their `Cargo.toml`.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use semver::Version;
use serde::Deserialize;
use stecker_registry::{Manifest, PluginName};

use crate::{BuildError, GuestToolchain, process};

const QUESTION: Duration = Duration::from_secs(300);

/// A workspace with plugins.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Where Cargo keeps what it builds there.
    pub(crate) target_dir: PathBuf,
    /// In the order of their names, and of their versions.
    pub(crate) plugins: Vec<PluginPackage>,
    /// Folders whose paths would get into the plugins, with what stands there instead.
    pub(crate) sources: Vec<(PathBuf, String)>,
}

/// A package that makes a plugin.
#[derive(Debug)]
pub(crate) struct PluginPackage {
    /// Cargo's name for it.
    pub(crate) package: String,
    /// Cargo's id for it.
    pub(crate) id: String,
    pub(crate) manifest: Manifest,
}

/// The part of `cargo metadata` that is of use here.
/// <https://doc.rust-lang.org/cargo/commands/cargo-metadata.html#json-format>
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct Package {
    name: String,
    id: String,
    manifest_path: PathBuf,
    targets: Vec<Target>,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Target {
    crate_types: Vec<String>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    path: Option<PathBuf>,
}

impl Workspace {
    /// Reads the workspace in `dir`; of its plugins, those that `asked` names (by package, by plugin name, or by that name's last part).
    /// Naming none asks for all.
    pub(crate) fn read(toolchain: &GuestToolchain, dir: &Path, asked: &[String]) -> Result<Self, BuildError> {
        let mut command = toolchain.cargo();
        command
            .current_dir(dir)
            .args(["metadata", "--no-deps", "--format-version", "1"]);
        let finished = process::run(&mut command, QUESTION)?;
        let metadata: Metadata =
            serde_json::from_str(&finished.stdout).map_err(|error| BuildError::Command {
                command: "cargo metadata".to_owned(),
                status: "not understood".to_owned(),
                output: error.to_string(),
            })?;
        let mut plugins = Vec::new();
        let mut sources = BTreeMap::new();
        for package in &metadata.packages {
            let folder = package.manifest_path.parent().unwrap_or(dir);
            sources.insert(folder.to_owned(), format!("/src/{}", package.name));
            for dependency in &package.dependencies {
                if let Some(path) = &dependency.path {
                    sources.insert(path.clone(), format!("/src/{}", dependency.name));
                }
            }
            if let Some(plugin) = plugin_of(package, folder)? {
                plugins.push(plugin);
            }
        }
        if plugins.is_empty() {
            return Err(BuildError::NoPlugins(dir.to_owned()));
        }
        plugins.sort_by(|a, b| release(a).cmp(&release(b)));
        for pair in plugins.windows(2) {
            if let [first, second] = pair
                && release(first) == release(second)
            {
                return Err(BuildError::SameName {
                    first: first.package.clone(),
                    second: second.package.clone(),
                    name: first.manifest.name.to_string(),
                });
            }
        }
        Ok(Self {
            target_dir: metadata.target_directory,
            plugins: select(plugins, asked)?,
            sources: sources.into_iter().collect(),
        })
    }
}

/// Several releases of one plugin may live side by side, such as for two versions of a vendor's API.
fn release(plugin: &PluginPackage) -> (&PluginName, &Version) {
    (&plugin.manifest.name, &plugin.manifest.version)
}

fn plugin_of(package: &Package, folder: &Path) -> Result<Option<PluginPackage>, BuildError> {
    let path = folder.join("plugin.toml");
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(BuildError::file("read", path)(error)),
    };
    if !package
        .targets
        .iter()
        .any(|target| target.crate_types.iter().any(|kind| kind == "cdylib"))
    {
        return Err(BuildError::NotCdylib {
            package: package.name.clone(),
        });
    }
    let manifest = Manifest::from_toml(&text).map_err(|source| BuildError::Manifest { path, source })?;
    Ok(Some(PluginPackage {
        package: package.name.clone(),
        id: package.id.clone(),
        manifest,
    }))
}

fn select(plugins: Vec<PluginPackage>, asked: &[String]) -> Result<Vec<PluginPackage>, BuildError> {
    let is_meant = |plugin: &PluginPackage, asked: &String| {
        let name = &plugin.manifest.name;
        [plugin.package.as_str(), name.as_str(), name.name()].contains(&asked.as_str())
    };
    if let Some(unknown) = asked
        .iter()
        .find(|asked| !plugins.iter().any(|plugin| is_meant(plugin, asked)))
    {
        let known = plugins
            .iter()
            .map(|plugin| plugin.manifest.name.to_string())
            .collect();
        return Err(BuildError::UnknownPlugin {
            asked: unknown.clone(),
            known,
        });
    }
    let is_wanted =
        |plugin: &PluginPackage| asked.is_empty() || asked.iter().any(|asked| is_meant(plugin, asked));
    Ok(plugins.into_iter().filter(is_wanted).collect())
}
