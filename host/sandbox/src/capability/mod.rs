//! What guests may import, one file each. None of these knows a contract version: they take and give the model's types.

pub(crate) mod blobs;
pub(crate) mod bound;
pub(crate) mod clock;
pub(crate) mod crypto;
pub(crate) mod http;
pub(crate) mod log;
pub(crate) mod random;
pub(crate) mod storage;
pub(crate) mod wasi;
pub(crate) mod wasi_http;
