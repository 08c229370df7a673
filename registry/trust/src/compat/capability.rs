//! What a new release asks for beyond an old one. Wider is for an operator to approve; narrower is only told.

use std::collections::BTreeSet;

use serde::Serialize;
use stecker_registry::{
    Manifest,
    manifest::{Credential, HostPattern, HttpCapability, Method},
};

/// The difference between what two manifests ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct CapabilityDiff {
    /// What the new one may do and the old one could not.
    pub wider: Vec<Change>,
    /// What the old one could do and the new one does not ask for.
    pub narrower: Vec<Change>,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Change {
    /// Of what kind.
    pub kind: ChangeKind,
    /// In words, such as `POST https://api.acme.example/admin`.
    pub what: String,
}

/// What a difference is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    /// Requests to a host that the other one does not speak to at all.
    NewHost,
    /// Other requests to a host that both speak to.
    Http,
    /// A credential that the other one does not have.
    NewSecret,
    /// A credential of both that is used otherwise.
    Secret,
    /// The key/value store.
    Storage,
    /// Bytes that the host keeps outside of the plugin.
    Blobs,
    /// Memory and time.
    Limits,
}

impl CapabilityDiff {
    /// The difference from one manifest to another.
    #[must_use]
    pub fn between(old: &Manifest, new: &Manifest) -> Self {
        Self {
            wider: beyond(old, new),
            narrower: beyond(new, old),
        }
    }

    /// Whether an operator has to approve.
    #[must_use]
    pub fn needs_approval(&self) -> bool {
        !self.wider.is_empty()
    }

    /// What is wider, in words; what [`crate::resolve::Known::wider`] takes.
    #[must_use]
    pub fn wider(&self) -> Vec<String> {
        self.wider.iter().map(|change| change.what.clone()).collect()
    }

    /// For the operator who decides: a line for each difference, `+` for wider and `-` for narrower.
    #[must_use]
    pub fn text(&self) -> String {
        let lines = |sign: char, changes: &[Change]| -> String {
            changes
                .iter()
                .map(|change| {
                    let kind = match change.kind {
                        ChangeKind::NewHost => "host",
                        ChangeKind::Http => "request",
                        ChangeKind::NewSecret => "credential",
                        ChangeKind::Secret => "credential's use",
                        ChangeKind::Storage => "storage",
                        ChangeKind::Blobs => "blobs",
                        ChangeKind::Limits => "limit",
                    };
                    format!("{sign} {kind}: {}\n", change.what)
                })
                .collect()
        };
        lines('+', &self.wider) + &lines('-', &self.narrower)
    }
}

/// What `new` asks for that `old` does not.
fn beyond(old: &Manifest, new: &Manifest) -> Vec<Change> {
    let mut changes = BTreeSet::new();
    for capability in &new.capabilities.http {
        requests_beyond(&old.capabilities.http, capability, &mut changes);
    }
    secrets_beyond(old, new, &mut changes);
    let mut more = |kind, what: String| {
        changes.insert(Change { kind, what });
    };
    let storage = |manifest: &Manifest| {
        manifest.capabilities.storage.as_ref().map(|storage| {
            (
                storage.max_bytes,
                storage.max_keys,
                u64::from(storage.ops_per_second),
            )
        })
    };
    if let Some(wants) = storage(new) {
        let has = storage(old).unwrap_or_default();
        for (wanted, had, unit) in [
            (wants.0, has.0, "bytes"),
            (wants.1, has.1, "keys"),
            (wants.2, has.2, "operations a second"),
        ] {
            if wanted > had {
                more(ChangeKind::Storage, format!("{wanted} {unit} rather than {had}"));
            }
        }
    }
    let blobs = |manifest: &Manifest| {
        let blobs = manifest.capabilities.blobs.as_ref();
        blobs.map(|blobs| [blobs.max_bytes, blobs.max_blob_bytes])
    };
    if let Some(wants) = blobs(new) {
        let has = blobs(old).unwrap_or_default();
        for ((wanted, had), unit) in wants.into_iter().zip(has).zip(["bytes", "bytes a blob"]) {
            if wanted > had {
                more(ChangeKind::Blobs, format!("{wanted} {unit} rather than {had}"));
            }
        }
    }
    let limits = |manifest: &Manifest| {
        [
            manifest.limits.memory_mib.map(u64::from),
            manifest.limits.deadline_ms,
        ]
    };
    for ((wanted, had), unit) in limits(new)
        .into_iter()
        .zip(limits(old))
        .zip(["MiB of memory", "ms for a call"])
    {
        // Without a wish it gets what is usual, and asking for a number may be more than that.
        if let Some(wanted) = wanted.filter(|wanted| had.is_none_or(|had| *wanted > had)) {
            let had = had.map_or("what is usual".to_owned(), |had| had.to_string());
            more(ChangeKind::Limits, format!("{wanted} {unit} rather than {had}"));
        }
    }
    changes.into_iter().collect()
}

