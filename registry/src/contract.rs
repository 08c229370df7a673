//! The contract by its names: roles, imports, and which versions this host speaks.
//!
//! The tables repeat what the WIT files say, on purpose: reading WIT at run time would put a parser and the files into every host, and a
//! test compares the two.

use std::{collections::BTreeSet, fmt, str::FromStr};

use schemars::JsonSchema;
use semver::Version;
use serde::{Deserialize, Serialize};

/// The WIT package that plugins are built against.
pub const PACKAGE: &str = "stecker:plugin";

/// The newest version of the contract that this host offers. It also takes every plugin of the same major that imports nothing newer.
pub const OFFERED: Version = Version::new(1, 1, 0);

/// Every version that this host links, ascending.
pub const VERSIONS: [Version; 2] = [Version::new(1, 0, 0), OFFERED];

/// What this host offers, for people.
#[must_use]
pub fn offered() -> String {
    let versions = VERSIONS.map(|version| format!("{PACKAGE}@{version}")).join(", ");
    format!(
        "{versions} and what is compatible with them (any {}.x that imports nothing newer)",
        OFFERED.major
    )
}

/// An interface of the contract that a plugin can export.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// What the plugin is. Every plugin exports it.
    Meta,
    /// Whether and how it reaches its system.
    Connection,
    /// Reads streams.
    Source,
    /// Writes streams.
    Destination,
    /// Says in few bytes what a destination holds.
    Reconcile,
    /// Takes what a system sends on its own.
    Webhook,
    /// Makes records into other records.
    Transform,
}

impl Role {
    /// All of them, in the order of the contract.
    pub const ALL: [Self; 7] = [
        Self::Meta,
        Self::Connection,
        Self::Source,
        Self::Destination,
        Self::Reconcile,
        Self::Webhook,
        Self::Transform,
    ];

    /// The name of its interface.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Connection => "connection",
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Reconcile => "reconcile",
            Self::Webhook => "webhook",
            Self::Transform => "transform",
        }
    }

    /// The functions that the interface consists of.
    #[must_use]
    pub const fn functions(self) -> &'static [&'static str] {
        match self {
            Self::Meta => &["describe"],
            Self::Connection => &["check", "discover"],
            Self::Source => &["read", "acknowledge"],
            Self::Destination => &["write", "lookup"],
            Self::Reconcile => &["digest", "list-keys"],
            Self::Webhook => &["receive", "subscribe", "unsubscribe"],
            Self::Transform => &["apply"],
        }
    }

    pub(crate) fn by_interface(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What sort of plugin it is, which follows from its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Speaks with a system: has at least one of the roles connection, source, destination, webhook.
    Connector,
    /// Only makes records into other records.
    Transform,
}

impl Kind {
    /// The kind that goes with these roles; none if there is no role besides `meta`.
    #[must_use]
    pub fn of(roles: &BTreeSet<Role>) -> Option<Self> {
        let connects = [Role::Connection, Role::Source, Role::Destination, Role::Webhook];
        if connects.iter().any(|role| roles.contains(role)) {
            Some(Self::Connector)
        } else {
            roles.contains(&Role::Transform).then_some(Self::Transform)
        }
    }
}

/// The interfaces of the contract that a plugin can import, each with its functions.
pub const IMPORTS: [(&str, &[&str]); 9] = [
    ("types", &[]),
    ("http", &["send", "send-many"]),
    ("storage", &["get", "put", "delete", "list-keys"]),
    ("crypto", &["hash", "hmac-sign", "hmac-verify"]),
    ("log", &["write"]),
    ("clock", &["now", "monotonic-ms"]),
    ("random", &["bytes"]),
    ("blobs", &["stat", "read", "write"]),
    ("http-blobs", &["send"]),
];

/// The interfaces of WASI 0.2 that the host links, because guests of other toolchains import them whether they use them or not.
/// <https://github.com/WebAssembly/WASI/tree/main/proposals>
pub const WASI: [&str; 30] = [
    "cli/environment",
    "cli/exit",
    "cli/stdin",
    "cli/stdout",
    "cli/stderr",
    "cli/terminal-input",
    "cli/terminal-output",
    "cli/terminal-stdin",
    "cli/terminal-stdout",
    "cli/terminal-stderr",
    "clocks/monotonic-clock",
    "clocks/wall-clock",
    "filesystem/preopens",
    "filesystem/types",
    "http/outgoing-handler",
    "http/types",
    "io/error",
    "io/poll",
    "io/streams",
    "random/insecure",
    "random/insecure-seed",
    "random/random",
    "sockets/instance-network",
    "sockets/ip-name-lookup",
    "sockets/network",
    "sockets/tcp",
    "sockets/tcp-create-socket",
    "sockets/udp",
    "sockets/udp-create-socket",
    "clocks/timezone",
];

