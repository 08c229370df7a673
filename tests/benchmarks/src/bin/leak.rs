//! Does the sandbox give back what it takes? Releases are loaded, swapped and unloaded, instances are made and thrown away, and resident memory
//! is looked at all the while.

use std::{
    io::{self, Write as _},
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context as _, Result, ensure};
use clap::Parser;
use futures_util::future::join_all;
use serde::Serialize;
use stecker_benchmarks::{guest, measure::Spread, resident};
use stecker_model::{Grants, Instances, Limits, Name, Operation, Period, Record, TenantLimits};
use stecker_registry::{Manifest, embed_manifest};
use stecker_sandbox::{
    Binding, CallError, NoBlobs, NoCredentials, NoStorage, Sandbox, SandboxOptions, Session, TracingObserver,
};

/// Growth that counts as none, in percent: the allocator's own coming and going.
const FLAT: f64 = 5.0;
/// Releases that come again and again, and so from the cache after their first time.
const RETURNING: u32 = 16;
/// Every so many cycles, a release comes that never was there before, and is compiled.
const NEW_EVERY: u32 = 50;
/// Calls at the same time.
const AT_ONCE: u32 = 8;
/// Every so many calls, one traps.
const TRAP_EVERY: u32 = 50;

/// Load, swap and unload releases, and make instances: resident memory has to stay
#[derive(Parser)]
struct Cli {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    /// Releases loaded, swapped in for the one before, and unloaded
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(20..))]
    cycles: u32,
    /// Instances over all cycles
    #[arg(long, default_value_t = 100_000)]
    instances: u32,
}

#[derive(Serialize)]
struct Account {
    cycles: u32,
    /// Releases that were compiled; the rest came from the cache.
    compiled: u32,
    instances: u32,
    /// Calls that ended with a trap, as they were meant to.
    traps: u32,
    rss_warm_mib: f64,
    rss_end_mib: f64,
    growth_percent: f64,
    flat: bool,
    /// At the end of each twentieth of the cycles.
    rss_mib: Vec<f64>,
}

