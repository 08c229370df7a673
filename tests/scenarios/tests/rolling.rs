//! Replacing the hosts of an installation one after the other while orders flow: somebody delivers all the time.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::time::Duration;

use stecker_scenarios::{Artifacts, Host, HostOptions, Job, JobAccount, Progress};
use stecker_simulators::{Config, Faults, Running, Simulators};
use stecker_test_postgres::TestPostgres;

async fn is_booked(systems: &Running, orders: usize) {
    for _ in 0..1_200 {
        if systems.account().verdict().booked >= orders {
            return;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!(
        "{orders} orders were to be booked: {:?}",
        systems.account().verdict()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn orders_are_delivered_while_every_host_is_replaced() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    if std::env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    let server = tokio::task::spawn_blocking(TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    let systems = Simulators::start(Config {
        orders: 0,
        faults: Faults::off(),
        ..Config::default()
    })
    .await
    .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut hosts = Vec::new();
    for number in 1..=2 {
        let options = HostOptions {
            database: Some(server.url().to_owned()),
            ..HostOptions::default()
        };
        let data = folder.path().join(format!("node-{number}"));
        hosts.push(Host::start(&artifacts, &data, options).await.unwrap());
    }
    let job = Job::write(&folder.path().join("job"), &artifacts, systems.announcement()).unwrap();
    job.apply(&hosts[0]).unwrap();
    let mut orders = 0;
    let mut more = |systems: &Running, count: usize| {
        systems.create_orders(count);
        orders += count;
        orders
    };
    is_booked(&systems, more(&systems, 5)).await;
    for number in [0, 1, 0] {
        // Some are on their way when the host is asked to end, and some come while it is down.
        let before = more(&systems, 40);
        hosts[number].terminate().await.unwrap();
        is_booked(&systems, before).await;
        is_booked(&systems, more(&systems, 10)).await;
        hosts[number].start_again().await.unwrap();
        is_booked(&systems, more(&systems, 5)).await;
    }
    let mut patience = 600;
    loop {
        let progress = Progress::of(&hosts[1]).await.unwrap();
        let account = JobAccount::of(&progress, &systems.account());
        if progress.idle && account.holds().is_ok() {
            break;
        }
        patience -= 1;
        assert!(patience > 0, "{account:?}");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    for host in hosts {
        host.stop().await.unwrap();
    }
}
