//! What the simulated systems promise to the tests that lean on them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests fail like tests"
)]

mod client;
mod delivery;
mod paging;
mod process;
mod verdicts;
mod webhooks;
