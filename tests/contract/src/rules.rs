//! What a version of the contract may not do to the one before it in the same major.
//!
//! Two judges. `wit_component::semver_check` asks the component model itself whether whatever fits the earlier world fits the later one; it is
//! right, and says little. The lints here say which rule was broken, where, and what to do instead; and they know what the component model does
//! not: that every interface which a plugin exports is complete, so that a function more in one shuts out those that do not have it.

use std::{collections::BTreeSet, fmt, path::Path};

use anyhow::{Context as _, Result};
use wit_component::semver_check;
use wit_parser::{
    Function, Handle, Interface, InterfaceId, PackageId, Resolve, Type, TypeDef, TypeDefKind, TypeOwner,
    World, WorldId, WorldItem, WorldKey,
};

/// The world that lists every role, for the host to generate its calls from. Nobody has to fit it, so it may grow.
const LIST_OF_ROLES: &str = "all-roles";

/// One version of the contract.
#[derive(Debug, Clone)]
pub struct Contract {
    resolve: Resolve,
    package: PackageId,
}

impl Contract {
    /// The WIT files of a folder.
    ///
    /// # Errors
    /// They cannot be read or are not WIT.
    pub fn read(folder: &Path) -> Result<Self> {
        let mut resolve = Resolve::default();
        let (package, _) = resolve
            .push_dir(folder)
            .with_context(|| format!("{} is not a WIT package", folder.display()))?;
        Ok(Self { resolve, package })
    }

    /// A package as text.
    ///
    /// # Errors
    /// It is not WIT.
    pub fn parse(text: &str) -> Result<Self> {
        let mut resolve = Resolve::default();
        let package = resolve.push_str("contract.wit", text)?;
        Ok(Self { resolve, package })
    }

    fn interfaces(&self) -> impl Iterator<Item = (&str, &Interface)> {
        let interfaces = self.resolve.packages[self.package].interfaces.iter();
        interfaces.map(|(name, id)| (name.as_str(), &self.resolve.interfaces[*id]))
    }

    fn interface(&self, name: &str) -> Option<&Interface> {
        let id = self.resolve.packages[self.package].interfaces.get(name)?;
        Some(&self.resolve.interfaces[*id])
    }

    fn worlds(&self) -> impl Iterator<Item = (&str, &World)> {
        let worlds = self.resolve.packages[self.package].worlds.iter();
        worlds.map(|(name, id)| (name.as_str(), &self.resolve.worlds[*id]))
    }

    fn world(&self, name: &str) -> Option<&World> {
        let id = self.resolve.packages[self.package].worlds.get(name)?;
        Some(&self.resolve.worlds[*id])
    }

    /// The names of the interfaces that any world exports: the roles.
    fn roles(&self) -> BTreeSet<String> {
        let exports = self.worlds().flat_map(|(_, world)| world.exports.iter());
        exports.map(|(key, item)| self.name_of(key, item)).collect()
    }

    /// What an import or export is called, without the version.
    fn name_of(&self, key: &WorldKey, item: &WorldItem) -> String {
        match (key, item) {
            (WorldKey::Interface(id), _) | (WorldKey::Name(_), WorldItem::Interface { id, .. }) => {
                self.name_of_interface(*id)
            }
            (WorldKey::Name(name), _) => name.clone(),
        }
    }

    fn name_of_interface(&self, id: InterfaceId) -> String {
        let interface = &self.resolve.interfaces[id];
        let name = interface.name.clone().unwrap_or_default();
        match interface.package.filter(|package| *package != self.package) {
            Some(other) => {
                let package = &self.resolve.packages[other].name;
                format!("{}:{}/{name}", package.namespace, package.name)
            }
            None => name,
        }
    }

    /// A type in words: a named one by its name, any other by what it is made of.
    fn shape(&self, ty: &Type) -> String {
        let Type::Id(id) = ty else {
            return format!("{ty:?}").to_ascii_lowercase();
        };
        let def = &self.resolve.types[*id];
        match (&def.name, def.owner) {
            (Some(name), TypeOwner::Interface(owner)) => format!("{}.{name}", self.name_of_interface(owner)),
            (Some(name), _) => name.clone(),
            (None, _) => self.structure(def),
        }
    }

