//! What this process has in memory.

use std::fs;

use anyhow::{Context as _, Result};

/// Resident bytes of this process (`proc_pid_status(5)`).
///
/// # Errors
/// On a system that does not tell.
pub fn bytes() -> Result<u64> {
    let status =
        fs::read_to_string("/proc/self/status").context("this system does not tell what is resident")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: u64 = line
        .and_then(|rest| rest.trim().strip_suffix(" kB"))
        .context("this system does not tell what is resident")?
        .parse()?;
    Ok(kib << 10)
}