#[tokio::main]
async fn main() -> Result<ExitCode> {
    let cli = Cli::parse();
    let progress = |step: &str| {
        // Whoever closed standard error does not want to know.
        writeln!(io::stderr(), "{step}").ok();
    };
    let component = guest::build("sandbox", &progress)?;
    let account = run(&cli, &component, &progress).await?;
    let mut out = io::stdout().lock();
    if cli.json {
        writeln!(out, "{}", serde_json::to_string_pretty(&account)?)?;
    } else {
        writeln!(
            out,
            "{} cycles ({} compiled), {} instances ({} trapped): {:.1} MiB warm, {:.1} MiB at the end, {:+.2} %: {}",
            account.cycles,
            account.compiled,
            account.instances,
            account.traps,
            account.rss_warm_mib,
            account.rss_end_mib,
            account.growth_percent,
            if account.flat { "flat" } else { "NOT FLAT" }
        )?;
    }
    Ok(if account.flat {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn run(cli: &Cli, component: &[u8], progress: &dyn Fn(&str)) -> Result<Account> {
    let cache = tempfile::tempdir()?;
    let sandbox = Sandbox::new(SandboxOptions {
        cache_dir: Some(cache.path().to_owned()),
        max_instances: AT_ONCE,
        ..SandboxOptions::default()
    })?;
    let manifest = include_str!("../../guests/sandbox/plugin.toml");
    // Spread evenly, so that every cycle does the same.
    let calls_by = |cycle: u32| u64::from(cli.instances) * u64::from(cycle) / u64::from(cli.cycles);

    let (mut compiled, mut instances, mut traps) = (0, 0, 0);
    let mut samples = Vec::new();
    let mut rss_mib = Vec::new();
    let mut current: Option<Session> = None;
    for cycle in 0..cli.cycles {
        // Releases differ in their version alone, which is enough for nothing of them to be shared.
        let minor = if cycle % NEW_EVERY == 0 {
            1_000 + cycle
        } else {
            cycle % RETURNING
        };
        let manifest = manifest.replace("version = \"0.1.0\"", &format!("version = \"0.{minor}.0\""));
        let release = sandbox
            .load(embed_manifest(component, &Manifest::from_toml(&manifest)?)?)
            .await?;
        compiled += u32::from(!release.from_cache());
        let instances_mode = if cycle % 2 == 0 {
            Instances::Fresh
        } else {
            Instances::Warm
        };
        let next = release.bind(binding("echo", instances_mode)?)?;
        let trapping = release.bind(binding("panic", instances_mode)?)?;
        // As in a swap under load: while the new release is called already, the old one is as well.
        let calls = calls_by(cycle + 1) - calls_by(cycle);
        let old = current.as_ref().unwrap_or(&next);
        for first in (0..calls).step_by(AT_ONCE as usize) {
            let batch = (first..calls.min(first + u64::from(AT_ONCE))).map(|_| {
                instances += 1;
                let (session, traps) = if instances % TRAP_EVERY == 0 {
                    (&trapping, true)
                } else if instances % 2 == 0 {
                    (old, false)
                } else {
                    (&next, false)
                };
                one(session, traps)
            });
            for trapped in join_all(batch).await {
                traps += u32::from(trapped?);
            }
        }
        current = Some(next);
        samples.push(resident::bytes()? as f64 / f64::from(1 << 20));
        if (cycle + 1) % (cli.cycles / 20) == 0 {
            let now = samples.last().copied().unwrap_or_default();
            progress(&format!(
                "{} cycles, {instances} instances: {now:.1} MiB",
                cycle + 1
            ));
            rss_mib.push(now);
        }
    }
    let rss_warm_mib = median(&samples, 0.2, 0.3)?;
    let rss_end_mib = median(&samples, 0.9, 1.0)?;
    let growth_percent = (rss_end_mib / rss_warm_mib - 1.0) * 100.0;
    Ok(Account {
        cycles: cli.cycles,
        compiled,
        instances,
        traps,
        rss_warm_mib,
        rss_end_mib,
        growth_percent,
        flat: growth_percent <= FLAT,
        rss_mib,
    })
}

/// One call; whether it trapped, which it has to exactly if it is meant to.
async fn one(session: &Session, traps: bool) -> Result<bool> {
    let record = Record {
        stream: "orders".to_owned(),
        key: "1".to_owned(),
        operation: Operation::Upsert,
        payload: "{}".to_owned(),
        before: None,
        event_time: None,
        source_version: "1".to_owned(),
        attributes: Vec::new(),
    };
    let result = session.apply(vec![record]).await.result;
    let trapped = matches!(result, Err(CallError::Trap { .. }));
    ensure!(
        trapped == traps,
        "a call ended otherwise than it was meant to: {result:?}"
    );
    if !trapped {
        result?;
    }
    Ok(trapped)
}

/// Of a part of the samples, from one fraction of them to another.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "fractions of a count that fits"
)]
fn median(samples: &[f64], from: f64, to: f64) -> Result<f64> {
    let at = |fraction: f64| (samples.len() as f64 * fraction) as usize;
    let part = samples
        .get(at(from)..at(to))
        .context("there are too few cycles")?;
    ensure!(!part.is_empty(), "there are too few cycles");
    Ok(Spread::of(part.iter().copied()).median)
}

fn binding(work: &str, instances: Instances) -> Result<Binding> {
    let name: Name = "leak".parse()?;
    Ok(Binding {
        tenant: name.clone(),
        connection: name,
        config: serde_json::json!({"work": work}).to_string(),
        grants: Grants::default(),
        limits: Limits {
            deadline: Period::from_secs(60),
            ..Limits::default()
        },
        http_bytes_today: 0,
        tenant_limits: TenantLimits::default(),
        instances,
        credentials: Arc::new(NoCredentials),
        storage: Arc::new(NoStorage),
        blobs: Arc::new(NoBlobs),
        observer: Arc::new(TracingObserver),
    })
}
