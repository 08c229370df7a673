//! Hosts with more and more tenants, nearly all of which have nothing to do: what each of them costs, and what it costs the few that work.

use std::{
    collections::HashMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use stecker_model::Name;
use stecker_store::{NewRelease, Store, StoreOptions, sqlite_url};

use crate::{
    api::Api,
    calls::{self, Percentiles},
    intake,
    lab::{Database, Lab, Place, Shape},
    process,
};

/// Tenants that work.
const WORKING: usize = 10;
/// Calls a second of all of them together.
const PER_SECOND: u32 = 50;
/// How long a host may take until it has all flows.
const PATIENCE: Duration = Duration::from_secs(300);
/// After that, until it counts as idle.
const SETTLING: Duration = Duration::from_secs(5);

/// How long phases are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) idle: Duration,
    pub(crate) working: Duration,
}

/// A host with that many tenants.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Grown {
    pub(crate) database: Database,
    pub(crate) tenants: usize,
    /// From the start of the process until it holds every flow.
    pub(crate) seconds_to_all_flows: f64,
    pub(crate) idle_rss_mib: f64,
    /// Beyond the host with the fewest tenants, for each tenant more; a tenant has two connections and a flow.
    pub(crate) idle_kib_per_tenant: Option<f64>,
    /// Of one CPU, while nothing happens.
    pub(crate) idle_cpu_percent: f64,
    /// While nothing happens; SQLite does not count.
    pub(crate) idle_transactions_per_second: Option<f64>,
    /// From when a call was due until its order was booked, at ten tenants.
    #[serde(flatten)]
    pub(crate) delivered: Percentiles,
    pub(crate) calls: usize,
    pub(crate) refused: u64,
}

/// One database, with each number of tenants in ascending order.
pub(crate) async fn measure(
    lab: &Lab,
    database: Database,
    sizes: &[usize],
    effort: Effort,
    progress: &dyn Fn(&str),
) -> Result<Vec<Grown>> {
    let api = Api::start(0).await?;
    let place = lab.place("growth", database).await?;
    let shape = Shape {
        transform: false,
        webhook: true,
    };
    lab.apply(&place, api.url(), shape)?;
    let mut grown: Vec<Grown> = Vec::new();
    let mut tenants = 0;
    // No number of an order comes twice, and each is of one call.
    let mut first = 1;
    for &size in sizes {
        progress(&format!("{size} tenants on {}: making them", database.name()));
        make(&place, tenants..size).await?;
        tenants = size;
        progress(&format!("{size} tenants on {}: measuring", database.name()));
        let mut next = one(lab, &api, &place, database, size, first, effort).await?;
        first += next.calls as u64 + next.refused;
        if let Some(least) = grown.first() {
            let more = size.saturating_sub(least.tenants).max(1) as f64;
            next.idle_kib_per_tenant = Some((next.idle_rss_mib - least.idle_rss_mib) * 1024.0 / more);
        }
        grown.push(next);
    }
    Ok(grown)
}

fn store_url(place: &Place) -> String {
    place
        .database
        .clone()
        .unwrap_or_else(|| sqlite_url(&place.data.join("stecker.sqlite")))
}

fn tenant(number: usize) -> Result<Name> {
    Ok(format!("tenant-{number:05}").parse()?)
}

/// Tenants that have what the first one has. Past the plugins' own checks, which would be the same every time.
async fn make(place: &Place, numbers: std::ops::Range<usize>) -> Result<()> {
    let store = Store::open(&store_url(place), StoreOptions::default()).await?;
    let default = Name::default_tenant();
    let now = now_ms();
    let mut releases = Vec::new();
    for info in store.releases(&default).await? {
        let row = store
            .release(&default, &info.digest)
            .await?
            .context("a release is gone")?;
        let component = store
            .release_component(&default, &info.digest)
            .await?
            .context("a component is gone")?;
        releases.push(NewRelease {
            info: row.info,
            inspection_json: row.inspection_json,
            component,
        });
    }
    let connections: Vec<_> = store
        .connections(&default)
        .await?
        .into_iter()
        .map(|stored| stored.spec)
        .collect();
    let flows: Vec<_> = store
        .flows(&default)
        .await?
        .into_iter()
        .map(|row| row.spec)
        .collect();
    for number in numbers {
        let tenant = tenant(number)?;
        store.ensure_tenant(&tenant, now).await?;
        for release in &releases {
            store.put_release(&tenant, release.clone(), now).await?;
        }
        store
            .apply(&tenant, &connections, &flows, "benchmark", now)
            .await?;
    }
    store.close().await;
    Ok(())
}

async fn one(
    lab: &Lab,
    api: &Api,
    place: &Place,
    database: Database,
    tenants: usize,
    first: u64,
    effort: Effort,
) -> Result<Grown> {
    let begun = Instant::now();
    let host = lab.host(place).await?;
    wait_for_all(place, tenants + 1, begun).await?;
    let seconds_to_all_flows = begun.elapsed().as_secs_f64();
    tokio::time::sleep(SETTLING).await;

    let idle = Instant::now();
    let (cpu, transactions) = (process::cpu_seconds(host.pid())?, lab.transactions(place).await?);
    tokio::time::sleep(effort.idle).await;
    let seconds = idle.elapsed().as_secs_f64();
    let used = process::cpu_seconds(host.pid())? - cpu;
    let idle_transactions_per_second = match (transactions, lab.transactions(place).await?) {
        (Some(before), Some(after)) => Some((after - before) as f64 / seconds),
        _ => None,
    };
    let idle_rss_mib = process::rss_mib(host.pid())?;

    let urls = (0..tenants.min(WORKING))
        .map(|number| Ok(format!("{}/hooks/{}/shop", host.url(), tenant(number)?)))
        .collect::<Result<Vec<_>>>()?;
    let (delivered, calls, refused) = work(api, &urls, first, effort.working).await?;
    host.stop().await?;
    Ok(Grown {
        database,
        tenants,
        seconds_to_all_flows,
        idle_rss_mib,
        idle_kib_per_tenant: None,
        idle_cpu_percent: used / seconds * 100.0,
        idle_transactions_per_second,
        delivered,
        calls,
        refused,
    })
}

async fn wait_for_all(place: &Place, flows: usize, begun: Instant) -> Result<()> {
    let store = Store::open(&store_url(place), StoreOptions::default()).await?;
    loop {
        let now = store.time_ms().await?;
        let held = store.held_by_others("benchmark", now).await?.len();
        if held >= flows {
            store.close().await;
            return Ok(());
        }
        ensure!(
            begun.elapsed() < PATIENCE,
            "{held} of {flows} flows are held after {PATIENCE:?}"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Calls, and how long each took from when it was due until its order was booked.
async fn work(api: &Api, urls: &[String], first: u64, period: Duration) -> Result<(Percentiles, usize, u64)> {
    let client = intake::client()?;
    let calls = calls::at_rate(&client, urls, first, PER_SECOND, period).await?;
    let last = Instant::now();
    let booked: HashMap<u64, Instant> = loop {
        let booked = api.booked_at();
        if calls.accepted.keys().all(|id| booked.contains_key(id)) {
            break booked;
        }
        ensure!(
            last.elapsed() < Duration::from_secs(60),
            "a minute after the last call, orders that were accepted are not delivered"
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let times = calls
        .accepted
        .iter()
        .filter_map(|(id, due)| Some(booked.get(id)?.saturating_duration_since(due.into_std())));
    Ok((Percentiles::of(times), calls.accepted.len(), calls.refused))
}

fn now_ms() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
