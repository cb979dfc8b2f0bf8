//! Detection quality as tests: every loud campaign of the simulator is found, and real files give sensible threats.

#![allow(clippy::unwrap_used, reason = "tests may stop")]

mod harness;
mod simulated;
