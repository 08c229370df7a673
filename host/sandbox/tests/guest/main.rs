//! What guests can do to the host: nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "in a test, that is how a broken assumption shows"
)]

mod cache;
mod calls;
mod loading;
mod support;
mod tapes;
mod warm;
mod wasi_http;
