//! The pure core: same log in, same bytes out, whatever the batch size or the partition count.
//!
//! No input or output, clock, randomness, async or hash order. Stages in the order an event takes them.

pub mod event;
pub mod numeric;
pub mod printable;
#[cfg(test)]
pub(crate) mod samples;
pub mod settings;
pub mod types;

pub mod decode;

pub mod sanitize;

pub mod intel;

pub mod state;

pub mod features;

pub mod detect;

pub mod ensemble;

pub mod verdict;

pub mod engine;
pub mod ledger;

pub mod output;

pub mod correlate;
