//! Building the plugins of a workspace.

use std::{
    collections::BTreeMap,
    env, fs,
    io::Write as _,
    path::{Path, PathBuf},
    time::Duration,
};

use serde::Deserialize;
use stecker_registry::{Inspection, PluginName};

use crate::{
    BuildError, GuestToolchain, Progress, component,
    packages::Workspace,
    process::{self, Line},
    toolchain::TARGET,
};

const BUILD: Duration = Duration::from_secs(3_600);

/// What to build, and where to.
#[derive(Debug, Clone)]
pub struct BuildRequest {
    /// The folder of a workspace of plugins, or of a single plugin.
    pub workspace_dir: PathBuf,
    /// Which plugins: by Cargo package, by plugin name (`acme/shop`), or by that name's last part. Empty: all.
    pub plugins: Vec<String>,
    /// Optimised, as it should be published. Otherwise quick to build and large.
    pub release: bool,
    /// Where Cargo keeps what it compiles; none: `guest` in its target folder of the workspace.
    pub target_dir: Option<PathBuf>,
    /// Where the files go; none: `plugins` in Cargo's target folder of the workspace.
    pub out_dir: Option<PathBuf>,
    /// Whether the compiler's messages may hold terminal colours.
    pub color: bool,
}

impl Default for BuildRequest {
    fn default() -> Self {
        Self {
            workspace_dir: ".".into(),
            plugins: Vec::new(),
            release: true,
            target_dir: None,
            out_dir: None,
            color: false,
        }
    }
}

/// A plugin that is ready to be installed or published.
#[derive(Debug, Clone)]
pub struct BuiltPlugin {
    /// What it is called.
    pub name: PluginName,
    /// `<namespace>-<name>-<version>.wasm`. The inspection knows its digest.
    pub path: PathBuf,
    /// What a host reads off it.
    pub inspection: Inspection,
}

/// Builds the plugins, makes them components, embeds their manifests and checks them as a host would. A file is replaced in one step, so
/// a host that watches the folder never reads half of one.
///
/// # Errors
/// [`BuildError`]; the compiler's messages are in [`BuildError::Compile`] as they are. Nothing is written unless everything was built.
pub fn build_plugins(
    toolchain: &GuestToolchain,
    request: &BuildRequest,
    progress: Progress<'_>,
) -> Result<Vec<BuiltPlugin>, BuildError> {
    let workspace = Workspace::read(toolchain, &request.workspace_dir, &request.plugins)?;
    let modules = compile(toolchain, request, &workspace, progress)?;
    let mut finished = Vec::new();
    for plugin in &workspace.plugins {
        progress(&format!("making a component of {}", plugin.manifest.name));
        let Some(path) = modules.get(&plugin.id) else {
            return Err(BuildError::NotCdylib {
                package: plugin.package.clone(),
            });
        };
        let module = fs::read(path).map_err(BuildError::file("read", path))?;
        finished.push((
            plugin,
            component::finish(&plugin.package, &module, &plugin.manifest)?,
        ));
    }

    let out_dir = request
        .out_dir
        .clone()
        .unwrap_or_else(|| workspace.target_dir.join("plugins"));
    fs::create_dir_all(&out_dir).map_err(BuildError::file("create", &out_dir))?;
    let mut built = Vec::new();
    for (plugin, (bytes, inspection)) in finished {
        let name = &plugin.manifest.name;
        let file = format!(
            "{}-{}-{}.wasm",
            name.namespace(),
            name.name(),
            plugin.manifest.version
        );
        let path = out_dir.join(file);
        replace(&path, &bytes)?;
        built.push(BuiltPlugin {
            name: name.clone(),
            path,
            inspection,
        });
    }
    Ok(built)
}

