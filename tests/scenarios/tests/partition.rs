//! Cutting hosts off from each other, from their database and from the systems changes nothing about the account.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::env;

use stecker_scenarios::{
    Artifacts,
    partition::{PartitionOptions, partition},
};

/// Each kind once; `cargo xtask partition` does it more often.
const CUTS: u32 = 10;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cuts_cost_nothing_on_postgres_with_two_nodes() {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    if env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    let seed = env::var("STECKER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(7);
    eprintln!("seed {seed} (set STECKER_SEED for another)");
    // A server of its own: what a cut leaves behind must not meet other tests.
    let server = tokio::task::spawn_blocking(stecker_test_postgres::TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let options = PartitionOptions {
        cuts: CUTS,
        seed,
        database: server.url().to_owned(),
        orders: 300,
        namespaces: false,
    };
    let progress = |number: u32, kind: &str| eprintln!("{number}: {kind}");
    let account = partition(&artifacts, folder.path(), options, &progress)
        .await
        .unwrap();
    eprintln!("{account:?}");
    assert!(account.accepted >= 300);
    assert_eq!(account.kinds.len(), 10);
}
