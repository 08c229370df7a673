//! Plugins that a setup names by name and range: which release each comes to, by the lock file beside the setup or by what the host has.

use std::{
    fs,
    path::{Path, PathBuf},
};

use stecker_model::{
    PluginRef, Setup,
    api::{ResolveWish, Resolved},
};
use stecker_registry::PluginName;
use stecker_server::Operations;
use stecker_trust::{
    LockFile,
    lock::{LockFault, Wanted},
    resolve::Choice,
};

use crate::{
    failure::{Failure, Result, failed, file},
    output::{Output, warn},
};

/// Where releases are looked for: what the host has.
pub(crate) const SOURCE: &str = "host";

/// The lock file of a setup: `setup.toml` has `setup.lock`.
pub(crate) fn path_of(setup: &Path) -> PathBuf {
    setup.with_extension("lock")
}

/// The lock file beside a setup; none if there is none.
pub(crate) fn read(setup: &Path) -> Result<Option<LockFile>> {
    let path = path_of(setup);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(file("read", &path, error, "remove it to go without a lock")),
    };
    let lock = LockFile::from_toml(&text)
        .map_err(|error| failed("lock-file", format!("{}: {error}", path.display())))?;
    Ok(Some(lock))
}

/// Every use of a plugin in a setup, under the name that a host knows it by.
fn uses(setup: &mut Setup) -> impl Iterator<Item = (String, &mut PluginRef)> {
    let connections = setup
        .connections
        .iter_mut()
        .map(|spec| (format!("connection/{}", spec.name), &mut spec.plugin));
    let steps = setup.flows.iter_mut().flat_map(|flow| {
        let name = flow.name.clone();
        let steps = flow.transforms.iter_mut().enumerate();
        steps.map(move |(index, step)| (format!("flow/{name}/transform/{index}"), &mut step.plugin))
    });
    connections.chain(steps)
}

/// What a setup names by name and not by digest.
pub(crate) fn wanted(setup: &Setup) -> Result<Vec<(Wanted, ResolveWish)>> {
    let mut setup = setup.clone();
    let mut wanted = Vec::new();
    for (user, plugin) in uses(&mut setup) {
        let (Some(name), None) = (&plugin.name, &plugin.digest) else {
            continue;
        };
        let refused = |reason: String| failed("setup-file", format!("{user}: {reason}"));
        let parsed: PluginName = name
            .parse()
            .map_err(|error| refused(format!("`{name}`: {error}")))?;
        wanted.push((
            Wanted {
                user: user.clone(),
                name: parsed,
                range: plugin.range().map_err(refused)?,
                source: SOURCE.to_owned(),
            },
            ResolveWish {
                user,
                name: name.clone(),
                version: plugin.version.clone(),
                upgrade: plugin.upgrade.unwrap_or_default(),
                approved: None,
            },
        ));
    }
    Ok(wanted)
}

/// Puts a digest beside every name: the one of the lock file, if there is a lock file, else the one that the host chooses.
pub(crate) async fn pin(
    setup: &mut Setup,
    path: &Path,
    operations: &dyn Operations,
    output: Output,
) -> Result<()> {
    let wanted = wanted(setup)?;
    if wanted.is_empty() {
        return Ok(());
    }
    let lock = match read(path)? {
        Some(lock) => {
            let (places, _): (Vec<_>, Vec<_>) = wanted.into_iter().unzip();
            let faults: Vec<_> = lock
                .check(&places)
                .into_iter()
                .filter(|fault| !matches!(fault, LockFault::Unused { .. }))
                .map(|fault| fault.to_string())
                .collect();
            if !faults.is_empty() {
                let detail = format!("{}: {}", path_of(path).display(), faults.join("; "));
                return Err(failed("lock-file", detail)
                    .with_hint("`stecker lock -f SETUP` writes the lock anew; nothing was changed")
                    .into());
            }
            lock
        }
        None => chosen(&wanted, operations, output).await?,
    };
    for (user, plugin) in uses(setup) {
        if plugin.digest.is_none()
            && let Some(locked) = lock.get(&user)
        {
            plugin.digest = Some(locked.component.clone());
        }
    }
    Ok(())
}

/// What the host chooses. What is to be known of a choice, that it was yanked or is deprecated, is told by the way.
pub(crate) async fn chosen(
    wanted: &[(Wanted, ResolveWish)],
    operations: &dyn Operations,
    output: Output,
) -> Result<LockFile> {
    let wishes: Vec<ResolveWish> = wanted.iter().map(|(_, wish)| wish.clone()).collect();
    let resolved = operations.resolve(&wishes).await?;
    let mut lock = LockFile::default();
    for ((wanted, _), resolved) in wanted.iter().zip(&resolved) {
        let choice = choice(resolved)?;
        for note in resolved.chosen.iter().flat_map(|chosen| &chosen.notes) {
            let (user, name, version) = (&resolved.user, &resolved.name, &choice.version);
            output.note(&warn(&format!("warning: {user}: {name}@{version} is {note}")));
        }
        lock.update(wanted, &choice);
    }
    Ok(lock)
}

fn choice(resolved: &Resolved) -> Result<Choice> {
    let Some(chosen) = &resolved.chosen else {
        return Err(nothing(resolved));
    };
    let version = chosen
        .version
        .parse()
        .map_err(|error| failed("answer", format!("the host chose `{}`: {error}", chosen.version)))?;
    Ok(Choice {
        version,
        component: chosen.component.clone(),
        manifest: chosen.manifest.clone(),
        step: None,
        notes: Vec::new(),
    })
}

fn nothing(resolved: &Resolved) -> Failure {
    let Resolved { user, name, .. } = resolved;
    if resolved.passed_over.is_empty() {
        return failed("no-release", format!("{user}: the host has no release of {name}"))
            .with_hint("`stecker release add FILE` adds one")
            .into();
    }
    let reasons: Vec<String> = resolved
        .passed_over
        .iter()
        .map(|passed| format!("{}: {}", passed.version, passed.why.join("; ")))
        .collect();
    failed(
        "no-release",
        format!("{user}: no release of {name} can be used: {}", reasons.join(". ")),
    )
    .with_hint("change the range, or add a release that fits; nothing was changed")
    .into()
}
