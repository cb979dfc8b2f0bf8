//! Configuration: the pipeline file (what to detect) and the service configuration (where and how to run).
//!
//! One typed struct each gives defaults, validation (every problem at once), the JSON Schema and what `config show` prints.
//! Nothing here opens a connection or starts anything.

pub mod problem;

pub mod backtest;
pub mod cases;
pub mod pipeline;

pub mod service;

pub mod clients;

pub mod schema;

mod check;
mod layers;
mod locate;
mod shape;
#[cfg(test)]
mod tests;

pub use layers::{FlagLayer, Resolved, environment};
pub use problem::{Problem, Problems};
