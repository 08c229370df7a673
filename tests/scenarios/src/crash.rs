//! Killing hosts again and again while they work, and asking both systems afterwards what really arrived.
//!
//! A kill comes at a seeded moment, or at a named place of the host's code ([`FAIL_POINTS`]), each of which has its turn. With
//! several nodes on one Postgres, they are killed in turn too, so that the others take over what was left half done. The world goes on
//! meanwhile: orders change, events are sent, and the systems fail as on a bad day.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use stecker_model::FAIL_POINTS;

use crate::{Artifacts, Host, HostOptions, Job, JobAccount, world::World};

/// What to do.
#[derive(Debug, Clone)]
pub struct CrashOptions {
    /// How often a host is killed.
    pub kills: u32,
    /// Decides data, faults, moments and places.
    pub seed: u64,
    /// A Postgres; SQLite if it is `None`.
    pub database: Option<String>,
    /// Hosts on the database: 1, or more on Postgres.
    pub nodes: usize,
    /// Orders at the beginning.
    pub orders: usize,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct CrashAccount {
    /// How often a host was killed.
    pub kills: u32,
    /// Of these, at a seeded moment.
    pub at_a_moment: u32,
    /// Of these, at a place of the code.
    pub at_a_place: BTreeMap<&'static str, u32>,
    /// Places that were waited for and not passed in time; the host was killed then.
    pub not_passed: BTreeMap<&'static str, u32>,
    /// What decided.
    pub seed: u64,
    /// Hosts.
    pub nodes: usize,
    /// Records of orders that were accepted.
    pub accepted: u64,
    /// What both ends and the hosts say.
    #[serde(flatten)]
    pub job: JobAccount,
    /// Until the last kill.
    pub killing_seconds: f64,
    /// From there until everything was right.
    pub recovering_seconds: f64,
}

/// How the next end of a host comes.
#[derive(Debug, Clone, Copy)]
enum End {
    Moment,
    Place(&'static str),
}

struct Node {
    host: Host,
    end: End,
}

/// Orders that change between two kills.
const CHANGES: usize = 2;
/// How long a place is waited for. Beyond the lease, so that a node can take over first.
const PATIENCE: Duration = Duration::from_secs(8);
/// Between two changes of the world while a place is waited for.
const PAUSE: Duration = Duration::from_millis(500);
/// Short, because a node that is killed is started again long before a usual one runs out.
const LEASE: &str = "2s";
/// A place is passed up to so many times before the kill.
const PASSES: u32 = 4;
/// Reached only by a host that is asked to end.
const AT_THE_END: &str = "lease-given-back";
/// Places that a host passes once for each of its two flows, and then no more.
const RARE: [&str; 2] = [AT_THE_END, "lease-taken"];

/// Runs the job of the demo and kills its hosts.
///
/// # Errors
/// A host cannot be started, ends by itself, or is not done in time; what does not hold about the account.
pub async fn crash(
    artifacts: &Artifacts,
    folder: &Path,
    options: CrashOptions,
    progress: &(dyn Fn(u32) + Sync),
) -> Result<CrashAccount> {
    ensure!(
        options.nodes == 1 || options.database.is_some(),
        "several hosts need a Postgres between them"
    );
    let mut crash = Crash::begin(artifacts, folder, options).await?;
    let begun = Instant::now();
    let mut places = FAIL_POINTS.into_iter().cycle();
    for turn in 0.. {
        let kills = crash.kills();
        progress(kills);
        if kills >= crash.options.kills {
            break;
        }
        let nodes = crash.nodes.len().max(1);
        let next = if (turn / nodes) % 2 == 0 {
            places.next().map_or(End::Moment, End::Place)
        } else {
            End::Moment
        };
        crash.kill(turn % nodes, next).await?;
    }
    let killing = begun.elapsed();
    crash.finish(killing).await
}

struct Crash {
    options: CrashOptions,
    rng: StdRng,
    world: World,
    job: Job,
    nodes: Vec<Node>,
    at_a_moment: u32,
    at_a_place: BTreeMap<&'static str, u32>,
    not_passed: BTreeMap<&'static str, u32>,
}

impl Crash {
    async fn begin(artifacts: &Artifacts, folder: &Path, options: CrashOptions) -> Result<Self> {
        let rng = StdRng::seed_from_u64(options.seed);
        let world = World::start(options.orders, options.seed).await?;
        let job = Job::write(&folder.join("job"), artifacts, world.systems.announcement())?;
        let mut nodes = Vec::new();
        for number in 1..=options.nodes {
            let host_options = HostOptions {
                database: options.database.clone(),
                port: free_port()?,
                lease: Some(LEASE.to_owned()),
                namespace: None,
            };
            let data = folder.join(format!("node-{number}"));
            let host = Host::start(artifacts, &data, host_options).await?;
            nodes.push(Node {
                host,
                end: End::Moment,
            });
        }
        let first = nodes.first().context("there has to be a host")?;
        job.apply(&first.host)?;
        world.call(&first.host);
        Ok(Self {
            options,
            rng,
            world,
            job,
            nodes,
            at_a_moment: 0,
            at_a_place: BTreeMap::new(),
            not_passed: BTreeMap::new(),
        })
    }

