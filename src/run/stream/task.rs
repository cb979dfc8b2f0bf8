//! What a lane does with its records: scoring, correlation, re-keying. A task holds the state of its partitions and nothing that
//! depends on when it is called; everything that has to do with delivery is the lane's.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use super::store::patiently;
use crate::core::types::{EntityKey, EventTime, Offset, Partition};
use crate::edge::{Claim, Records, StateStore};
use crate::error::Result;
use crate::run::outbox::Outbox;
use crate::run::telemetry::Delta;

/// Values of one partition from the store, for states that are not in memory.
pub struct States<'s> {
    pub(super) store: &'s mut dyn StateStore,
    pub(super) partition: Partition,
    pub(super) claim: Claim,
    /// Last checkpoint known to be stored.
    pub(super) number: u64,
    /// Nothing is stored that is not in memory.
    pub(super) complete: bool,
    pub(super) give_up: &'s AtomicBool,
}

impl States<'_> {
    /// Whether a state that is not in memory is a new one.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// In the order of `keys`. Waits while the store is away.
    ///
    /// # Errors
    /// As for [`StateStore::load_many`].
    pub fn load(&mut self, keys: &[EntityKey]) -> Result<Vec<Option<Vec<u8>>>> {
        let (partition, claim, number) = (self.partition, self.claim, self.number);
        patiently(self.store, self.give_up, |store| store.load_many(partition, claim, number, keys))
    }
}

/// Records of one partition, in order.
#[derive(Clone, Copy)]
pub struct Batch<'b> {
    pub partition: Partition,
    pub records: &'b Records,
    /// Outputs of records before it are published already: those only change states.
    pub live: Offset,
    /// Records that become dead letters unseen.
    pub poison: Option<&'b BTreeSet<Offset>>,
}

/// What comes of a batch.
pub struct Out<'o> {
    pub outbox: &'o mut Outbox,
    pub delta: &'o mut Delta,
}

/// How full a partition's memory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fill {
    Within,
    /// Stored states have to go.
    Over,
    /// No more can be taken in before some have gone.
    Far,
}

/// Work on the partitions of one lane. All methods name an assigned partition, but for `assign` itself.
pub trait Task: Send {
    /// Takes a partition over. `value` is what [`Task::value`] wrote at the checkpoint `from`; `ticked` the last time that passed
    /// without records and led to outputs.
    ///
    /// # Errors
    /// A value that cannot be read.
    fn assign(&mut self, partition: Partition, from: Offset, value: &[u8], ticked: Option<EventTime>) -> Result<()>;

    /// Lets it go with its state.
    fn revoke(&mut self, partition: Partition);

    /// Applies a batch. The same records give the same outputs, however they are cut into batches.
    ///
    /// # Errors
    /// Of the store; nothing of the partition's state may be used after one.
    fn batch(&mut self, batch: Batch<'_>, states: &mut States<'_>, out: &mut Out<'_>) -> Result<()>;

    /// Time passes without records; returns up to when, where that led to outputs. Called only while nothing is unsettled.
    fn tick(&mut self, _partition: Partition, _out: &mut Out<'_>) -> Option<EventTime> {
        None
    }

    /// Whether something waits for a moment at which everything before is committed and stored.
    fn wants_barrier(&self) -> bool {
        false
    }

    /// That moment, in all partitions. The next event comes after it.
    fn at_barrier(&mut self) {}

    /// Changed states that are not taken yet.
    fn dirty_len(&self, partition: Partition) -> usize;

    /// Takes up to `max` changed states for storing, oldest change first: their keys, and the ends of their values in `bytes`.
    fn take_dirty(&mut self, partition: Partition, max: usize, entries: &mut Vec<(EntityKey, usize)>, bytes: &mut Vec<u8>) -> usize;

    /// Everything before this offset is in the states taken so far.
    fn checkpoint(&self, partition: Partition) -> Offset;

    /// The first offset that was not applied yet.
    fn next(&self, partition: Partition) -> Offset;

    /// What is stored for the partition as a whole.
    fn value(&self, partition: Partition, out: &mut Vec<u8>);

    fn fill(&self, _partition: Partition) -> Fill {
        Fill::Within
    }

    /// Lets stored states go until the partition is within its bound, or none is left to go.
    fn trim(&mut self, _partition: Partition) {}

    /// States in memory, and how many have left it.
    fn entities(&self) -> (usize, u64) {
        (0, 0)
    }
}
