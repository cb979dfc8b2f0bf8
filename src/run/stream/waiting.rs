//! What settling has published and not committed yet.

use std::time::Instant;

use super::keep::Chunk;
use crate::core::types::{Offset, Partition};
use crate::edge::{Owner, Sequence};

/// Work that is published and not committed yet, in order.
pub(super) enum Waiting {
    Claim(Partition, Offset, Owner),
    Parcel(Sent),
    Chunk(Chunk),
    Drain(Partition, Owner),
}

pub(super) struct Sent {
    pub(super) partition: Partition,
    pub(super) next: Option<Offset>,
    pub(super) read_at: Instant,
    pub(super) events: u64,
    /// Its last output, where each is acknowledged by itself.
    pub(super) last: Sequence,
    pub(super) noted: bool,
}

impl Waiting {
    pub(super) fn partition(&self) -> Partition {
        match self {
            Self::Claim(partition, ..) | Self::Drain(partition, _) => *partition,
            Self::Parcel(sent) => sent.partition,
            Self::Chunk(chunk) => chunk.partition,
        }
    }
}
