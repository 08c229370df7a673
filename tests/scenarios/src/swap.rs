//! A connection is moved back and forth between two releases while orders come in, and the host is restarted now and then for comparison: what it costs an
//! order to be on its way at such a moment, and whether any is lost.

use std::{
    fs,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use jiff::Timestamp;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
use serde::{Deserialize, Serialize};
use serde_json::json;
use stecker_simulators::{Config, Faults, Running, Simulators};

use crate::{Artifacts, Host, HostOptions, Job, JobAccount};

/// Between two orders.
const PAUSE: Duration = Duration::from_millis(40);
/// Orders that were made so long before a moment, or after it, are taken to have felt it, in milliseconds.
const BEFORE: i64 = 300;
const AFTER: i64 = 700;
/// From starting a rollout to its end.
const PATIENCE: Duration = Duration::from_secs(60);
/// From the last of everything until everything is right.
const RECOVERY: Duration = Duration::from_secs(300);
/// Moves after which memory is looked at for the first time: until then, caches fill.
const WARM: u32 = 10;
/// The releases that it moves to in turn.
const RELEASES: [&str; 2] = ["=2.0.0", "=0.1.0"];

/// What is to be done.
#[derive(Debug, Clone)]
pub struct SwapOptions {
    /// How often the connection is moved.
    pub swaps: u32,
    /// How often the host is restarted for comparison.
    pub restarts: u32,
    /// How often the host is killed meanwhile, at moments that the seed decides. Then nothing is said about time.
    pub kills: u32,
    /// Decides data and moments.
    pub seed: u64,
    /// A Postgres; none: SQLite.
    pub database: Option<String>,
}

/// What orders around some moments took, against the others.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Felt {
    /// How many moments.
    pub moments: u64,
    /// Orders that were made around them.
    pub orders: u64,
    /// By how many milliseconds the 99th percentile is higher than that of the others.
    pub added_p99_ms: i64,
    /// By how many milliseconds the slowest one took longer than half of the others take.
    pub max_pause_ms: i64,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SwapAccount {
    /// Moves, all of them promoted.
    pub swaps: u32,
    /// Kills.
    pub kills: u32,
    /// What decided data and moments.
    pub seed: u64,
    /// Orders accepted.
    pub accepted: u64,
    /// See [`JobAccount`].
    #[serde(flatten)]
    pub job: JobAccount,
    /// What a move costs; nothing is said if hosts were killed.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub swap: Option<Felt>,
    /// What stopping and starting the host costs, as one replaces a plugin without this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub restart: Option<Felt>,
    /// Half of the other orders take at most this, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual_ms: Option<i64>,
    /// By how much the host's resident memory grew, from the tenth move to the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rss_growth_percent: Option<f64>,
    /// How long it took.
    pub seconds: f64,
}

#[derive(Deserialize)]
struct Rollout {
    state: String,
    connections: Vec<Connection>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Connection {
    moved_at: Option<i64>,
}

struct Run<'r> {
    options: SwapOptions,
    systems: &'r Running,
    host: Host,
    rng: StdRng,
    kills: u32,
    moves: Vec<i64>,
    restarts: Vec<i64>,
    rss: Vec<u64>,
}

/// Runs it.
///
/// # Errors
/// A host cannot be started, a rollout does not end or is not promoted; what does not hold about the account.
pub async fn swap(
    artifacts: &Artifacts,
    folder: &Path,
    options: SwapOptions,
    progress: &(dyn Fn(u32) + Sync),
) -> Result<SwapAccount> {
    let faults = if options.kills > 0 {
        Faults::demo()
    } else {
        Faults::off()
    };
    let systems = Simulators::start(Config {
        orders: 20,
        seed: options.seed,
        faults,
        ..Config::default()
    })
    .await?;
    let host_options = HostOptions {
        database: options.database.clone(),
        lease: Some("2s".to_owned()),
        ..HostOptions::default()
    };
    let host = Host::start(artifacts, &folder.join("data"), host_options).await?;
    let job = Job::write(&folder.join("job"), artifacts, systems.announcement())?;
    job.apply(&host)?;
    let second = artifacts.release("demo-shop", "2.0.0")?;
    host.cli(["release".as_ref(), "add".as_ref(), second.as_os_str()])?;
    let begun = Instant::now();
    let mut run = Run {
        rng: StdRng::seed_from_u64(options.seed),
        options,
        systems: &systems,
        host,
        kills: 0,
        moves: Vec::new(),
        restarts: Vec::new(),
        rss: Vec::new(),
    };
    run.listen();
    let made: Mutex<Vec<(String, i64)>> = Mutex::default();
    let load = async {
        loop {
            tokio::time::sleep(PAUSE).await;
            let orders = systems.create_orders(1);
            let mut made = made.lock().unwrap_or_else(PoisonError::into_inner);
            made.extend(
                orders
                    .into_iter()
                    .map(|order| (order.number, Timestamp::now().as_millisecond())),
            );
        }
    };
    tokio::select! {
        worked = run.work(progress) => worked?,
        () = load => {}
    }
    let job = run.is_right(&job).await?;
    let made = made.into_inner().unwrap_or_else(PoisonError::into_inner);
    let account = run.account(job, &made, begun.elapsed());
    run.host.stop().await?;
    systems.stop().await;
    Ok(account)
}

impl Run<'_> {
    fn listen(&self) {
        self.systems
            .set_webhook_url(Some(format!("{}/hooks/default/shop", self.host.url())));
    }

    async fn work(&mut self, progress: &(dyn Fn(u32) + Sync)) -> Result<()> {
        tokio::time::sleep(Duration::from_secs(2)).await;
        for number in 0..self.options.swaps {
            let to = RELEASES
                .get(number as usize % RELEASES.len())
                .copied()
                .unwrap_or_default();
            self.upgrade(number, to)
                .await
                .with_context(|| format!("move {} to {to}", number + 1))?;
            progress(number + 1);
            if number + 1 >= WARM {
                self.rss.push(resident(self.host.pid())?);
            }
        }
        for _ in 0..self.options.restarts {
            tokio::time::sleep(Duration::from_secs(2)).await;
            self.restarts.push(Timestamp::now().as_millisecond());
            self.host.terminate().await?;
            self.host.start_again().await?;
            self.listen();
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        Ok(())
    }

    async fn upgrade(&mut self, number: u32, to: &str) -> Result<()> {
        let name = format!("swap-{number}");
        let request = json!({ "name": name, "connection": "shop", "to": to, "bake": "200ms", "reason": "back and forth" });
        let status = self
            .host
            .caller("default")
            .post_json("/api/v1/rollouts", &request)
            .await?;
        ensure!(status.is_success(), "it could not be started: {status}");
        // As many kills for each move as are left for the moves that are left, spread by chance.
        let left = self.options.swaps - number;
        let kills = (self.options.kills - self.kills).div_ceil(left.max(1));
        for _ in 0..kills {
            let pause = self.rng.random_range(0..900);
            tokio::time::sleep(Duration::from_millis(pause)).await;
            self.host.kill()?;
            self.kills += 1;
            self.host.start_again().await?;
            self.listen();
        }
        let begun = Instant::now();
        loop {
            let rollout: Rollout = self.host.get(&format!("/api/v1/rollouts/{name}")).await?;
            match rollout.state.as_str() {
                "promoted" => {
                    self.moves
                        .extend(rollout.connections.iter().filter_map(|one| one.moved_at));
                    return Ok(());
                }
                "failed" | "rolled-back" | "aborted" => {
                    let log = self.host.cli(["rollout", "status", &name])?;
                    bail!("it ended as {}:\n{log}", rollout.state);
                }
                _ => ensure!(
                    begun.elapsed() < PATIENCE,
                    "it is still {} after {PATIENCE:?}",
                    rollout.state
                ),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    async fn is_right(&self, job: &Job) -> Result<JobAccount> {
        let begun = Instant::now();
        loop {
            let progress = job.progress(&self.host).await?;
            let truth = self.systems.account();
            let account = JobAccount::of(&progress, &truth);
            if progress.idle && truth.shop.webhooks.pending == 0 && account.holds().is_ok() {
                return Ok(account);
            }
            if begun.elapsed() > RECOVERY {
                account.holds()?;
                bail!("not done {RECOVERY:?} after the last move: {progress:?}");
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    fn account(&self, job: JobAccount, made: &[(String, i64)], took: Duration) -> SwapAccount {
        let truth = self.systems.account();
        // When each order was made, and how long it took to its first booking.
        let took_ms: Vec<(i64, i64)> = made
            .iter()
            .filter_map(|(number, at)| {
                let booked = truth.erp.bookings.get(number)?.first()?.at.as_millisecond();
                Some((*at, booked - at))
            })
            .collect();
        let around = |moments: &[i64], at: i64, after: i64| {
            moments
                .iter()
                .any(|moment| (moment - BEFORE..=moment + after).contains(&at))
        };
        // A restart takes as long as it takes.
        let long = AFTER * 8;
        let quiet: Vec<i64> = took_ms
            .iter()
            .filter(|(at, _)| !around(&self.moves, *at, AFTER) && !around(&self.restarts, *at, long))
            .map(|(_, took)| *took)
            .collect();
        let felt = |moments: &[i64], after: i64| {
            let orders: Vec<i64> = took_ms
                .iter()
                .filter(|(at, _)| around(moments, *at, after))
                .map(|(_, took)| *took)
                .collect();
            (!moments.is_empty() && !orders.is_empty()).then(|| Felt {
                moments: moments.len() as u64,
                orders: orders.len() as u64,
                added_p99_ms: at_most(&orders, 99) - at_most(&quiet, 99),
                max_pause_ms: at_most(&orders, 100) - at_most(&quiet, 50),
            })
        };
        let timed = self.options.kills == 0;
        #[expect(clippy::cast_precision_loss, reason = "memory is far below 2^52 bytes")]
        let growth = match (self.rss.first(), self.rss.last()) {
            (Some(first), Some(last)) if timed => Some((*last as f64 / *first as f64 - 1.0) * 100.0),
            _ => None,
        };
        SwapAccount {
            swaps: self.options.swaps,
            kills: self.kills,
            seed: self.options.seed,
            accepted: job.read,
            job,
            swap: felt(&self.moves, AFTER).filter(|_| timed),
            restart: felt(&self.restarts, long).filter(|_| timed),
            usual_ms: timed.then(|| at_most(&quiet, 50)),
            rss_growth_percent: growth.map(|growth| (growth * 10.0).round() / 10.0),
            seconds: (took.as_secs_f64() * 10.0).round() / 10.0,
        }
    }
}

/// So many of a hundred are at most this.
fn at_most(values: &[i64], percent: usize) -> i64 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable();
    let place = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(place).copied().unwrap_or(0)
}

fn resident(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))
        .context("this system does not tell what is resident")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
    let kilobytes: u64 = kilobytes.context("there is no VmRSS")?.parse()?;
    Ok(kilobytes * 1_024)
}
