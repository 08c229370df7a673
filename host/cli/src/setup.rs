//! Reading a setup file: where its faults are, and the plugins that it names by path.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use serde::Deserialize;
use serde_json::Value;
use stecker_model::{
    Digest, PluginRef, Setup,
    api::{Fault, Problem},
};
use stecker_server::Operations;

use crate::{
    failure::{Failure, Result, failed, faulty, file},
    locking,
    output::Output,
    progress::Progress,
};

/// A setup with the file that it is from.
pub(crate) struct SetupFile {
    path: PathBuf,
    setup: Setup,
    places: Places,
    components: BTreeMap<PathBuf, Component>,
}

/// A plugin that the setup names by path.
struct Component {
    digest: Digest,
    bytes: Vec<u8>,
    file: PathBuf,
}

impl SetupFile {
    /// Reads a file and the components that it names, and checks what can be checked without a host.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let extension = path
            .extension()
            .and_then(|e| e.to_str())
            .map(str::to_ascii_lowercase);
        let format = match extension.as_deref() {
            Some("toml") => Format::Toml,
            Some("json") => Format::Json,
            _ => {
                let detail = format!("{}: a setup is a .toml or a .json file", path.display());
                return Err(failed("setup-file", detail)
                    .with_hint("rename the file after what is in it; `stecker schema setup` describes it")
                    .into());
            }
        };
        let text = fs::read_to_string(path)
            .map_err(|error| file("read", path, error, "give the setup file with -f"))?;
        let mut setup = format.parse(path, &text)?;
        for connection in &mut setup.connections {
            plain_dates(&mut connection.config);
        }
        for step in setup.flows.iter_mut().flat_map(|flow| &mut flow.transforms) {
            plain_dates(&mut step.config);
        }
        let places = format.places(&text);
        let mut read = Self {
            path: path.to_owned(),
            setup,
            places,
            components: BTreeMap::new(),
        };
        let connections = read
            .setup
            .connections
            .iter()
            .filter_map(|spec| spec.validate().err());
        let flows = read.setup.flows.iter().filter_map(|spec| spec.validate().err());
        let faults: Vec<Fault> = connections
            .chain(flows)
            .flatten()
            .map(|error| read.located(error.into()))
            .collect();
        if !faults.is_empty() {
            return Err(faulty(&read.path, faults));
        }
        read.components = read.components()?;
        Ok(read)
    }

    /// As it was read.
    pub(crate) const fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Has the host have every plugin, and gives the setup, which names them by digest.
    pub(crate) async fn resolve(
        mut self,
        operations: &dyn Operations,
        output: Output,
    ) -> Result<(Setup, Located)> {
        let components = self.components;
        if !components.is_empty() {
            let known: Vec<Digest> = operations
                .releases()
                .await?
                .into_iter()
                .map(|release| release.digest)
                .collect();
            for component in components.into_values() {
                if !known.contains(&component.digest) {
                    let progress = Progress::new(output, &format!("adding {}", component.file.display()));
                    operations
                        .add_release(component.bytes)
                        .await
                        .map_err(|mut problem| {
                            problem.detail = format!("{}: {}", component.file.display(), problem.detail);
                            problem
                        })?;
                    drop(progress);
                    output.note(&format!(
                        "added {} as {}",
                        component.file.display(),
                        component.digest.short()
                    ));
                }
            }
        }
        locking::pin(&mut self.setup, &self.path, operations, output).await?;
        let located = Located {
            path: self.path,
            places: self.places,
        };
        Ok((self.setup, located))
    }

    /// Reads and checks every component that is named by path, and puts its digest in.
    fn components(&mut self) -> Result<BTreeMap<PathBuf, Component>> {
        let folder = self.path.parent().unwrap_or(Path::new("")).to_owned();
        let mut components = BTreeMap::new();
        let mut faults = Vec::new();
        let steps = self.setup.flows.iter_mut().flat_map(|flow| {
            let name = flow.name.clone();
            let steps = flow.transforms.iter_mut().enumerate();
            steps.map(move |(index, step)| {
                (
                    format!("flow {name}, transform[{index}].plugin"),
                    &mut step.plugin,
                )
            })
        });
        let connections = self.setup.connections.iter_mut();
        let plugins = connections
            .map(|spec| (format!("connection {}, plugin", spec.name), &mut spec.plugin))
            .chain(steps);
        for (place, plugin) in plugins {
            let Some(path) = &plugin.path else { continue };
            let file = folder.join(path);
            let component = match components.get(&file) {
                Some(component) => Ok(component),
                None => component(&file).map(|found| &*components.entry(file.clone()).or_insert(found)),
            };
            match component {
                Ok(component) => *plugin = PluginRef::by_digest(component.digest.clone()),
                Err(reason) => faults.push(Fault { path: place, reason }),
            }
        }
        let faults: Vec<Fault> = faults.into_iter().map(|fault| self.located(fault)).collect();
        if faults.is_empty() {
            Ok(components)
        } else {
            Err(faulty(&self.path, faults))
        }
    }

    fn located(&self, fault: Fault) -> Fault {
        locate(&self.path, &self.places, fault)
    }
}

/// Knows where in the file things are, after the setup has gone its way.
pub(crate) struct Located {
    path: PathBuf,
    places: Places,
}

