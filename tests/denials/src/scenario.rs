//! The format of `scenario.toml`, and reading a scenario's folder. `docs/denials.md` explains it to those who write one.

use std::{
    collections::BTreeMap,
    fs,
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail, ensure};
use semver::Version;
use serde::Deserialize;
use stecker_model::{Digest, Grants, Instances, Limits, Name, TenantLimits};

use crate::{expect::Expect, world::upstream::Behaviour};

/// A scenario as its folder says it, with places like `${port}` still in its texts.
#[derive(Debug, Clone)]
pub(crate) struct Folder {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
    pub(crate) text: String,
}

/// What `scenario.toml` says, its places filled in.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Scenario {
    /// What is tried, in a line.
    pub(crate) title: String,
    /// What the attack is, and where it is described.
    pub(crate) why: String,
    /// Which ways out the steps go.
    #[serde(default = "own_http")]
    pub(crate) via: Vec<Via>,
    /// The versions of the contract that it makes sense for; none: all.
    #[serde(default)]
    pub(crate) contract: Option<Vec<Version>>,
    #[serde(default)]
    pub(crate) config: toml::Table,
    #[serde(default)]
    pub(crate) grants: Grants,
    #[serde(default)]
    pub(crate) limits: Option<Limits>,
    #[serde(default)]
    pub(crate) tenant: TenantLimits,
    #[serde(default)]
    pub(crate) instances: Instances,
    /// Secrets, generated for the run, by the names of the manifest's credentials; the value is the user name or empty.
    #[serde(default)]
    pub(crate) secrets: BTreeMap<Name, String>,
    /// What the name server answers. Names that are not here do not exist.
    #[serde(default)]
    pub(crate) dns: Vec<Zone>,
    #[serde(default)]
    pub(crate) upstream: Behaviour,
    /// What other connections have stored.
    #[serde(default)]
    pub(crate) stored: Vec<Stored>,
    /// Blobs that are there before the scenario begins.
    #[serde(default)]
    pub(crate) blob: Vec<KeptBlob>,
    #[serde(default)]
    pub(crate) calls: Calls,
    #[serde(default)]
    pub(crate) guest: GuestSpec,
    pub(crate) expect: Expect,
    /// The same with the protection lifted, as proof that the scenario can fail.
    #[serde(default)]
    pub(crate) lifted: Option<Lifted>,
}

fn own_http() -> Vec<Via> {
    vec![Via::Stecker]
}

/// Through which interface a scripted guest sends its requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Via {
    /// `stecker:plugin/http`
    Stecker,
    /// `wasi:http`
    Wasi,
}

impl Via {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Stecker => "stecker",
            Self::Wasi => "wasi",
        }
    }
}

/// One name of the name server.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Zone {
    pub(crate) name: String,
    /// One list of addresses for each query of a type, in turn; the last one stays.
    #[serde(default)]
    pub(crate) answers: Vec<Vec<IpAddr>>,
    /// An alias of another name, whose addresses come along.
    #[serde(default)]
    pub(crate) alias: Option<String>,
    /// Queries are taken and never answered.
    #[serde(default)]
    pub(crate) silent: bool,
}

/// A key that is there before the scenario begins.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Stored {
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    pub(crate) key: String,
    pub(crate) value: String,
}

/// A blob that is there before the scenario begins.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct KeptBlob {
    pub(crate) tenant: Name,
    pub(crate) connection: Name,
    /// Its digest is that of `value`, unless `digest` says that it is kept under another one: it was damaged then.
    pub(crate) value: String,
    #[serde(default)]
    pub(crate) digest: Option<Digest>,
}

/// How the guest is called.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct Calls {
    /// At the same time.
    pub(crate) concurrent: u32,
    /// One after the other. A test may cut it short (`Settings::max_times`).
    pub(crate) times: u32,
    /// Records of the batch, for guests that are transforms.
    pub(crate) records: u32,
    /// Whose connections the calls are for, in turn; all of them are called `shop`.
    pub(crate) tenants: Vec<String>,
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            concurrent: 1,
            times: 1,
            records: 1,
            tenants: vec![TENANT.to_owned()],
        }
    }
}

/// What the guest is, if it is neither `guest.wat` nor `steps.json` nor `component.wat`, and how it is made.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields, default)]
pub(crate) struct GuestSpec {
    /// One of the generators of `bombs.rs`, for what is too large to lie in a folder.
    pub(crate) generator: Option<String>,
    /// Whether the text gets the usual memory, allocator and description.
    pub(crate) prelude: bool,
}

impl Default for GuestSpec {
    fn default() -> Self {
        Self {
            generator: None,
            prelude: true,
        }
    }
}

/// How the protection is lifted, and what is then reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) struct Lifted {
    /// Whether the smallest grants of the denials are pasted where they say that they belong.
    #[serde(default)]
    pub(crate) paste: bool,
    /// Laid over the scenario: lists are appended, tables merged, other values replaced.
    #[serde(default)]
    pub(crate) set: toml::Table,
    pub(crate) reaches: Reach,
}

