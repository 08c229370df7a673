//! Everything that the gate can find, by a stable name, with what is to be said about it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// How much a finding counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// For a person to look at; the release passes.
    Warning,
    /// The release does not pass.
    Refusal,
}

/// Where in the order of the gate something is found. The first three end it: what comes later would look at something that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Size, nesting, number of parts, before anything is decoded.
    Caps,
    /// What the component is, what it imports, and its manifest.
    Imports,
    /// Compiled, and linked against the contract.
    Link,
    /// Roles, exports and imports, compared with the release before.
    World,
    /// The configuration schema, compared with the release before.
    Configuration,
    /// What the manifest asks for, compared with the release before.
    Capabilities,
    /// The days at which vendors end their APIs.
    Upstreams,
    /// The version's number, and what it says about breaking.
    Version,
    /// Run in the sandbox against a scripted upstream.
    Conformance,
}

impl Step {
    /// All of them, in the order of the gate.
    pub const ALL: [Self; 9] = [
        Self::Caps,
        Self::Imports,
        Self::Link,
        Self::World,
        Self::Configuration,
        Self::Capabilities,
        Self::Upstreams,
        Self::Version,
        Self::Conformance,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caps => "caps",
            Self::Imports => "imports",
            Self::Link => "link",
            Self::World => "world",
            Self::Configuration => "configuration",
            Self::Capabilities => "capabilities",
            Self::Upstreams => "upstreams",
            Self::Version => "version",
            Self::Conformance => "conformance",
        }
    }
}

impl Severity {
    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Note => "note",
            Self::Warning => "warning",
            Self::Refusal => "refusal",
        }
    }
}

macro_rules! codes {
    ($($variant:ident, $name:literal, $step:ident, $publish:ident, $install:ident, $why:literal, $todo:literal;)*) => {
        /// What was found. The name of each is stable.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum Code {
            $(#[doc = $why] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// All of them, in the order of the gate.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// Its stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// Where it is found.
            #[must_use]
            pub const fn step(self) -> Step {
                match self { $(Self::$variant => Step::$step,)* }
            }

            /// Why it matters.
            #[must_use]
            pub const fn why(self) -> &'static str {
                match self { $(Self::$variant => $why,)* }
            }

            /// What to do about it.
            #[must_use]
            pub const fn todo(self) -> &'static str {
                match self { $(Self::$variant => $todo,)* }
            }

            pub(crate) const fn at_publish(self) -> Severity {
                match self { $(Self::$variant => Severity::$publish,)* }
            }

            pub(crate) const fn at_install(self) -> Severity {
                match self { $(Self::$variant => Severity::$install,)* }
            }
        }
    };
}

