//! `stecker upgrade …` and `stecker rollout …`

use std::{fs, time::Duration};

use stecker_model::{
    Name,
    api::{MoveState, RolloutAction, RolloutInfo, RolloutPlan, RolloutState, StartRollout},
};
use stecker_server::Operations;

use crate::{
    args::{Globals, Rollout, Upgrade},
    failure::{Failure, Result},
    output::{Output, Page, bad, bold, dim, good, time, warn},
    progress::Progress,
    target::Target,
};

/// How often a server is asked how far a rollout is.
const ASK: Duration = Duration::from_millis(300);

pub(crate) async fn upgrade(globals: &Globals, output: Output, words: Upgrade) -> Result<()> {
    let target = Target::find(globals, output, "stecker upgrade").await?;
    let result = start(&target, output, words).await;
    target.close().await;
    result
}

pub(crate) async fn rollout(globals: &Globals, output: Output, command: Rollout) -> Result<()> {
    let target = Target::find(globals, output, "stecker rollout").await?;
    let result = answer(&target, output, command).await;
    target.close().await;
    result
}

fn request(words: Upgrade) -> Result<StartRollout> {
    let config = match &words.config {
        None => None,
        Some(path) => {
            let text = fs::read_to_string(path)
                .map_err(|error| Failure::Usage(format!("{} cannot be read: {error}", path.display())))?;
            let config = serde_json::from_str(&text)
                .map_err(|error| Failure::Usage(format!("{} is no JSON: {error}", path.display())))?;
            Some(config)
        }
    };
    Ok(StartRollout {
        name: words.name,
        connection: words.connection,
        all_of: words.all_of,
        to: words.to,
        canary: words.canary,
        bake: words.bake,
        shadow: words.shadow,
        config,
        approved: words.approve,
        // A plan has none, and nobody keeps it.
        reason: words.reason.unwrap_or_else(|| "plan".to_owned()),
    })
}

async fn start(target: &Target, output: Output, words: Upgrade) -> Result<()> {
    let operations = target.operations();
    let (only_plan, wait) = (words.plan, words.wait);
    let request = request(words)?;
    if only_plan {
        let plan = operations.plan_rollout(&request).await?;
        output.answer(&plan, |page| show_plan(page, &plan))?;
        return if plan.faults.is_empty() {
            Ok(())
        } else {
            Err(Failure::Told)
        };
    }
    let here = matches!(target, Target::Here { .. });
    if here {
        return Err(Failure::Usage(
            "a rollout moves connections while they work, which takes a host that runs: start one with `stecker serve`, or look at it \
             with --plan"
                .to_owned(),
        ));
    }
    let info = operations.start_rollout(&request).await?;
    if wait {
        return until_over(operations, output, &info.name).await;
    }
    output.answer(&info, |page| show(page, &info))?;
    Ok(())
}

async fn answer(target: &Target, output: Output, command: Rollout) -> Result<()> {
    let operations = target.operations();
    let switch = async |name: &Name, action| operations.switch_rollout(name, action).await;
    let info = match command {
        Rollout::List => {
            let all = operations.rollouts().await?;
            output.answer(&all, |page| list(page, &all))?;
            return Ok(());
        }
        Rollout::Status { name, wait: true } => return until_over(operations, output, &name).await,
        Rollout::Status { name, wait: false } => operations.rollout(&name).await?,
        Rollout::Pause { name } => switch(&name, RolloutAction::Pause).await?,
        Rollout::Resume { name } => switch(&name, RolloutAction::Resume).await?,
        Rollout::Promote { name } => switch(&name, RolloutAction::Promote).await?,
        Rollout::Abort { name } => switch(&name, RolloutAction::Abort).await?,
        Rollout::Barred => return barred(output, &operations.barred_releases().await?),
        Rollout::Bar { digest, reason } => {
            return barred(output, &operations.bar_release(&digest, Some(&reason)).await?);
        }
        Rollout::Unbar { digest } => return barred(output, &operations.bar_release(&digest, None).await?),
    };
    output.answer(&info, |page| show(page, &info))?;
    Ok(())
}

fn barred(output: Output, all: &[stecker_model::api::BarredRelease]) -> Result<()> {
    output.answer(&all, |page| {
        if all.is_empty() {
            page.line("no release is barred");
            return;
        }
        let rows: Vec<_> = all
            .iter()
            .map(|one| {
                vec![
                    one.digest.to_string(),
                    time(one.barred_at),
                    one.actor.clone(),
                    one.reason.clone(),
                ]
            })
            .collect();
        page.table(&["release", "since", "by", "why"], &rows);
    })?;
    Ok(())
}

