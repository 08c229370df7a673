//! Scenarios that try to break out of the sandbox, and what it says to them.
