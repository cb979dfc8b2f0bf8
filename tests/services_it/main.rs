//! Contracts of the edge against real services: Kafka and Redis as `tests/run` starts them, and private Redis servers.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test
#![allow(clippy::disallowed_methods)] // addresses of the services come from the environment
#![allow(clippy::print_stdout)] // what is skipped is said

mod input;
mod output;
mod state;
#[path = "../support/mod.rs"]
mod support;
mod topics;
mod transactions;
