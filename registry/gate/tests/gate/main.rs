//! One small plugin for each reason of refusal, and the first-party plugins, which all pass.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test fails by them, and one that is skipped says so; clippy.toml allows it only inside of test functions"
)]

mod changes;
mod files;
mod first_party;
mod page;
mod runs;
mod support;