fn requests_beyond(old: &[HttpCapability], new: &HttpCapability, changes: &mut BTreeSet<Change>) {
    const ALL: &[String] = &[];
    let everywhere = [String::new()];
    let paths = if new.paths == ALL {
        &everywhere[..]
    } else {
        &new.paths
    };
    for host in &new.hosts {
        let known: Vec<&HttpCapability> = old
            .iter()
            .filter(|capability| capability.hosts.iter().any(|old| covers_host(old, host)))
            .collect();
        for scheme in &new.schemes {
            for path in paths {
                let missing: Vec<&str> = new
                    .methods
                    .iter()
                    .filter(|method| {
                        !known.iter().any(|old| {
                            old.schemes.contains(scheme)
                                && old.methods.contains(method)
                                && covers_path(&old.paths, path)
                        })
                    })
                    .map(|method| method.as_str())
                    .collect();
                if missing.is_empty() {
                    continue;
                }
                let below = if path.is_empty() { "/" } else { path };
                changes.insert(Change {
                    kind: if known.is_empty() {
                        ChangeKind::NewHost
                    } else {
                        ChangeKind::Http
                    },
                    what: format!(
                        "{} {}://{host}{below} and below ({})",
                        missing.join(", "),
                        scheme.as_str(),
                        new.purpose
                    ),
                });
            }
        }
    }
}

/// Whether requests to the one may go where the other one's may.
fn covers_host(old: &HostPattern, new: &HostPattern) -> bool {
    let (HostPattern::Below(family), HostPattern::Exact(host) | HostPattern::Below(host)) = (old, new) else {
        return old == new;
    };
    let split = |text: &str| match text.rsplit_once(':') {
        Some((host, port)) => (host.to_owned(), Some(port.to_owned())),
        None => (text.to_owned(), None),
    };
    let (family, family_port) = split(family);
    let (host, port) = split(host);
    // `*.acme.example` is every name that ends in `.acme.example`, and of families those within it.
    let domain = family.trim_start_matches('*');
    let name = host.strip_prefix('*').unwrap_or(&host);
    family_port == port
        && (name == domain && host.starts_with('*') || name.len() > domain.len() && name.ends_with(domain))
}

/// Whether one of the prefixes is the path or above it; no prefixes: every path.
fn covers_path(old: &[String], new: &str) -> bool {
    old.is_empty()
        || old.iter().any(|prefix| {
            new == prefix
                || new
                    .strip_prefix(prefix.as_str())
                    .is_some_and(|rest| prefix.ends_with('/') || rest.starts_with('/'))
        })
}

fn secrets_beyond(old: &Manifest, new: &Manifest, changes: &mut BTreeSet<Change>) {
    for (name, credential) in &new.credentials {
        let kind = credential.kind.as_str();
        let Some(before) = old.credentials.get(name) else {
            changes.insert(Change {
                kind: ChangeKind::NewSecret,
                what: format!("`{name}`, a {kind}: {}", credential.description),
            });
            continue;
        };
        let mut other = |what: String| {
            changes.insert(Change {
                kind: ChangeKind::Secret,
                what: format!("`{name}` {what}"),
            });
        };
        if use_of(before) != use_of(credential) {
            other(format!("is used otherwise than before, as a {kind}"));
        }
        // No list means wherever the plugin may go, so a list is always within none.
        let within =
            |old: &Option<Vec<String>>, new: &Option<Vec<String>>, covers: &dyn Fn(&str, &str) -> bool| {
                let Some(old) = old else { return Vec::new() };
                match new {
                    None => vec!["wherever the plugin may go".to_owned()],
                    Some(new) => new
                        .iter()
                        .filter(|new| !old.iter().any(|old| covers(old, new)))
                        .cloned()
                        .collect(),
                }
            };
        let hosts = |credential: &Credential| {
            let hosts = credential.hosts.as_ref();
            hosts.map(|hosts| hosts.iter().map(ToString::to_string).collect::<Vec<_>>())
        };
        let host_covers = |old: &str, new: &str| match (old.parse(), new.parse()) {
            (Ok(old), Ok(new)) => covers_host(&old, &new),
            _ => false,
        };
        let methods = |credential: &Credential| {
            let methods = credential.methods.as_ref();
            methods.map(|methods: &Vec<Method>| {
                methods.iter().map(|method| method.as_str().to_owned()).collect()
            })
        };
        for (what, more) in [
            ("to", within(&hosts(before), &hosts(credential), &host_covers)),
            (
                "with",
                within(&methods(before), &methods(credential), &|old, new| old == new),
            ),
            (
                "below",
                within(&before.paths, &credential.paths, &|old, new| {
                    covers_path(&[old.to_owned()], new)
                }),
            ),
        ] {
            if !more.is_empty() {
                other(format!("is also sent {what} {}", more.join(", ")));
            }
        }
    }
}

/// Everything about a credential that decides where its secret ends up, but the lists that can be compared one by one.
fn use_of(credential: &Credential) -> Credential {
    Credential {
        description: String::new(),
        hosts: None,
        methods: None,
        paths: None,
        ..credential.clone()
    }
}

#[cfg(test)]
#[path = "capability_tests.rs"]
mod tests;
