//! Runs one scenario, once, and keeps what was seen of it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use futures_util::future::join_all;
use semver::Version;
use stecker_model::{Limits, Name, Probe, Transformed};
use stecker_registry::{Role, component::digest};
use stecker_sandbox::{Binding, CallError, LoadError, Session};

use crate::{
    guest::{self, Workshop},
    neighbour::{batch, name, nobody},
    scenario::{Calls, Folder, Scenario, Source, Via},
    world::{World, observer::Recorder, observer::Told, secrets::Secrets},
};

/// After the time that all calls may take, for the rest: loading, and a machine that is busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// The connection that every guest is called for.
const CONNECTION: &str = "shop";

/// One run of a scenario.
pub(crate) struct Run<'a> {
    pub(crate) folder: &'a Folder,
    pub(crate) scenario: &'a Scenario,
    pub(crate) manifest: toml::Table,
    pub(crate) version: &'a Version,
    pub(crate) via: Via,
    pub(crate) max_times: u32,
    /// Which run of the suite it is.
    pub(crate) serial: usize,
}

/// How one call (or what should have led to it) ended.
#[derive(Debug, Clone)]
pub(crate) enum Ending {
    Probes(Vec<Probe>),
    Answers(Vec<Transformed>),
    Failed { kind: String, text: String },
}

impl Ending {
    /// `kind` is the name of the error's variant; `before` says of what.
    fn failed(before: &str, error: &impl std::error::Error) -> Self {
        let debug = format!("{error:?}");
        let variant = debug
            .split(|c: char| !c.is_alphanumeric())
            .next()
            .unwrap_or_default();
        Self::Failed {
            kind: format!("{before}{}", kebab(variant)),
            text: error.to_string(),
        }
    }

    pub(crate) fn kind(&self) -> &str {
        match self {
            Self::Probes(_) | Self::Answers(_) => "ok",
            Self::Failed { kind, .. } => kind,
        }
    }

    /// All that came back.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::Probes(probes) => {
                let texts = probes.iter().map(|probe| {
                    format!(
                        "{} {}\n",
                        probe.message,
                        probe.hint.as_deref().unwrap_or_default()
                    )
                });
                texts.collect()
            }
            Self::Answers(answers) => format!("{answers:?}"),
            Self::Failed { text, .. } => text.clone(),
        }
    }
}

