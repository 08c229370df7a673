//! The demo with Vendure and Tryton.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use indicatif::ProgressBar;
use stecker_model::{RecordState, api::QuarantineGroup};
use stecker_real_systems::{RealSystems, RunningReal, Webhook};
use stecker_scenarios::{Artifacts, Host, HostOptions, Progress, RealAccount, RealJob};

use super::{Account, Cause, Demo, finish, show};
use crate::cargo::say;

/// How long the whole job may take; Tryton needs about a second for a few sales.
const PATIENCE: Duration = Duration::from_secs(420);

pub(super) async fn run(demo: &Demo, artifacts: &Artifacts, folder: &Path) -> Result<()> {
    let prepared = RealSystems::prepare(&|step| say(step)).await?;
    say("starting Vendure and Tryton on loopback");
    let systems = prepared.start(&folder.join("systems")).await?;
    say("starting the host");
    let data = folder.join("data");
    let host = Host::start(artifacts, &data, HostOptions::default()).await?;
    let secret = RunningReal::generated_secret();
    let job = RealJob::write(folder, artifacts, &systems, &secret)?;
    say(&format!("stecker apply -f {}", job.setup().display()));
    let begun = Instant::now();
    job.apply(&host)?;
    let url = format!("{}/hooks/default/shop", host.url());
    systems.set_webhook(Some(&Webhook { url, secret })).await?;

    let account = watch(demo, &host, &systems, begun).await?;
    let groups: Vec<QuarantineGroup> = host.get("/api/v1/quarantine").await?;
    let account = Account {
        read: account.read,
        delivered: account.delivered,
        retried: account.retried,
        quarantined: account.quarantined,
        lost: account.lost,
        duplicated: account.duplicated,
        seconds: (begun.elapsed().as_secs_f64() * 10.0).round() / 10.0,
        quarantine: groups
            .into_iter()
            .map(|group| Cause {
                code: group.reason.code,
                message: group.reason.message,
                count: group.count,
            })
            .collect(),
        rollouts: Vec::new(),
        stock_synced: account.stock_equal,
        equal_to_the_cent: Some(account.equal),
        faults: account.faults(),
    };
    finish(demo, &account, &data, &artifacts.stecker).await?;
    host.stop().await?;
    systems.stop().await
}

/// Shows the progress until both ends agree, or until they have had time enough.
async fn watch(demo: &Demo, host: &Host, systems: &RunningReal, begun: Instant) -> Result<RealAccount> {
    let orders = systems.vendure_orders().await?.len() as u64;
    let bar = if demo.json {
        ProgressBar::hidden()
    } else {
        show::bar(orders)
    };
    loop {
        let progress = Progress::of(host).await?;
        bar.set_position(
            progress.orders_in(RecordState::Delivered) + progress.orders_in(RecordState::Quarantined),
        );
        bar.set_message(format!(
            "queued {} · sending {} · retrying {} · quarantined {}",
            progress.orders_in(RecordState::Queued),
            progress.orders_in(RecordState::Sending),
            progress.orders_in(RecordState::Retrying),
            progress.orders_in(RecordState::Quarantined),
        ));
        let late = begun.elapsed() > PATIENCE;
        if progress.idle || late {
            let account = RealAccount::take(systems, &progress).await?;
            if account.read >= orders && account.faults().is_empty() {
                bar.finish_and_clear();
                return Ok(account);
            }
            ensure!(
                !late,
                "the job is not done after {PATIENCE:?}: {account:?}, {progress:?}; the host's log is {}",
                host.data().join("host.log").display()
            );
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
