//! State from outside, with the real binary on real Kafka and Redis: looking, checking, keeping, bringing back, and setting back.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test
#![allow(clippy::disallowed_methods)] // addresses of the services come from the environment
#![allow(clippy::print_stdout)] // what is skipped is said
#![allow(dead_code)] // the helpers are shared with other tests, which use the rest of them

mod alerts;
mod damage;
mod deployment;
#[path = "../pipeline_it/kafka_log.rs"]
mod kafka_log;
#[path = "../support/object_store.rs"]
mod object_store;
mod owners;
#[path = "../support/process.rs"]
mod process;
mod site;
mod snapshots;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/workbench.rs"]
mod workbench;
