//! Reading a component without running it, and putting the manifest into one.
//!
//! The bytes may come from anybody. So the cheap checks come first, every cap is checked before the work that it bounds, and the
//! only thing that interprets the component is the validator that wasmtime itself builds on.

use std::collections::{BTreeMap, BTreeSet};

use semver::Version;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use stecker_model::Digest;
use wasm_encoder::{ComponentSection, CustomSection};
use wasmparser::{
    Parser, Payload, Validator,
    component_types::{ComponentEntityType, ComponentItem},
    types::TypesRef,
};

use crate::{
    caps,
    contract::{self, InterfaceName, Kind, Role},
    error::InspectError,
    manifest::Manifest,
    section::{self, BadFraming},
};

/// The custom section that the manifest lies in.
pub const MANIFEST_SECTION: &str = "stecker:manifest";

/// What is looked at, at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InspectLimits {
    /// Bytes of the whole file. A JavaScript plugin has 12 MB, a Python one 18 MB.
    pub max_bytes: usize,
    /// Modules and components inside each other. Known toolchains reach 3.
    pub max_depth: usize,
    /// Functions with a body, over all modules. A Python plugin has some 30,000.
    pub max_functions: usize,
    /// Bytes of one function's body. A compiler's time grows faster than a function's length; a JavaScript engine's interpreter loop has
    /// some 100 KB.
    pub max_function_bytes: usize,
    /// Memories that its modules define.
    pub max_memories: usize,
    /// Tables that its modules define.
    pub max_tables: usize,
    /// Modules, components and instances of either.
    pub max_parts: usize,
    /// Bytes of a memory at the start of an instance.
    pub max_initial_memory: u64,
    /// Elements of a table at the start of an instance. A JavaScript engine has some 10,000.
    pub max_initial_table: u64,
}

impl Default for InspectLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_depth: 16,
            max_functions: 200_000,
            max_function_bytes: 512 << 10,
            max_memories: 8,
            max_tables: 64,
            max_parts: 1_000,
            max_initial_memory: 1 << 30,
            max_initial_table: 50_000,
        }
    }
}

/// What a component says of itself, by its type and its manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Inspection {
    /// Of the whole file, manifest included. This is what names a release.
    pub digest: Digest,
    /// Bytes of the whole file.
    pub size: u64,
    /// The embedded manifest.
    pub manifest: Manifest,
    /// The exported roles. `meta` is always among them.
    pub roles: BTreeSet<Role>,
    /// The imported interfaces, as the component spells them, ascending.
    pub imports: Vec<String>,
    /// The highest version of the contract that the component names.
    pub contract: Version,
}

impl Inspection {
    /// Connector or transform; none if `meta` is the only role.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(&self.roles)
    }
}

/// The digest of a release's bytes.
#[must_use]
pub fn digest(bytes: &[u8]) -> Digest {
    let text = format!("sha256:{}", hex::encode(Sha256::digest(bytes)));
    Digest::try_from(text).unwrap_or_else(|_| unreachable!("a SHA-256 in hex is a digest"))
}

/// [`inspect_with`] the limits that suit every known toolchain.
///
/// # Errors
/// As [`inspect_with`].
pub fn inspect(bytes: &[u8]) -> Result<Inspection, InspectError> {
    inspect_with(bytes, InspectLimits::default())
}

/// Reads manifest, roles and imports off a component. Never runs it, and never panics, whatever the bytes are.
///
/// # Errors
/// [`InspectError`] if this is not a plugin that this host could load.
pub fn inspect_with(bytes: &[u8], limits: InspectLimits) -> Result<Inspection, InspectError> {
    if bytes.len() > limits.max_bytes {
        return Err(InspectError::TooLarge {
            size: bytes.len(),
            max: limits.max_bytes,
        });
    }
    let manifests = framing(bytes)?;
    caps::check(bytes, limits)?;
    let types = Validator::new()
        .validate_all(bytes)
        .map_err(|error| invalid(&error))?;
    let names = outer_names(bytes)?;
    let (imports, contract) = check_interfaces(&names, types.as_ref())?;
    let roles = read_roles(&names.exports, types.as_ref())?;
    let manifest = match manifests.as_slice() {
        [] => return Err(InspectError::NoManifest),
        [only] => Manifest::from_json(only).map_err(InspectError::BadManifest)?,
        several => return Err(InspectError::SeveralManifests(several.len())),
    };
    if manifest.contract != contract {
        return Err(InspectError::ContractMismatch {
            manifest: manifest.contract,
            component: contract,
        });
    }
    Ok(Inspection {
        digest: digest(bytes),
        size: bytes.len().try_into().unwrap_or(u64::MAX),
        manifest,
        roles,
        imports,
        contract,
    })
}

/// The component with the manifest in it, in place of one that is in it already.
///
/// # Errors
/// [`InspectError`] if the bytes are not framed as a component.
pub fn embed_manifest(component: &[u8], manifest: &Manifest) -> Result<Vec<u8>, InspectError> {
    framing(component)?;
    let mut bytes = section::without_custom_sections(component, |name| name == MANIFEST_SECTION)
        .map_err(InspectError::Truncated)?;
    let json = manifest.to_canonical_json();
    CustomSection {
        name: MANIFEST_SECTION.into(),
        data: json.as_bytes().into(),
    }
    .append_to_component(&mut bytes);
    Ok(bytes)
}

