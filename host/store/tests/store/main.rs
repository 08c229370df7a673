//! What the store promises, as scenarios that run on SQLite and, where `STECKER_TEST_POSTGRES` names a server, on Postgres.

mod applying;
mod contending;
mod delivering;
mod growing;
mod guests;
mod opening;
mod quarantine;
mod random;
mod reading;
mod webhooks;
mod world;
