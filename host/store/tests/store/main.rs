//! What the store promises, as scenarios that run on SQLite and, where `STECKER_TEST_POSTGRES` names a server, on Postgres.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a scenario that cannot go on has failed, and what was skipped is said"
)]

mod applying;
mod clocks;
mod contending;
mod delivering;
mod denials;
mod explaining;
mod guests;
mod moving;
mod opening;
mod outgoing;
mod quarantine;
mod random;
mod random_sending;
mod reading;
mod reconciling;
mod recovery;
mod replay_jobs;
mod replays;
mod retention;
mod taping;
mod tenants;
mod trusting;
mod upstreams;
mod vault;
mod webhooks;
mod world;
