//! What a process and those below it take: CPU time, and memory at its highest (`proc_pid_stat(5)`, `proc_pid_status(5)`).
//!
//! The kernel keeps the times of a process that has ended until somebody waits for it, so they are read then: nothing of it is missing.

use std::{
    fs,
    process::{Child, ExitStatus},
    time::Duration,
};

use anyhow::{Context as _, Result};
use serde::Serialize;

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(20);
/// Of the kernel's clock for times of processes, the same on every Linux (`sysconf(3)`).
const TICKS_PER_SECOND: f64 = 100.0;

/// What was taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct Used {
    /// CPU seconds, of children that it waited for as well.
    pub(crate) cpu_seconds: f64,
    /// Of all processes together.
    pub(crate) peak_rss_mib: f64,
}

struct Stat {
    ended: bool,
    ticks: u64,
}

fn stat(pid: u32) -> Result<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))
        .with_context(|| format!("the process {pid} is gone, or this system does not tell"))?;
    // The name may have spaces and brackets in it; what follows has none.
    let rest = text.rsplit_once(')').map_or("", |(_, rest)| rest);
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |index: usize| -> u64 {
        fields
            .get(index)
            .and_then(|field| field.parse().ok())
            .unwrap_or(0)
    };
    Ok(Stat {
        ended: fields.first() == Some(&"Z"),
        // utime, stime, cutime, cstime: fields 14 to 17, of which the first two are cut off.
        ticks: (11..=14).map(ticks).sum(),
    })
}

/// CPU seconds of a process until now, and of children that it waited for.
pub(crate) fn cpu_seconds(pid: u32) -> Result<f64> {
    Ok(stat(pid)?.ticks as f64 / TICKS_PER_SECOND)
}

fn status_kib(pid: u32, field: &str) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

/// Resident now, in MiB.
pub(crate) fn rss_mib(pid: u32) -> Result<f64> {
    let kib = status_kib(pid, "VmRSS:").with_context(|| format!("the process {pid} is gone"))?;
    Ok(kib as f64 / 1024.0)
}

/// The highest of a process and, together with it, of those below it.
fn peak_kib(pid: u32) -> u64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let below: u64 = children
        .split_whitespace()
        .filter_map(|child| child.parse().ok())
        .map(peak_kib)
        .sum();
    status_kib(pid, "VmHWM:").unwrap_or(0) + below
}

/// Watches a process until it ends, which somebody else brings about, and leaves it to be waited for.
pub(crate) async fn watch(pid: u32) -> Result<Used> {
    let mut peak = 0;
    loop {
        let stat = stat(pid)?;
        if stat.ended {
            return Ok(Used {
                cpu_seconds: stat.ticks as f64 / TICKS_PER_SECOND,
                peak_rss_mib: peak as f64 / 1024.0,
            });
        }
        peak = peak.max(peak_kib(pid));
        tokio::time::sleep(LOOK).await;
    }
}

/// Runs a child to its end.
pub(crate) async fn to_its_end(mut child: Child) -> Result<(Used, ExitStatus)> {
    let used = watch(child.id()).await?;
    Ok((used, child.wait()?))
}
