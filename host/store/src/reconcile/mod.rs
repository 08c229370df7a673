//! Comparisons: what was asked for, how far it is and what came of it; what the ledger says should be at the destination; and records that
//! are sent once more.

mod expected;
mod repair;
mod runs;

pub use expected::{ExpectedKey, LedgerRecord};
pub use repair::{Repair, Repaired};