/// Header and framing; returns the contents of the manifest sections.
fn framing(bytes: &[u8]) -> Result<Vec<&[u8]>, InspectError> {
    let first = bytes.get(..section::MAGIC.len()).unwrap_or(bytes);
    if first.is_empty() || !section::MAGIC.starts_with(first) {
        let begins = match first {
            [] => "nothing at all (it is empty)".to_owned(),
            first => first
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<Vec<_>>()
                .join(" "),
        };
        return Err(InspectError::NotWasm { begins });
    }
    // Bytes 6 and 7 are the layer: 0 a module, 1 a component.
    if bytes.get(6..8) == Some(&[0, 0]) {
        return Err(InspectError::CoreModule);
    }
    let sections = section::sections(bytes).map_err(|error| match error {
        BadFraming::Truncated { .. } => InspectError::Truncated(error),
        BadFraming::Length { offset } => InspectError::Invalid {
            message: error.to_string(),
            offset: offset.try_into().unwrap_or(u64::MAX),
        },
    })?;
    Ok(sections
        .iter()
        .filter(|s| s.name == Some(MANIFEST_SECTION))
        .map(|s| s.data)
        .collect())
}

pub(crate) fn invalid(error: &wasmparser::BinaryReaderError) -> InspectError {
    InspectError::Invalid {
        message: error.message().to_owned(),
        offset: error.offset(),
    }
}

/// What the component itself imports and exports, not what is inside of it.
#[derive(Default)]
struct OuterNames {
    imports: BTreeSet<String>,
    exports: BTreeSet<String>,
}

fn outer_names(bytes: &[u8]) -> Result<OuterNames, InspectError> {
    let mut names = OuterNames::default();
    let mut depth = 0_usize;
    for payload in Parser::new(0).parse_all(bytes) {
        match payload.map_err(|error| invalid(&error))? {
            Payload::Version { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(section) if depth == 1 => {
                for import in section {
                    names
                        .imports
                        .insert(import.map_err(|error| invalid(&error))?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(section) if depth == 1 => {
                for export in section {
                    names
                        .exports
                        .insert(export.map_err(|error| invalid(&error))?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(names)
}

/// Checks every import and the contract's version; returns the imports and the highest version of the contract.
fn check_interfaces(names: &OuterNames, types: TypesRef<'_>) -> Result<(Vec<String>, Version), InspectError> {
    let mut highest: Option<Version> = None;
    for (direction, set) in [("exports", &names.exports), ("imports", &names.imports)] {
        for name in set {
            let Some(interface) = InterfaceName::parse(name).filter(|i| i.package == contract::PACKAGE)
            else {
                continue;
            };
            match interface.version {
                Some(version) if contract::is_offered(&version) => highest = highest.max(Some(version)),
                found => {
                    return Err(InspectError::WrongContract {
                        direction,
                        interface: name.clone(),
                        found,
                    });
                }
            }
        }
    }
    for name in &names.imports {
        check_import(name, types.component_item_for_import(name), types)?;
    }
    Ok((
        names.imports.iter().cloned().collect(),
        highest.ok_or(InspectError::NoMeta)?,
    ))
}

fn check_import(name: &str, item: Option<&ComponentItem>, types: TypesRef<'_>) -> Result<(), InspectError> {
    let unknown = |import: String, why: &str| InspectError::UnknownImport {
        import,
        why: why.to_owned(),
    };
    let Some(interface) = InterfaceName::parse(name) else {
        return Err(unknown(name.to_owned(), "it is not an interface of a package"));
    };
    if interface.is_known_wasi() {
        return Ok(());
    }
    if interface.package.starts_with("wasi:") {
        let why = "of WASI the host links the interfaces of version 0.2 that toolchains import by themselves";
        return Err(unknown(name.to_owned(), why));
    }
    if interface.package != contract::PACKAGE {
        return Err(unknown(
            name.to_owned(),
            "only stecker:plugin and WASI 0.2 can be imported",
        ));
    }
    let known = contract::IMPORTS
        .iter()
        .find(|(known, _)| *known == interface.interface);
    let Some((_, functions)) = known else {
        let list = contract::IMPORTS.map(|(name, _)| name).join(", ");
        return Err(unknown(
            name.to_owned(),
            &format!("it has {}, whose interfaces are {list}", contract::offered()),
        ));
    };
    for function in item.map(|item| functions_of(item, types)).unwrap_or_default() {
        if !functions.contains(&function.as_str()) {
            let why = format!(
                "it has {}, and the interface got this function in a later version",
                contract::offered()
            );
            return Err(unknown(format!("{name}#{function}"), &why));
        }
    }
    Ok(())
}

/// The roles, each complete. An interface that this host does not know is left alone: a later minor version may add optional roles.
fn read_roles(exports: &BTreeSet<String>, types: TypesRef<'_>) -> Result<BTreeSet<Role>, InspectError> {
    let mut found: BTreeMap<Role, BTreeSet<String>> = BTreeMap::new();
    for name in exports {
        let interface = InterfaceName::parse(name).filter(|i| i.package == contract::PACKAGE);
        let role = interface.and_then(|i| Role::by_interface(i.interface));
        if let (Some(role), Some(item)) = (role, types.component_item_for_export(name)) {
            found.entry(role).or_default().extend(functions_of(item, types));
        }
    }
    if !found.contains_key(&Role::Meta) {
        return Err(InspectError::NoMeta);
    }
    for (role, functions) in &found {
        if let Some(function) = role
            .functions()
            .iter()
            .find(|function| !functions.contains(**function))
        {
            return Err(InspectError::IncompleteRole {
                role: *role,
                function,
            });
        }
    }
    Ok(found.into_keys().collect())
}

fn functions_of(item: &ComponentItem, types: TypesRef<'_>) -> Vec<String> {
    let ComponentEntityType::Instance(id) = item.ty else {
        return Vec::new();
    };
    let exports = types[id].exports.iter();
    exports
        .filter(|(_, item)| matches!(item.ty, ComponentEntityType::Func(_)))
        .map(|(name, _)| name.clone())
        .collect()
}
