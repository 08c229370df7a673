//! The one seam between the SDK and the host: in a component the generated imports, elsewhere the test host.

#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::blobs::stecker::plugin::{blobs, http_blobs};
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::host::stecker::plugin::{clock, crypto, http, log, random, storage};

#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::imports::{blobs, clock, crypto, http, http_blobs, log, random, storage};
