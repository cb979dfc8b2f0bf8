//! The whole program from outside: the real binary on files, on real Kafka and Redis, on real data and on hostile input.
#![allow(clippy::unwrap_used)] // a failed expectation is a failed test
#![allow(clippy::disallowed_methods)] // addresses of the services come from the environment
#![allow(clippy::print_stdout)] // what is skipped and what was measured is said

mod backtest;
mod bad_input;
mod bad_services;
#[path = "../support/cluster.rs"]
#[allow(dead_code)] // every test program uses a part of it
mod cluster;
mod equality;
mod first_verdict;
mod hot_swap;
mod kafka_log;
mod lifecycle;
mod newcomer;
#[path = "../support/object_store.rs"]
mod object_store;
mod pipelines;
#[path = "../support/process.rs"]
mod process;
mod purity;
mod real_data;
mod recalibration;
mod schemas;
mod secured;
mod sequences;
mod service;
#[path = "../support/mod.rs"]
mod support;
mod tables;
#[path = "../support/workbench.rs"]
mod workbench;
#[path = "../support/zip.rs"]
mod zip;