fn kebab(name: &str) -> String {
    let mut out = String::new();
    for c in name.chars() {
        if c.is_uppercase() && !out.is_empty() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

/// What was seen of a run.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// For scripted guests.
    pub(crate) via: Option<Via>,
    pub(crate) endings: Vec<Ending>,
    pub(crate) told: Told,
    pub(crate) requests: u64,
    pub(crate) at_once: u64,
    pub(crate) heads: Vec<String>,
    pub(crate) canary: u64,
    pub(crate) longest: Duration,
    pub(crate) peak_memory: u64,
    pub(crate) memory_limit: u64,
    pub(crate) calls: u64,
    pub(crate) stored: Vec<String>,
    pub(crate) blobs: usize,
    /// Every form of every secret of the connection.
    pub(crate) secrets: Vec<(&'static str, String)>,
    /// What the neighbour ran into.
    pub(crate) neighbour: Vec<String>,
}

impl Run<'_> {
    pub(crate) async fn go(&self, world: &World, workshop: &Workshop) -> Result<Observed> {
        let scenario = self.scenario;
        world.storage.clear();
        for stored in &scenario.stored {
            let of = (self.tenant(stored.tenant.as_str())?, stored.connection.clone());
            world.storage.put(&of, &stored.key, &stored.value);
        }
        world.blobs.clear();
        for blob in &scenario.blob {
            let digest = blob
                .digest
                .clone()
                .unwrap_or_else(|| digest(blob.value.as_bytes()));
            let tenant = self.tenant(blob.tenant.as_str())?;
            world
                .blobs
                .put(&tenant, &blob.connection, &digest, blob.value.clone());
        }
        world.names.set(&scenario.dns);
        let upstream = world.upstream.set(&scenario.upstream).await?;
        let canary = world.canary.reached().await?;
        let secrets = Secrets::generate(&scenario.secrets);
        let recorder = Arc::new(Recorder::default());
        let source = self.folder.source(scenario, &world.places)?;
        let steps = match &source {
            Source::Steps(steps) => Some((self.via.as_str(), steps.as_str())),
            _ => None,
        };
        let limits = self.limits();
        let mut bindings = Vec::new();
        for tenant in &scenario.calls.tenants {
            let of = (self.tenant(tenant)?, name(CONNECTION)?);
            bindings.push(Binding {
                config: guest::config(scenario, steps)?,
                grants: scenario.grants.clone(),
                limits,
                tenant_limits: scenario.tenant.clone(),
                instances: scenario.instances,
                credentials: Arc::new(secrets.clone()),
                storage: Arc::new(world.storage.of(&of, self.room())),
                blobs: world.blobs.of(&of.0, &of.1),
                observer: Arc::clone(&recorder) as _,
                ..nobody(of)
            });
        }
        let component = workshop.build(scenario, &source, &self.manifest, self.version)?;

        let mut seen = Observed {
            via: steps.map(|_| self.via),
            secrets: secrets.forms(),
            memory_limit: u64::from(limits.memory_mib) << 20,
            ..Observed::default()
        };
        let times = scenario.calls.times.clamp(1, self.max_times.max(1));
        let patience = PATIENCE + limits.deadline.duration().saturating_mul(times.min(10));
        let calling = async {
            match sessions(world, component, bindings).await {
                Err(ending) => seen.endings.push(ending),
                Ok(sessions) => call(&sessions, scenario, times, &mut seen).await,
            }
        };
        let both = working_beside(world, calling);
        let Ok(neighbour) = tokio::time::timeout(patience, both).await else {
            bail!("it was not over after {patience:?}");
        };
        seen.neighbour = neighbour;
        if let Err(error) = world.neighbour.work().await {
            seen.neighbour.push(format!("afterwards, {error:#}"));
        }
        seen.told = recorder.told();
        seen.requests = upstream.requests.load(Ordering::SeqCst);
        seen.at_once = upstream.at_once.load(Ordering::SeqCst);
        seen.heads = upstream.heads();
        seen.canary = world.canary.reached().await? - canary;
        for tenant in &scenario.calls.tenants {
            seen.blobs += world.blobs.held(&self.tenant(tenant)?, &name(CONNECTION)?).len();
            for (key, value) in world.storage.all(&(self.tenant(tenant)?, name(CONNECTION)?)) {
                seen.stored
                    .push(format!("{key}={}", String::from_utf8_lossy(&value)));
            }
        }
        Ok(seen)
    }

    /// Another one in every run: what the sandbox counts for a tenant (bytes of a day, requests of a second) begins anew.
    fn tenant(&self, text: &str) -> Result<Name> {
        name(&format!("{text}-{}", self.serial))
    }

    fn limits(&self) -> Limits {
        self.scenario.limits.unwrap_or(Limits {
            memory_mib: 16,
            deadline: stecker_model::Period::from_secs(10),
            ..Limits::default()
        })
    }

    /// Bytes that the store may hold.
    fn room(&self) -> u64 {
        let granted = self.scenario.grants.storage.as_ref();
        granted.map_or(0, |grant| grant.max_bytes)
    }
}

/// Loads the component and puts it together with each of the bindings.
async fn sessions(world: &World, component: Vec<u8>, bindings: Vec<Binding>) -> Result<Vec<Session>, Ending> {
    let release = world
        .sandbox
        .load(component)
        .await
        .map_err(|error| match &error {
            LoadError::Inspect(inspect) => Ending::Failed {
                kind: format!("load-{}", inspect.code()),
                text: error.to_string(),
            },
            error => Ending::failed("load-", error),
        })?;
    bindings
        .into_iter()
        .map(|binding| {
            release
                .bind(binding)
                .map_err(|error| Ending::failed("bind-", &error))
        })
        .collect()
}

/// The neighbour works as long as the guest does; returns what went wrong for it.
async fn working_beside(world: &World, calling: impl Future<Output = ()>) -> Vec<String> {
    let mut calling = std::pin::pin!(calling);
    let mut errors = Vec::new();
    loop {
        tokio::select! {
            () = &mut calling => return errors,
            worked = async {
                // Not without a break: what is looked at is whether it gets its turn, not how much both take.
                tokio::time::sleep(Duration::from_millis(20)).await;
                world.neighbour.work().await
            } => errors.extend(worked.err().filter(|_| errors.is_empty()).map(|error| format!("{error:#}"))),
        }
    }
}

async fn call(sessions: &[Session], scenario: &Scenario, times: u32, seen: &mut Observed) {
    let Calls {
        concurrent, records, ..
    } = scenario.calls;
    for _ in 0..times {
        for session in sessions {
            let calls = (0..concurrent.max(1)).map(|_| one_call(session, records));
            for (ending, took, memory) in join_all(calls).await {
                seen.calls += 1;
                seen.longest = seen.longest.max(took);
                seen.peak_memory = seen.peak_memory.max(memory);
                // Of very many equal endings one is as good as all.
                if seen.endings.len() < 100 || !matches!(ending, Ending::Answers(_)) {
                    seen.endings.push(ending);
                }
            }
        }
    }
}

async fn one_call(session: &Session, records: u32) -> (Ending, Duration, u64) {
    let begun = Instant::now();
    let (result, usage) = if session.release().has(Role::Connection) {
        let called = session.check().await;
        (called.result.map(Ending::Probes), called.usage)
    } else {
        let called = session.apply(batch(records)).await;
        (called.result.map(Ending::Answers), called.usage)
    };
    let ending = result.unwrap_or_else(|error: CallError| Ending::failed("", &error));
    (ending, begun.elapsed(), usage.peak_memory)
}

/// Lays what denials say that would allow it over a scenario and its manifest.
pub(crate) fn paste(
    grants: &[(String, String)],
    scenario: &mut toml::Table,
    manifest: &mut toml::Table,
) -> Result<()> {
    for (layer, grant) in grants {
        let table: toml::Table =
            toml::from_str(grant).with_context(|| format!("the smallest grant is not TOML: {grant}"))?;
        match layer.as_str() {
            "manifest" => crate::scenario::lay_over(manifest, table),
            "grant" => {
                let Some(toml::Value::Table(connection)) = table.get("connection").cloned() else {
                    bail!("the smallest grant does not belong into a connection: {grant}");
                };
                crate::scenario::lay_over(scenario, connection);
            }
            "ceiling" => {
                let mut tenant = toml::Table::new();
                tenant.insert("tenant".to_owned(), table.into());
                crate::scenario::lay_over(scenario, tenant);
            }
            other => bail!("nothing can be pasted for the layer `{other}`"),
        }
    }
    Ok(())
}
