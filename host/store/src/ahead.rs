//! Moments that lie too far ahead.
//!
//! A clock that ran ahead and was set right leaves moments behind that will not come for as long as it was ahead: a retry planned for next
//! year, a lease that nobody can take until then. Nothing is ever planned further ahead than some days on purpose, so whatever is, was planned by
//! a wrong clock, and its time has come.

/// In milliseconds: eight days. Longer than any pause between two attempts, which is a week at most.
const FAR: i64 = 8 * 86_400_000;

/// From this moment on, nothing was planned on purpose.
pub(crate) const fn beyond(now: i64) -> i64 {
    now.saturating_add(FAR)
}
