//! What does it cost to move orders from a shop to an ERP, to take webhooks, and to have many tenants? The real host, beside a loop written by
//! hand for this one job (which nobody can beat) and tools of Python (which many would take).

mod api;
mod calls;
mod growth;
mod intake;
mod lab;
mod peers;
mod process;
mod report;
mod throughput;

use std::{
    io::{self, Write as _},
    path::PathBuf,
    sync::Once,
    time::{Duration, Instant},
};

use anyhow::Result;
use clap::Parser;
use stecker_benchmarks::{guest, machine::Machine};

use crate::{
    lab::{Database, Lab},
    peers::PEERS,
    report::{LeftOut, Report},
    throughput::Contestant,
};

/// Measure deliveries, webhooks and many tenants, beside a loop written by hand and tools of Python
///
/// Contestants take turns; a run only counts if every order arrived once and unchanged. CPU seconds are those of the contestant's own processes
/// from their start to their end, without the systems at both ends and without Postgres.
#[derive(Parser)]
struct Cli {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// A twentieth of everything: figures to look at, not to keep
    #[arg(long)]
    quick: bool,
    /// Orders of each contestant, over all rounds
    #[arg(long, default_value_t = 100_000, value_parser = clap::value_parser!(u64).range(300..=10_000_000))]
    orders: u64,
    /// Orders of each peer, in one round; a fifth of the others' unless it is given
    #[arg(long)]
    peer_orders: Option<u64>,
    /// Rounds
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=20))]
    rounds: u8,
    /// Numbers of tenants on SQLite, ascending
    #[arg(long, value_delimiter = ',')]
    tenants: Option<Vec<usize>>,
    /// Numbers of tenants on Postgres, ascending
    #[arg(long, value_delimiter = ',')]
    tenants_postgres: Option<Vec<usize>>,
    /// Measure only throughput, intake, or growth
    #[arg(long)]
    only: Option<String>,
    /// Leave the tools of Python out
    #[arg(long)]
    no_peers: bool,
    /// The `stecker` program
    #[arg(long, value_name = "PROGRAM")]
    stecker: PathBuf,
    /// The loop by hand
    #[arg(long, value_name = "PROGRAM")]
    by_hand: PathBuf,
    /// The folder of built plugins, which has the transform
    #[arg(long, value_name = "FOLDER")]
    plugins: PathBuf,
    /// Where peers are installed
    #[arg(long, value_name = "FOLDER")]
    peers: PathBuf,
}

#[tokio::main]
async fn main() -> Result<()> {
    static PROVIDER: Once = Once::new();
    PROVIDER.call_once(|| {
        // An error says that the process has chosen one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let cli = Cli::parse();
    let progress = |step: &str| {
        // Whoever closed standard error does not want to know.
        writeln!(io::stderr(), "{step}").ok();
    };
    let plugin = guest::plugin("delivery", &progress)?;
    let begun = Instant::now();
    let mut report = Report {
        machine: Machine::here(),
        notes: NOTES.map(str::to_owned).into(),
        throughput: Vec::new(),
        left_out: Vec::new(),
        intake: Vec::new(),
        growth: Vec::new(),
        goals: Vec::new(),
        minutes: 0.0,
    };
    let folder = tempfile::Builder::new().prefix("stecker-delivery-").tempdir()?;
    let lab = Lab::open(
        cli.stecker.clone(),
        cli.plugins.clone(),
        &plugin,
        folder.path().to_owned(),
    )
    .await?;
    if lab.databases().count() < Database::ALL.len() {
        report.notes.push(
            "There is no Postgres here (the package `postgresql`), so nothing was measured on it.".to_owned(),
        );
    }
    let wanted = |what: &str| cli.only.as_deref().is_none_or(|only| only == what);
    let mut peers = Vec::new();
    if wanted("throughput") {
        peers = moved(&cli, &lab, &mut report, &progress).await?;
    }
    let seconds = |usual: u64| Duration::from_millis(usual * if cli.quick { 150 } else { 1_000 });
    if wanted("intake") {
        let effort = intake::Effort {
            period: seconds(20),
            per_second: 100,
            senders: 32,
        };
        report.intake = intake::measure(&lab, &cli.by_hand, effort, &progress).await?;
    }
    if wanted("growth") {
        let effort = growth::Effort {
            // Longer than the longest pause of anything that looks by itself.
            idle: Duration::from_secs(20),
            working: seconds(30),
        };
        for database in lab.databases() {
            let sizes = cli.sizes(database);
            report
                .growth
                .extend(growth::measure(&lab, database, &sizes, effort, &progress).await?);
        }
    }
    report.goals = report::goals(&report.throughput, &peers, &report.growth);
    report.minutes = begun.elapsed().as_secs_f64() / 60.0;
    let mut out = io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&report)?)?;
    } else {
        report::table(&report, &mut out)?;
    }
    Ok(())
}

