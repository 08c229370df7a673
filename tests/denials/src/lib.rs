//! Scenarios that try to break out of the sandbox, and what it says to them.
//!
//! A scenario is a folder under `scenarios/`: who the guest is, what it is granted, what the world around it does, and what has to come
//! of it. Each is run for every version of the contract that the host offers and through every way out that it names, in a world on
//! loopback that has a canary where nothing may connect. `docs/denials.md` has the list and the format.
//!
//! A suite in which nothing can fail proves nothing. So scenarios with `[lifted]` are run a second time with the protection taken away,
//! and must then reach what they must not.

mod bombs;
mod document;
mod expect;
mod guest;
mod judge;
mod neighbour;
mod run;
mod scenario;
mod suite;
mod world;

/// The only argument of the program `denials` when it is to compile a guest: it has to call [`compile_as_child`] then.
pub const COMPILE: &str = world::COMPILE;

pub use document::page;
pub use stecker_sandbox::compile_as_child;
pub use suite::{Listed, Outcome, Report, Settings, count, list, run};