impl Located {
    /// A host's refusal of the setup, with the places in the file.
    pub(crate) fn refusal(&self, mut problem: Problem) -> Failure {
        if problem.errors.is_empty() {
            return problem.into();
        }
        let faults = std::mem::take(&mut problem.errors);
        faulty(
            &self.path,
            faults
                .into_iter()
                .map(|fault| locate(&self.path, &self.places, fault))
                .collect(),
        )
    }
}

fn component(file: &Path) -> std::result::Result<Component, String> {
    let name = file.display();
    let bytes = fs::read(file).map_err(|error| {
        format!("{name} cannot be read: {error}. The path is relative to the setup file; `stecker plugin build` makes components")
    })?;
    let inspection = stecker_registry::inspect(&bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(Component {
        digest: inspection.digest,
        bytes,
        file: file.to_owned(),
    })
}

#[derive(Clone, Copy)]
enum Format {
    Toml,
    Json,
}

impl Format {
    fn parse(self, path: &Path, text: &str) -> Result<Setup> {
        let (place, message) = match self {
            Self::Toml => match toml::from_str(text) {
                Ok(setup) => return Ok(setup),
                Err(error) => (
                    error.span().map(|span| line_column(text, span.start)),
                    error.message().to_owned(),
                ),
            },
            Self::Json => match serde_json::from_str(text) {
                Ok(setup) => return Ok(setup),
                Err(error) => (
                    Some((error.line(), error.column())),
                    without_place(&error.to_string()),
                ),
            },
        };
        let place = place.map_or_else(String::new, |(line, column)| format!(":{line}:{column}"));
        let detail = format!("{}{place}: {}", path.display(), message.trim());
        Err(Problem::new(422, "setup-file", "Not a setup", detail)
            .with_hint("`stecker schema setup` describes the file; nothing was changed")
            .into())
    }

    /// The lines at which connections and flows begin. Only TOML tells.
    fn places(self, text: &str) -> Places {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Names {
            connection: Vec<Named>,
            flow: Vec<Named>,
        }
        #[derive(Deserialize)]
        struct Named {
            name: toml::Spanned<String>,
        }
        let names: Names = match self {
            Self::Toml => toml::from_str(text).unwrap_or_default(),
            Self::Json => Names::default(),
        };
        let place = |what: &'static str| {
            move |named: Named| {
                let line = line_column(text, named.name.span().start).0;
                (format!("{what} {}", named.name.into_inner()), line)
            }
        };
        names
            .connection
            .into_iter()
            .map(place("connection"))
            .chain(names.flow.into_iter().map(place("flow")))
            .collect()
    }
}

/// `connection shop` → the line of its name.
type Places = BTreeMap<String, usize>;

fn locate(path: &Path, places: &Places, fault: Fault) -> Fault {
    let thing = fault
        .path
        .split_once(',')
        .map_or(fault.path.as_str(), |(thing, _)| thing);
    let line = places
        .get(thing)
        .map_or_else(String::new, |line| format!(":{line}"));
    Fault {
        path: format!("{}{line}: {}", path.display(), fault.path),
        reason: fault.reason,
    }
}

/// Counted from 1, in characters.
fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    (line, column)
}

/// serde_json says the place at the end, where it is a second time.
fn without_place(message: &str) -> String {
    message
        .rsplit_once(" at line ")
        .map_or(message, |(message, _)| message)
        .to_owned()
}

/// A TOML date inside of a plugin's configuration becomes the text that it is in JSON.
fn plain_dates(value: &mut Value) {
    /// As the crate `toml` spells a date for formats that have none.
    const DATE: &str = "$__toml_private_datetime";
    match value {
        Value::Object(map) => match (map.len(), map.get(DATE)) {
            (1, Some(Value::String(date))) => *value = Value::String(date.clone()),
            _ => map.values_mut().for_each(plain_dates),
        },
        Value::Array(items) => items.iter_mut().for_each(plain_dates),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_a_configuration_are_texts() {
        let text = r#"
            [[connection]]
            name = "shop"
            plugin = { path = "shop.wasm" }
            config = { since = 2026-01-01, list = [{ at = 2026-01-01T10:00:00Z }], n = 1 }
        "#;
        let mut setup = Format::Toml.parse(Path::new("a.toml"), text).unwrap();
        let config = &mut setup.connections[0].config;
        plain_dates(config);
        let expected =
            serde_json::json!({ "since": "2026-01-01", "list": [{ "at": "2026-01-01T10:00:00Z" }], "n": 1 });
        assert_eq!(*config, expected);
    }

    #[test]
    fn a_fault_is_found_by_the_line_of_its_thing() {
        let text = "[[connection]]\nname = \"shop\"\n\n[[flow]]\nname = \"orders\"\n";
        let places = Format::Toml.places(text);
        let fault = |path: &str| Fault {
            path: path.to_owned(),
            reason: "no".to_owned(),
        };
        let at = |path: &str| locate(Path::new("s.toml"), &places, fault(path)).path;
        assert_eq!(
            at("flow orders, delivery.batch"),
            "s.toml:5: flow orders, delivery.batch"
        );
        assert_eq!(at("connection shop"), "s.toml:2: connection shop");
        assert_eq!(at("connection other, config"), "s.toml: connection other, config");
    }
}
