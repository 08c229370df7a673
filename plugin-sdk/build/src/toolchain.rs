//! A Rust toolchain that compiles for WebAssembly.
//!
//! Most machines have rustup and are done with `rustup target add`. Build machines behind a company's walls often reach nothing but a mirror of
//! a Linux distribution; for them the compiler comes from there ([`crate::debian`]), into the user's cache and without root. Either way
//! the rest of the build is the same.

use std::{
    env,
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use crate::{BuildError, Progress, debian, process};

/// What guests are compiled for: no WASI, so that a plugin imports nothing but the contract.
pub const TARGET: &str = "wasm32-unknown-unknown";
/// The oldest compiler that builds guests: the one that the project itself asks for.
pub(crate) const MINIMUM: &str = env!("CARGO_PKG_RUST_VERSION");

const NO_CACHE: &str = "Debian's compiler: neither XDG_CACHE_HOME nor HOME says where to keep it";
const QUESTION: Duration = Duration::from_secs(60);
const RUSTUP: Duration = Duration::from_secs(90);

/// Where a toolchain comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The active one had the target already.
    Installed,
    /// The active one, after rustup added the target.
    Rustup,
    /// Debian's compiler in the user's cache, with its own standard library built once.
    Debian,
}

/// A compiler for WebAssembly, and what it takes to call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestToolchain {
    /// Where it comes from.
    pub origin: Origin,
    /// What the compiler calls itself, such as `rustc 1.95.0 (…)`.
    pub version: String,
    pub(crate) env: Vec<(&'static str, OsString)>,
}

impl GuestToolchain {
    /// Looks where a toolchain can be, and makes one if there is none. The first time this may take minutes and download more than 100 MB.
    ///
    /// # Errors
    /// [`BuildError::NoToolchain`] with all that was tried.
    pub fn find_or_make(progress: Progress<'_>) -> Result<Self, BuildError> {
        Finder::default().find_or_make(progress)
    }

    /// Debian's compiler, whatever else is installed: it may be newer than that.
    ///
    /// # Errors
    /// [`BuildError::NoToolchain`] where it is not to be had.
    pub fn of_debian(progress: Progress<'_>) -> Result<Self, BuildError> {
        let none = |why: String| BuildError::NoToolchain {
            tried: vec![why],
            minimum: MINIMUM.to_owned(),
        };
        let finder = Finder::default();
        let root = finder.cache_root().ok_or_else(|| none(NO_CACHE.to_owned()))?;
        match debian::find(&root) {
            Some(found) => Ok(found),
            None => {
                debian::make(&root, progress).map_err(|error| none(format!("Debian's compiler: {error}")))
            }
        }
    }

    /// Cargo with this toolchain, free of what an outer build has set.
    #[must_use]
    pub fn cargo(&self) -> Command {
        let mut command = process::clean(cargo_program());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }
}

