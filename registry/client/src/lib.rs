//! A client of OCI registries (Distribution Specification 1.1), as far as releases of plugins need one: what is there is not sent again, what broke
//! off goes on where it was, and what comes in is bounded and has the digest that was asked for, or it does not come in at all.
//!
//! - `cache`: what was pulled before.
//! - `client`: requests, with what a registry wants to know of who asks.
//! - `push`: blobs, manifests, a release with what is said about it.
//! - `pull`: the same back.
//! - `layout`: a release in a folder or an archive, for where no registry can be reached.
//! - `manage`: finding, yanking and deprecating releases, where the registry is one of ours.

mod auth;
mod cache;
mod client;
mod error;
mod layout;
mod manage;
mod pull;
mod push;
mod tar;

pub use auth::Credentials;
pub use cache::Cache;
pub use client::Registry;
pub use error::ClientError;
pub use layout::{Beside, Layout};
pub use manage::Search;
pub use pull::Pulled;
pub use push::Pushed;

/// Told how far a transfer is: bytes done, and bytes in all.
pub type Progress<'p> = &'p (dyn Fn(u64, u64) + Send + Sync);
