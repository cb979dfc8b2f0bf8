//! What the engine holds and shows: the last batch's results, and each partition's states for storing and evicting. Never
//! changes a state, so nothing here can change a verdict.

use super::{Counts, Effects, Engine, Rows, Scores, Window};
use crate::core::intel::IntelSet;
use crate::core::state::{EntityState, Memory};
use crate::core::types::{EntityKey, EventTime, Offset, Partition};

impl Engine {
    /// What the last batch led to.
    #[must_use]
    pub fn effects(&self) -> &Effects {
        &self.effects
    }
    #[must_use]
    pub fn rows(&self) -> &Rows {
        &self.rows
    }
    #[must_use]
    pub fn scores(&self) -> &Scores {
        &self.scores
    }
    #[must_use]
    pub fn totals(&self) -> Counts {
        self.totals
    }
    #[must_use]
    pub fn intel(&self) -> &IntelSet {
        &self.intel
    }
    /// Entities in memory, and how many have left it since the start.
    #[must_use]
    pub fn entities(&self) -> (usize, u64) {
        let resident = self.partitions.values().map(|owned| owned.table.len()).sum();
        let evicted: u64 = self.partitions.values().map(|owned| owned.table.evicted()).sum();
        (resident, evicted + self.evicted_before)
    }

    /// Takes up to `max` changed states of a partition for storing, oldest change first.
    pub fn take_dirty(&mut self, partition: Partition, max: usize, each: impl FnMut(EntityKey, &EntityState, Option<&Memory>)) -> usize {
        self.partitions.get_mut(&partition).map_or(0, |owned| owned.table.take_dirty(max, each))
    }
    #[must_use]
    pub fn dirty_len(&self, partition: Partition) -> usize {
        self.partitions.get(&partition).map_or(0, |owned| owned.table.dirty_len())
    }
    /// Everything before this offset is in the states taken so far: the commit point once they are stored.
    #[must_use]
    pub fn checkpoint(&self, partition: Partition) -> Option<Offset> {
        self.partitions.get(&partition).map(|owned| owned.table.first_dirty().unwrap_or(owned.next))
    }
    /// The value to store for the partition as a whole.
    pub fn partition_value(&self, partition: Partition, out: &mut Vec<u8>) {
        if let Some(owned) = self.partitions.get(&partition) {
            owned.traffic.write(out);
        }
    }
    /// Whether the partition holds more states than its share.
    #[must_use]
    pub fn is_over_capacity(&self, partition: Partition) -> bool {
        self.partitions.get(&partition).is_some_and(|owned| owned.table.len() > owned.table.capacity())
    }
    /// Whether it holds so many that waiting for the next round of checkpoints would let memory grow.
    #[must_use]
    pub fn is_far_over_capacity(&self, partition: Partition) -> bool {
        self.partitions.get(&partition).is_some_and(|owned| owned.table.len() > owned.table.capacity() + owned.table.capacity() / 16)
    }
    /// First offset of the partition that was not applied yet.
    #[must_use]
    pub fn next(&self, partition: Partition) -> Option<Offset> {
        self.partitions.get(&partition).map(|owned| owned.next)
    }
    /// Newest event time seen in the partition.
    #[must_use]
    pub fn watermark(&self, partition: Partition) -> Option<EventTime> {
        let micros = self.partitions.get(&partition)?.traffic.watermark_micros();
        (micros != i64::MIN).then_some(EventTime(micros))
    }
    /// Evicts stored states beyond the bound; returns how many are over it because they are not stored yet.
    pub fn trim(&mut self, partition: Partition) -> usize {
        self.partitions.get_mut(&partition).map_or(0, |owned| owned.table.trim())
    }
    /// Closes all windows, at the end of a finite input.
    pub fn finish(&mut self, partition: Partition) -> Vec<Window> {
        let mut closed = vec![];
        if let Some(owned) = self.partitions.get_mut(&partition) {
            owned.traffic.finish(&mut closed);
        }
        closed
    }

    pub(super) fn share_capacity(&mut self) {
        let share = self.max_entities / self.partitions.len().max(1);
        self.partitions.values_mut().for_each(|owned| owned.table.set_capacity(share));
    }
}
