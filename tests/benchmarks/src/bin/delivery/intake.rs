//! Calls that come in: how many are accepted a second, and how long their senders wait. Nothing is delivered meanwhile: the flow is paused, its
//! ledger fills.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;

use crate::{
    calls::{self, Calls, Percentiles},
    lab::{Database, FLOW, Lab, SECRET, Shape},
};

/// Far from the numbers of another measurement on the same server.
const SATURATING: u64 = 10_000_000;
/// Before anything is measured.
const WARM_UP: Duration = Duration::from_secs(1);

/// How it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) period: Duration,
    pub(crate) per_second: u32,
    pub(crate) senders: usize,
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Taken {
    pub(crate) who: String,
    /// Calls a second of the first phase.
    pub(crate) rate: u32,
    #[serde(flatten)]
    pub(crate) at_rate: Percentiles,
    pub(crate) refused_at_rate: u64,
    /// As many senders as said, each of which waits for its answer.
    pub(crate) senders: usize,
    pub(crate) accepted_per_second: f64,
    pub(crate) saturated_p50_ms: f64,
    pub(crate) saturated_p99_ms: f64,
    pub(crate) refused_saturated: u64,
}

/// A host on each database, and the limit.
pub(crate) async fn measure(
    lab: &Lab,
    by_hand: &Path,
    effort: Effort,
    progress: &dyn Fn(&str),
) -> Result<Vec<Taken>> {
    let mut taken = Vec::new();
    progress("taking calls: the limit, SQLite");
    let limit = Limit::start(by_hand, &lab.database("calls", Database::Sqlite).await?)?;
    taken.push(phases("append by hand, SQLite".to_owned(), &limit.url, effort).await?);
    drop(limit);
    for database in lab.databases() {
        let who = format!("Stecker, {}", database.name());
        progress(&format!("taking calls: {who}"));
        let place = lab.place("intake", database).await?;
        let shape = Shape {
            transform: true,
            webhook: true,
        };
        // Nobody is there, and nobody is asked.
        lab.apply(&place, "http://127.0.0.1:9", shape)?;
        let host = lab.host(&place).await?;
        host.cli(["flow", "pause", FLOW])?;
        let url = format!("{}/hooks/default/shop", host.url());
        taken.push(phases(who, &url, effort).await?);
        host.stop().await?;
    }
    Ok(taken)
}

async fn phases(who: String, url: &str, effort: Effort) -> Result<Taken> {
    let client = client()?;
    let urls = [url.to_owned()];
    let warm = calls::at_rate(&client, &urls, 1, effort.per_second, WARM_UP).await?;
    ensure!(
        !warm.accepted.is_empty(),
        "{who}: none of {} calls was accepted",
        warm.refused
    );
    let Calls {
        refused: refused_at_rate,
        times: at_rate,
        ..
    } = calls::at_rate(&client, &urls, SATURATING / 2, effort.per_second, effort.period).await?;
    let ids = SATURATING..u64::MAX;
    let full = calls::saturate(&client, url, ids, effort.senders, effort.period).await?;
    Ok(Taken {
        who,
        rate: effort.per_second,
        at_rate,
        refused_at_rate,
        senders: effort.senders,
        accepted_per_second: full.accepted.len() as f64 / full.seconds,
        saturated_p50_ms: full.times.p50_ms,
        saturated_p99_ms: full.times.p99_ms,
        refused_saturated: full.refused,
    })
}

/// A client that opens as many connections as it needs.
pub(crate) fn client() -> Result<reqwest::Client> {
    Ok(reqwest::Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(60))
        .build()?)
}

/// The server by hand; killed when it is dropped.
struct Limit {
    child: Child,
    url: String,
}

impl Limit {
    fn start(program: &Path, database: &str) -> Result<Self> {
        let mut child = Command::new(program)
            .args(["intake", "--database", database, "--secret", SECRET])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("the server by hand cannot be started")?;
        let mut url = String::new();
        if let Some(stdout) = child.stdout.take() {
            BufReader::new(stdout).read_line(&mut url)?;
        }
        let limit = Self {
            child,
            url: url.trim().to_owned(),
        };
        ensure!(
            !limit.url.is_empty(),
            "the server by hand ended before it listened"
        );
        Ok(limit)
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        // It may have ended already, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