codes! {
    TooLarge, "too-large", Caps, Refusal, Refusal,
        "A file beyond the cap is not even looked at, because reading it is the first thing that costs.",
        "Build for release, without debug information.";
    TooDeep, "too-deep", Caps, Refusal, Refusal,
        "Components within components cost every tool that reads them, and no known toolchain nests this deep.",
        "Compose the plugin of fewer layers.";
    TooMany, "too-many", Caps, Refusal, Refusal,
        "So many sections, types, functions or parts only keep a validator and a compiler busy.",
        "Link less into the plugin.";
    TooLargeAtFirst, "too-large-at-first", Caps, Refusal, Refusal,
        "An instance would take more memory before it has done anything than a connection may have at all.",
        "Let memories and tables begin small and grow.";
    FunctionTooLarge, "function-too-large", Caps, Refusal, Refusal,
        "A compiler's time grows faster than a function's length.",
        "Build with optimisation, or split what is generated into several functions.";
    NotWasm, "not-wasm", Imports, Refusal, Refusal,
        "It is some other file.",
        "Give the .wasm file that `stecker plugin build` wrote.";
    CoreModule, "core-module", Imports, Refusal, Refusal,
        "A core module has no types, so there are no roles to read off it.",
        "Make it a component; `stecker plugin build` does.";
    Truncated, "truncated", Imports, Refusal, Refusal,
        "The end of the file is missing.",
        "Copy, download or build it again.";
    Invalid, "invalid", Imports, Refusal, Refusal,
        "The validator that the engine builds on does not take it.",
        "Build it again with current tools.";
    WrongContract, "wrong-contract", Imports, Refusal, Refusal,
        "Hosts speak the versions of the contract that they were built with, and nothing translates between majors.",
        "Build it against a version of the contract that this host offers.";
    UnknownImport, "unknown-import", Imports, Refusal, Refusal,
        "A plugin can only be given what hosts have, and what they have is what is guarded.",
        "Remove what needs the import, or feature-gate it out of the dependency that brings it in.";
    NoMeta, "no-meta", Imports, Refusal, Refusal,
        "Without `stecker:plugin/meta` nothing describes the plugin.",
        "Implement the role and export it.";
    IncompleteRole, "incomplete-role", Imports, Refusal, Refusal,
        "A role is there as a whole, or the host would find out in the middle of a flow.",
        "Build it with the unchanged WIT files of the contract.";
    NoManifest, "no-manifest", Imports, Refusal, Refusal,
        "The manifest says what the release is called and what it asks for, and the digest has to cover it.",
        "Build it with `stecker plugin build`, which puts plugin.toml into the component.";
    SeveralManifests, "several-manifests", Imports, Refusal, Refusal,
        "Of two manifests one would be shown and the other one obeyed.",
        "Build it again.";
    BadManifest, "bad-manifest", Imports, Refusal, Refusal,
        "A manifest that cannot be read bounds nothing.",
        "Correct plugin.toml at the place that is named, and build again.";
    ContractMismatch, "contract-mismatch", Imports, Refusal, Refusal,
        "Which hosts can run a release is told by its manifest, without reading the component.",
        "Set `contract` in plugin.toml to what the component was built against.";
    Compile, "compile", Link, Refusal, Refusal,
        "What cannot be compiled cannot be run.",
        "Build it again with current tools.";
    CompileBounds, "compile-bounds", Link, Refusal, Refusal,
        "Compiling is bounded in memory and time, because it is done for strangers.",
        "Build with optimisation, or split what is generated.";
    DoesNotFit, "does-not-fit", Link, Refusal, Refusal,
        "An instance needs more memories, tables or modules than a host has for one.",
        "Link less into the plugin.";
    Link, "link", Link, Refusal, Refusal,
        "The names are those of the contract, the types are not.",
        "Build it with the unchanged WIT files of the contract.";
    NotDescribed, "not-described", Link, Refusal, Refusal,
        "What a plugin says of itself (its configuration, its streams) is the first thing that anybody asks of it.",
        "Make `meta.describe` return a JSON object without needing anything.";
    HostFailed, "host-failed", Link, Refusal, Refusal,
        "The host failed and not the plugin, so nothing is known of it.",
        "Try again; look into the host's log if it happens again.";
    PreviousUnreadable, "previous-unreadable", World, Warning, Warning,
        "What changed since the release before cannot be told, because that one does not load here.",
        "Look at the differences yourself, or use a host that still runs the release before.";
    OtherPlugin, "other-plugin", World, Refusal, Refusal,
        "Releases of different plugins have nothing to be compatible with.",
        "Correct `name` in plugin.toml, or publish it under its own name.";
    RoleRemoved, "role-removed", World, Refusal, Refusal,
        "Connections and flows that use the role would stop at an upgrade that promises to break nothing.",
        "Keep the role, or publish a new major version.";
    ExportRemoved, "export-removed", World, Refusal, Refusal,
        "Whoever calls the export would find it gone after an upgrade that promises to break nothing.",
        "Keep the export, or publish a new major version.";
    ExportChanged, "export-changed", World, Refusal, Refusal,
        "Whoever calls the export was built for the other type.",
        "Keep its type (functions may be added), or publish a new major version.";
    ImportsGrew, "imports-grew", World, Note, Note,
        "The plugin uses something of the host that it did not use before.",
        "Nothing, if it is meant: see also what its manifest asks for in addition.";
    ContractRaised, "contract-raised", World, Note, Note,
        "Hosts that run the release before may be too old for this one.",
        "Nothing, if it is meant; otherwise build against the older version of the contract.";
    ConfigBroken, "config-broken", Configuration, Refusal, Refusal,
        "A configuration that was valid would stop a connection at an upgrade that promises to break nothing.",
        "Give new fields a default and keep the old ones, or publish a new major version.";
    ConfigUnclear, "config-unclear", Configuration, Warning, Warning,
        "Whether every old configuration is still valid could not be decided, so a person has to.",
        "Compare the two schemas at this place, or write the new one more simply.";
    ConfigNote, "config-note", Configuration, Note, Note,
        "Configurations stay valid and may behave differently.",
        "Tell it in the release's notes.";
    CapabilitiesWider, "capabilities-wider", Capabilities, Warning, Warning,
        "An upgrade may not take more than was granted: each operator has to approve it.",
        "Ask for less, or say in the release's notes what it is needed for.";
    CapabilitiesNarrower, "capabilities-narrower", Capabilities, Note, Note,
        "The release asks for less than the one before.",
        "Nothing; grants that are no longer needed can be taken back.";
    SunsetMissing, "sunset-missing", Upstreams, Refusal, Warning,
        "Operators are told in time who has to move because a vendor ends an API, and that comes from here.",
        "Write the vendor's day into `[[upstream]]`, `sunset = \"2027-01-31\"`, or `sunset = \"none\"` if the vendor has announced none.";
    SunsetPast, "sunset-past", Upstreams, Refusal, Warning,
        "The vendor no longer answers this version of its API.",
        "Move to a newer version of the API and correct `[[upstream]]`.";
    SunsetUnproven, "sunset-unproven", Upstreams, Warning, Warning,
        "A day that nobody can look up is soon a wrong one.",
        "Add `url`, the vendor's page that says so.";
    UpstreamUndeclared, "upstream-undeclared", Upstreams, Warning, Warning,
        "The plugin sends requests and does not say to which system, so nobody can be warned of its end.",
        "Add an `[[upstream]]` with system, API version and sunset to plugin.toml.";
    VersionBuild, "version-build", Version, Refusal, Warning,
        "Build metadata does not count in comparisons (semver 2.0, section 10), so two releases would be the same version.",
        "Leave out what follows the plus sign; use a pre-release, such as 1.2.0-rc.1, for what is not a release yet.";
    VersionExists, "version-exists", Version, Refusal, Refusal,
        "A version is published once and never again: who pinned it must get the same bytes.",
        "Raise `version` in plugin.toml.";
    VersionNotHighest, "version-not-highest", Version, Refusal, Warning,
        "A range chooses the highest version, so this one would be chosen by nobody, or it was numbered by mistake.",
        "Raise `version`, or explain why an older line gets a release.";
    VersionExplained, "version-explained", Version, Note, Note,
        "A version below the highest one of its major was published on purpose.",
        "Nothing.";
    BreakingMissing, "breaking-missing", Version, Refusal, Warning,
        "Whoever is asked to move to another major version has to be told what breaks.",
        "Add a `[[breaking]]` with a message, and a deadline and a guide where there are, for each thing that breaks.";
    BreakingUnexpected, "breaking-unexpected", Version, Warning, Warning,
        "The release says that it breaks something, and its version says that it does not.",
        "Publish a new major version, or leave out `[[breaking]]`.";
    ConformanceMandatory, "conformance-mandatory", Conformance, Refusal, Refusal,
        "In front of a system that misbehaves, the plugin does what no host can make up for.",
        "Have the plugin answer with a coded error in such a case; `stecker plugin check` shows the same.";
    ConformanceFailed, "conformance-failed", Conformance, Warning, Warning,
        "The host retries, waits and reports by what a plugin says; here it says something else than the contract.",
        "See the check's description in docs/gate.md.";
    ConformancePartial, "conformance-partial", Conformance, Warning, Warning,
        "Not everything could be run, so the report says less than it could.",
        "See what is missing; a configuration to run with can be given as an example in the schema, or to `stecker plugin check --config`.";
}

impl Code {
    /// The code by its name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_in_the_order_of_the_gate() {
        for code in Code::ALL {
            assert_eq!(Code::parse(code.as_str()), Some(*code));
            let json = serde_json::to_string(code).unwrap();
            assert_eq!(json, format!("\"{code}\""));
            assert!(
                code.at_install() <= code.at_publish(),
                "{code}: a host asks no more than a registry"
            );
        }
        assert!(Code::ALL.is_sorted_by_key(|code| code.step()));
    }

    #[test]
    fn every_step_finds_something() {
        for step in Step::ALL {
            assert!(
                Code::ALL.iter().any(|code| code.step() == step),
                "{}",
                step.as_str()
            );
        }
    }
}
