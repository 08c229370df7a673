//! Moves records: read → commit → acknowledge → transform → deliver, with what goes wrong on the way.
//!
//! The [`Engine`] holds leases on flows and runs each of them as one reader and one deliverer.
//! Both are loops around the store: nothing that matters lives only in memory, so killing the process at any point costs at most
//! the work since the last commit, and a new holder of the lease goes on from there.
//!
//! This crate never touches WebAssembly types: the sandbox speaks the model's words.

mod backoff;
mod batch;
mod books;
mod calls;
mod circles;
mod circuit;
mod clock;
mod context;
mod deliver;
mod depth;
mod engine;
mod error;
mod evidence;
mod explain;
mod fail_point;
mod forgetting;
mod gate;
mod guard;
mod keeper;
mod marks;
mod observer;
mod outcome;
mod outgoing;
mod pace;
mod placement;
mod prepare;
mod preview;
mod reach;
mod reader;
mod reconcile;
mod releases;
mod replaying;
mod resolving;
mod retention;
mod rollout;
mod runner;
mod schedule;
mod secrets;
mod sessions;
mod shadow;
mod sizing;
mod status;
mod steps;
mod supervisor;
mod supply;
mod taping;
mod tries;
mod trust;
mod upstream;
mod validate;
mod webhook;

pub use clock::{Clock, SystemClock, now_ms};
pub use engine::{Engine, EngineOptions};
pub use error::FlowError;
pub use marks::{Mark, Marks};
pub use outgoing::Outgoing;
pub use retention::Retention;
pub use supply::FolderBlobs;
