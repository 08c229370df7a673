//! The names of places in the host's code at which a test may have it killed.

/// Every place, in the order in which a record passes them. A host built with debug assertions kills itself at one of them if
/// `STECKER_FAIL_POINT` says so, such as `written:3` for the third time that it gets there; `cargo xtask crash` takes each in turn.
pub const FAIL_POINTS: [&str; 14] = [
    "webhook-stored",
    "webhook-settled",
    "lease-taken",
    "page-read",
    "page-committed",
    "page-acknowledged",
    "batch-chosen",
    "attempt-begun",
    "transformed",
    "written",
    "settled",
    "looked-up",
    "lease-renewed",
    "lease-given-back",
];