/// The name of an interface as a component's type spells it: `namespace:package/interface@version`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct InterfaceName<'a> {
    /// `namespace:package`.
    pub(crate) package: &'a str,
    pub(crate) interface: &'a str,
    pub(crate) version: Option<Version>,
}

impl<'a> InterfaceName<'a> {
    /// None for names of another form: plain functions, URLs, locked or unlocked dependencies.
    pub(crate) fn parse(name: &'a str) -> Option<Self> {
        let (package, rest) = name.split_once('/')?;
        let (interface, version) = match rest.split_once('@') {
            Some((interface, version)) => (interface, Some(Version::from_str(version).ok()?)),
            None => (rest, None),
        };
        let is_package = package.contains(':')
            && package
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b"-:".contains(&b));
        is_package.then_some(Self {
            package,
            interface,
            version,
        })
    }

    /// Whether it is one of the WASI interfaces that the host links.
    pub(crate) fn is_known_wasi(&self) -> bool {
        let Some(package) = self.package.strip_prefix("wasi:") else {
            return false;
        };
        let linked = WASI
            .iter()
            .any(|known| known.split_once('/') == Some((package, self.interface)));
        linked
            && self
                .version
                .as_ref()
                .is_some_and(|v| (v.major, v.minor) == (0, 2) && v.pre.is_empty())
    }
}

/// Whether the host speaks this version: the same major, and no pre-release, because those promise nothing to each other.
pub(crate) fn is_offered(version: &Version) -> bool {
    version.major == OFFERED.major && version.pre.is_empty()
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::Path};

    use super::*;

    #[test]
    fn every_published_version_of_the_major_is_offered() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../wit");
        let published: BTreeSet<Version> = std::fs::read_dir(folder)
            .expect("the contract is there")
            .filter_map(|entry| Version::parse(&entry.ok()?.file_name().to_string_lossy()).ok())
            .collect();
        assert_eq!(published, BTreeSet::from(VERSIONS));
    }

    /// The WIT files are the truth; the tables are the copy.
    #[test]
    fn the_tables_are_what_the_wit_says() {
        let mut resolve = wit_parser::Resolve::default();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../wit/{OFFERED}"));
        let (package, _) = resolve.push_dir(&path).expect("the contract parses");
        assert_eq!(
            resolve.packages[package].name.to_string(),
            format!("{PACKAGE}@{OFFERED}")
        );

        let in_wit: BTreeMap<String, BTreeSet<String>> = resolve.packages[package]
            .interfaces
            .iter()
            .map(|(name, id)| {
                (
                    name.clone(),
                    resolve.interfaces[*id].functions.keys().cloned().collect(),
                )
            })
            .collect();
        let in_tables: BTreeMap<String, BTreeSet<String>> = IMPORTS
            .into_iter()
            .chain(Role::ALL.map(|role| (role.as_str(), role.functions())))
            .map(|(name, functions)| {
                (
                    name.to_owned(),
                    functions.iter().map(|f| (*f).to_owned()).collect(),
                )
            })
            .collect();
        assert_eq!(in_tables, in_wit);
    }

    #[test]
    fn names_of_interfaces() {
        let name = InterfaceName::parse("wasi:io/streams@0.2.10").unwrap();
        assert_eq!((name.package, name.interface), ("wasi:io", "streams"));
        assert!(name.is_known_wasi());
        for unknown in [
            "wasi:io/streams",
            "wasi:io/streams@0.3.0",
            "wasi:nn/graph@0.2.0",
            "wasi:io/stream@0.2.0",
        ] {
            assert!(
                !InterfaceName::parse(unknown).unwrap().is_known_wasi(),
                "{unknown}"
            );
        }
        for other in ["plain", "a/b", "stecker:plugin/meta@one", "url=<https://a/b>"] {
            assert_eq!(InterfaceName::parse(other), None, "{other}");
        }
    }

    #[test]
    fn the_kind_follows_from_the_roles() {
        let kind = |roles: &[Role]| Kind::of(&roles.iter().copied().collect());
        assert_eq!(kind(&[Role::Meta]), None);
        assert_eq!(kind(&[Role::Meta, Role::Transform]), Some(Kind::Transform));
        assert_eq!(
            kind(&[Role::Meta, Role::Transform, Role::Source]),
            Some(Kind::Connector)
        );
    }
}
