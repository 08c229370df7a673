//! What the simulated systems promise to the tests that lean on them.

mod client;
mod delivery;
mod paging;
mod process;
mod verdicts;
mod webhooks;
