//! Cutting wires again and again while two hosts work on one Postgres, and asking both systems afterwards what really arrived.
//!
//! Nobody dies here: a host that is cut off goes on in the belief that it holds its flows, while another takes them over. What it still wants to
//! write comes too late, or never, or twice, and must not count. The world goes on meanwhile, and the systems fail as on a bad day.

mod kind;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::SliceRandom as _};
use serde::Serialize;
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::time::sleep;

use crate::{
    Artifacts, Host, HostOptions, Job, JobAccount,
    namespace::{Namespace, SYSTEMS, Systems},
    proxy::{Cut, Proxy, Way},
    world::World,
};
use kind::Kind;

/// What to do.
#[derive(Debug, Clone)]
pub struct PartitionOptions {
    /// How often something is cut.
    pub cuts: u32,
    /// Decides data, faults, cuts and their lengths.
    pub seed: u64,
    /// A Postgres, by address and port.
    pub database: String,
    /// Orders at the beginning.
    pub orders: usize,
    /// Hosts have networks of their own, with real links to be cut; takes root. Otherwise all is on loopback, and a wire that holds what is sent
    /// stands for a link that is down.
    pub namespaces: bool,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct PartitionAccount {
    /// How often something was cut.
    pub cuts: u32,
    /// What was cut, and how often.
    pub kinds: BTreeMap<&'static str, u32>,
    /// What decided.
    pub seed: u64,
    /// Records of orders that were accepted.
    pub accepted: u64,
    /// What both ends and the hosts say.
    #[serde(flatten)]
    pub job: JobAccount,
    /// Times that the other host took over what a host held that was cut off.
    pub takeovers: u32,
    /// Flows that ended because their host learned that it did not hold them any more.
    pub fenced: usize,
    /// Commits whose answer was lost.
    pub commits_met: u64,
    /// From a cut until another host held everything.
    pub longest_takeover_ms: u64,
    /// From healing until both hosts were ready again.
    pub longest_recovery_ms: u64,
    /// Until the last cut was healed.
    pub cutting_seconds: f64,
    /// From there until everything was right.
    pub recovering_seconds: f64,
}

/// Orders that change at each cut.
const CHANGES: usize = 3;
/// Short, so that a cut can outlast it often.
const LEASE: &str = "2s";
/// From a cut until the other host has to hold everything: the lease, the bound that a server has for a transaction of somebody it cannot
/// hear, and time for both to be noticed, on a machine that does something else as well.
const TAKEOVER: Duration = Duration::from_secs(45);
/// How long a commit is waited for. While a source has nothing new, hosts only renew leases.
const COMMIT: Duration = Duration::from_secs(5);
/// From healing until a host is ready: the bound for an answer that never comes, and time to begin anew.
const READY: Duration = Duration::from_secs(60);
/// Ends of flows that lost their lease, as a host's log has them.
const FENCED: &str = "the lease went to somebody else";

/// Runs the job of the demo and cuts its wires.
///
/// # Errors
/// A host cannot be started, ends by itself, is not ready again or does not take over in time; what does not hold about the account.
pub async fn partition(
    artifacts: &Artifacts,
    folder: &Path,
    options: PartitionOptions,
    progress: &(dyn Fn(u32, &str) + Sync),
) -> Result<PartitionAccount> {
    let mut run = Run::begin(artifacts, folder, options).await?;
    let begun = Instant::now();
    let mut kinds: Vec<Kind> = Vec::new();
    for number in 0..run.options.cuts {
        let kind = match kinds.pop() {
            Some(kind) => kind,
            None => {
                // Each has its turn before any comes again.
                kinds = Kind::ALL.to_vec();
                kinds.shuffle(&mut run.rng);
                kinds.pop().context("there are kinds")?
            }
        };
        progress(number, kind.name());
        run.cut(kind)
            .await
            .with_context(|| format!("cut {} of {}: {}", number + 1, run.options.cuts, kind.name()))?;
    }
    let cutting = begun.elapsed();
    run.finish(cutting).await
}

struct Node {
    host: Host,
    wire: Proxy,
    data: PathBuf,
    // After the host, which is in it.
    namespace: Option<Namespace>,
}

impl Node {
    /// A cut that everything survives which was sent before it is healed.
    fn cut_for_a_while(&self) -> Result<()> {
        match &self.namespace {
            Some(namespace) => namespace.cut(),
            None => {
                self.wire.cut(Cut::both(Way::Held));
                Ok(())
            }
        }
    }

