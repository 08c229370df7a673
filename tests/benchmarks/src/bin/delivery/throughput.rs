//! Orders out of a shop and into an ERP: how many a second, and what that takes.

use std::{
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use stecker_benchmarks::measure::Spread;
use stecker_model::RecordState;
use stecker_scenarios::Host;

use crate::{
    api::Api,
    lab::{Database, FLOW, Lab, Shape},
    peers::Installed,
    process::{self, Used},
};

/// How long one run may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// What CPU seconds are given for.
const PER: f64 = 100_000.0;

/// Who moves orders.
#[derive(Debug, Clone)]
pub(crate) enum Contestant {
    Stecker(Database),
    /// The loop by hand; without a database it keeps nothing.
    Loop(Option<Database>),
    Peer(Installed),
}

/// What one run took.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) orders: u64,
    pub(crate) seconds: f64,
    pub(crate) used: Used,
    /// Sales that were sent again under the same key, which happens to whoever got no answer.
    pub(crate) repeated: u64,
}

/// What all runs of a contestant say.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Moved {
    pub(crate) who: String,
    pub(crate) rounds: usize,
    pub(crate) orders_each: u64,
    pub(crate) orders_per_second: Spread,
    pub(crate) cpu_seconds_per_100k: Spread,
    pub(crate) peak_rss_mib: Spread,
    pub(crate) repeated: u64,
}

impl Contestant {
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Stecker(database) => format!("Stecker, {}", database.name()),
            Self::Loop(Some(database)) => format!("loop by hand, {}", database.name()),
            Self::Loop(None) => "loop by hand, keeping nothing".to_owned(),
            Self::Peer(peer) => peer.peer.name(),
        }
    }

    async fn run(&self, lab: &Lab, by_hand: &PathBuf, orders: u64) -> Result<Run> {
        match self {
            Self::Stecker(database) => stecker(lab, *database, orders).await,
            Self::Loop(database) => by_hand_run(lab, by_hand, *database, orders).await,
            Self::Peer(peer) => peer.run(orders, lab.folder()).await,
        }
        .with_context(|| self.name())
    }
}

/// Has contestants take turns; each round begins with another one.
pub(crate) async fn alternate(
    lab: &Lab,
    by_hand: &PathBuf,
    contestants: &[Contestant],
    rounds: usize,
    orders: u64,
    progress: &dyn Fn(&str),
) -> Result<Vec<Moved>> {
    let mut runs: Vec<Vec<Run>> = vec![Vec::new(); contestants.len()];
    for round in 0..rounds {
        for offset in 0..contestants.len() {
            let turn = (round + offset) % contestants.len();
            progress(&format!(
                "round {} of {rounds}: {orders} orders by {}",
                round + 1,
                contestants[turn].name()
            ));
            runs[turn].push(contestants[turn].run(lab, by_hand, orders).await?);
        }
    }
    let moved = contestants.iter().zip(runs).map(|(who, runs)| Moved {
        who: who.name(),
        rounds: runs.len(),
        orders_each: orders,
        orders_per_second: Spread::of(runs.iter().map(|run| run.orders as f64 / run.seconds)),
        cpu_seconds_per_100k: Spread::of(
            runs.iter()
                .map(|run| run.used.cpu_seconds / run.orders as f64 * PER),
        ),
        peak_rss_mib: Spread::of(runs.iter().map(|run| run.used.peak_rss_mib)),
        repeated: runs.iter().map(|run| run.repeated).sum(),
    });
    Ok(moved.collect())
}

/// A host from its start to its end; the time is that from asking for a run until everything is delivered and noted down.
async fn stecker(lab: &Lab, database: Database, orders: u64) -> Result<Run> {
    let api = Api::start(orders).await?;
    let place = lab.place("throughput", database).await?;
    let shape = Shape {
        transform: true,
        webhook: false,
    };
    lab.apply(&place, api.url(), shape)?;
    let host = lab.host(&place).await?;
    let watching = tokio::spawn(process::watch(host.pid()));
    let begun = Instant::now();
    let status = host
        .caller("default")
        .post(&format!("/api/v1/flows/{FLOW}/run"))
        .await?;
    ensure!(status.is_success(), "a run cannot be asked for: {status}");
    while api.sales() < orders || !is_settled(&host, orders).await? {
        ensure!(
            begun.elapsed() < PATIENCE,
            "{} of {orders} orders arrived within {PATIENCE:?}: {:?}",
            api.sales(),
            host.flows().await?
        );
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let seconds = begun.elapsed().as_secs_f64();
    host.ask_to_end()?;
    let used = watching.await??;
    host.stop().await?;
    let booked = api.account()?;
    Ok(Run {
        orders,
        seconds,
        used,
        repeated: booked.repeated,
    })
}

async fn is_settled(host: &Host, orders: u64) -> Result<bool> {
    let flows = host.flows().await?;
    Ok(flows
        .iter()
        .any(|flow| flow.counts.get(&RecordState::Delivered) == Some(&orders)))
}

async fn by_hand_run(lab: &Lab, program: &PathBuf, database: Option<Database>, orders: u64) -> Result<Run> {
    let api = Api::start(orders).await?;
    let mut command = Command::new(program);
    command.args(["deliver", "--api", api.url()]);
    if let Some(database) = database {
        command.args(["--database", &lab.database("by_hand", database).await?]);
    }
    let begun = Instant::now();
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
    let (used, status) = process::to_its_end(child).await?;
    let seconds = begun.elapsed().as_secs_f64();
    ensure!(status.success(), "it ended with {status}");
    let booked = api.account()?;
    Ok(Run {
        orders,
        seconds,
        used,
        repeated: booked.repeated,
    })
}