    /// What a type is made of.
    fn structure(&self, def: &TypeDef) -> String {
        let optional = |ty: &Option<Type>| ty.as_ref().map_or_else(|| "_".to_owned(), |ty| self.shape(ty));
        let list = |parts: Vec<String>| parts.join(", ");
        match &def.kind {
            TypeDefKind::Record(record) => {
                let fields = record.fields.iter();
                let fields = fields.map(|field| format!("{}: {}", field.name, self.shape(&field.ty)));
                format!("record {{ {} }}", list(fields.collect()))
            }
            TypeDefKind::Variant(variant) => {
                let cases = variant.cases.iter();
                let cases = cases.map(|case| format!("{}({})", case.name, optional(&case.ty)));
                format!("variant {{ {} }}", list(cases.collect()))
            }
            TypeDefKind::Enum(cases) => {
                format!(
                    "enum {{ {} }}",
                    list(cases.cases.iter().map(|case| case.name.clone()).collect())
                )
            }
            TypeDefKind::Flags(flags) => {
                format!(
                    "flags {{ {} }}",
                    list(flags.flags.iter().map(|flag| flag.name.clone()).collect())
                )
            }
            TypeDefKind::Tuple(tuple) => {
                format!(
                    "tuple<{}>",
                    list(tuple.types.iter().map(|ty| self.shape(ty)).collect())
                )
            }
            TypeDefKind::Result(result) => {
                format!("result<{}, {}>", optional(&result.ok), optional(&result.err))
            }
            TypeDefKind::Option(ty) => format!("option<{}>", self.shape(ty)),
            TypeDefKind::List(ty) => format!("list<{}>", self.shape(ty)),
            TypeDefKind::Map(key, value) => format!("map<{}, {}>", self.shape(key), self.shape(value)),
            TypeDefKind::FixedLengthList(ty, len) => format!("list<{}, {len}>", self.shape(ty)),
            TypeDefKind::Future(ty) => format!("future<{}>", optional(ty)),
            TypeDefKind::Stream(ty) => format!("stream<{}>", optional(ty)),
            TypeDefKind::Handle(Handle::Own(id)) => format!("own<{}>", self.shape(&Type::Id(*id))),
            TypeDefKind::Handle(Handle::Borrow(id)) => format!("borrow<{}>", self.shape(&Type::Id(*id))),
            TypeDefKind::Type(ty) => self.shape(ty),
            TypeDefKind::Resource => "resource".to_owned(),
            TypeDefKind::Unknown => "unknown".to_owned(),
        }
    }

    fn signature(&self, function: &Function) -> String {
        let params = function.params.iter();
        let params: Vec<String> = params
            .map(|param| format!("{}: {}", param.name, self.shape(&param.ty)))
            .collect();
        let result = function
            .result
            .as_ref()
            .map(|ty| format!(" -> {}", self.shape(ty)));
        format!("func({}){}", params.join(", "), result.unwrap_or_default())
    }
}

/// The rules, by the names that breaches are shown under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// An interface, function, type, world, or what a world imports or exports is not there any more.
    Removed,
    /// A record has other fields.
    Record,
    /// A variant has other cases.
    Variant,
    /// An enum has other cases.
    Enum,
    /// There are other flags.
    Flags,
    /// A type is another one in any other way.
    Type,
    /// A function takes or gives something else.
    Function,
    /// A role has a function more, which plugins that are in use do not have.
    RoleGrew,
    /// A world asks for an export more.
    ExportAdded,
    /// Whatever else the component model finds.
    Semver,
}

impl Rule {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Record => "record",
            Self::Variant => "variant",
            Self::Enum => "enum",
            Self::Flags => "flags",
            Self::Type => "type",
            Self::Function => "function",
            Self::RoleGrew => "role-grew",
            Self::ExportAdded => "export-added",
            Self::Semver => "semver",
        }
    }

    const fn instead(self) -> &'static str {
        match self {
            Self::Removed => {
                "A minor version removes nothing: put it back, and say in its comment that it is not used any more"
            }
            Self::Record => {
                "Records never change: add a new record and a new function that takes it, or put the value into the record's key/value tail"
            }
            Self::Variant | Self::Enum | Self::Flags => {
                "Cases never change: add a new type and a new function, or say it in a string or a key/value tail"
            }
            Self::Type => "Types never change: add a new one",
            Self::Function => "Functions never change: add a new one beside it",
            Self::RoleGrew => "A role never grows: add a new role, which the host looks for",
            Self::ExportAdded => "What a plugin has to export never grows: add an optional role",
            Self::Semver => {
                "Compare the two versions; the component model says that a plugin of the earlier one does not fit the later one"
            }
        }
    }
}

/// A rule that a version breaks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Breach {
    /// Which.
    pub rule: Rule,
    /// Where and what.
    pub what: String,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "[{}] {}. {}.",
            self.rule.as_str(),
            self.what,
            self.rule.instead()
        )
    }
}

/// The rules that `later` breaks; empty: it is a minor version of `earlier`.
///
/// # Errors
/// The two cannot be put side by side, because they are not versions of one package.
pub fn broken(earlier: &Contract, later: &Contract) -> Result<Vec<Breach>> {
    let mut breaches = Vec::new();
    interfaces(earlier, later, &mut breaches);
    worlds(earlier, later, &mut breaches);
    // It stops at the first thing that it finds, and what was said already need not be said twice.
    if breaches.is_empty() {
        semver(earlier, later, &mut breaches)?;
    }
    breaches.sort();
    Ok(breaches)
}

