//! The host's look at itself. Nothing in here fails: what does not work is a probe that says so.

use std::{fs, io::Write as _, path::Path};

use stecker_model::{
    Probe, RecordState,
    api::{DoctorReport, FlowHealth},
};

use stecker_store::Backend;

use super::Service;
use crate::Operations as _;

pub(super) async fn look(service: &Service) -> DoctorReport {
    let mut probes = vec![database(service).await];
    if let Some(folder) = service.data() {
        let folder = folder.to_owned();
        let disk = tokio::task::spawn_blocking(move || disk(&folder)).await;
        probes.push(
            disk.unwrap_or_else(|error| bad("data folder", error.to_string(), "look at the host's log")),
        );
    }
    probes.push(vault(service).await);
    probes.push(plugins(service).await);
    probes.extend(flows(service).await);
    DoctorReport {
        ok: probes.iter().all(|probe| probe.ok),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        probes,
    }
}

fn good(name: impl Into<String>, message: impl Into<String>) -> Probe {
    Probe {
        name: name.into(),
        ok: true,
        message: message.into(),
        hint: None,
    }
}

fn bad(name: impl Into<String>, message: impl Into<String>, hint: impl Into<String>) -> Probe {
    Probe {
        name: name.into(),
        ok: false,
        message: message.into(),
        hint: Some(hint.into()),
    }
}

async fn vault(service: &Service) -> Probe {
    let tried = match service.store().vault() {
        Ok(vault) => vault.try_key(service.tenant()).await,
        Err(error) => Err(error),
    };
    match tried {
        Ok(true) => good("vault", "the master key opens it"),
        Ok(false) => good("vault", "no secrets yet"),
        Err(error) => bad(
            "vault",
            error.to_string(),
            "see `stecker serve --help` for where the master key comes from",
        ),
    }
}

async fn database(service: &Service) -> Probe {
    match service.store().ping().await {
        Ok(()) => {
            let system = match service.store().backend() {
                Backend::Sqlite => "SQLite",
                Backend::Postgres => "Postgres",
            };
            let schema = service.store().schema_version();
            good("database", format!("{system} answers; schema version {schema}"))
        }
        Err(error) => bad(
            "database",
            error.to_string(),
            "the host goes on by itself once the database answers again",
        ),
    }
}

/// A mebibyte that can be written and synced says more than a number of free bytes: quotas and read-only mounts count too.
fn disk(folder: &Path) -> Probe {
    static ROOM: [u8; 1 << 16] = [0; 1 << 16];
    let file = folder.join("doctor.probe");
    let written = fs::File::create(&file).and_then(|mut open| {
        for _ in 0..16 {
            open.write_all(&ROOM)?;
        }
        open.sync_all()
    });
    let removed = fs::remove_file(&file);
    match written.and(removed) {
        Ok(()) => good("data folder", format!("{} can be written", folder.display())),
        Err(error) => bad(
            "data folder",
            format!("{} cannot be written: {error}", folder.display()),
            "make room on the disk, or have the folder belong to the user that the host runs as",
        ),
    }
}

async fn plugins(service: &Service) -> Probe {
    const NAME: &str = "plugins";
    let releases = match service.releases().await {
        Ok(releases) => releases,
        Err(problem) => return bad(NAME, problem.detail, problem.hint.unwrap_or_default()),
    };
    for release in &releases {
        let name = format!(
            "{}@{} ({})",
            release.name,
            release.version,
            release.digest.short()
        );
        match service
            .store()
            .release_component(service.tenant(), &release.digest)
            .await
        {
            Ok(Some(bytes)) if stecker_registry::component::digest(&bytes) == release.digest => {}
            Ok(Some(_)) => {
                let what = format!("the bytes of {name} are not those that were added");
                return bad(NAME, what, "add the release again with `stecker release add`");
            }
            Ok(None) => {
                return bad(
                    NAME,
                    format!("the bytes of {name} are gone"),
                    "add the release again with `stecker release add`",
                );
            }
            Err(error) => return bad(NAME, error.to_string(), "look at the database"),
        }
    }
    good(
        NAME,
        format!("{} release(s), all as they were added", releases.len()),
    )
}

async fn flows(service: &Service) -> Vec<Probe> {
    let flows = match service.flows().await {
        Ok(flows) => flows,
        Err(problem) => return vec![bad("flows", problem.detail, problem.hint.unwrap_or_default())],
    };
    if flows.is_empty() {
        return vec![good("flows", "none yet; `stecker apply -f FILE` makes them")];
    }
    let probe = |status: &stecker_model::api::FlowStatus| {
        let name = format!("flow {}", status.spec.name);
        let count = |state| status.counts.get(&state).copied().unwrap_or_default();
        if let Some(waiting) = &status.waiting {
            let connection = &waiting.connection;
            let hint = format!(
                "`stecker connection show {connection}` shows the last crash; `stecker connection close-circuit {connection}` has it called again"
            );
            return bad(
                name,
                format!(
                    "waits, because the circuit of the connection {connection} is {}: {}",
                    waiting.circuit.state.as_str(),
                    waiting.circuit.reason
                ),
                hint,
            );
        }
        if let Some(upstream) = &status.upstream {
            let account = &upstream.account;
            let hint = format!(
                "it goes on by itself; `stecker upstream show {account}` tells more, and `stecker upstream close {account}` has it tried now"
            );
            return bad(name, format!("waits: {}", upstream.message), hint);
        }
        if let (FlowHealth::Failing, Some(error)) = (status.health, &status.last_error) {
            let hint = format!(
                "`stecker connection check {}` tries the source",
                status.spec.source.connection
            );
            return bad(
                name,
                format!("cannot be read ({}): {}", error.code, error.message),
                hint,
            );
        }
        if count(RecordState::Quarantined) > 0 {
            let what = format!("{} record(s) in quarantine", count(RecordState::Quarantined));
            return bad(
                name,
                what,
                format!("`stecker quarantine list --flow {}` shows why", status.spec.name),
            );
        }
        let delivered = count(RecordState::Delivered);
        match &status.paused {
            Some(pause) => good(name, format!("paused: {}", pause.reason)),
            None => good(name, format!("{delivered} record(s) delivered")),
        }
    };
    flows.iter().map(probe).collect()
}
