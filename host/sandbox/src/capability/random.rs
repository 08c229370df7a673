//! Random bytes of the operating system.

use rand::TryRngCore as _;

/// Per call, as the contract says.
const MAX: u32 = 4_096;

pub(crate) fn bytes(len: u32) -> wasmtime::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len.min(MAX))?];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| wasmtime::format_err!("the operating system has no random bytes: {error}"))?;
    Ok(bytes)
}
