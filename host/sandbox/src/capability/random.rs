//! Random bytes of the operating system, for guests of the contract and of WASI, up to a bound per call: they are meant for identifiers and
//! keys, and whoever needs megabytes of them wants to keep the kernel busy. A call that is recorded or played again has them from a seed.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use rand::TryRngCore as _;
use wasmtime::component::Linker;

use super::wasi::VERSION;
use crate::{call::CallState, tape::SeededBytes};

/// In one go, as the contract says.
const MAX_AT_ONCE: u64 = 4_096;
/// In one go through WASI, whose guests expect to get all that they ask for.
const MAX_AT_ONCE_WASI: u64 = 64 << 10;
/// By one call of a guest.
const MAX_PER_CALL: u64 = 1 << 20;

/// What a call has had.
#[derive(Debug, Default)]
pub(crate) struct RandomVolume {
    taken: AtomicU64,
    seeded: Option<Mutex<SeededBytes>>,
}

impl RandomVolume {
    pub(crate) fn seeded(seed: Option<[u8; 32]>) -> Self {
        Self {
            taken: AtomicU64::new(0),
            seeded: seed.map(SeededBytes::new).map(Mutex::new),
        }
    }

    /// Whether there is a seed; then the bytes are those that follow.
    fn follow_seed(&self, bytes: &mut [u8]) -> bool {
        let Some(seeded) = &self.seeded else {
            return false;
        };
        seeded.lock().unwrap_or_else(PoisonError::into_inner).fill(bytes);
        true
    }

    /// For guests of WASI, which take few of them to begin with and go on by themselves; not counted.
    fn number(&self) -> u64 {
        let mut bytes = [0; 8];
        if self.follow_seed(&mut bytes) {
            return u64::from_le_bytes(bytes);
        }
        rand::random()
    }

    fn take(&self, len: u64) -> wasmtime::Result<()> {
        let taken = self.taken.fetch_add(len, Ordering::Relaxed).saturating_add(len);
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
    if volume.follow_seed(&mut bytes) {
        return Ok(bytes);
    }
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| wasmtime::format_err!("the operating system has no random bytes: {error}"))?;
    Ok(bytes)
}

/// The functions of WASI, in the place of those of `wasmtime-wasi`, which have no bound per call and no seed of ours.
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
    for (interface, function) in [
        ("random", "get-random-u64"),
        ("insecure", "get-insecure-random-u64"),
    ] {
        linker
            .instance(&format!("wasi:random/{interface}@{VERSION}"))?
            .func_wrap(function, |store, (): ()| {
                Ok((store.data().caller.meter.random.number(),))
            })?;
    }
    linker
        .instance(&format!("wasi:random/insecure-seed@{VERSION}"))?
        .func_wrap("insecure-seed", |store, (): ()| {
            let random = &store.data().caller.meter.random;
            Ok(((random.number(), random.number()),))
        })?;
    linker.allow_shadowing(false);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_decides_what_comes() {
        let (one, same) = (
            RandomVolume::seeded(Some([1; 32])),
            RandomVolume::seeded(Some([1; 32])),
        );
        assert_eq!(bytes(&one, 40).unwrap(), bytes(&same, 40).unwrap());
        assert_eq!(one.number(), same.number());
        assert_ne!(one.number(), RandomVolume::seeded(Some([2; 32])).number());
    }

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