/// Throughput; the names of the peers that took part.
async fn moved(cli: &Cli, lab: &Lab, report: &mut Report, progress: &dyn Fn(&str)) -> Result<Vec<String>> {
    let orders = if cli.quick { cli.orders / 20 } else { cli.orders };
    let rounds = usize::from(if cli.quick { 1 } else { cli.rounds });
    let mut contestants: Vec<Contestant> = Vec::new();
    for database in lab.databases() {
        contestants.push(Contestant::Loop(Some(database)));
        contestants.push(Contestant::Stecker(database));
    }
    contestants.push(Contestant::Loop(None));
    let each = (orders / rounds as u64).max(1);
    report.throughput =
        throughput::alternate(lab, &cli.by_hand, &contestants, rounds, each, progress).await?;
    let mut names = Vec::new();
    for peer in PEERS {
        if cli.no_peers {
            break;
        }
        progress(&format!("installing {}", peer.name()));
        let orders = cli.peer_orders.unwrap_or(orders / 5).max(1);
        let result = match peer.install(&cli.peers) {
            Ok(installed) => {
                let contestants = [Contestant::Peer(installed)];
                throughput::alternate(lab, &cli.by_hand, &contestants, 1, orders, progress).await
            }
            Err(error) => Err(error),
        };
        match result {
            Ok(moved) => {
                names.push(peer.name());
                report.throughput.extend(moved);
            }
            Err(error) => report.left_out.push(LeftOut {
                who: peer.name(),
                why: format!("{error:#}"),
            }),
        }
    }
    Ok(names)
}

impl Cli {
    fn sizes(&self, database: Database) -> Vec<usize> {
        let (given, usual): (_, &[usize]) = match (database, self.quick) {
            (Database::Sqlite, false) => (&self.tenants, &[10, 100, 1_000, 10_000]),
            (Database::Postgres, false) => (&self.tenants_postgres, &[10, 1_000]),
            (Database::Sqlite, true) => (&self.tenants, &[10, 300]),
            (Database::Postgres, true) => (&self.tenants_postgres, &[10, 100]),
        };
        given.clone().unwrap_or_else(|| usual.to_vec())
    }
}

const NOTES: [&str; 6] = [
    "Everybody reads pages of 250, of which one in 20 is answered with 429 at first, and writes each order by a request of its own with an \
     idempotency key, of which one in 50 is; Retry-After is 0.",
    "Stecker: one process, 4 batches of 50 at a time, 64 requests at a time; a connector for both ends and the transform jq, each call in a fresh \
     instance. The time is from asking for the run until the ledger says that everything is delivered; CPU seconds are from the start of the \
     process to its end.",
    "The loop by hand: the same batches and requests at a time, the same durability (synchronous=FULL on SQLite); its time is that of its process.",
    "Postgres runs beside the contestants, with fsync off for all of them, and is in nobody's CPU seconds.",
    "Peers: 16 threads that write, state kept in files; see peers/python. Their time is that of their processes.",
    "Calls are taken with the flow paused: checked, stored, taken apart, and in the ledger, in two transactions. The limit checks and stores.",
];
