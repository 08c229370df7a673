//! What an upstream lets through: budgets, holds and breakers, per account of a tenant.
//!
//! A system counts requests by account, and not by connection, flow or node; it says in its answers how many are left, and when it is down, it
//! is down for all of them. So this is kept beside the sessions, in one place for everybody who sends. Nothing of it happens until
//! [`Upstreams::assign`] says which account a connection uses.
//!
//! - [`headers`]: what an answer says about limits. Pure.
//! - [`bucket`]: how many requests may go, by what was configured, learned and asked for. Pure.
//! - [`line`]: whose turn it is. Pure.
//! - [`breaker`]: whether a host is down. Pure.
//! - [`account`]: the four together, for one account. Pure.
//! - [`registry`]: all accounts, and what the embedder hears and says.
//! - [`way`]: one connection's requests, which wait.
//!
//! What is here knows no database: whoever runs several processes on the same accounts gives an [`UpstreamKeeper`].

mod account;
mod breaker;
mod bucket;
mod headers;
mod line;
mod registry;
mod way;

pub use account::{Look, UpstreamView};
pub use registry::{KeptUpstream, UpstreamKeeper, Upstreams};
pub(crate) use way::{Pass, Way};
