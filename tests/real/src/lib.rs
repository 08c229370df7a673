//! Vendure (a shop) and Tryton (an ERP), installed, seeded and started on loopback; and, for itself, localstripe (payments).
//!
//! The simulators say what we believe about such systems; these two say what is so. They are used by
//! `cargo xtask demo --real` and by the scenario tests that ask for them. Everything slow happens once per machine:
//! [`RealSystems::prepare`] installs the packages and fills one database file for each system in the user's cache
//! folder, and [`Prepared::start`] copies those files and starts two processes, which takes a few seconds.
//!
//! The scripts that run inside Node and Python are in `assets/` and are compiled in, so the program does not
//! need its source tree. What was learnt about both wire protocols is in `FACTS.md` next to this crate's manifest, and
//! `fixtures/` holds recorded requests and answers.

mod assets;
mod cache;
mod install;
mod process;
mod running;
mod secrets;
mod stripe;
mod tools;
mod truth;

pub use cache::{Prepared, RealSystems};
pub use process::End;
pub use running::{RunningReal, Webhook};
pub use stripe::{LocalStripe, Payment, PreparedStripe};
pub use truth::Amount;