    fn heal(&self) -> Result<()> {
        self.wire.heal();
        match &self.namespace {
            Some(namespace) => namespace.heal(),
            None => Ok(()),
        }
    }
}

struct Run {
    options: PartitionOptions,
    rng: StdRng,
    world: World,
    erp: Proxy,
    /// Never cut: it is there for an address that everybody can reach.
    _shop: Proxy,
    job: Job,
    nodes: Vec<Node>,
    /// Around the wires.
    database: PgConnection,
    /// After the hosts.
    _address: Option<Systems>,
    kinds: BTreeMap<&'static str, u32>,
    takeovers: u32,
    longest_takeover: Duration,
    longest_recovery: Duration,
}

impl Run {
    async fn begin(artifacts: &Artifacts, folder: &Path, options: PartitionOptions) -> Result<Self> {
        let rng = StdRng::seed_from_u64(options.seed);
        let world = World::start(options.orders, options.seed).await?;
        let address = options.namespaces.then(Systems::make).transpose()?;
        let systems_at = address.as_ref().map_or(Ipv4Addr::LOCALHOST, |_| SYSTEMS);
        let mut announcement = world.systems.announcement().clone();
        let (erp, erp_url) = Proxy::before(&announcement.erp_url, systems_at).await?;
        let (shop, shop_url) = Proxy::before(&announcement.shop_url, systems_at).await?;
        (announcement.erp_url, announcement.shop_url) = (erp_url, shop_url);
        let job = Job::write(&folder.join("job"), artifacts, &announcement)?;
        let mut nodes = Vec::new();
        for number in 1..=2 {
            let namespace = options.namespaces.then(|| Namespace::make(number)).transpose()?;
            let before = namespace
                .as_ref()
                .map_or(Ipv4Addr::LOCALHOST, Namespace::before_database);
            let (wire, database) = Proxy::before(&options.database, before).await?;
            let data = folder.join(format!("node-{number}"));
            let host_options = HostOptions {
                database: Some(database),
                lease: Some(LEASE.to_owned()),
                namespace: namespace
                    .as_ref()
                    .map(|namespace| (namespace.name(), namespace.inside())),
                port: 0,
            };
            let host = Host::start(artifacts, &data, host_options).await?;
            nodes.push(Node {
                host,
                wire,
                data,
                namespace,
            });
        }
        let first = nodes.first().context("there are two hosts")?;
        job.apply(&first.host)?;
        world.call(&first.host);
        let database = PgConnection::connect(&options.database).await?;
        Ok(Self {
            options,
            rng,
            world,
            erp,
            _shop: shop,
            job,
            nodes,
            database,
            _address: address,
            kinds: BTreeMap::new(),
            takeovers: 0,
            longest_takeover: Duration::ZERO,
            longest_recovery: Duration::ZERO,
        })
    }

    fn node(&self, number: usize) -> Result<&Node> {
        self.nodes.get(number).context("there is no such host")
    }

    fn change(&mut self) -> Result<()> {
        self.world.change(&mut self.rng, CHANGES)
    }

    fn millis(&mut self, range: std::ops::Range<u64>) -> Duration {
        Duration::from_millis(self.rng.random_range(range))
    }

    /// Cuts something, changes the world, and heals it.
    async fn cut(&mut self, kind: Kind) -> Result<()> {
        self.change()?;
        let pause = self.millis(50..1_000);
        sleep(pause).await;
        let number = self.rng.random_range(0..self.nodes.len());
        // Some shorter than the lease, so that nobody takes over and what was sent before counts after all.
        let outlasts = self.rng.random_bool(0.7);
        let short = self.millis(100..1_500);
        let (held, swallowed) = (Cut::both(Way::Held), Cut::both(Way::Swallowed));
        let one_way = |to_server, to_client| Cut {
            to_server,
            to_client,
            commit_arrives: None,
        };
        let begun = Instant::now();
        match kind {
            Kind::Database => self.node(number)?.cut_for_a_while()?,
            Kind::DatabaseHears => self.node(number)?.wire.cut(one_way(Way::Held, Way::Open)),
            Kind::DatabaseAnswers => self.node(number)?.wire.cut(one_way(Way::Open, Way::Held)),
            Kind::DatabaseSwallowed => self.node(number)?.wire.cut(swallowed),
            Kind::DatabaseReset => self.node(number)?.wire.reset(),
            Kind::CommitAnswered | Kind::Commit => {
                let wire = &self.node(number)?.wire;
                let met = wire.commits_met();
                wire.cut(Cut {
                    commit_arrives: Some(kind == Kind::CommitAnswered),
                    ..Cut::default()
                });
                while wire.commits_met() == met && begun.elapsed() < COMMIT {
                    sleep(Duration::from_millis(5)).await;
                }
                sleep(short).await;
                // Half of them learn that the connection is gone; the others hear nothing any more.
                if outlasts {
                    wire.reset();
                }
            }
            Kind::BothHosts => {
                for node in &self.nodes {
                    node.cut_for_a_while()?;
                }
            }
            Kind::Upstream => self.erp.cut(held),
            Kind::UpstreamAnswers => {
                self.erp.cut(one_way(Way::Open, Way::Swallowed));
            }
        }
        self.change()?;
        if kind.is_of_one_host() && outlasts {
            self.is_taken_over(number, begun).await?;
        }
        sleep(short).await;
        if matches!(kind, Kind::BothHosts | Kind::Upstream) && outlasts {
            let longer = self.millis(1_500..6_000);
            sleep(longer).await;
        }
        for node in &self.nodes {
            node.heal()?;
        }
        if kind == Kind::UpstreamAnswers {
            self.erp.reset();
        }
        self.erp.heal();
        *self.kinds.entry(kind.name()).or_default() += 1;
        self.are_ready(Instant::now()).await
    }

