//! The service layer and its HTTP face: every operation lives once, in [`Service`], and is reached in-process or over HTTP.
//!
//! `cli → server → flow → {sandbox, store, registry} → model`.
//!
//! - [`Operations`]: the list of what can be done.
//! - [`Service`]: does it, on a store and an engine. [`HttpClient`]: has a server do it.
//! - [`Host`]: a data folder, opened: its lock, its database, its engine. [`Server`]: a host with an HTTP face.

#![expect(
    clippy::result_large_err,
    reason = "a problem is the error of every operation, and none of them is called in a tight loop"
)]

mod client;
mod folder;
mod host;
pub mod http;
mod inspect;
mod master_key;
mod operations;
mod problem;
mod registry;
mod serve;
mod service;

pub use client::{HttpClient, install_crypto};
pub use folder::{Context, DataFolder, FolderError};
pub use host::{COMPILE, Host, HostError, HostOptions};
pub use http::{
    Working,
    auth::{Authenticator, BootstrapToken, Principal, Role},
    openapi_document, router,
};
pub use inspect::{ReleaseReport, check_component, inspect_component};
pub use master_key::MasterKeyOption;
pub use operations::Operations;
pub use registry::RegistryOption;
pub use serve::{ServeOptions, Server, asked_to_end, serve};
pub use service::Service;
pub use stecker_flow::Retention;
pub use stecker_gate as gate;
pub use stecker_sandbox::compile_as_child;
