//! ThreatGuard: a streaming security-event pipeline.
//!
//! The order of the modules is the order to read them in. `core`, `codec`, `models` and `simulate` are pure: they build and
//! test without the `app` feature, and read no clock, file, socket or random source. Everything else is the shell around them.

pub mod error;
pub mod limits;

pub mod codec;
pub mod core;
pub mod models;
pub mod native;
pub mod simulate;

#[cfg(feature = "app")]
pub mod cli;
#[cfg(feature = "app")]
pub mod config;
#[cfg(feature = "app")]
pub mod edge;
#[cfg(feature = "app")]
pub mod run;
#[cfg(feature = "app")]
pub mod serve;
