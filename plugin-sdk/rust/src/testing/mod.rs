//! Tests for plugins with plain `cargo test`: no WebAssembly, no network, no waiting.
//!
//! On every target but WebAssembly the SDK's imports go to a *test host* on the current thread. It plays the systems that
//! the plugin speaks with from a [`Script`] (written in the test) or a tape (recorded as JSON), has a clock that moves only
//! when told, randomness from a seed, storage in memory and secrets for signatures. A request that differs from what was
//! expected fails the test with the difference; an expectation that nobody met fails it at the end.
//!
//! [`Harness`] drives a plugin as the host would, through the same conversions as in a component, and checks the contract on
//! the way: pages within their bounds, cursors that move on, one outcome per record, payloads that fit their schema.
//!
//! Failures panic, as `assert!` does: this module is for tests only, and is not part of a component.
#![allow(
    clippy::panic,
    reason = "a failing expectation fails the test, as assert! does"
)]

mod comparing;
mod conversation;
mod harness;
mod host;
pub(crate) mod imports;
mod reading;
mod script;
mod tape;
mod webhook;

pub use conversation::Recorded;
pub use harness::Harness;
pub use host::{LogLine, TestHost};
pub use reading::Reading;
pub use script::{Expect, Reply, Script, delete, get, patch, post, put, request};
pub use tape::{Tape, TapeError};
pub use webhook::WebhookCall;
