//! The service layer and its HTTP face.
//!
//! `cli → server → flow → {sandbox, store, registry} → model`.

mod operations;

pub use operations::Operations;
