//! `stecker lock`, `stecker outdated` and `stecker at-risk`

use std::{fs, path::Path};

use jiff::civil::Date;
use stecker_model::api::{OutdatedUse, RiskBy, UseAtRisk};
use stecker_trust::LockFile;

use crate::{
    args::Globals,
    failure::{Result, file},
    locking,
    output::{Output, Page, bad, bold, dim, good, warn},
    setup::SetupFile,
    target::Target,
};

pub(crate) async fn lock(globals: &Globals, output: Output, path: &Path, update: bool) -> Result<()> {
    let setup = SetupFile::read(path)?;
    let target = Target::find(globals, output, "stecker lock").await?;
    let result = write(&target, output, setup, path, update).await;
    target.close().await;
    result
}

async fn write(target: &Target, output: Output, setup: SetupFile, path: &Path, update: bool) -> Result<()> {
    let wanted = locking::wanted(setup.setup())?;
    let before = locking::read(path)?.unwrap_or_default();
    let (mut kept, mut open) = (LockFile::default(), Vec::new());
    for (place, wish) in wanted {
        let agrees = before
            .check(std::slice::from_ref(&place))
            .iter()
            .all(|fault| matches!(fault, stecker_trust::lock::LockFault::Unused { .. }));
        match before.get(&place.user) {
            Some(locked) if agrees && !update => kept.insert(&place.user, locked.clone()),
            _ => open.push((place, wish)),
        }
    }
    if !open.is_empty() {
        let chosen = locking::chosen(&open, target.operations(), output).await?;
        for (user, locked) in chosen.uses() {
            kept.insert(user, locked.clone());
        }
    }
    let changes = before.changes_to(&kept);
    let to = locking::path_of(path);
    if !changes.is_empty() || !to.exists() {
        // Beside it first, so that what is there is never half of it.
        let beside = to.with_extension("lock.new");
        let hint = "the lock is as it was";
        fs::write(&beside, kept.to_toml()).map_err(|error| file("write", &beside, error, hint))?;
        fs::rename(&beside, &to).map_err(|error| file("replace", &to, error, hint))?;
    }
    output.answer(&changes, |page| {
        for change in &changes {
            let version = |locked: &Option<stecker_trust::lock::Locked>| {
                locked.as_ref().map_or_else(
                    || "(none)".to_owned(),
                    |locked| format!("{}@{}", locked.name, locked.version),
                )
            };
            page.line(format!(
                "{} {} → {}",
                bold(&change.user),
                bad(&version(&change.from)),
                good(&version(&change.to))
            ));
        }
        page.line(match changes.len() {
            0 => format!("{} is as it was", to.display()),
            n => format!("{} {n} use(s) in {}", good("locked"), to.display()),
        });
    })?;
    Ok(())
}

pub(crate) async fn outdated(globals: &Globals, output: Output) -> Result<()> {
    let target = Target::find(globals, output, "stecker outdated").await?;
    let found = target.operations().outdated().await;
    target.close().await;
    let found = found?;
    output.answer(&found, |page| show_outdated(page, &found))?;
    Ok(())
}

fn show_outdated(page: &mut Page, found: &[OutdatedUse]) {
    if found.is_empty() {
        return page.line(good("every use has the newest release that this host knows"));
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|behind| {
            let none = || dim("-");
            vec![
                behind.user.clone(),
                behind.name.clone(),
                behind.from.clone(),
                behind.automatic.as_deref().map_or_else(none, good),
                behind.newest.clone().unwrap_or_else(none),
                behind.step.clone().unwrap_or_else(none),
                [&*behind.wrong, &*behind.why_not].concat().join("; "),
            ]
        })
        .collect();
    page.table(
        &["USE", "PLUGIN", "HAS", "MOVES TO", "NEWEST", "STEP", "WHY"],
        &rows,
    );
}

pub(crate) async fn at_risk(globals: &Globals, output: Output, by: Date) -> Result<()> {
    let target = Target::find(globals, output, "stecker at-risk").await?;
    let found = target.operations().at_risk(&RiskBy { by }).await;
    target.close().await;
    let found = found?;
    output.answer(&found, |page| show_risks(page, by, &found))?;
    Ok(())
}

fn show_risks(page: &mut Page, by: Date, found: &[UseAtRisk]) {
    if found.is_empty() {
        return page.line(good(&format!("nothing ends by {by}, as far as the releases say")));
    }
    let rows: Vec<Vec<String>> = found
        .iter()
        .map(|risk| {
            let to = match (&risk.move_to, risk.in_the_way.as_slice()) {
                (None, _) => bad("no release yet"),
                (Some(version), []) => good(version),
                (Some(version), why) => warn(&format!("{version}: {}", why.join("; "))),
            };
            vec![
                risk.on.clone().unwrap_or_else(|| "?".to_owned()),
                risk.user.clone(),
                format!("{}@{}", risk.name, risk.version),
                risk.what.clone(),
                to,
            ]
        })
        .collect();
    page.table(&["ON", "USE", "HAS", "WHAT", "MOVE TO"], &rows);
}
