//! Named places at which a test has this process killed ([`stecker_model::FAIL_POINTS`]), to see that what comes after costs nothing.
//!
//! `STECKER_FAIL_POINT=after-write:3` kills the process when it passes the place `after-write` for the third time. Only builds with debug
//! assertions look; in others a place is nothing at all.

/// The process goes by a place.
#[cfg(debug_assertions)]
pub(crate) fn pass(place: &'static str) {
    use std::{
        env,
        sync::{
            OnceLock,
            atomic::{AtomicU32, Ordering},
        },
    };

    static WANTED: OnceLock<Option<(String, AtomicU32)>> = OnceLock::new();
    debug_assert!(
        stecker_model::FAIL_POINTS.contains(&place),
        "{place} is not in the list"
    );
    let wanted = WANTED.get_or_init(|| {
        let text = env::var("STECKER_FAIL_POINT").ok()?;
        let (place, pass) = text.split_once(':').unwrap_or((&text, "1"));
        Some((place.to_owned(), AtomicU32::new(pass.parse().unwrap_or(1).max(1))))
    });
    if let Some((wanted, left)) = wanted
        && wanted == place
        && left.fetch_sub(1, Ordering::Relaxed) == 1
    {
        tracing::warn!(place, "killed here, as asked");
        // As SIGKILL from outside: no destructor, no handler, nothing flushed.
        if rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL).is_err() {
            std::process::abort();
        }
    }
}

/// The process goes by a place.
#[cfg(not(debug_assertions))]
pub(crate) const fn pass(_: &'static str) {}
