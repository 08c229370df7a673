//! Why a file is not taken as a plugin.

use semver::Version;

use crate::{
    contract::{Role, offered},
    manifest::ManifestError,
    section::BadFraming,
};

/// Why a file is not taken as a plugin. Each says what is wrong, why that matters and what its author can do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InspectError {
    /// Beyond the cap, so it was not even looked at.
    #[error(
        "the file has {size} bytes; the host takes at most {max}. Build for release, without debug information, or have the \
         operator raise the limit"
    )]
    TooLarge {
        /// Bytes.
        size: usize,
        /// Bytes.
        max: usize,
    },
    /// Something else altogether.
    #[error(
        "this is not WebAssembly: a component begins with the bytes 00 61 73 6d, and this file begins with {begins}. \
         Give the .wasm file that the build wrote"
    )]
    NotWasm {
        /// The first bytes in hex, or words for an empty file.
        begins: String,
    },
    /// A module, which has no typed imports and exports to go by.
    #[error(
        "this is a core WebAssembly module, not a component: it has no typed interface to read roles from. The build has to turn it \
         into a component (`stecker plugin build` does, and so does `wasm-tools component new`)"
    )]
    CoreModule,
    /// The end is missing.
    #[error("the file is cut off: {0}. Copy, download or build it again")]
    Truncated(BadFraming),
    /// Not a valid component.
    #[error(
        "this is not a valid component: {message} (at byte {offset}). It was damaged on the way, or made by a tool whose output \
         is newer or older than this host understands: build it again with current tools"
    )]
    Invalid {
        /// What the validator said.
        message: String,
        /// Where in the file.
        offset: u64,
    },
    /// Modules in components in components.
    #[error(
        "the component is nested {depth} deep or more; the host takes at most {max}. No known toolchain makes such components: \
         compose the plugin of fewer layers"
    )]
    TooDeep {
        /// The depth that was reached.
        depth: usize,
        /// The cap.
        max: usize,
    },
    /// More of something than any toolchain makes.
    #[error(
        "the component has more than {max} {what}. That many are only good for keeping a compiler busy: link less into the plugin, or have \
         the operator raise the limit"
    )]
    TooMany {
        /// Of what.
        what: &'static str,
        /// The cap.
        max: usize,
    },
    /// More than an instance can have at all, asked for before it has done anything.
    #[error(
        "an instance of the component would begin with {asked} {what}; the host gives at most {max}. Let it begin small and grow, or have \
         the operator raise the limit"
    )]
    TooLargeAtFirst {
        /// Of what.
        what: &'static str,
        /// What it asks for.
        asked: u64,
        /// The cap.
        max: u64,
    },
    /// One that a compiler would need minutes for.
    #[error(
        "a function of the component has {size} bytes (at byte {offset}); the host takes at most {max}. Build with optimisation, or split \
         what is generated into several functions"
    )]
    FunctionTooLarge {
        /// Bytes of its body.
        size: usize,
        /// Where it begins.
        offset: u64,
        /// The cap.
        max: usize,
    },
    /// Built against a contract that the host does not speak.
    #[error(
        "the plugin {direction} `{interface}`; this host offers {}. Build it against a contract version that both know",
        offered()
    )]
    WrongContract {
        /// `imports` or `exports`.
        direction: &'static str,
        /// The interface as its name stands in the component.
        interface: String,
        /// The version that it asks for, if it names one.
        found: Option<Version>,
    },
    /// Something that no host interface answers to.
    #[error(
        "the plugin imports `{import}`, which the host does not offer: {why}. Remove what needs it, or feature-gate it out of the \
         dependency that brings it in"
    )]
    UnknownImport {
        /// The import; a single function is `interface#function`.
        import: String,
        /// What is unknown about it.
        why: String,
    },
    /// No description, so not a plugin.
    #[error(
        "the component does not export `stecker:plugin/meta`, which every plugin has: there is nothing to describe it. Implement the role \
         and export it from the plugin's world"
    )]
    NoMeta,
    /// A role that is there by name only.
    #[error(
        "the plugin exports the role `{role}` without its function `{function}`. Build it with the unchanged WIT files of the contract"
    )]
    IncompleteRole {
        /// The role.
        role: Role,
        /// What is missing.
        function: &'static str,
    },
    /// No manifest.
    #[error(
        "the component has no `stecker:manifest` section, so it does not say what it is called and what it asks for. Build it with \
         `stecker plugin build`, which embeds the plugin.toml beside Cargo.toml"
    )]
    NoManifest,
    /// Two manifests: which one counts would be a matter of taste.
    #[error("the component has {0} `stecker:manifest` sections; there has to be exactly one. Build it again")]
    SeveralManifests(usize),
    /// A manifest that does not hold what one has to.
    #[error(
        "the manifest inside the component is not valid: {0} Build the plugin again with the current `stecker plugin build`"
    )]
    BadManifest(ManifestError),
    /// Manifest and component disagree.
    #[error(
        "the manifest says contract {manifest}, but the component was built against {component}. Set `contract = \"{component}\"` in \
         plugin.toml, or build with the other version of the SDK"
    )]
    ContractMismatch {
        /// What the manifest says.
        manifest: Version,
        /// What the component's type says.
        component: Version,
    },
}

impl InspectError {
    /// A short, stable name of the reason, for machines.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "too-large",
            Self::NotWasm { .. } => "not-wasm",
            Self::CoreModule => "core-module",
            Self::Truncated(_) => "truncated",
            Self::Invalid { .. } => "invalid",
            Self::TooDeep { .. } => "too-deep",
            Self::TooMany { .. } => "too-many",
            Self::TooLargeAtFirst { .. } => "too-large-at-first",
            Self::FunctionTooLarge { .. } => "function-too-large",
            Self::WrongContract { .. } => "wrong-contract",
            Self::UnknownImport { .. } => "unknown-import",
            Self::NoMeta => "no-meta",
            Self::IncompleteRole { .. } => "incomplete-role",
            Self::NoManifest => "no-manifest",
            Self::SeveralManifests(_) => "several-manifests",
            Self::BadManifest(_) => "bad-manifest",
            Self::ContractMismatch { .. } => "contract-mismatch",
        }
    }
}