/// The cargo that started this program, if one did: the same that the user works with.
pub(crate) fn cargo_program() -> OsString {
    env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Where to look for a toolchain, and what may be done to get one.
#[derive(Debug, Clone)]
pub struct Finder {
    /// Under which `stecker/guest-toolchain` is; none if the system does not say where the user's cache is.
    pub cache_dir: Option<PathBuf>,
    /// Whether rustup may be asked to add the target to the active toolchain.
    pub may_use_rustup: bool,
    /// Whether packages of the distribution may be downloaded into the cache.
    pub may_download: bool,
}

impl Default for Finder {
    fn default() -> Self {
        Self {
            cache_dir: user_cache_dir(),
            may_use_rustup: true,
            may_download: true,
        }
    }
}

impl Finder {
    /// As [`GuestToolchain::find_or_make`], within what this finder may do.
    ///
    /// # Errors
    /// [`BuildError::NoToolchain`] with all that was tried.
    pub fn find_or_make(&self, progress: Progress<'_>) -> Result<GuestToolchain, BuildError> {
        let mut tried = Vec::new();
        let active = match Active::ask() {
            Ok(active) => Some(active),
            Err(error) => {
                tried.push(format!("the installed compiler: {error}"));
                None
            }
        };
        if let Some(active) = &active {
            if active.has_target() {
                return Ok(active.as_toolchain(Origin::Installed));
            }
            tried.push(format!(
                "{}: its sysroot {} lacks the target {TARGET}",
                active.version,
                active.sysroot.display()
            ));
        }
        // Before rustup: where rustup cannot be reached, every build would wait for it to find out.
        if let Some(made) = self.cache_root().and_then(|root| debian::find(&root)) {
            return Ok(made);
        }
        match (&active, self.may_use_rustup) {
            (Some(active), true) => match add_target(active, progress) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => tried.push(format!("rustup: {error}")),
            },
            (None, true) => {
                tried.push("rustup: not asked, as there is no active toolchain to add to".to_owned());
            }
            (_, false) => tried.push("rustup: not allowed here".to_owned()),
        }
        match (self.cache_root(), self.may_download) {
            (Some(root), true) => match debian::make(&root, progress) {
                Ok(toolchain) => return Ok(toolchain),
                Err(error) => tried.push(format!("Debian's compiler: {error}")),
            },
            (None, _) => tried.push(NO_CACHE.to_owned()),
            (_, false) => tried.push("Debian's compiler: downloading is not allowed here".to_owned()),
        }
        Err(BuildError::NoToolchain {
            tried,
            minimum: MINIMUM.to_owned(),
        })
    }

    fn cache_root(&self) -> Option<PathBuf> {
        self.cache_dir
            .as_ref()
            .map(|dir| dir.join("stecker/guest-toolchain"))
    }
}

/// The user's cache folder (XDG Base Directory Specification 0.8).
fn user_cache_dir() -> Option<PathBuf> {
    let absolute = |key: &str| {
        env::var_os(key)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    absolute("XDG_CACHE_HOME").or_else(|| Some(absolute("HOME")?.join(".cache")))
}

/// The toolchain that `rustc` on the PATH is.
#[derive(Debug)]
struct Active {
    sysroot: PathBuf,
    version: String,
}

impl Active {
    fn ask() -> Result<Self, BuildError> {
        let sysroot = process::run(process::clean("rustc").args(["--print", "sysroot"]), QUESTION)?;
        let version = process::run(process::clean("rustc").arg("-V"), QUESTION)?;
        Ok(Self {
            sysroot: sysroot.stdout.trim().into(),
            version: version.stdout.trim().to_owned(),
        })
    }

    fn has_target(&self) -> bool {
        has_std(&self.sysroot.join("lib/rustlib").join(TARGET).join("lib"))
    }

    fn as_toolchain(&self, origin: Origin) -> GuestToolchain {
        GuestToolchain {
            origin,
            version: self.version.clone(),
            env: Vec::new(),
        }
    }
}

/// Whether a standard library lies in the folder.
pub(crate) fn has_std(lib: &Path) -> bool {
    fs::read_dir(lib).is_ok_and(|entries| {
        entries.flatten().any(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.starts_with("libstd-") && name.ends_with(".rlib")
        })
    })
}

fn add_target(active: &Active, progress: Progress<'_>) -> Result<GuestToolchain, BuildError> {
    progress(&format!("asking rustup for the target {TARGET}"));
    let mut command = process::clean("rustup");
    process::run(command.args(["target", "add", TARGET]), RUSTUP)?;
    if active.has_target() {
        return Ok(active.as_toolchain(Origin::Rustup));
    }
    Err(BuildError::Command {
        command: format!("rustup target add {TARGET}"),
        status: "success".to_owned(),
        output: format!(
            "but the target is not in {}, which is what `rustc` on the PATH uses",
            active.sysroot.display()
        ),
    })
}
