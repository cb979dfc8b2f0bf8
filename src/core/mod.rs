//! The pure core: same log in, same bytes out, whatever the batch size or the partition count.
//!
//! No input or output, clock, randomness, async or hash order. Stages in the order an event takes them.

pub mod correlate;
pub mod detect;
pub mod event;
pub mod features;
pub mod intel;
pub mod output;
pub mod printable;
pub mod settings;
pub mod types;
