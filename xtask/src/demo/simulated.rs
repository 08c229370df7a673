//! The demo with the simulated shop and ERP.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use stecker_model::{RecordState, api::QuarantineGroup};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Faults, Running, Simulators};

use super::{Account, Cause, Demo, finish, second_act, show};
use crate::cargo::say;

pub(super) async fn run(demo: &Demo, artifacts: &Artifacts, folder: &Path) -> Result<()> {
    let faults = if demo.no_faults {
        Faults::off()
    } else {
        Faults::demo()
    };
    say("starting a shop and an ERP on loopback");
    let config = Config {
        orders: demo.orders as usize,
        seed: demo.seed,
        faults,
        ..Config::default()
    };
    let systems = Simulators::start(config).await?;
    say("starting the host");
    let data = folder.join("data");
    let host = Host::start(artifacts, &data, HostOptions::default()).await?;
    let job = Job::write(folder, artifacts, systems.announcement())?;
    say(&format!("stecker apply -f {}", job.setup().display()));
    let begun = Instant::now();
    job.apply(&host)?;
    systems.set_webhook_url(Some(format!("{}/hooks/default/shop", host.url())));

    watch(demo, &host, &job, &systems, begun).await?;
    let rollouts = second_act::play(demo, &host, artifacts, &systems).await?;
    let progress = watch(demo, &host, &job, &systems, begun).await?;
    let mut account = account(&host, &progress, &systems, begun.elapsed()).await?;
    let expected = ["promoted", "rolled-back"];
    if !rollouts.iter().map(|moved| moved.result.as_str()).eq(expected) {
        account
            .faults
            .push(format!("the rollouts did not end as {expected:?}"));
    }
    account.rollouts = rollouts;
    finish(demo, &account, &data, &artifacts.stecker).await?;
    host.stop().await?;
    systems.stop().await;
    Ok(())
}

/// Shows the progress until both ends agree, or until they have had time enough.
async fn watch(demo: &Demo, host: &Host, job: &Job, systems: &Running, begun: Instant) -> Result<Progress> {
    let bar = if demo.json {
        ProgressBar::hidden()
    } else {
        show::bar(demo.orders.into())
    };
    let patience = Duration::from_secs(120) + Duration::from_millis(100) * demo.orders;
    loop {
        let progress = job.progress(host).await?;
        let state = |state| progress.orders_in(state);
        bar.set_position(state(RecordState::Delivered) + state(RecordState::Quarantined));
        bar.set_message(format!(
            "queued {} · sending {} · retrying {} · unknown {} · quarantined {} · retried so far {}",
            state(RecordState::Queued),
            state(RecordState::Sending),
            state(RecordState::Retrying),
            state(RecordState::Unknown),
            state(RecordState::Quarantined),
            progress.retried,
        ));
        if progress.idle && systems.account().verdict().stock_is_right() {
            bar.finish_and_clear();
            return Ok(progress);
        }
        ensure!(
            begun.elapsed() < patience,
            "the job is not done after {patience:?}: {progress:?}; the host's log is {}",
            host.data().join("host.log").display()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn account(host: &Host, progress: &Progress, systems: &Running, took: Duration) -> Result<Account> {
    let truth = systems.account();
    let job = JobAccount::of(progress, &truth);
    let groups: Vec<QuarantineGroup> = host.get("/api/v1/quarantine").await?;
    let synced = truth
        .erp
        .stock
        .iter()
        .filter(|(sku, quantity)| truth.shop.stock.get(*sku) == Some(*quantity))
        .count();
    let faults = job
        .holds()
        .err()
        .map(|error| format!("{error:#}"))
        .into_iter()
        .collect();
    Ok(Account {
        read: job.read,
        delivered: job.delivered,
        retried: job.retried,
        quarantined: job.quarantined,
        lost: job.lost,
        duplicated: job.duplicated,
        seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        quarantine: groups
            .into_iter()
            .map(|group| Cause {
                code: group.reason.code,
                message: group.reason.message,
                count: group.count,
            })
            .collect(),
        rollouts: Vec::new(),
        stock_synced: synced as u64,
        equal_to_the_cent: None,
        faults,
    })
}