/// What Cargo says with `--message-format=json`.
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#json-messages>
#[derive(Deserialize)]
#[serde(tag = "reason", rename_all = "kebab-case")]
enum Message {
    CompilerArtifact {
        package_id: String,
        filenames: Vec<PathBuf>,
    },
    #[serde(rename = "compiler-message")]
    Diagnosed { message: Diagnostic },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Diagnostic {
    rendered: Option<String>,
}

/// Runs Cargo; returns the module of each package by the package's id.
fn compile(
    toolchain: &GuestToolchain,
    request: &BuildRequest,
    workspace: &Workspace,
    progress: Progress<'_>,
) -> Result<BTreeMap<String, PathBuf>, BuildError> {
    let mut command = toolchain.cargo();
    let format = if request.color {
        "json-diagnostic-rendered-ansi"
    } else {
        "json"
    };
    command
        .current_dir(&request.workspace_dir)
        .args(["build", "--lib", "--target", TARGET, "--message-format", format])
        // A target folder of its own: with another compiler than the native build's, sharing one would have each rebuild the
        // other's dependencies.
        .env(
            "CARGO_TARGET_DIR",
            request
                .target_dir
                .clone()
                .unwrap_or_else(|| workspace.target_dir.join("guest")),
        )
        .env("CARGO_TERM_COLOR", "never")
        .env("CARGO_ENCODED_RUSTFLAGS", remapped(workspace).join("\u{1f}"));
    if request.release {
        command.arg("--release");
    }
    for plugin in &workspace.plugins {
        command.args(["--package", &plugin.id]);
    }
    progress(&format!(
        "building {} with {}",
        in_words(workspace),
        toolchain.version
    ));

    let mut modules = BTreeMap::new();
    let (mut diagnostics, mut complaints) = (String::new(), String::new());
    let mut on_line = |line: &Line| match line {
        Line::Stdout(line) => match serde_json::from_str(line) {
            Ok(Message::CompilerArtifact {
                package_id,
                filenames,
            }) => {
                let module = filenames
                    .into_iter()
                    .find(|file| file.extension().is_some_and(|e| e == "wasm"));
                modules.extend(module.map(|module| (package_id, module)));
            }
            Ok(Message::Diagnosed { message }) => diagnostics.extend(message.rendered),
            Ok(Message::Other) => {}
            // Whatever else a build writes to its output.
            Err(_) => progress(line),
        },
        Line::Stderr(line) if is_status(line) => progress(line.trim_start()),
        Line::Stderr(line) => {
            complaints.push_str(line);
            complaints.push('\n');
        }
    };
    let finished = process::listen(&mut command, BUILD, &mut on_line)?;
    if !finished.status.success() {
        return Err(BuildError::Compile {
            output: diagnostics + &complaints,
        });
    }
    if !diagnostics.is_empty() {
        progress(diagnostics.trim_end());
    }
    Ok(modules)
}

/// Cargo's status lines are right-aligned to twelve columns; its errors and warnings begin at the first.
fn is_status(line: &str) -> bool {
    line.starts_with(' ')
        && line.trim_start().starts_with(|c: char| c.is_ascii_uppercase())
        && !line.starts_with("     |")
}

fn in_words(workspace: &Workspace) -> String {
    let names: Vec<&str> = workspace
        .plugins
        .iter()
        .map(|plugin| plugin.manifest.name.as_str())
        .collect();
    match names.as_slice() {
        [one] => (*one).to_owned(),
        several => format!("{} plugins", several.len()),
    }
}

/// Compiler flags that keep the paths of this machine out of panic messages: they are nobody's business, and without them the same
/// source gives the same digest wherever it is built. Of several flags that fit, the compiler takes the last.
fn remapped(workspace: &Workspace) -> Vec<String> {
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")));
    let cargo_home = cargo_home.map(|home| (home, "/cargo".to_owned()));
    let sources = workspace.sources.iter().cloned();
    cargo_home
        .into_iter()
        .chain(sources)
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect()
}

fn replace(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut builder = tempfile::Builder::new();
    builder.prefix(".").suffix(".part");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // Readable as any other build result; the default for temporary files is the owner only.
        builder.permissions(fs::Permissions::from_mode(0o644));
    }
    let mut file = builder
        .tempfile_in(dir)
        .map_err(BuildError::file("create a file in", dir))?;
    file.write_all(bytes).map_err(BuildError::file("write", path))?;
    file.persist(path)
        .map_err(|error| BuildError::file("write", path)(error.error))?;
    Ok(())
}
