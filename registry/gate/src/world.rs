//! The world of a release compared with that of the release before: what it exports may grow and not change, within a major.
//!
//! Types are compared by the validator that the engine builds on, which knows when one component type can stand for another. Imports may grow: hosts
//! offer them to everybody, and what they may do with them is the manifest's to ask for (see `changes`).

use std::collections::BTreeSet;

use semver::Version;
use stecker_registry::Inspection;
use wasmparser::{
    Parser, Payload, ValidPayload, Validator, component_types::ComponentEntityType, types::Types,
};

/// What changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Difference {
    /// Roles that are gone.
    pub(crate) roles_removed: Vec<String>,
    /// Other exports that are gone.
    pub(crate) removed: Vec<String>,
    /// Exports that have another type, which the old one cannot be replaced by.
    pub(crate) changed: Vec<String>,
    /// Interfaces that are imported and were not.
    pub(crate) imports_added: Vec<String>,
}

/// A validated component: its types, and the names that it exports.
struct World {
    types: Types,
    exports: BTreeSet<String>,
}

/// Reads the types without looking into functions: both components were validated when they were loaded.
fn read(validator: &mut Validator, bytes: &[u8]) -> Result<World, String> {
    let mut exports = BTreeSet::new();
    let mut types = None;
    let mut depth = 0_usize;
    let text = |error: wasmparser::BinaryReaderError| error.message().to_owned();
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload.map_err(text)?;
        if let ValidPayload::End(of) = validator.payload(&payload).map_err(text)? {
            types = Some(of);
        }
        match payload {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    exports.insert(export.map_err(text)?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    let types = types.ok_or("it has no end")?;
    Ok(World { types, exports })
}

impl World {
    fn export(&self, name: &str) -> Option<ComponentEntityType> {
        let types = self.types.as_ref();
        types.component_item_for_export(name).map(|item| item.ty)
    }

    /// The export that stands for one of the release before: by its name, or the same interface in a later version of the same track.
    fn counterpart(&self, name: &str) -> Option<&str> {
        if let Some(same) = self.exports.get(name) {
            return Some(same);
        }
        let (interface, version) = split(name)?;
        let follows = |other: &&String| {
            split(other).is_some_and(|(its, later)| {
                its == interface
                    && later >= version
                    && later.major == version.major
                    && (later.major > 0 || later.minor == version.minor)
            })
        };
        self.exports.iter().find(follows).map(String::as_str)
    }
}

/// `acme:shop/extra@1.2.0` as interface and version.
fn split(name: &str) -> Option<(&str, Version)> {
    let (interface, version) = name.rsplit_once('@')?;
    Some((interface, version.parse().ok()?))
}

/// Compares two components that were loaded. Whether the step between their versions allows the differences is the caller's to say.
pub(crate) fn compare(old: (&[u8], &Inspection), new: (&[u8], &Inspection)) -> Result<Difference, String> {
    // One validator for both, so that their types can be compared.
    let mut validator = Validator::new();
    let before = read(&mut validator, old.0)?;
    validator.reset();
    let after = read(&mut validator, new.0)?;
    let mut difference = Difference {
        roles_removed: old
            .1
            .roles
            .difference(&new.1.roles)
            .map(ToString::to_string)
            .collect(),
        ..Difference::default()
    };
    let is_role = |name: &str| {
        let interface = split(name).map(|(interface, _)| interface);
        let role =
            interface.and_then(|interface| interface.strip_prefix(stecker_registry::contract::PACKAGE));
        role.is_some_and(|role| {
            let roles = &old.1.roles;
            roles
                .iter()
                .any(|known| role.strip_prefix('/') == Some(known.as_str()))
        })
    };
    for name in &before.exports {
        let Some(counterpart) = after.counterpart(name) else {
            // A role is told as a role.
            if !is_role(name) {
                difference.removed.push(name.clone());
            }
            continue;
        };
        if let (Some(a), Some(b)) = (after.export(counterpart), before.export(name))
            && !ComponentEntityType::is_subtype_of(&a, after.types.as_ref(), &b, before.types.as_ref())
        {
            difference.changed.push(name.clone());
        }
    }
    // By interface: another patch version of WASI is not another import.
    let interfaces = |inspection: &Inspection| -> BTreeSet<String> {
        let plain = |name: &String| {
            split(name)
                .map_or(name.as_str(), |(interface, _)| interface)
                .to_owned()
        };
        inspection.imports.iter().map(plain).collect()
    };
    difference.imports_added = interfaces(new.1)
        .difference(&interfaces(old.1))
        .cloned()
        .collect();
    Ok(difference)
}