/// Waits until it is over, or a person has to do something; fails unless it was promoted.
async fn until_over(operations: &dyn Operations, output: Output, name: &Name) -> Result<()> {
    let progress = Progress::new(output, &format!("waiting for {name}"));
    let info = loop {
        let info = operations.rollout(name).await?;
        progress.say(&format!("{name}: {}", line(&info)));
        if info.state.is_over() || info.paused || info.state == RolloutState::NeedsApproval {
            break info;
        }
        tokio::time::sleep(ASK).await;
    };
    drop(progress);
    output.answer(&info, |page| show(page, &info))?;
    if info.state == RolloutState::Promoted {
        Ok(())
    } else {
        Err(Failure::Told)
    }
}

fn line(info: &RolloutInfo) -> String {
    let moved = info
        .connections
        .iter()
        .filter(|one| one.state == MoveState::Moved)
        .count();
    format!(
        "{}{}, {moved} of {} moved",
        info.state.as_str(),
        if info.paused { " (paused)" } else { "" },
        info.connections.len()
    )
}

fn state(info: &RolloutInfo) -> String {
    let text = format!(
        "{}{}",
        info.state.as_str(),
        if info.paused { ", paused" } else { "" }
    );
    match info.state {
        RolloutState::Promoted => good(&text),
        RolloutState::RolledBack | RolloutState::Failed | RolloutState::RollingBack => bad(&text),
        RolloutState::NeedsApproval => warn(&text),
        _ => text,
    }
}

fn list(page: &mut Page, all: &[RolloutInfo]) {
    if all.is_empty() {
        page.line("no rollouts");
        return;
    }
    let rows: Vec<_> = all
        .iter()
        .map(|info| {
            let what = match (&info.request.connection, &info.request.all_of) {
                (Some(connection), _) => connection.to_string(),
                (None, plugin) => format!("all of {}", plugin.as_deref().unwrap_or("?")),
            };
            vec![
                info.name.to_string(),
                what,
                info.request.to.clone(),
                state(info),
                time(info.created_at),
            ]
        })
        .collect();
    page.table(&["rollout", "of", "to", "state", "started"], &rows);
}

fn show(page: &mut Page, info: &RolloutInfo) {
    page.field("rollout", &info.name);
    page.field("state", state(info));
    page.field("to", format!("{} ({})", info.request.to, info.to));
    page.field("reason", &info.request.reason);
    page.field("by", format!("{}, {}", info.actor, time(info.created_at)));
    let rows: Vec<_> = info
        .connections
        .iter()
        .map(|one| {
            vec![
                one.connection.to_string(),
                one.wave.to_string(),
                one.state.as_str().to_owned(),
                one.moved_at.map(time).unwrap_or_default(),
            ]
        })
        .collect();
    page.line("");
    page.table(&["connection", "wave", "state", "since"], &rows);
    if let Some(watch) = &info.watch {
        page.line("");
        page.field(
            "watched",
            format!(
                "{} calls, held against {} of the release before",
                watch.calls, watch.baseline_calls
            ),
        );
        for signal in &watch.signals {
            page.line(bad(&format!("  {}: {}", signal.signal, signal.what)));
        }
    }
    if !info.events.is_empty() {
        page.line("");
        page.line(bold("what happened"));
        for event in &info.events {
            page.line(format!("  {} {}", dim(&time(event.at)), event.what));
        }
    }
    if info.state == RolloutState::NeedsApproval {
        page.line("");
        page.line(format!(
            "approve with `stecker rollout promote {0}`, or end it with `stecker rollout abort {0}`",
            info.name
        ));
    }
}

fn show_plan(page: &mut Page, plan: &RolloutPlan) {
    page.field(
        "plugin",
        format!("{} {} ({})", plan.plugin, plan.version, plan.to),
    );
    let rows: Vec<_> = plan
        .connections
        .iter()
        .map(|one| {
            let flows: Vec<_> = one.flows.iter().map(ToString::to_string).collect();
            vec![
                one.connection.to_string(),
                one.wave.to_string(),
                one.from_version.clone().unwrap_or_else(|| one.from.to_string()),
                flows.join(", "),
            ]
        })
        .collect();
    page.line("");
    page.table(&["connection", "wave", "runs", "flows"], &rows);
    for (title, lines) in [
        ("asks for more", &plan.wider),
        ("asks for less", &plan.narrower),
        ("its author says that this breaks", &plan.breaking),
        ("speaks", &plan.upstream),
        ("needs approval", &plan.approvals),
        ("what happens", &plan.steps),
    ] {
        if !lines.is_empty() {
            page.line("");
            page.line(bold(title));
            for line in lines {
                page.line(format!("  {line}"));
            }
        }
    }
    page.line("");
    page.line(bold("the way back"));
    page.line(format!("  {}", plan.back));
    if !plan.faults.is_empty() {
        page.line("");
        page.line(bad("in the way"));
        for fault in &plan.faults {
            page.line(format!("  {}: {}", fault.path, fault.reason));
        }
    }
}