fn interfaces(earlier: &Contract, later: &Contract, breaches: &mut Vec<Breach>) {
    let roles = earlier.roles();
    let mut breach = |rule, what| breaches.push(Breach { rule, what });
    for (name, before) in earlier.interfaces() {
        let Some(now) = later.interface(name) else {
            breach(Rule::Removed, format!("the interface `{name}` is gone"));
            continue;
        };
        for (function, was) in &before.functions {
            match now.functions.get(function) {
                None => breach(Rule::Removed, format!("the function `{name}.{function}` is gone")),
                Some(is) => {
                    let (was, is) = (earlier.signature(was), later.signature(is));
                    if was != is {
                        breach(
                            Rule::Function,
                            format!("`{name}.{function}` was {was} and is {is}"),
                        );
                    }
                }
            }
        }
        for function in now.functions.keys().filter(|_| roles.contains(name)) {
            if !before.functions.contains_key(function) {
                breach(
                    Rule::RoleGrew,
                    format!("the role `{name}` has a function more, `{function}`"),
                );
            }
        }
        for (ty, was) in &before.types {
            let was = &earlier.resolve.types[*was];
            match now.types.get(ty).map(|is| &later.resolve.types[*is]) {
                None => breach(Rule::Removed, format!("the type `{name}.{ty}` is gone")),
                Some(is) => {
                    let (rule, was, is) = (rule_of(was, is), earlier.structure(was), later.structure(is));
                    if was != is {
                        breach(rule, format!("`{name}.{ty}` was {was} and is {is}"));
                    }
                }
            }
        }
    }
}

fn rule_of(was: &TypeDef, is: &TypeDef) -> Rule {
    match (&was.kind, &is.kind) {
        (TypeDefKind::Record(_), TypeDefKind::Record(_)) => Rule::Record,
        (TypeDefKind::Variant(_), TypeDefKind::Variant(_)) => Rule::Variant,
        (TypeDefKind::Enum(_), TypeDefKind::Enum(_)) => Rule::Enum,
        (TypeDefKind::Flags(_), TypeDefKind::Flags(_)) => Rule::Flags,
        _ => Rule::Type,
    }
}

fn worlds(earlier: &Contract, later: &Contract, breaches: &mut Vec<Breach>) {
    let mut breach = |rule, what| breaches.push(Breach { rule, what });
    for (name, before) in earlier.worlds() {
        let Some(now) = later.world(name) else {
            breach(Rule::Removed, format!("the world `{name}` is gone"));
            continue;
        };
        let names = |contract: &Contract, world: &World, exports: bool| -> BTreeSet<String> {
            let items = if exports { &world.exports } else { &world.imports };
            items
                .iter()
                .map(|(key, item)| contract.name_of(key, item))
                .collect()
        };
        for (exports, what) in [(false, "import"), (true, "export")] {
            let (was, is) = (names(earlier, before, exports), names(later, now, exports));
            for gone in was.difference(&is) {
                breach(
                    Rule::Removed,
                    format!("the {what} `{gone}` of the world `{name}` is gone"),
                );
            }
            if exports && name != LIST_OF_ROLES {
                for added in is.difference(&was) {
                    breach(
                        Rule::ExportAdded,
                        format!("the world `{name}` asks for the export `{added}`"),
                    );
                }
            }
        }
    }
}

fn semver(earlier: &Contract, later: &Contract, breaches: &mut Vec<Breach>) -> Result<()> {
    for (name, _) in earlier.worlds() {
        let mut resolve = later.resolve.clone();
        let remap = resolve
            .merge(earlier.resolve.clone())
            .context("the two versions cannot be put side by side")?;
        let before = earlier.resolve.packages[earlier.package].worlds.get(name);
        let now = later.resolve.packages[later.package].worlds.get(name);
        let (Some(before), Some(now)) = (before, now) else {
            continue;
        };
        let before = remap.map_world(*before, wit_parser::Span::default())?;
        if name == LIST_OF_ROLES {
            only_earlier_exports(&mut resolve, before, *now);
        }
        if let Err(error) = semver_check(resolve, before, *now) {
            breaches.push(Breach {
                rule: Rule::Semver,
                what: format!("the world `{name}`: {error:#}"),
            });
        }
    }
    Ok(())
}

/// New roles are nothing that a plugin has to have.
fn only_earlier_exports(resolve: &mut Resolve, before: WorldId, now: WorldId) {
    let name = |resolve: &Resolve, key: &WorldKey| match key {
        WorldKey::Interface(id) => resolve.interfaces[*id].name.clone(),
        WorldKey::Name(name) => Some(name.clone()),
    };
    let known: BTreeSet<_> = resolve.worlds[before]
        .exports
        .keys()
        .map(|key| name(resolve, key))
        .collect();
    let kept: Vec<bool> = resolve.worlds[now]
        .exports
        .keys()
        .map(|key| known.contains(&name(resolve, key)))
        .collect();
    let mut kept = kept.into_iter();
    resolve.worlds[now]
        .exports
        .retain(|_, _| kept.next().unwrap_or(true));
}
