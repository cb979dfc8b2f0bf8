//! Going over events again to make the states of then, for which nothing has to be scored: states never depend on a score.

use super::{Counts, Engine};
use crate::core::event::Event;
use crate::core::types::{Offset, Partition};

impl Engine {
    /// Applies events whose outputs are out already: their states change as they did then, and nothing else comes of them.
    pub fn replay(&mut self, partition: Partition, events: &[Event<'_>], rejects: &[Offset]) -> Counts {
        let mut owned = self.partitions.remove(&partition).expect("only assigned partitions deliver batches");
        self.observe(&mut owned, events, rejects);
        self.partitions.insert(partition, owned);
        self.effects.windows.clear();
        self.effects.verdicts.clear();
        let counts = Counts { replayed: (events.len() + rejects.len()) as u64, ..Counts::default() };
        self.effects.counts = counts;
        self.totals.add(counts);
        counts
    }
}
