//! All scenarios: for every version of the contract, through every way out, and again with the protection lifted.

use std::{
    path::PathBuf,
    sync::atomic::{AtomicUsize, Ordering},
    time::Instant,
};

use anyhow::{Context as _, Result};
use semver::Version;
use serde::Serialize;
use stecker_registry::contract;

use crate::{
    guest::Workshop,
    judge::judge,
    run::{Observed, Run, paste},
    scenario::{Folder, Lifted, Places, Reach, Scenario, Source, Via, lay_over},
    world::World,
};

/// How the suite is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Only scenarios with this in their names.
    pub filter: Option<String>,
    /// Repetitions of a call, at most. The scenarios that churn through instances ask for 100,000.
    pub max_times: u32,
    /// The program `denials`, which is started to compile guests as a host starts itself.
    pub compiler: PathBuf,
    /// Where compiled guests are kept. None: nowhere that outlasts the run.
    pub cache: Option<PathBuf>,
}

/// One run, as it is told while the suite runs.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Outcome {
    /// The scenario's folder.
    pub scenario: String,
    /// The version of the contract.
    pub contract: String,
    /// The way out, for scripted guests.
    pub via: String,
    /// What was expected and did not come; empty: all is well.
    pub failures: Vec<String>,
    /// Calls to the guest.
    pub calls: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Whether this was the run with the protection lifted.
    pub lifted: bool,
}

/// What came of all of them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Folders that were run.
    pub scenarios: usize,
    /// Runs: a scenario has one for each version of the contract and each way out.
    pub runs: usize,
    /// Scenarios that failed, in any of their runs.
    pub failed: usize,
    /// Connections to where nothing may connect, while the protection was up.
    pub canary_connections: u64,
    /// Scenarios that were run again with the protection lifted.
    pub lifted: usize,
    /// Of those, how many then reached what they must not: as many, or the suite proves nothing.
    pub lifted_reached: usize,
    /// Calls to guests.
    pub calls: u64,
    /// The versions of the contract.
    pub contracts: Vec<String>,
    /// What failed.
    pub failures: Vec<Outcome>,
}

impl Report {
    /// Whether every scenario held and the canary saw nobody.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.failed == 0 && self.canary_connections == 0 && self.lifted == self.lifted_reached
    }
}

/// A scenario, for the list.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Listed {
    /// The folder's name.
    pub name: String,
    /// What is tried.
    pub title: String,
    /// Why that is an attack.
    pub why: String,
    /// What has to come of it.
    pub expected: String,
    /// The ways out; empty for guests without a script.
    pub via: Vec<String>,
    /// Whether it is run again with the protection lifted.
    pub lifted: bool,
}

/// Every scenario, without running any.
///
/// # Errors
/// A folder does not hold a scenario.
pub fn list() -> Result<Vec<Listed>> {
    let places = Places::anywhere();
    let folders = Folder::all()?;
    let read = |folder: &Folder| {
        let scenario = folder.scenario(folder.table(&places)?)?;
        let scripted = matches!(folder.source(&scenario, &places)?, Source::Steps(_));
        Ok(Listed {
            name: folder.name.clone(),
            expected: crate::document::expected(&scenario),
            via: if scripted {
                scenario.via.iter().map(|via| via.as_str().to_owned()).collect()
            } else {
                Vec::new()
            },
            lifted: scenario.lifted.is_some(),
            title: scenario.title,
            why: scenario.why,
        })
    };
    folders.iter().map(read).collect()
}

/// How many scenarios a run with these settings has.
///
/// # Errors
/// The folders cannot be read.
pub fn count(settings: &Settings) -> Result<usize> {
    Ok(chosen(settings)?.len())
}

fn chosen(settings: &Settings) -> Result<Vec<Folder>> {
    let mut folders = Folder::all()?;
    if let Some(filter) = &settings.filter {
        folders.retain(|folder| folder.name.contains(filter.as_str()));
    }
    Ok(folders)
}

/// Runs the scenarios; `tell` hears of each run as it ends.
///
/// # Errors
/// The world around the sandbox cannot be set up. What is wrong with a scenario is a failure of that one.
pub async fn run(settings: &Settings, tell: &mut dyn FnMut(&Outcome)) -> Result<Report> {
    let temporary = tempfile::tempdir()?;
    let cache = settings
        .cache
        .clone()
        .unwrap_or_else(|| temporary.path().join("cache"));
    let world = World::new(&cache, &settings.compiler)
        .await
        .context("the scenarios' world")?;
    let workshop = Workshop::default();
    let versions = contract::VERSIONS;
    let serial = AtomicUsize::new(1);
    let mut report = Report {
        contracts: versions.iter().map(ToString::to_string).collect(),
        ..Report::default()
    };
    for folder in &chosen(settings)? {
        let before = report.failures.len();
        for version in &versions {
            let runner = Runner {
                world: &world,
                workshop: &workshop,
                folder,
                version,
                max_times: settings.max_times,
                serial: &serial,
            };
            runner.all(&mut report, tell).await;
        }
        report.scenarios += 1;
        report.failed += usize::from(report.failures.len() > before);
    }
    Ok(report)
}

struct Runner<'a> {
    world: &'a World,
    workshop: &'a Workshop,
    folder: &'a Folder,
    version: &'a Version,
    max_times: u32,
    serial: &'a AtomicUsize,
}

