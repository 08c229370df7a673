//! The contract's types, with constructors that make the right thing short.
//!
//! Most are the very types generated from the WIT, so nothing is copied on the way to the host; [`Outcome`] is our own only
//! because its errors are.

use crate::bindings::host::stecker::plugin::types;
use std::fmt::Display;

mod connection;
mod delivery;
mod reading;
mod record;
mod webhook;

pub use crate::bindings::connection::exports::stecker::plugin::connection::{Probe, StreamInfo};
pub use crate::bindings::destination::exports::stecker::plugin::destination::{
    Finding, Found, LookupItem, Receipt, WriteItem,
};
pub use crate::bindings::reconcile::exports::stecker::plugin::reconcile::{
    Bucket, Entry, Listing, Question, Range,
};
pub use crate::bindings::source::exports::stecker::plugin::source::{Page, ReadRequest};
pub use crate::bindings::transform::exports::stecker::plugin::transform::Transformed;
pub use crate::bindings::webhook::exports::stecker::plugin::webhook::{
    RawRequest, Received, Reply, Subscription, Verdict,
};
pub use connection::Deletes;
pub use delivery::Outcome;
pub use reading::Budget;
pub use types::{Operation, Record, Rejection};

/// Key/value pairs: unique kebab-case keys, in no meaningful order.
pub type Attributes = Vec<(String, String)>;

fn set(attributes: &mut Attributes, key: impl Into<String>, value: impl Display) {
    let key = key.into();
    attributes.retain(|(existing, _)| *existing != key);
    attributes.push((key, value.to_string()));
}