    /// Who holds flows now, by the database's clock: the ids of hosts, with how many.
    async fn holders(&mut self) -> Result<BTreeMap<String, i64>> {
        let rows = sqlx::query(
            "SELECT owner, COUNT(*) AS n FROM leases \
             WHERE owner <> '' AND expires_at > (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::BIGINT GROUP BY owner",
        )
        .fetch_all(&mut self.database)
        .await?;
        rows.iter()
            .map(|row| {
                let owner: String = row.try_get("owner")?;
                // The name of the machine comes after it.
                let id = owner.split('@').next().unwrap_or_default().to_owned();
                Ok((id, row.try_get("n")?))
            })
            .collect()
    }

    /// Waits until the other host holds all flows, if the one that was cut off held any.
    async fn is_taken_over(&mut self, number: usize, cut_at: Instant) -> Result<()> {
        let id = fs::read_to_string(self.node(number)?.data.join("node"))?;
        let flows = 2;
        let held_any = self.holders().await?.contains_key(id.trim());
        loop {
            let holders = self.holders().await?;
            if !holders.contains_key(id.trim()) && holders.values().sum::<i64>() >= flows {
                break;
            }
            ensure!(
                cut_at.elapsed() < TAKEOVER,
                "{TAKEOVER:?} after host {} was cut off, its flows are not taken over: {holders:?}",
                number + 1
            );
            sleep(Duration::from_millis(20)).await;
        }
        if held_any {
            self.takeovers += 1;
            self.longest_takeover = self.longest_takeover.max(cut_at.elapsed());
        }
        Ok(())
    }

    /// Waits until both hosts say that they work.
    async fn are_ready(&mut self, healed_at: Instant) -> Result<()> {
        let mut waiting: BTreeSet<usize> = (0..self.nodes.len()).collect();
        while let Some(&number) = waiting.first() {
            let node = self.nodes.get_mut(number).context("there is no such host")?;
            ensure!(
                node.host.was_killed_within(Duration::ZERO).await?.is_none(),
                "host {} ended",
                number + 1
            );
            match node.host.text("/readyz").await {
                Ok(_) => {
                    waiting.remove(&number);
                }
                Err(error) => {
                    ensure!(
                        healed_at.elapsed() < READY,
                        "host {} is not ready {READY:?} after everything was healed: {error:#}",
                        number + 1
                    );
                    sleep(Duration::from_millis(50)).await;
                }
            }
        }
        self.longest_recovery = self.longest_recovery.max(healed_at.elapsed());
        Ok(())
    }

    async fn finish(mut self, cutting: Duration) -> Result<PartitionAccount> {
        let host = &self.nodes.first().context("there are two hosts")?.host;
        let (job, recovering) = self.world.is_right(&self.job, host).await?;
        // A host that never got over a cut has nothing any more after some seconds; neither may be such a one.
        self.each_can_work_alone().await?;
        let mut fenced = 0;
        let mut commits_met = 0;
        for node in self.nodes {
            let log = fs::read_to_string(node.data.join("host.log"))?;
            fenced += log.lines().filter(|line| line.contains(FENCED)).count();
            commits_met += node.wire.commits_met();
            node.host.stop().await?;
        }
        self.world.systems.stop().await;
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        Ok(PartitionAccount {
            cuts: self.kinds.values().sum(),
            kinds: self.kinds,
            seed: self.options.seed,
            accepted: job.read,
            job,
            takeovers: self.takeovers,
            fenced,
            commits_met,
            longest_takeover_ms: millis(self.longest_takeover),
            longest_recovery_ms: millis(self.longest_recovery),
            cutting_seconds: cutting.as_secs_f64(),
            recovering_seconds: recovering.as_secs_f64(),
        })
    }

    /// Cuts one off after the other, for as long as it takes the other one to hold everything.
    async fn each_can_work_alone(&mut self) -> Result<()> {
        for number in 0..self.nodes.len() {
            self.node(number)?.cut_for_a_while()?;
            let alone = self.is_taken_over(number, Instant::now()).await;
            self.node(number)?.heal()?;
            alone.context("after everything was right")?;
            self.are_ready(Instant::now()).await?;
        }
        Ok(())
    }
}