/// What is reached that must not be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reach {
    /// The forbidden target.
    Canary,
    /// The upstream, with at least one request more than before.
    Upstream,
    /// Every step is answered.
    Answer,
}

/// The guest of a scenario, as far as it lies in the folder.
pub(crate) enum Source {
    /// Core WebAssembly text, and WIT packages that its world names.
    Module { code: String, packages: String },
    /// A component as text.
    Component(String),
    /// A script for the probe.
    Steps(String),
    /// Made by `bombs.rs`.
    Generated(String),
}

/// Who calls the guest, unless a scenario says otherwise.
const TENANT: &str = "tenant";

/// The contract's version that has blobs first.
const BLOBS_SINCE: Version = Version::new(1, 1, 0);

const MANIFEST: &str = include_str!("../scenarios/plugin.toml");

impl Folder {
    /// Every scenario, ascending by name.
    pub(crate) fn all() -> Result<Vec<Self>> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut folders = Vec::new();
        for entry in fs::read_dir(&root).with_context(|| format!("{} cannot be read", root.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(Self::open(&path)?);
            }
        }
        folders.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(folders)
    }

    fn open(path: &Path) -> Result<Self> {
        let name = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let file = path.join("scenario.toml");
        let text = fs::read_to_string(&file).with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(Self {
            name,
            path: path.to_owned(),
            text,
        })
    }

    /// The table of `scenario.toml`, filled in.
    pub(crate) fn table(&self, places: &Places) -> Result<toml::Table> {
        toml::from_str(&places.fill(&self.text)?)
            .with_context(|| format!("{}/scenario.toml", self.path.display()))
    }

    /// The table as a scenario.
    pub(crate) fn scenario(&self, table: toml::Table) -> Result<Scenario> {
        table
            .try_into()
            .with_context(|| format!("{}/scenario.toml", self.path.display()))
    }

    /// The table of the scenario's own `plugin.toml`, or of the one that most share.
    pub(crate) fn manifest(&self, version: &Version) -> Result<toml::Table> {
        let text = self.read("plugin.toml")?.unwrap_or_else(|| MANIFEST.to_owned());
        let mut table: toml::Table =
            toml::from_str(&text).with_context(|| format!("{}/plugin.toml", self.path.display()))?;
        table.insert("contract".to_owned(), version.to_string().into());
        // What a version does not have cannot be asked for in it.
        if *version < BLOBS_SINCE
            && let Some(capabilities) = table.get_mut("capabilities").and_then(toml::Value::as_table_mut)
        {
            capabilities.remove("blobs");
        }
        Ok(table)
    }

    pub(crate) fn source(&self, scenario: &Scenario, places: &Places) -> Result<Source> {
        let mut found = Vec::new();
        if let Some(generator) = &scenario.guest.generator {
            found.push(Source::Generated(generator.clone()));
        }
        if let Some(code) = self.read("guest.wat")? {
            let packages = self.read("guest.wit")?.unwrap_or_default();
            found.push(Source::Module {
                code: places.fill(&code)?,
                packages,
            });
        }
        if let Some(text) = self.read("component.wat")? {
            found.push(Source::Component(text));
        }
        if let Some(steps) = self.read("steps.json")? {
            found.push(Source::Steps(places.fill(&steps)?));
        }
        ensure!(
            found.len() == 1,
            "{} needs exactly one of guest.wat, component.wat, steps.json and a generator",
            self.path.display()
        );
        found.pop().context("there is no guest")
    }

    fn read(&self, file: &str) -> Result<Option<String>> {
        let path = self.path.join(file);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error).with_context(|| format!("{} cannot be read", path.display())),
        }
    }
}

/// What stands for `${…}` in the texts of a scenario: what only the run knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Places(BTreeMap<String, String>);

impl Places {
    /// For reading a scenario without running it.
    pub(crate) fn anywhere() -> Self {
        Self::default().with("port", "1").with("canary-port", "2")
    }

    pub(crate) fn with(mut self, name: &str, value: &str) -> Self {
        self.0.insert(name.to_owned(), value.to_owned());
        self
    }

    fn fill(&self, text: &str) -> Result<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, after)) = after.split_once('}') else {
                bail!("`${{` without its `}}`");
            };
            let Some(value) = self.0.get(name) else {
                bail!("`${{{name}}}` is not known; there are port and canary-port");
            };
            filled.push_str(before);
            filled.push_str(value);
            rest = after;
        }
        filled.push_str(rest);
        Ok(filled)
    }
}

/// Lays one table over another: lists are appended, tables merged, other values replaced.
pub(crate) fn lay_over(table: &mut toml::Table, over: toml::Table) {
    for (key, value) in over {
        match (table.get_mut(&key), value) {
            (Some(toml::Value::Table(inner)), toml::Value::Table(value)) => lay_over(inner, value),
            (Some(toml::Value::Array(list)), toml::Value::Array(more)) => list.extend(more),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