impl Runner<'_> {
    async fn all(&self, report: &mut Report, tell: &mut dyn FnMut(&Outcome)) {
        let ways = match self.ways() {
            Ok(ways) => ways,
            Err(error) => {
                let mut outcome = self.outcome(None, Instant::now());
                outcome.failures.push(format!("{error:#}"));
                tell(&outcome);
                report.failures.push(outcome);
                return;
            }
        };
        for via in ways {
            let begun = Instant::now();
            let mut outcome = self.outcome(via, begun);
            let seen = match self.held(via).await {
                Ok((seen, failures)) => {
                    outcome.failures = failures;
                    outcome.calls = seen.calls;
                    report.canary_connections += seen.canary;
                    report.calls += seen.calls;
                    Some(seen)
                }
                Err(error) => {
                    outcome.failures.push(format!("{error:#}"));
                    None
                }
            };
            outcome.millis = millis(begun);
            report.runs += 1;
            self.told(outcome, report, tell);
            if let Some(seen) = seen {
                self.lift(via, &seen, report, tell).await;
            }
        }
    }

    fn told(&self, outcome: Outcome, report: &mut Report, tell: &mut dyn FnMut(&Outcome)) {
        tell(&outcome);
        if !outcome.failures.is_empty() {
            report.failures.push(outcome);
        }
    }

    fn outcome(&self, via: Option<Via>, begun: Instant) -> Outcome {
        Outcome {
            scenario: self.folder.name.clone(),
            contract: self.version.to_string(),
            via: via.map(Via::as_str).unwrap_or_default().to_owned(),
            failures: Vec::new(),
            calls: 0,
            millis: millis(begun),
            lifted: false,
        }
    }

    fn scenario(&self) -> Result<Scenario> {
        self.folder.scenario(self.folder.table(&self.world.places)?)
    }

    /// The ways out for scripted guests, and none once for the others. Nothing, if the scenario is about another version.
    fn ways(&self) -> Result<Vec<Option<Via>>> {
        let scenario = self.scenario()?;
        if scenario
            .contract
            .as_ref()
            .is_some_and(|only| !only.contains(self.version))
        {
            return Ok(Vec::new());
        }
        Ok(match self.folder.source(&scenario, &self.world.places)? {
            Source::Steps(_) => scenario.via.into_iter().map(Some).collect(),
            _ => vec![None],
        })
    }

    async fn held(&self, via: Option<Via>) -> Result<(Observed, Vec<String>)> {
        let scenario = self.scenario()?;
        let manifest = self.folder.manifest(self.version)?;
        let seen = self.go(&scenario, manifest, via).await?;
        let failures = judge(&scenario.expect, &seen);
        Ok((seen, failures))
    }

    async fn go(&self, scenario: &Scenario, manifest: toml::Table, via: Option<Via>) -> Result<Observed> {
        let run = Run {
            folder: self.folder,
            scenario,
            manifest,
            version: self.version,
            via: via.unwrap_or(Via::Stecker),
            max_times: self.max_times,
            serial: self.serial.fetch_add(1, Ordering::Relaxed),
        };
        run.go(self.world, self.workshop).await
    }

    async fn lift(
        &self,
        via: Option<Via>,
        before: &Observed,
        report: &mut Report,
        tell: &mut dyn FnMut(&Outcome),
    ) {
        let Ok(Some(lifted)) = self.scenario().map(|scenario| scenario.lifted) else {
            return;
        };
        let begun = Instant::now();
        let mut outcome = self.outcome(via, begun);
        outcome.lifted = true;
        report.lifted += 1;
        match self.lifted(&lifted, before, via).await {
            Ok(true) => report.lifted_reached += 1,
            Ok(false) => outcome.failures.push(format!(
                "with the protection lifted, {} should have been reached: the scenario cannot fail",
                match lifted.reaches {
                    Reach::Canary => "the canary",
                    Reach::Upstream => "the upstream",
                    Reach::Answer => "an answer",
                }
            )),
            Err(error) => outcome
                .failures
                .push(format!("with the protection lifted: {error:#}")),
        }
        outcome.millis = millis(begun);
        self.told(outcome, report, tell);
    }

    async fn lifted(&self, lifted: &Lifted, before: &Observed, via: Option<Via>) -> Result<bool> {
        let mut table = self.folder.table(&self.world.places)?;
        let mut manifest = self.folder.manifest(self.version)?;
        if lifted.paste {
            let mut grants: Vec<(String, String)> = Vec::new();
            for denial in &before.told.denials {
                let grant = (denial.layer.clone(), denial.smallest_grant.clone());
                if !grants.contains(&grant) {
                    grants.push(grant);
                }
            }
            paste(&grants, &mut table, &mut manifest)?;
        }
        lay_over(&mut table, lifted.set.clone());
        let scenario = self.folder.scenario(table)?;
        let seen = self.go(&scenario, manifest, via).await?;
        Ok(match lifted.reaches {
            Reach::Canary => seen.canary > 0,
            Reach::Upstream => seen.requests > before.requests,
            Reach::Answer => seen.endings.iter().all(|ending| match ending {
                crate::run::Ending::Probes(probes) => probes.iter().all(|probe| probe.ok),
                ending => ending.kind() == "ok",
            }),
        })
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
