//! The pure core: same log in, same bytes out, whatever the batch size or the partition count.
//!
//! No input or output, clock, randomness, async or hash order. Stages in the order an event takes them.

pub mod decode;
pub mod event;
pub mod sanitize;
pub mod types;
