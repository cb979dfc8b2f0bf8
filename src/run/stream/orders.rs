//! What the three threads of a lane say to each other.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::keep::Chunk;
use super::note::Note;
use crate::core::types::{EventTime, Generation, Offset, Partition};
use crate::edge::{Owner, Publisher, Transactions};
use crate::error::Error;
use crate::run::outbox::Outbox;
use crate::run::telemetry::Delta;

/// How outputs and offsets become durable.
pub enum Output {
    /// In one transaction.
    ExactlyOnce(Box<dyn Transactions>),
    /// Outputs first, then offsets: after a crash the same outputs may come again.
    /// Each may wait so long for others to travel with.
    AtLeastOnce { publisher: Arc<dyn Publisher>, linger: Duration },
}

/// Outputs of one batch.
pub struct Parcel {
    pub partition: Partition,
    pub generation: Generation,
    pub outbox: Outbox,
    /// Where the partition goes on once these are committed; `None` while the group is ahead.
    pub next: Option<Offset>,
    /// Time that passed without records and led to these outputs.
    pub ticked: Option<EventTime>,
    pub read_at: Instant,
    /// What they count as once they are committed.
    pub delta: Box<Delta>,
    /// Records of the partition that were not read yet.
    pub lag: u64,
}

pub enum Work {
    /// Commits `next` with the note, so that every earlier owner is refused.
    Claim {
        partition: Partition,
        generation: Generation,
        next: Offset,
        note: Note,
    },
    Parcel(Parcel),
    Chunk(Chunk),
    /// Everything before must be committed and stored when this is answered.
    Drain(Partition, Owner),
    /// The partition is not ours any more.
    Forget(Partition),
    /// What is not committed must not be.
    Rewind,
}

/// Work in the lane's present epoch. A rewind begins the next one; what was ordered before it is dropped.
pub struct Order {
    pub epoch: u64,
    pub work: Work,
}

/// What a lane hears back.
pub enum Reply {
    Claimed(Partition, Owner),
    Committed(Partition, Offset),
    Stored(Partition, Owner, u64),
    /// The store has another owner, or lost what it had.
    StoreLost(Partition, Owner, Error),
    Drained(Partition, Owner),
    /// Nothing of the epochs before this one is open any more.
    Rewind(u64),
    Failed(Error),
}
