//! Measurements that decisions rest on. Each question is a binary; `cargo xtask bench` runs them. What they share is here.
//!
//! - `record-encoding`: typed records or packed pages across the component boundary? (`docs/decisions/0001-record-encoding.md`)
//! - `sandbox`: what does the sandbox cost, beside the engine alone, native code, and Extism?
//! - `delivery`: what does it cost to move orders, take webhooks and have many tenants, beside a loop written by hand and Python's tools?
//! - `leak`: does the sandbox give back what it takes? (`cargo xtask leak`)
//!
//! A shared machine is noisy, so contestants take turns in short slices within one run, one of them twice: how far that one is from
//! itself is how much of a difference means nothing.

pub mod engine;
pub mod exchange;
pub mod guest;
pub mod lines;
pub mod machine;
pub mod measure;
pub mod page;
pub mod resident;
pub mod sample;
pub mod shop;
pub mod work;
