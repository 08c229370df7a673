//! The one seam between the SDK and the host: in a component the generated imports, elsewhere the test host.

#[cfg(all(target_arch = "wasm32", feature = "blobs"))]
pub(crate) use crate::bindings::blobs::stecker::plugin::{blobs, http_blobs};
#[cfg(target_arch = "wasm32")]
pub(crate) use crate::bindings::host::stecker::plugin::{clock, crypto, http, log, random, storage};

#[cfg(all(not(target_arch = "wasm32"), feature = "blobs"))]
pub(crate) use crate::testing::imports::{blobs, http_blobs};
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use crate::testing::imports::{clock, crypto, http, log, random, storage};
