//! The registry over HTTP, as the OCI Distribution Specification 1.1 describes it, on SQLite and, where
//! `STECKER_TEST_POSTGRES` names a server, on Postgres.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "helpers of tests"
)]

mod access;
mod blobs;
mod collecting;
mod damage;
mod discovery;
mod manifests;
mod uploads;
mod world;
