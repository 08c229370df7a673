//! The systems at both ends of the job while hosts are killed or cut off: they go on, and fail as on a bad day.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rand::{Rng as _, rngs::StdRng};
use stecker_simulators::{Config, Faults, Running, Simulators};

use crate::{Host, Job, JobAccount};

/// From the last trouble until everything is right.
const RECOVERY: Duration = Duration::from_secs(300);

/// Both systems, and the orders that may change.
pub(crate) struct World {
    pub(crate) systems: Running,
    /// What is in quarantine waits for a person, and so does every change of it.
    bookable: Vec<u64>,
}

impl World {
    pub(crate) async fn start(orders: usize, seed: u64) -> Result<Self> {
        let systems = Simulators::start(Config {
            orders,
            seed,
            faults: Faults::demo(),
            ..Config::default()
        })
        .await?;
        let bookable = systems
            .account()
            .shop
            .orders
            .values()
            .filter(|order| !order.must_be_rejected)
            .map(|order| order.id)
            .collect();
        Ok(Self { systems, bookable })
    }

    /// The shop sends its events to this host from now on.
    pub(crate) fn call(&self, host: &Host) {
        self.systems
            .set_webhook_url(Some(format!("{}/hooks/default/shop", host.url())));
    }

    /// The world goes on, whoever is dead or hears of it: so many orders change.
    pub(crate) fn change(&self, rng: &mut StdRng, orders: usize) -> Result<()> {
        let ids: Vec<u64> = (0..orders)
            .filter_map(|_| {
                let index = rng.random_range(0..self.bookable.len().max(1));
                self.bookable.get(index).copied()
            })
            .collect();
        self.systems
            .update_orders(&ids)
            .map_err(|unknown| anyhow::anyhow!("the shop does not know the orders {unknown:?}"))?;
        Ok(())
    }

    /// Waits until the account of the job adds up; how long that took.
    pub(crate) async fn is_right(&self, job: &Job, host: &Host) -> Result<(JobAccount, Duration)> {
        let begun = Instant::now();
        loop {
            let progress = job.progress(host).await?;
            let truth = self.systems.account();
            let account = JobAccount::of(&progress, &truth);
            if progress.idle && truth.shop.webhooks.pending == 0 && account.holds().is_ok() {
                return Ok((account, begun.elapsed()));
            }
            if begun.elapsed() > RECOVERY {
                account.holds().context("after the last trouble")?;
                anyhow::bail!("not done {RECOVERY:?} after the last trouble: {progress:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