    fn kills(&self) -> u32 {
        self.at_a_moment + self.at_a_place.values().sum::<u32>() + self.not_passed.values().sum::<u32>()
    }

    fn change(&mut self) -> Result<()> {
        self.world.change(&mut self.rng, CHANGES)
    }

    /// Waits for the end that the host was started for, and starts it again for the next one.
    async fn kill(&mut self, number: usize, next: End) -> Result<()> {
        self.change()?;
        let end = self.nodes.get(number).map_or(End::Moment, |node| node.end);
        match end {
            End::Moment => {
                // Some right after the start, while what was being sent is looked up; some in full run.
                let pause = if self.rng.random_bool(0.3) {
                    0..100
                } else {
                    50..1_500
                };
                let pause = Duration::from_millis(self.rng.random_range(pause));
                tokio::time::sleep(pause).await;
                self.node(number)?.host.kill()?;
                self.at_a_moment += 1;
            }
            End::Place(place) => {
                // With the others dead, this one takes over what they left, and gets there.
                let others: Vec<usize> = (0..self.nodes.len()).filter(|other| *other != number).collect();
                for other in &others {
                    self.node(*other)?.host.kill()?;
                    self.at_a_moment += 1;
                }
                if self.reaches(number, place).await? {
                    *self.at_a_place.entry(place).or_default() += 1;
                } else {
                    self.node(number)?.host.kill()?;
                    *self.not_passed.entry(place).or_default() += 1;
                }
                for other in others {
                    // What it was to be killed at is still to come.
                    let end = self.nodes.get(other).map_or(End::Moment, |node| node.end);
                    self.start(other, end).await?;
                }
            }
        }
        self.change()?;
        self.start(number, next).await
    }

    async fn start(&mut self, number: usize, end: End) -> Result<()> {
        let pass = self.rng.random_range(1..=PASSES);
        let node = self.node(number)?;
        node.end = end;
        match end {
            End::Moment => node.host.start_again().await,
            End::Place(place) => {
                let pass = if RARE.contains(&place) { 1 } else { pass };
                node.host.start_to_fail(place, pass)
            }
        }
    }

    async fn reaches(&mut self, number: usize, place: &str) -> Result<bool> {
        let begun = Instant::now();
        let mut asked = false;
        while begun.elapsed() < PATIENCE {
            if let Some(killed) = self.node(number)?.host.was_killed_within(PAUSE).await? {
                return Ok(killed);
            }
            self.change()?;
            if place == AT_THE_END && !asked && begun.elapsed() > Duration::from_secs(2) {
                self.node(number)?.host.ask_to_end()?;
                asked = true;
            }
        }
        Ok(false)
    }

    fn node(&mut self, number: usize) -> Result<&mut Node> {
        self.nodes.get_mut(number).context("there is no such host")
    }

    async fn finish(mut self, killing: Duration) -> Result<CrashAccount> {
        for node in &mut self.nodes {
            // Whatever it was started for.
            node.host.kill()?;
            node.host.start_again().await?;
        }
        let host = &self.nodes.first().context("there has to be a host")?.host;
        let right = self.world.is_right(&self.job, host).await;
        let (job, recovering) = right.with_context(|| format!("seed {}", self.options.seed))?;
        let kills = self.kills();
        for node in self.nodes {
            node.host.stop().await?;
        }
        self.world.systems.stop().await;
        Ok(CrashAccount {
            kills,
            at_a_moment: self.at_a_moment,
            at_a_place: self.at_a_place,
            not_passed: self.not_passed,
            seed: self.options.seed,
            nodes: self.options.nodes,
            accepted: job.read,
            job,
            killing_seconds: killing.as_secs_f64(),
            recovering_seconds: recovering.as_secs_f64(),
        })
    }
}

/// The same after every start, because the shop sends its events there.
fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}
