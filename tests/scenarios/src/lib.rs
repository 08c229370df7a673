//! What scenarios across the whole of Stecker have in common: the real binary as a process of its own, and the job "orders
//! from the shop to the ERP, stock back", between the simulated systems and between real ones.
//!
//! The demo and the tests use the same pieces, so that what a newcomer sees is what is tested.

mod artifacts;
pub mod crash;
mod host;
mod job;
mod namespace;
pub mod neighbour;
pub mod partition;
pub mod proxy;
mod real_job;
mod scene;
pub mod swap;
mod world;

pub use artifacts::Artifacts;
pub use host::{Caller, Host, HostOptions};
pub use job::{Job, JobAccount, Progress};
pub use real_job::{RealAccount, RealJob};
pub use scene::Scene;
