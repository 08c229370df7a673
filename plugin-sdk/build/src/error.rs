//! Why there is no toolchain or no plugin.

use std::{io, path::PathBuf};

use stecker_registry::{InspectError, ManifestError};

/// Why there is no toolchain or no plugin.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// None of the ways led to a compiler for WebAssembly.
    #[error(
        "no Rust toolchain for wasm32-unknown-unknown could be found or made. Tried:\n{}\nInstall Rust with rustup \
         (https://rustup.rs) and run `rustup target add wasm32-unknown-unknown`; or, on Debian without access to rustup, make sure that \
         `apt-get` reaches an archive with rustc {minimum} or later", list(.tried)
    )]
    NoToolchain {
        /// What was tried, each with why it did not work.
        tried: Vec<String>,
        /// The oldest compiler that guests build with.
        minimum: String,
    },
    /// A program that could not be started.
    #[error("`{program}` could not be started: {source}. It has to be installed and on the PATH")]
    Start {
        /// Which.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A program that went wrong, with what it said.
    #[error("`{command}` failed ({status}):\n{output}")]
    Command {
        /// The program with its arguments.
        command: String,
        /// The exit status in words.
        status: String,
        /// What it wrote.
        output: String,
    },
    /// The guest's code does not compile.
    #[error("the plugins do not compile:\n\n{output}")]
    Compile {
        /// The compiler's messages, untouched.
        output: String,
    },
    /// No plugin there.
    #[error(
        "there is no plugin in {}: no package of the workspace has a plugin.toml beside its Cargo.toml. Give the folder of a plugin or of a \
         workspace of plugins, or make one with `stecker plugin new`", .0.display()
    )]
    NoPlugins(PathBuf),
    /// A plugin was asked for that is not there.
    #[error("there is no plugin `{asked}` here; there are: {}", .known.join(", "))]
    UnknownPlugin {
        /// What was asked for.
        asked: String,
        /// What there is.
        known: Vec<String>,
    },
    /// A package that no module can be made of.
    #[error(
        "the package `{package}` has a plugin.toml but builds no module. Add to its Cargo.toml:\n\n[lib]\ncrate-type = [\"cdylib\"]"
    )]
    NotCdylib {
        /// The package.
        package: String,
    },
    /// Two plugins of one name and version would overwrite each other.
    #[error(
        "the packages `{first}` and `{second}` both make the same version of `{name}`; every plugin.toml needs a name or a version of its own"
    )]
    SameName {
        /// A package.
        first: String,
        /// Another.
        second: String,
        /// The name that both have.
        name: String,
    },
    /// A manifest with a fault.
    #[error("{}: {source}", .path.display())]
    Manifest {
        /// The plugin.toml.
        path: PathBuf,
        /// What is wrong.
        source: ManifestError,
    },
    /// The module cannot become a component.
    #[error(
        "`{package}` cannot be made a component: {message}. Its exports have to come from the SDK's macro or from wit-bindgen with the unchanged \
         WIT files of the contract"
    )]
    Encode {
        /// The package.
        package: String,
        /// What the encoder said.
        message: String,
    },
    /// The result is not what a host takes.
    #[error("`{package}` was built, but no host would take it: {source}")]
    Refused {
        /// The package.
        package: String,
        /// Why.
        source: InspectError,
    },
    /// A file or folder.
    #[error("cannot {action} {}: {source}", .path.display())]
    File {
        /// `read`, `write`, …
        action: &'static str,
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildError {
    pub(crate) fn file(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

fn list(tried: &[String]) -> String {
    let lines: Vec<String> = tried
        .iter()
        .map(|line| format!("  - {}", line.trim().replace('\n', "\n    ")))
        .collect();
    lines.join("\n")
}
