//! What is looked up to explain a business key. Every search here follows an index and has a bound, so that it costs the same in a ledger of
//! a million records and for a record with ten thousand attempts.

mod attempts;
mod keys;
mod neighbours;
mod trail;

pub use keys::ExplainedRecord;
pub use neighbours::{Settled, StuckCause};
pub use trail::MentioningCall;
