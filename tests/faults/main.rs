//! The fault suite: workers as real processes on a real Kafka and Redis, killed, stopped, cut off and starved while events come in.
//! Afterwards the committed outputs and the state are compared with those of one worker that nobody disturbed, over the same log.
//!
//! The short version is part of the tests; `tests/faults/long` runs the long one.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test
#![allow(clippy::disallowed_methods)] // addresses of the services and the length come from the environment
#![allow(clippy::print_stdout)] // what is skipped and what was measured is said

mod brokers;
mod clocks;
#[path = "../support/cluster.rs"]
#[allow(dead_code)] // every test program uses a part of it
mod cluster;
mod crash_points;
mod deployment;
mod dice;
mod differences;
mod disk;
mod fleet;
mod follower;
mod judge;
mod kafka_network;
mod kills;
mod length;
mod log;
mod offsets;
mod poison;
#[path = "../support/process.rs"]
#[allow(dead_code)] // every test program uses a part of it
mod process;
mod proxy;
mod rebalances;
mod redis_faults;
mod redis_losses;
mod redis_starts;
mod redis_state;
mod rolling;
#[path = "../support/mod.rs"]
#[allow(dead_code)] // every test program uses a part of it
mod support;
#[path = "../support/workbench.rs"]
#[allow(dead_code)] // every test program uses a part of it
mod workbench;
mod zombies;
