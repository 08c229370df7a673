//! From a folder of Rust to a plugin: finds or makes a compiler for WebAssembly, builds, turns the module into a component, puts the
//! manifest in, and checks the result as a host would.
//!
//! ```no_run
//! use stecker_build::{BuildRequest, GuestToolchain, build_plugins};
//!
//! let progress = |step: &str| eprintln!("{step}");
//! let toolchain = GuestToolchain::find_or_make(&progress)?;
//! let request = BuildRequest { workspace_dir: "plugins".into(), ..BuildRequest::default() };
//! for plugin in build_plugins(&toolchain, &request, &progress)? {
//!     println!("{} {}", plugin.name, plugin.path.display());
//! }
//! # Ok::<(), stecker_build::BuildError>(())
//! ```
//!
//! It is a library, because both the command line and the project's own build use it; it prints nothing and tells everything that
//! takes longer than a moment through a callback. A host does not need it to run plugins.

mod component;
mod debian;
mod error;
mod packages;
mod plugins;
mod process;
mod toolchain;

pub use error::BuildError;
pub use plugins::{BuildRequest, BuiltPlugin, build_plugins};
pub use toolchain::{Finder, GuestToolchain, Origin, TARGET};

/// Takes lines about what is going on, for a person who waits. Warnings of the compiler come as they are, of several lines.
pub type Progress<'a> = &'a dyn Fn(&str);
