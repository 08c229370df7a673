//! Killing hosts at any moment, and at every place that has a name, changes nothing about the account.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test that fails says where; one that is skipped says why"
)]

use std::env;

use stecker_scenarios::{
    Artifacts,
    crash::{CrashOptions, crash},
};

/// `cargo xtask crash` does it a thousand times.
const KILLS: u32 = 40;

async fn killed_again_and_again(database: Option<String>, nodes: usize) {
    let Some(artifacts) = Artifacts::or_skip() else {
        return;
    };
    let seed = env::var("STECKER_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or(7);
    eprintln!("seed {seed} (set STECKER_SEED for another)");
    let folder = tempfile::tempdir().unwrap();
    let options = CrashOptions {
        kills: KILLS,
        seed,
        database,
        nodes,
        orders: 400,
    };
    let account = crash(&artifacts, folder.path(), options, &|_| {}).await.unwrap();
    eprintln!("{account:?}");
    assert!(account.accepted >= 400);
    assert!(!account.at_a_place.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_nothing_on_sqlite() {
    killed_again_and_again(None, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_cost_nothing_on_postgres_with_two_nodes() {
    if env::var_os("STECKER_TEST_POSTGRES").is_none() {
        eprintln!("skipped: STECKER_TEST_POSTGRES is not set; `cargo xtask test` sets it");
        return;
    }
    // A server of its own: what a kill leaves behind must not meet other tests.
    let server = tokio::task::spawn_blocking(stecker_test_postgres::TestPostgres::start)
        .await
        .unwrap()
        .unwrap();
    killed_again_and_again(Some(server.url().to_owned()), 2).await;
}
