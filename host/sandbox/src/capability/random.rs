//! Random bytes of the operating system, for guests of the contract and of WASI, up to a bound per call: they are meant for identifiers and
//! keys, and whoever needs megabytes of them wants to keep the kernel busy.

use std::sync::atomic::{AtomicU64, Ordering};

use rand::TryRngCore as _;
use wasmtime::component::Linker;

use super::wasi::VERSION;
use crate::call::CallState;

/// In one go, as the contract says.
const MAX_AT_ONCE: u64 = 4_096;
/// In one go through WASI, whose guests expect to get all that they ask for.
const MAX_AT_ONCE_WASI: u64 = 64 << 10;
/// By one call of a guest.
const MAX_PER_CALL: u64 = 1 << 20;

/// What a call has had.
#[derive(Debug, Default)]
pub(crate) struct RandomVolume(AtomicU64);

impl RandomVolume {
    fn take(&self, len: u64) -> wasmtime::Result<()> {
        let taken = self.0.fetch_add(len, Ordering::Relaxed).saturating_add(len);
        if taken > MAX_PER_CALL {
            return Err(wasmtime::format_err!(
                "it asked for more than {MAX_PER_CALL} random bytes in one call; random bytes are for identifiers and keys"
            ));
        }
        Ok(())
    }
}

pub(crate) fn bytes(volume: &RandomVolume, len: u32) -> wasmtime::Result<Vec<u8>> {
    fill(volume, u64::from(len).min(MAX_AT_ONCE))
}

fn fill(volume: &RandomVolume, len: u64) -> wasmtime::Result<Vec<u8>> {
    volume.take(len)?;
    let mut bytes = vec![0; usize::try_from(len)?];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| wasmtime::format_err!("the operating system has no random bytes: {error}"))?;
    Ok(bytes)
}

/// The functions of WASI that give many bytes, in the place of those of `wasmtime-wasi`, which have no bound per call.
pub(crate) fn add_to_linker(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    for (interface, function) in [
        ("random", "get-random-bytes"),
        ("insecure", "get-insecure-random-bytes"),
    ] {
        linker
            .instance(&format!("wasi:random/{interface}@{VERSION}"))?
            .func_wrap(function, |store, (len,): (u64,)| {
                if len > MAX_AT_ONCE_WASI {
                    return Err(wasmtime::format_err!(
                        "it asked for {len} random bytes at once; it gets at most {MAX_AT_ONCE_WASI}"
                    ));
                }
                Ok((fill(&store.data().caller.meter.random, len)?,))
            })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_share_and_no_more() {
        let volume = RandomVolume::default();
        assert_eq!(bytes(&volume, 16).unwrap().len(), 16);
        assert_ne!(bytes(&volume, 16).unwrap(), bytes(&volume, 16).unwrap());
        assert_eq!(bytes(&volume, u32::MAX).unwrap().len(), 4_096);
        for _ in 0..254 {
            bytes(&volume, 4_096).unwrap();
        }
        let error = (0..2).find_map(|_| bytes(&volume, 4_096).err()).unwrap();
        assert!(error.to_string().contains("1048576"), "{error}");
    }
}
