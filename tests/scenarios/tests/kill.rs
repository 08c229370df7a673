//! Killing the host at any moment changes nothing about the account.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng};
use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount};
use stecker_simulators::{Config, Faults, Running, Simulators};

/// Kills at seeded moments in one run of the job.
const KILLS: u32 = 20;
const ORDERS: usize = 400;
/// No run takes anywhere near this; a test that hangs is a test that tells nothing.
const PATIENCE: Duration = Duration::from_secs(240);

async fn wait_until_right(host: &Host, job: &Job, systems: &Running, begun: Instant) -> JobAccount {
    loop {
        let progress = job.progress(host).await.unwrap();
        let truth = systems.account();
        if progress.idle && truth.verdict().stock_is_right() {
            return JobAccount::of(&progress, &truth);
        }
        assert!(begun.elapsed() < PATIENCE, "not done in time: {progress:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn killed_again_and_again(database: Option<String>) {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let seed = std::env::var("STECKER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(7);
    eprintln!("seed {seed} (set STECKER_SEED for another)");
    let mut rng = StdRng::seed_from_u64(seed);
    let faults = Faults::demo();
    let systems = Simulators::start(Config {
        orders: ORDERS,
        seed,
        faults,
        ..Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    let options = HostOptions { database, port: 0 };
    let mut host = Host::start(&artifacts, &folder.path().join("data"), options)
        .await
        .unwrap();
    job.apply(&host).unwrap();

    // A change of an order that is in quarantine waits behind it for a person, and nobody is here to decide.
    let orders = systems.account().shop.orders;
    let bookable: Vec<u64> = orders
        .values()
        .filter(|order| !order.must_be_rejected)
        .map(|order| order.id)
        .collect();

    let begun = Instant::now();
    for kill in 1..=KILLS {
        // Some kills hit right after the start, while what was being sent is looked up; some in full run.
        let pause = if kill % 3 == 0 {
            rng.random_range(0..100)
        } else {
            rng.random_range(50..1_500)
        };
        tokio::time::sleep(Duration::from_millis(pause)).await;
        host.kill().unwrap();
        // The world goes on while the host is down.
        let changed: Vec<u64> = (0..3)
            .map(|_| bookable[rng.random_range(0..bookable.len())])
            .collect();
        systems.update_orders(&changed).unwrap();
        host.start_again().await.unwrap();
    }
    let account = wait_until_right(&host, &job, &systems, begun).await;
    eprintln!("{KILLS} kills: {account:?}");
    account.holds().unwrap();
    assert!(account.read >= ORDERS as u64);
    host.stop().await.unwrap();
    systems.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_nothing_on_sqlite() {
    killed_again_and_again(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_nothing_on_postgres() {
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    // A server of its own: two hosts must not share a database, and what a kill leaves behind must not meet other tests.
    let server = tokio::task::spawn_blocking(stecker_test_postgres::TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    killed_again_and_again(Some(server.url().to_owned())).await;
}
